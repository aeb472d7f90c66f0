package mbus

import (
	"strconv"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// CI-fields of answers: EN 13757-7, table 2, and EN 13757-4 for wireless frames.
const (
	ciLong       = 0x72 // variable data: long header, 12 bytes
	ciFixed      = 0x73 // fixed data; wireless: compact frame with long header
	ciLongMSB    = 0x76 // the same two, most significant byte first
	ciFixedMSB   = 0x77
	ciBare       = 0x78 // variable data without header
	ciShort      = 0x7A // with short header, 4 bytes
	ciError      = 0x70
	ciErrorShort = 0x6E
	ciErrorLong  = 0x6F
	ciAlarm      = 0x71
	ciAlarmShort = 0x74
	ciAlarmLong  = 0x75
)

// Lengths of the headers.
const (
	longHeader  = 12
	shortHeader = 4
	fixedLength = 16
)

// header is what stands between CI-field and data.
//
//	long   ID 4, manufacturer 2, version 1, medium 1, then as short
//	short  access number 1, status 1, configuration 2
//
// with the low byte first, EN 13757-7, 7.
type header struct {
	meter  [8]byte // ID, manufacturer, version, medium as sent; all zero: none
	named  bool    // there is a meter
	sized  bool    // there are access number and status
	access byte
	status byte
	config uint16
}

// parseLong reads a long header; the caller has seen that it is complete.
func (h *header) parseLong(b []byte) {
	h.meter = [8]byte(b)
	h.named = true
	h.parseShort(b[8:])
}

func (h *header) parseShort(b []byte) {
	h.sized = true
	h.access, h.status = b[0], b[1]
	h.config = uint16(b[2]) | uint16(b[3])<<8
}

// medium is the last byte of the meter's address.
func (h *header) medium() byte { return h.meter[7] }

// mode is the encryption mode, bits 8 to 12 of the configuration word.
func (h *header) mode() byte { return byte(h.config >> 8 & 0x1F) }

// blocks is how many blocks of 16 bytes are encrypted, in modes 5 and 7.
func (h *header) blocks() int { return int(h.config >> 4 & 0x0F) }

// enciphered says that data is encrypted, and not deciphered by whoever handed it
// on.
func (h *header) enciphered(data []byte) bool {
	mode := h.mode()
	return h.sized && (mode == modeCBC || mode == modeCBCDynamic) && h.blocks() > 0 && !opened(data)
}

// maxMeters bounds how many identities a decoder remembers.
const maxMeters = 1024

// census remembers who meters are, so that naming one again costs nothing.
type census struct {
	known  map[[8]byte]drivers.Identity
	latest [8]byte
	who    drivers.Identity
}

// identify names the meter of an address of 8 bytes.
func (c *census) identify(driver string, meter [8]byte) drivers.Identity {
	if meter == c.latest && c.who.Driver != "" {
		return c.who
	}
	who, ok := c.known[meter]
	if !ok {
		who = identity(driver, meter)
		if c.known == nil || len(c.known) >= maxMeters {
			c.known = map[[8]byte]drivers.Identity{}
		}
		c.known[meter] = who
	}
	c.latest, c.who = meter, who
	return who
}

// identity reads an address. The ID's digits are printed as they are, also those
// above 9.
func identity(driver string, m [8]byte) drivers.Identity {
	return drivers.Identity{
		Driver:       driver,
		ID:           string(appendHex(nil, []byte{m[3], m[2], m[1], m[0]})),
		Manufacturer: manufacturer(uint16(m[4]) | uint16(m[5])<<8),
		Version:      strconv.Itoa(int(m[6])),
		Medium:       obis.MediumName(m[7]),
	}
}

// manufacturer is three letters of five bits each, EN 62056-21 FLAG codes; the
// topmost bit says something of the address in wireless frames. A word that is
// no letters is printed in hex.
func manufacturer(word uint16) string {
	letters := [3]byte{byte(word>>10&31) + '@', byte(word>>5&31) + '@', byte(word&31) + '@'}
	for _, c := range letters {
		if c < 'A' || c > 'Z' {
			return string(appendHex(nil, []byte{byte(word >> 8), byte(word)}))
		}
	}
	return string(letters[:])
}

// ManufacturerWord is the other way round: the word of three letters A to Z, or
// false.
func ManufacturerWord(letters string) (uint16, bool) {
	if len(letters) != 3 {
		return 0, false
	}
	var word uint16
	for i := range 3 {
		c := letters[i] - '@'
		if c < 1 || c > 26 {
			return 0, false
		}
		word = word<<5 | uint16(c)
	}
	return word, true
}

// turnedMeter is an address whose fields came most significant byte first.
func turnedMeter(m [8]byte) [8]byte {
	return [8]byte{m[3], m[2], m[1], m[0], m[5], m[4], m[6], m[7]}
}

// applicationErrors are what CI 70 may say, EN 13757-3, 10.
var applicationErrors = map[byte]string{
	0: "application error: unspecified",
	1: "application error: CI-field not implemented",
	2: "application error: buffer too long",
	3: "application error: too many records",
	4: "application error: premature end of record",
	5: "application error: more than 10 DIFE",
	6: "application error: more than 10 VIFE",
	8: "application error: busy",
	9: "application error: too many readouts",
}
