// Package drivers holds what every meter protocol has in common: the Reading
// that all of them produce, the interfaces they implement, and the one loop that
// feeds a line to a decoder. It knows no protocol, no MQTT and no Home
// Assistant.
//
// # Exact numbers
//
// A number travels from the wire to the topic as a Decimal: a coefficient and a
// power of ten, never a float. Decimals are cockroachdb/apd underneath, because
// it keeps 38 digits inside the value, without an allocation, and reports what
// it cannot hold; registers of gas converters need 22 digits. Rejected:
// govalues/decimal and udecimal (19 digits; the former rounds beyond without a
// word), shopspring/decimal (a heap allocation a number), big.Rat (no digits).
//
// # Who owns what
//
// A Decoder is pure: bytes in, readings out, no clock, goroutine, logger or
// I/O. A Session converses over a Line and may block; the bridge owns its
// schedule, its line lock and its back-off. A Reading and all it refers to
// belong to the decoder that filled it, until the next call.
package drivers
