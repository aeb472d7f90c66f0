// Package soak holds the built gateway against a real Mosquitto while whatever
// can die dies: the broker, the gateway, the connection between them, the bytes
// on the meter's line. Its meter numbers its telegrams, so that each of them can
// be looked for at a subscriber: lost, late, out of order, or with another
// value.
//
// The tests are long. SOAK=short makes them short enough for every push,
// SOAK=1 gives them their full length; without either they are skipped. The
// package also measures the program as a whole: see the benchmarks.
package soak
