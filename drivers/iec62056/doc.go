// Package iec62056 reads and writes meters that speak IEC 62056-21 (2002) and
// Elster's LIS-200, which is made of it: optical ports, current loops, RS-485
// and modems. It speaks modes A, B, C and D; meters of mode E are read in mode C.
//
// # What a conversation looks like
//
//	/?00012345!            sign-on at 300 baud, 7E1
//	/XYZ5\@0010METER       identification: maker, speed 9600, escape, type
//	ACK 0 5 0              option select: protocol, speed, readout
//	                       both sides change their speed
//	STX 1.8.0(001.5*kWh)   data sets
//	    !
//	ETX BCC                block check character
//
// With option 1 for 0 the meter asks for a password and takes commands:
//
//	SOH P0 STX () ETX BCC            the meter's operand
//	SOH P1 STX (00000000) ETX BCC    the password
//	SOH R1 STX 1.8.0() ETX BCC       read
//	STX 1.8.0(001.5*kWh) ETX BCC     the answer
//	SOH B0 ETX BCC                   goodbye
//
// # What vouches for a data message
//
// The block check character (clause 6.3 and annex A) covers seven bits of each
// byte behind the first STX or SOH, up to and with ETX or EOT: CheckBCC. Modes A
// to D may leave it out; such a data message needs its ! line, a form beyond
// doubt and, where parity is left in bit 7, that parity: CheckNone or
// CheckParity. A message that has a wrong BCC is never read.
//
// # Real meters
//
//   - Landis+Gyr E350 ends its lines with LF LF and its block with the ! alone:
//     readouts/landisgyr-e350-zmf100.
//   - Landis+Gyr UltraHeat prints several data sets a line, under addresses of
//     EN 1434 that are no OBIS codes: readouts/landisgyr-uh50, -t550.
//   - EMH and Metcom put the time of a maximum in a bracket of its own, and a
//     season digit before their stamps: readouts/metcom-table1-fragment,
//     profiles/.
//   - Iskra MT174 has no escape in its identification: readouts/iskra-mt174.
//   - Gateways leave even parity in bit 7: readouts/landisgyr-zmd400-parity.
//   - Iskra ME162 reads without a password and leaves the address out of its
//     answers: exchanges/iskra-me162-programming-r1.
//
// # What is not verified
//
// The bits of the VDEW status word, published as the hexadecimal digits they
// are; the four digits behind the time in 0.9.129; the manufacturers' own
// options 6 to 9.
package iec62056
