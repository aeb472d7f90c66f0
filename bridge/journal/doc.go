// Package journal keeps what the broker has not acknowledged. In memory while
// the broker answers, so that SD cards live; on disk once it is away, slow, or
// the program ends.
//
// # The format
//
// Segments, files of a bounded size that are only appended to and removed whole:
//
//	record:  4D 32 4D 4A   length(4)   CRC-32C(4)   body
//	body:    number(8)   received, Unix ns (8)   length of name(1)   name   payload
//
// Numbers are big-endian; the CRC covers length and body. A reader that meets
// anything else looks for the next record whose CRC holds, so a torn write or a
// garbled page costs the records it lies in and no other.
//
// # Decision: a format of our own
//
// bbolt panics on truncated and garbled pages (tried); SQLite brings cgo or
// seven megabytes; the write-ahead-log modules stop at the first damage. What is
// needed is a queue: append, read in order, drop the oldest. That is this file.
package journal
