// Package packaging holds the tests of what the program is shipped in: the compose
// file, the images, the app of Home Assistant.
package packaging
