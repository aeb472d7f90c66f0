package mbus

import (
	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// A data record, EN 13757-3, 6: head, length if it is variable, data.
//
//	DIF [DIFE …]  VIF [length text] [VIFE …]  [LVAR]  data
//
//	DIF   7 extension | 6 storage bit 0 | 5,4 function | 3..0 data field
//	DIFE  7 extension | 6 subunit bit k | 5,4 tariff bits 2k+1, 2k | 3..0 storage bits 4k+4 … 4k+1
//
// with k = 0 for the first DIFE.
const (
	extension  = 0x80
	maxDIFE    = 10
	maxVIFE    = 10
	difFiller  = 0x2F
	difMaker   = 0x0F // manufacturer data up to the end
	difMore    = 0x1F // the same, and another telegram follows
	difSpecial = 0x0F // data field of the special functions
)

// Data fields: the low four bits of the DIF.
const (
	fieldNone     = 0x0
	fieldReal     = 0x5
	fieldInt64    = 0x7
	fieldReadout  = 0x8 // master only: the record is wanted
	fieldVariable = 0xD
)

// fieldSize is how many bytes of data each data field has; -1: LVAR tells.
var fieldSize = [16]int8{0, 1, 2, 3, 4, 4, 6, 8, 0, 1, 2, 3, 4, -1, 6, 0}

// fault is what is wrong with a record. Where is told beside it: from there on
// the record cannot be read.
type fault struct {
	field string
	err   error
}

// What can be wrong with a record.
var (
	badDIF       = &fault{"DIF", drivers.ErrSyntax}
	shortDIFE    = &fault{"DIFE", drivers.ErrShort}
	manyDIFE     = &fault{"DIFE", drivers.ErrLong}
	shortVIF     = &fault{"VIF", drivers.ErrShort}
	shortText    = &fault{"plain-text VIF", drivers.ErrShort}
	shortVIFE    = &fault{"VIFE", drivers.ErrShort}
	manyVIFE     = &fault{"VIFE", drivers.ErrLong}
	shortLVAR    = &fault{"LVAR", drivers.ErrShort}
	reservedLVAR = &fault{"LVAR", drivers.ErrSyntax}
	shortData    = &fault{"data", drivers.ErrShort}
)

// scanHead finds how long DIB and VIB of the record at b[0] are. With a fault,
// their sum is where it stands.
func scanHead(b []byte) (dib, vib int, f *fault) {
	if b[0]&0x0F == difSpecial {
		return 0, 0, badDIF // 0F, 1F and 2F are no records; the others are reserved
	}
	for dib = 1; b[dib-1]&extension != 0; dib++ {
		switch {
		case dib > maxDIFE:
			return dib, 0, manyDIFE
		case dib == len(b):
			return dib, 0, shortDIFE
		}
	}
	vib, f = scanVIB(b[dib:])
	return dib, vib, f
}

// scanVIB finds how long the VIB at b[0] is, or where its fault stands.
func scanVIB(b []byte) (n int, f *fault) {
	if len(b) == 0 {
		return 0, shortVIF
	}
	n = 1
	if b[0]&0x7F == vifText {
		if len(b) < 2 || len(b)-2 < int(b[1]) {
			return min(len(b), 2), shortText
		}
		n += 1 + int(b[1])
	}
	more := b[0]&extension != 0
	for count := 1; more; count++ {
		switch {
		case n == len(b):
			return n, shortVIFE
		case count > maxVIFE:
			return n, manyVIFE
		}
		more = b[n]&extension != 0
		n++
	}
	return n, nil
}

// coordinates takes storage, tariff, subunit and function out of a DIB.
func coordinates(dib []byte) drivers.Record {
	r := drivers.Record{
		Storage:  uint64(dib[0] >> 6 & 1),
		Function: drivers.Function(dib[0] >> 4 & 3),
	}
	for k, e := range dib[1:] {
		r.Storage |= uint64(e&0x0F) << (4*k + 1)
		r.Tariff |= uint32(e>>4&3) << (2 * k)
		r.Subunit |= uint16(e>>6&1) << k
	}
	return r
}

// scanData finds the data behind a head, as long as the data field or LVAR (0 if
// there is none) says: b[from:to]. With a fault, from is where it stands.
func scanData(b []byte, field byte) (from, to int, lvar byte, f *fault) {
	size := int(fieldSize[field])
	if size < 0 {
		if len(b) == 0 {
			return 0, 0, 0, shortLVAR
		}
		lvar = b[0]
		if size = lvarSize(lvar); size < 0 {
			return 0, 0, 0, reservedLVAR
		}
		from = 1
	}
	if to = from + size; to > len(b) {
		return from, 0, 0, shortData
	}
	return from, to, lvar, nil
}

// LVAR says how long variable data is and what: EN 13757-3:2018, table 6.
const (
	lvarPositive = 0xC0 // BCD from here on, two digits a byte
	lvarNegative = 0xD0
	lvarBinary   = 0xE0
	lvarWide     = 0xF0
)

// lvarSize is the number of bytes that follow, or -1 if the code is reserved.
func lvarSize(lvar byte) int {
	switch {
	case lvar < lvarPositive:
		return int(lvar)
	case lvar <= 0xC9, lvar >= lvarNegative && lvar <= 0xD9:
		return int(lvar & 0x0F)
	case lvar >= lvarBinary && lvar < lvarWide:
		return int(lvar & 0x0F)
	case lvar >= lvarWide && lvar <= 0xF4:
		return 4 * int(lvar-0xEC)
	case lvar == 0xF5:
		return 48
	case lvar == 0xF6:
		return 64
	}
	return -1
}
