//go:build race

package mbus

// raceEnabled says that the race detector allocates on its own.
const raceEnabled = true
