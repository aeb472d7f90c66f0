// Package p1 reads meters that push ASCII telegrams: the P1 port of DSMR 2.2 to
// 5.0.2 and ESMR 5 (Netherlands), eMUCS-P1 (Belgium), and of Luxembourg, Hungary,
// Lithuania, Ireland, Sweden, Finland, Denmark, Austria and Slovenia, and the
// push of German D0 meters. Underneath all of them lies IEC 62056-21:2002 mode D.
//
//	/XXXbIDENT CR LF          XXX: maker, b: speed digit, IDENT: free
//	CR LF
//	A-B:C.D.E(value*unit) CR LF      any number
//	!HHHH CR LF               CRC of all from / to !, or nothing
//
// # Framing
//
// A telegram starts with a line that begins with / and ends with one that begins
// with !; within a line both are text. A start in the middle of a line counts if
// an empty line follows, as the standard demands: that is how a telegram looks
// whose forerunner was cut. The end is told by the fourth digit of the CRC, so a
// reading does not wait for the line end behind it. After a loss the search goes
// on one byte behind the lost telegram's start.
//
// The CRC is CRC-16/ARC over the bytes as they came. If it does not fit and the
// telegram holds no CR at all, it is computed again as if each LF had its CR:
// some converters drop them.
//
// Without a CRC only bits and brackets are left to tell a damaged telegram, so
// the rules are strict: ASCII, each line of known form with its brackets closed,
// the end line there. Once a meter has shown a CRC, a telegram without is lost.
//
// # Ciphered telegrams
//
// Luxembourg and Austria send each telegram as a general-glo-ciphering APDU of
// DLMS, suite 0, with no mark but its length:
//
//	DB 08 title[8] LEN SC counter[4] ciphertext[n] tag[12]
//
// LEN counts from SC on: one byte below 80, else 81 xx or 82 xx xx, and between 17
// and 16384. SC 30 has a tag, SC 20 none. drivers/dlms deciphers and says which key
// is wrong; the clear text must then be one telegram with its CRC and nothing else,
// whatever vouches for it, and a Reading has CheckTag, or CheckCRC16 without a tag.
// Where no authentication key is configured it is that of Luxembourg, the same in
// all its meters. A clear text whose CRC fits under a tag that does not means a
// wrong authentication key, and else damage. The counter must rise, as long as the
// line is open.
//
// After a telegram that did not open the search goes on one byte further, for its
// LEN may be the damage. Within it only an identification with its empty line
// begins a plain telegram.
//
// Poland (Elgama, Kaifa of Stoen) sends the identification in clear, then the APDU
// without DB and with an empty title, then ! and CRC. That its nonce begins with
// zeros is one peer's word and not verified; nor is what the CRC covers, so either
// the bytes as sent or the telegram in clear will do. A counter of 0 is none.
//
// # What becomes of a line
//
//   - One number: a Value in its canonical unit, with the decimals that were sent.
//   - A time, then values: the values have that time as their own (gas, peaks).
//   - 0-n:24.3.0, the gas line of DSMR 2.2 and 3, gives a Value of the code that it
//     carries, 0-n:24.2.1.
//   - A profile (1-0:99.97.0, 0-0:98.1.0): each entry is a Value with the profile's
//     code, flagged Logged, named after the quantity that was captured. The peaks
//     of Belgium carry their month as Time. The month-end list of Hungary names
//     no codes on the line; its standard fixes the order.
//   - Tariff, breaker, valve and device type are Numbers: DSMR defines them as
//     counts, whatever leading zeros are printed. Other digits without a unit are
//     Numbers where the catalogue knows what they measure, else Text as sent, so
//     that no quantity changes its kind from one telegram to the next.
//   - An empty group is no value.
//   - A line of no known form is a Text without a code, named by what stands
//     before its bracket (1-0:72:32.0, 1-0:99:97.0).
//
// # Channels
//
// Meters behind this one, 0-n, are Channels of the Reading. A channel without a
// number whose reading is absent, or zero and never taken, has no meter: it gives
// no Channel, and its values are flagged Vacant. Where one channel is announced
// twice, the meter whose reading is newer is real, and the other's values are
// flagged so.
//
// # Clocks
//
// S is summer, W winter time, whatever the calendar says: Swedish meters stay on
// winter time all year and always say W. W is the standard time of the configured
// zone, else of the maker's country (Lithuania), else UTC+1. Finland is not told
// by its makers: set timezone. Stamps without a letter (DSMR 2.2 and 3, D0) are
// read in that zone, Europe/Amsterdam if none is known; in the doubled hour of
// autumn they stay without an offset. The gateway's own zone has no say, for a
// container's is mostly UTC.
//
// # Meters that deviate
//
//   - /NWA-WARMTELINK prints a CRC without its leading zero and has no speed digit
//     (corpus p1-dsmrparser-unpadded-crc).
//   - Iskra AM550 sends STX or \2 before its name: the mode of IEC 62056-21.
//   - NES prints its clock as 20240111 09:35:00 (corpus p1-amsreader-nes-gh712-1),
//     Iskraemeco as 1-0:0.9.1 and 0.9.2 (p1-amsreader-iskraemeco-gh1037-1): they
//     set the Reading's Time; the values stay Text as sent.
//   - One capture of a Sagemcom of Styria has no end line
//     (p1-amsreader-sagemcom-gh264-1): nothing but check = "none" takes that.
package p1
