// Package hdlc reads meters that push DLMS/COSEM on their customer port: the HAN
// ports of Norway, Sweden, Denmark and Finland, the customer interfaces of
// Austria, Switzerland, Slovenia, Croatia, Czechia and Luxembourg, encrypted or
// not. IEC 62056-46 (HDLC), -47 (wrapper), -5-3 and -6-2 (drivers/dlms).
//
//	HDLC frames (7E … 7E) or M-Bus long frames (68 … 16) or the TCP wrapper (00 01 …)
//	→ segments joined → LLC header E6 E7 00 → block transfer E0 → ciphering DB DC DD
//	→ notification 0F or C2 → A-XDR → push list → values
//
// Each step but the last three may be missing; the decoder tells by itself.
//
// # Framing
//
// HDLC frames are of format type 3, with addresses of 1, 2 or 4 bytes; HCS and FCS
// must both hold. There is no octet stuffing on these lines, so the length says
// where a frame ends, and 7E may stand inside (an option unstuffs). HCS is looked
// at as soon as the header is there: noise that looks like a frame holds nothing
// back. After a loss the search goes on one byte behind the lost frame's start.
//
// Segments have no numbers in HDLC: the LLC header tells a first one, and any byte
// between two of them, or another address, drops the lot. M-Bus segments are
// numbered. A silence drops whatever waits for more.
//
// A bare APDU, as adapters and MQTT relays hand it on, is looked for where the
// input begins, after a silence, and behind another bare one; and it counts only
// if a silence or another whole one follows. The tail of an HDLC frame whose head
// was missed looks the same, but its check and flag follow.
//
// What vouches for a Reading: a GCM tag; else CRC-16 of HDLC; else the 8-bit sum of
// M-Bus; else, for wrapper and bare APDUs, whoever took the frame off (CheckRelayed).
//
// # Push lists
//
// A value is found with its code, scaler and unit wherever they stand: in rows
// {code, value, {scaler, unit}} (Aidon, L+G of Norway, Iskraemeco AM550), in pairs
// one after the other with or without scaler and unit (Kaifa, Kamstrup, Sagemcom,
// L+G of Austria), or behind a list of the objects that follow (L+G of
// Switzerland, IDIS), or behind descriptors without tags (Sagemcom XT211). Lists
// without codes are tables in table.go; a list that is not there keeps its
// elements as item-0, item-1 …, and layout in the configuration names them.
//
// Where a list gives neither scaler nor unit, the maker's rule in maker.go holds,
// and scale in the configuration wins over it. A value whose scale nobody knows
// is left out: a wrong number is worse than none. Null is no value. Octet strings
// are codes, times or texts by their place; text loses the zeros at its end, and
// what is no text is shown in hexadecimal digits. A number of a delta type or a
// profile within a push gives no value.
//
// Meters behind this one (0-n:24.2.1 and kin) are Channels.
//
// # Clocks
//
// The deviation of a date-time is minutes to UTC: the offset with the other sign.
// It counts where it is given; if the configured zone never has that offset but
// has the opposite, the opposite is taken. Without one it goes by maker, or by
// clock in the configuration:
//
//	Kaifa, L+G, Iskraemeco   local time with summer time, Europe/Oslo unless set
//	Kamstrup                 standard time all year; summer where the status says so
//	Aidon                    the same; its deviation 0 is none
//	others                   in the configured zone, else without offset
//
// The time of the Reading is the notification's, else the clock object's. Totals in
// a list with both belong to the clock object's time, the hour that ended.
//
// # Where others read differently
//
// amshan 2.1.1 keeps NULs in texts, reads five-digit Kamstrup voltages as 22199 V,
// and has no offset for Aidon. amsreader takes 32-bit floats: 109552.248 kWh for
// 109552.250. gurux_dlms prints deviations with the opposite sign.
//
// Not verified: energy of Swedish Kamstrup meters in 10 Wh (owners report Wh);
// currents of Kamstrup meters behind transformers (a peer holds 0.001 A for types
// that begin with 685, and never applies it). scale settles both.
package hdlc
