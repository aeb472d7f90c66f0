// Package mbus reads M-Bus meters: heat, water, gas and electricity meters and
// allocators, on two wires (EN 13757-2:2018) and by radio (EN 13757-4:2019), with
// the application layer of EN 13757-3:2018 and -7:2018 and the older forms of
// EN 1434-3:1997.
//
//	E5                                acknowledgement
//	10 C A CS 16                      short frame
//	68 L L 68 C A CI data CS 16       control frame (no data), long frame; L counts C to data
//
// CS is the sum of C to the last byte of data, modulo 256: two flips can cancel,
// so a Reading says CheckSum8 and totals need the bridge's plausibility.
//
// # Files
//
// frame.go takes frames out of bytes, decode.go turns frames into readings and
// joins the telegrams of one readout (DIF 1F). application.go walks over records;
// record.go knows their form, vif.go and vife.go what they measure, data.go and
// date.go how their data is coded, fixed.go the structure of old, obis.go which
// code a record has, plan.go how all of that is found at the price of comparing a
// few bytes. encode.go and request.go go the other way. For wireless telegrams
// radio.go finds them and checks their CRCs, layers.go takes them apart, cipher.go
// deciphers them, compact.go learns formats, wireless.go makes readings. All of that
// is pure. session_line.go is the line as its master has it, one request and what
// answers it; session.go reads a meter, session_scan.go searches a line.
//
// # The master
//
// A readout begins with SND_NKE to the very address that is read, or with a
// selection, so that the next frame count bit is 1 and the first telegram comes
// first. The bit changes with each new request and stays for a repetition, so that
// no telegram is lost or comes twice. Telegrams follow one another until one without
// DIF 1F; if one is missing, comes twice or is another meter's, there is no reading.
//
// Any byte in answer to a call is somebody: acknowledgements of several meters melt
// into A5, FC, or a clean E5. Only data tells who is there. So a search asks for
// data wherever E5 is heard, listens for the whole time that slaves have to begin,
// and on a line that has shown noise or a loss asks twice where nobody answered,
// and asks the same twice before it believes a find.
//
// # What becomes of a record
//
//   - A number is the integer on the wire with its point moved; a 32-bit real is
//     the shortest decimal that gives the same 32 bits back. Months, hours, °F and
//     gallons stay what they are, for no power of ten makes seconds of them.
//   - A plain quantity has an OBIS code where the table has one for its medium. A
//     record with VIFE that make another quantity of it (limit, average, per hour,
//     future, the manufacturer's) has a name of its own and no code, and so has
//     one of a function or coordinates that codes cannot tell.
//   - What is no number gives none: BCD with digits above 9 (but a leading F is a
//     minus), NaN, no data, VIFE 15 to 17. Values of function "error" and of VIFE 18
//     (data error: Diehl Sharky 774 counts hours under it) are flagged MeterError.
//   - Identifiers in BCD are texts, for their zeros count. A text with control
//     characters is bytes, shown in hex, as are manufacturer data (DIF 0F), wide
//     integers and compact profiles.
//   - Dates that are unset, impossible or recurring give no value. A date of
//     storage n is the time of all values of storage n, unless it lies in the
//     future (VIFE 7E). Meters send no zone: that of the configuration counts, and
//     the summer bit only where an hour comes twice.
//   - Passwords, access codes and keys (FD 12 to 16, 19) never leave the decoder.
//   - The header's status byte is the last value of a reading.
//
// An electricity meter's power is 1-0:1.7.0, but 16.7.0 if it is negative or if
// the telegram tells exported energy and no exported power.
//
// # Wireless telegrams
//
//	L C M M ID ID ID ID V T | layers by CI | CI header | records
//
// A receiver hands them on as bytes or as lines of hex, with CRCs (CheckCRC16) or
// without; then only the CRC of an extended link layer (CheckCRC16) or a MAC
// (CheckTag) vouches for them, else nothing (CheckNone). A decoder that has seen
// CRCs refuses telegrams without. An encrypted telegram without its key, or with a
// wrong one, is ErrAuth and gives no reading; with a key configured, so is one
// that is not encrypted. Without a key a payload that is announced as encrypted
// but begins with the two fillers is read: some receivers decipher.
//
// Telegrams of the makers' own (CI A0 to B7) give a reading that says who was
// heard, without values.
//
// # Meters that deviate
//
//   - Elster F95, F96 send DDDDEBBD and the like as power or flow while they have
//     none (corpus mbus-els-elster-f96-plus): no value.
//   - Schneider iEM3000 sends ED FF: a clock of its own making, not the clock.
//   - Sensus PolluTherm sends VIF 7B without a table: unknown_7b.
//   - Landis+Gyr T230 tells its yearly due date with year 127
//     (mbus-landis-gyr-ultraheat-t230): shown as 2027, which other decoders agree
//     on, but it is never the time of stored values.
//   - EDC counts in units of the text "C": single letters stay as sent.
//   - FD 71 is dBm, or steps of 2 dB above -130 dBm: the sign tells.
//
// # Errors in other readers
//
// libmbus reads LVAR C0 to D9 as two bytes a step (they are two digits), bits 7
// and 6 of the fixed structure's status for 0 and 1, and has its units 0D and 0E
// swapped. pyMeterBus takes type I for type F and blank BCD digits for numbers.
package mbus
