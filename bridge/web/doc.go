// Package web serves what the gateway says of itself over HTTP: health, metrics
// and a page for people.
//
// It is reached through doors. The Unix socket in the state folder is open to
// whoever may open that file, which is the user that runs the gateway. A listener
// on loopback is open to the machine. One beyond it wants a password. Home
// Assistant's ingress has checked who asks, so that door is open to its proxy and
// to nobody else.
package web
