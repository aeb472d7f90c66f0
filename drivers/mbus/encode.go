package mbus

import (
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// ErrEncode says that something does not fit the form that it should be sent in.
var ErrEncode = errors.New("cannot be sent as M-Bus")

// maxData is how much a long frame carries behind its CI-field.
const maxData = 252

// AppendTo appends the frame: Kind and the fields that it has. Raw is not
// looked at. A long frame takes 1 to 252 bytes of data; ErrEncode otherwise.
func (f *Frame) AppendTo(b []byte) ([]byte, error) {
	switch f.Kind {
	case Ack:
		return append(b, ackByte), nil
	case Short:
		return append(b, shortStart, f.C, f.A, f.C+f.A, stopByte), nil
	default: // control and long frames differ in whether they have data
	}
	if (f.Kind == Control) != (len(f.Data) == 0) || len(f.Data) > maxData {
		return b, fmt.Errorf("%w: a frame with %d bytes of data", ErrEncode, len(f.Data))
	}
	n := byte(3 + len(f.Data))
	b = append(b, longStart, n, n, longStart)
	from := len(b)
	b = append(b, f.C, f.A, f.CI)
	b = append(b, f.Data...)
	return append(b, wire.Sum8(b[from:]), stopByte), nil
}

// DataRecord is one data record as it is sent: EN 13757-3, 6.
type DataRecord struct {
	drivers.Record        // storage to 41 bits, tariff to 20, subunit to 10
	Field          byte   // data field: the low four bits of the DIF, not F
	VIB            []byte // VIF, plain text and VIFE as sent
	LVAR           byte   // for field D: what Data is and how long
	Data           []byte // as sent
}

// Widest coordinates: one bit in the DIF and ten DIFE.
const (
	maxStorage = 1<<41 - 1
	maxTariff  = 1<<20 - 1
	maxSubunit = 1<<10 - 1
)

// AppendTo appends the record with as few DIFE as its coordinates need.
func (d *DataRecord) AppendTo(b []byte) ([]byte, error) {
	if err := d.check(); err != nil {
		return b, err
	}
	dife := d.extensions()
	dif := d.Field | byte(d.Function)<<4 | byte(d.Storage&1)<<6
	b = append(b, dif|more(dife > 0))
	for k := range dife {
		e := byte(d.Storage>>(4*k+1))&0x0F | byte(d.Tariff>>(2*k))&3<<4 | byte(d.Subunit>>k)&1<<6
		b = append(b, e|more(k < dife-1))
	}
	b = append(b, d.VIB...)
	if d.Field == fieldVariable {
		b = append(b, d.LVAR)
	}
	return append(b, d.Data...), nil
}

// more is the extension bit, if there is more.
func more(yes bool) byte {
	if yes {
		return extension
	}
	return 0
}

// extensions is how many DIFE the coordinates need.
func (d *DataRecord) extensions() int {
	return max(
		(bits.Len64(d.Storage>>1)+3)/4,
		(bits.Len32(d.Tariff)+1)/2,
		bits.Len16(d.Subunit),
	)
}

func (d *DataRecord) check() error {
	switch {
	case d.Storage > maxStorage || d.Tariff > maxTariff || d.Subunit > maxSubunit || d.Function > drivers.DuringError:
		return fmt.Errorf("%w: storage %d, tariff %d, subunit %d", ErrEncode, d.Storage, d.Tariff, d.Subunit)
	case d.Field >= difSpecial:
		return fmt.Errorf("%w: data field %X", ErrEncode, d.Field)
	}
	if n, f := scanVIB(d.VIB); f != nil || n != len(d.VIB) {
		return fmt.Errorf("%w: VIB % X", ErrEncode, d.VIB)
	}
	want := int(fieldSize[d.Field])
	if d.Field == fieldVariable {
		want = lvarSize(d.LVAR)
	}
	if want != len(d.Data) {
		return fmt.Errorf("%w: %d bytes of data in a field of %d", ErrEncode, len(d.Data), want)
	}
	return nil
}

// ParseRecord reads the data record that b begins with, and says how long it is.
// Filler and manufacturer data (DIF 2F, 0F, 1F) are none. VIB and Data point into
// b.
func ParseRecord(b []byte) (DataRecord, int, error) {
	if len(b) == 0 {
		return DataRecord{}, 0, drivers.ErrShort
	}
	dib, vib, f := scanHead(b)
	if f != nil {
		return DataRecord{}, 0, fmt.Errorf("%s at byte %d: %w", f.field, dib+vib, f.err)
	}
	d := DataRecord{Record: coordinates(b[:dib]), Field: b[0] & 0x0F, VIB: b[dib : dib+vib]}
	n := dib + vib
	from, to, lvar, f := scanData(b[n:], d.Field)
	if f != nil {
		return DataRecord{}, 0, fmt.Errorf("%s at byte %d: %w", f.field, n+from, f.err)
	}
	d.LVAR, d.Data = lvar, b[n+from:n+to]
	return d, n + to, nil
}

// fieldOfBytes are the data fields of binary integers, by their length.
var fieldOfBytes = [9]byte{1: 1, 2: 2, 3: 3, 4: 4, 6: 6, 8: 7}

// SetInt makes the data a binary integer of 1, 2, 3, 4, 6 or 8 bytes.
func (d *DataRecord) SetInt(v int64, size int) error {
	if size < 1 || size > 8 || fieldOfBytes[size] == 0 || v != v<<(64-8*size)>>(64-8*size) {
		return fmt.Errorf("%w: %d in %d bytes", ErrEncode, v, size)
	}
	d.Field, d.Data = fieldOfBytes[size], make([]byte, size)
	for i := range d.Data {
		d.Data[i] = byte(v >> (8 * i))
	}
	return nil
}

// fieldOfDigits are the data fields of BCD, by the number of bytes.
var fieldOfDigits = [7]byte{1: 0x9, 2: 0xA, 3: 0xB, 4: 0xC, 6: 0xE}

// SetBCD makes the data a BCD number of 1, 2, 3, 4 or 6 bytes. A minus takes the
// place of the topmost digit.
func (d *DataRecord) SetBCD(v int64, size int) error {
	if size < 1 || size > 6 || fieldOfDigits[size] == 0 {
		return fmt.Errorf("%w: BCD of %d bytes", ErrEncode, size)
	}
	digits := 2 * size
	rest := v
	if v < 0 {
		digits--
		rest = -v
	}
	if rest < 0 || rest >= int64(math.Pow10(digits)) {
		return fmt.Errorf("%w: %d in %d digits", ErrEncode, v, digits)
	}
	d.Field, d.Data = fieldOfDigits[size], make([]byte, size)
	for i := range d.Data {
		d.Data[i] = byte(rest%10) | byte(rest/10%10)<<4
		rest /= 100
	}
	if v < 0 {
		d.Data[size-1] |= 0xF0
	}
	return nil
}

// SetReal makes the data an IEEE 754 single.
func (d *DataRecord) SetReal(v float32) {
	x := math.Float32bits(v)
	d.Field, d.Data = fieldReal, []byte{byte(x), byte(x >> 8), byte(x >> 16), byte(x >> 24)}
}

// SetText makes the data a text of at most 191 characters of ISO 8859-1.
func (d *DataRecord) SetText(s string) error {
	var b []byte
	for _, c := range s {
		if c > 0xFF {
			return fmt.Errorf("%w: %q is not ISO 8859-1", ErrEncode, c)
		}
		b = append(b, byte(c))
	}
	if len(b) >= lvarPositive {
		return fmt.Errorf("%w: a text of %d characters", ErrEncode, len(b))
	}
	for i, k := 0, len(b)-1; i < k; i, k = i+1, k-1 {
		b[i], b[k] = b[k], b[i]
	}
	d.Field, d.LVAR, d.Data = fieldVariable, byte(len(b)), b
	return nil
}

// AppendLongHeader appends the 12 bytes that follow CI 72: the meter, its access
// number, status and configuration word.
func AppendLongHeader(b []byte, to Address, access, status byte, config uint16) []byte {
	b = to.append(b)
	return append(b, access, status, byte(config), byte(config>>8))
}

// AppendFormatA appends a wireless telegram (L to its last byte, without CRCs)
// with the CRCs of frame format A.
func AppendFormatA(b, telegram []byte) []byte {
	n := min(len(telegram), linkHeader)
	for {
		b = appendSealed(b, telegram[:n])
		if telegram = telegram[n:]; len(telegram) == 0 {
			return b
		}
		n = min(len(telegram), blockA)
	}
}

// appendSealed appends p and its CRC, high byte first.
func appendSealed(b, p []byte) []byte {
	crc := wire.CRC13757(p)
	return append(append(b, p...), byte(crc>>8), byte(crc))
}
