//go:build race

package hdlc

const raceEnabled = true
