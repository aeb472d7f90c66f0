// Package transport opens the lines that meters are on: serial ports, converters
// in the network and recordings. It knows ports, deadlines and bytes; no meters.
//
// A port is named by a text, ParsePort reads it, Open gives a drivers.Line, and a
// Supervisor keeps one open for as long as the program runs.
//
// # Serial: two descriptors
//
// github.com/tarm/serial opens the port and sets speed and frame. The bytes go
// through a descriptor of our own, opened beside it and not blocking, which the
// runtime's poller watches. What that buys, each point observed on Linux:
//
//   - A blocked read ends at its deadline exactly, and Close wakes it. tarm's
//     read times out in steps of 100 ms and Close does not wake it.
//   - A quiet line and a pulled plug differ: the one waits, the other reads as
//     nothing, or EIO. Through tarm both read as (0, io.EOF).
//   - No thread is blocked a line. A byte wakes its reader as fast as through
//     tarm where the program was at rest, as between telegrams: 29 µs and 30 µs
//     at the median, on a pseudo-terminal. Without rest, as in
//     BenchmarkSerialLatency, the poller costs about 18 µs a turn.
//   - Another speed takes effect without letting go of the line: tarm opens it
//     once more, sets the mode, which belongs to the tty and not to the handle,
//     and is closed again. Lock, modem lines and waiting bytes stay.
//
// Rejected: reading through tarm in slices of 100 ms (each deadline up to 100 ms
// late, a thread a line, and a stat of the device after each quiet slice to
// notice an unplugged one).
//
// # Serial: parity
//
// tarm has bytes with wrong parity delivered as good ones. On 7E1 and 7O1 lines
// the frame is therefore set to 8 bits without parity, which has the same length
// on the wire: the parity bit is written into bit 7 of every byte sent, and
// checked and taken off every byte received. A byte whose parity is wrong is
// delivered with bit 7 set: it is no ASCII, so no decoder of a 7-bit protocol
// takes it, and the telegram is lost rather than wrong. Dropping it instead
// would turn 1234 into 134. On 8E1 and 8O1 lines, all of whose protocols carry
// lengths and checks, the kernel is told to drop such bytes (INPCK).
//
// # RFC 2217
//
// A converter that speaks RFC 2217 is set by us: speed, frame and modem lines go
// over Telnet's COM-PORT-OPTION, every change is awaited, and a converter that
// sets another than was asked for is an error. Not awaited is what many do not
// answer: flow control off, and modem lines that nobody asked for.
//
// What differs from a serial port of this machine: parity is checked and taken
// off by the converter, which may pass on a byte whose parity was wrong. Flush
// cannot see the converter's wire; it waits for an answer, which shows that all
// has arrived there, and then as long as the bytes take. Discard drops what
// arrives before the converter's word that it has purged its own buffer.
//
// A goroutine a line receives, because answers and refusals come among the data
// whether or not somebody reads just then. It keeps up to 64 KiB and then lets
// TCP hold the converter back.
//
// # UDP
//
// A line to a meter that speaks in datagrams: each Read gives one, each Write sends
// one. What does not come from the meter's address is dropped. ECHONET Lite sends
// everything to port 3610, answers too, so that is the port of ours, unless another
// program, or another line, has it: then only what answers to the port that asked is
// heard. On it the multicast group of ECHONET Lite is joined, where meters announce.
//
// # Who else may listen
//
// A Tap gives the bytes of a line to other programs over TCP, as they arrived and
// before they are judged. Giving never waits: each client has a buffer of its
// own, and one who is 64 KiB behind, or takes nothing for 10 s, is sent away.
//
// # Who may have a line
//
// A serial port is taken with flock, which other careful programs respect, and,
// except on pseudo-terminals, with TIOCEXCL, which keeps out the careless unless
// they are root. Pseudo-terminals are left out because their other end keeps
// them alive: the mark of a killed gateway would shut out the next one.
package transport
