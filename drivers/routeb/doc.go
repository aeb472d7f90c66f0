// Package routeb reads Japan's smart meters over Route B: a Wi-SUN module on a
// serial port, its SKSTACK or J11 dialogue, PANA, UDP port 3610, ECHONET Lite and
// the meter's class 0x0288.
//
// # Layers
//
// A Scanner finds messages in what a module sends: text lines, ERXUDP lines with
// their data in either form, J11 frames, and bare ECHONET Lite frames. A Frame is
// one ECHONET Lite message, a Property one value of it. A Decoder makes Readings of
// them. None of them does I/O. Only session*.go touches a line.
//
// # Energy
//
// A count is worth unit (EPC E1) times coefficient (EPC D3). Both come once, at the
// beginning of a session, and hold for what follows; before E1 came an energy is
// not told at all. Without D3 the coefficient is 1.
//
// # Codes
//
// E0 and E3 are 1-0:1.8.0 and 1-0:2.8.0. E7 is 1-0:16.7.0, and 1-0:1.7.0 and
// 1-0:2.7.0 its two directions. The currents of E8 are those of L1 and L3, the R and T of a
// single-phase three-wire supply. What the meter holds of the last half hour (EA,
// EB) has value group B = 1, of the last minute (D0) B = 2. All times are Japan's.
package routeb
