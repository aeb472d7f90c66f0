//go:build !race

package dlms

const raceEnabled = false
