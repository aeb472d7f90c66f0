package mbus

import (
	"fmt"

	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// Special primary addresses, EN 13757-2, 5.5.
const (
	Unconfigured byte = 0x00
	MaxPrimary   byte = 250
	Selected     byte = 0xFD // the slaves selected by their secondary address
	Everyone     byte = 0xFE // everyone, and everyone answers
	Broadcast    byte = 0xFF // everyone, and nobody answers
)

// C-fields of a master, with bit 5 the frame count bit.
const (
	cNKE  = 0x40
	cUD   = 0x53
	cUD2  = 0x5B
	cUD1  = 0x5A
	fcbOn = 0x20
)

// CI-fields of a master.
const (
	ciReset  = 0x50
	ciSend   = 0x51
	ciSelect = 0x52
	ciBaud   = 0xB8
)

// withFCB is the C-field with the frame count bit.
func withFCB(c byte, fcb bool) byte {
	if fcb {
		return c | fcbOn
	}
	return c
}

// LinkReset is SND_NKE: the slave's next frame count bit is 1, its readout begins
// anew. It is answered by an acknowledgement.
func LinkReset(a byte) Frame { return Frame{Kind: Short, C: cNKE, A: a} }

// RequestData is REQ_UD2, which asks for a reading.
func RequestData(a byte, fcb bool) Frame { return Frame{Kind: Short, C: withFCB(cUD2, fcb), A: a} }

// RequestAlarm is REQ_UD1, which asks for class 1 data.
func RequestAlarm(a byte, fcb bool) Frame { return Frame{Kind: Short, C: withFCB(cUD1, fcb), A: a} }

// send is SND_UD with a CI-field and data.
func send(a byte, fcb bool, ci byte, data []byte) Frame {
	f := Frame{Kind: Long, C: withFCB(cUD, fcb), A: a, CI: ci, Data: data}
	if len(data) == 0 {
		f.Kind = Control
	}
	return f
}

// Send is SND_UD with data records. It takes at most 252 bytes of them.
func Send(a byte, fcb bool, records ...DataRecord) (Frame, error) {
	var data []byte
	for i := range records {
		var err error
		if data, err = records[i].AppendTo(data); err != nil {
			return Frame{}, err
		}
	}
	if len(data) > maxData {
		return Frame{}, fmt.Errorf("%w: %d bytes of records", ErrEncode, len(data))
	}
	return send(a, fcb, ciSend, data), nil
}

// Reset is an application reset with its subcode; without one if subcode is
// negative.
func Reset(a byte, fcb bool, subcode int) Frame {
	if subcode < 0 {
		return send(a, fcb, ciReset, nil)
	}
	return send(a, fcb, ciReset, []byte{byte(subcode)})
}

// baudRates are what CI B8 and up switch to.
var baudRates = [...]int{300, 600, 1200, 2400, 4800, 9600, 19200, 38400}

// SwitchBaud tells a slave to answer at another speed from its acknowledgement
// on. ErrEncode: there is no such speed.
func SwitchBaud(a byte, fcb bool, baud int) (Frame, error) {
	for i, b := range baudRates {
		if b == baud {
			return send(a, fcb, ciBaud+byte(i), nil), nil
		}
	}
	return Frame{}, fmt.Errorf("%w: %d baud (want one of %v)", ErrEncode, baud, baudRates)
}

// SetPrimary gives a slave a primary address, 0 to 250.
func SetPrimary(a byte, fcb bool, to byte) (Frame, error) {
	if to > MaxPrimary {
		return Frame{}, fmt.Errorf("%w: primary address %d (want 0 to 250)", ErrEncode, to)
	}
	return Send(a, fcb, DataRecord{Field: 1, VIB: []byte{0x7A}, Data: []byte{to}})
}

// ReadEverything is the global readout request: the next readout holds all
// records.
func ReadEverything(a byte, fcb bool) Frame { return send(a, fcb, ciSend, []byte{0x7F}) }

// Choose asks for the records with the given VIB in the next readout.
func Choose(a byte, fcb bool, vibs ...[]byte) (Frame, error) {
	var wanted []DataRecord
	for _, vib := range vibs {
		wanted = append(wanted, DataRecord{Field: fieldReadout, VIB: vib})
	}
	return Send(a, fcb, wanted...)
}

// Select selects the slaves that fit a secondary address: they answer as FD until
// another selection or a LinkReset of FD. fabrication: 8 more digits (F: any)
// that a fabrication number must have; "" does without.
func Select(to Address, fcb bool, fabrication string) (Frame, error) {
	data := to.append(nil)
	if fabrication != "" {
		digits, ok := wire.AppendHex(nil, fabrication)
		if !ok || len(digits) != 4 {
			return Frame{}, fmt.Errorf("%w: fabrication number %.20q (want 8 digits)", ErrEncode, fabrication)
		}
		data = append(data, 0x0C, 0x78, digits[3], digits[2], digits[1], digits[0])
	}
	return send(Selected, fcb, ciSelect, data), nil
}
