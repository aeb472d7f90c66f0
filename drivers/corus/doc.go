// Package corus reads and writes Itron's and Actaris' gas volume converters of the
// Corus family, which speak I-FLAG in single address mode, mostly through a modem or
// a serial converter. The maker's protocol text is not public: what is here was
// learned from two public programs, and where they disagree both ways work.
//
// # What a conversation looks like
//
//	00 × 200               wake-up; the device answers at least three 00
//	/?! CR LF              sign-on; there is one device on a line
//	/ACT7MINICOR200 CR LF  identification
//	ACK 076 CR LF          option select, or 0Z7 with Z of the identification
//	PASS crc               from the device, and back to it: a fixed text
//	ACK                    accepted
//	01 BF n ids 03 crc     read parameters:  01 n data 03 crc
//	01 FF n (id data) …    write parameters: ACK or NAK
//	01 BE 0D db mask …     read a database:  frames, each acknowledged
//	01 42 30 03 21 31      break
//
// Nothing is escaped: length bytes say where a message ends. All numbers are
// little-endian but the two bytes of an id.
//
// # What vouches for an answer
//
// CRC-16/BUYPASS from SOH to ETX: CheckCRC16. An answer whose check does not hold is
// asked for again with NAK, three times. Frames of a database are numbered, a repeat
// of the frame before is passed over, and the count of the records is held against
// what came. NAK, ACK and the number of an id carry no check.
//
// # What an id means
//
// That depends on the firmware: parameter 94 tells the id of its map. No map is
// public, so maps and the layouts of records are configuration, in the form of
// layouts.toml in this folder, which holds what is known.
//
// # What is not verified on a device
//
// The ids 239 to 255, which the two programs send in different ways; the bits that
// ask for a count and that continue a transfer; the alarms; the meaning and the unit
// of the parameters 48 and 49; the speed that a serial line has after the option
// select.
package corus
