package p1

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// ErrEncode says that a value does not fit the form that DSMR prints it in.
var ErrEncode = errors.New("value does not fit its DSMR form")

// AppendTelegram appends r as a DSMR 5 meter sends it: identification, data lines
// in the order of the companion standard, CRC. Values that DSMR 5 does not know
// are left out; messages and power-failure log are there even if they are empty.
// Numbers keep their decimals, in the standard's widths and units.
func AppendTelegram(b []byte, r *drivers.Reading) ([]byte, error) {
	start := len(b)
	b = append(b, '/')
	b = append(b, r.Meter.Manufacturer...)
	b = append(b, `5\2`...)
	b = append(b, r.Meter.Model...)
	b = append(b, "\r\n\r\n"...)
	var err error
	for _, l := range dsmr5Lines {
		if b, err = l.appendTo(b, r); err != nil {
			return b[:start], err
		}
	}
	for _, c := range r.Channels {
		if b, err = appendChannel(b, r, c.Number); err != nil {
			return b[:start], err
		}
	}
	return appendEnd(b, start), nil
}

// appendEnd appends the end line: ! and the CRC of all from start on.
func appendEnd(b []byte, start int) []byte {
	b = append(b, '!')
	crc := wire.ARC.Update(0, b[start:])
	const digits = "0123456789ABCDEF"
	for shift := 12; shift >= 0; shift -= 4 {
		b = append(b, digits[crc>>shift&15])
	}
	return append(b, "\r\n"...)
}

// form is how a value is printed.
type form byte

const (
	fixed form = iota // leading zeros, decimals, unit: F9(3,3)
	text              // as it is
	hexed             // pairs of hexadecimal digits
	stamp             // YYMMDDhhmmssX
	log               // the power-failure log
)

// dataLine is one line of the companion standard (DSMR 5.0.2, 6.12).
type dataLine struct {
	code   obis.Code
	form   form
	whole  int    // digits before the point
	digits int    // digits behind it, if the value has no more of its own
	unit   string // as printed
	always bool   // there even without a value
}

// dsmr5Lines are the lines of a three-phase meter, in order; those of the channels
// follow them.
var dsmr5Lines = []dataLine{
	{code: obis.New(1, 3, 0, 2, 8), form: text},
	{code: codeClock, form: stamp},
	{code: obis.New(0, 0, 96, 1, 1), form: hexed},
	{code: obis.New(1, 0, 1, 8, 1), whole: 6, digits: 3, unit: "kWh"},
	{code: obis.New(1, 0, 1, 8, 2), whole: 6, digits: 3, unit: "kWh"},
	{code: obis.New(1, 0, 2, 8, 1), whole: 6, digits: 3, unit: "kWh"},
	{code: obis.New(1, 0, 2, 8, 2), whole: 6, digits: 3, unit: "kWh"},
	{code: obis.New(0, 0, 96, 14, 0), whole: 4},
	{code: obis.New(1, 0, 1, 7, 0), whole: 2, digits: 3, unit: "kW"},
	{code: obis.New(1, 0, 2, 7, 0), whole: 2, digits: 3, unit: "kW"},
	{code: obis.New(0, 0, 96, 7, 21), whole: 5},
	{code: obis.New(0, 0, 96, 7, 9), whole: 5},
	{code: obis.New(1, 0, 99, 97, 0), form: log, always: true},
	{code: obis.New(1, 0, 32, 32, 0), whole: 5},
	{code: obis.New(1, 0, 52, 32, 0), whole: 5},
	{code: obis.New(1, 0, 72, 32, 0), whole: 5},
	{code: obis.New(1, 0, 32, 36, 0), whole: 5},
	{code: obis.New(1, 0, 52, 36, 0), whole: 5},
	{code: obis.New(1, 0, 72, 36, 0), whole: 5},
	{code: obis.New(0, 0, 96, 13, 0), form: hexed, always: true},
	{code: obis.New(1, 0, 32, 7, 0), whole: 3, digits: 1, unit: "V"},
	{code: obis.New(1, 0, 52, 7, 0), whole: 3, digits: 1, unit: "V"},
	{code: obis.New(1, 0, 72, 7, 0), whole: 3, digits: 1, unit: "V"},
	{code: obis.New(1, 0, 31, 7, 0), whole: 3, unit: "A"},
	{code: obis.New(1, 0, 51, 7, 0), whole: 3, unit: "A"},
	{code: obis.New(1, 0, 71, 7, 0), whole: 3, unit: "A"},
	{code: obis.New(1, 0, 21, 7, 0), whole: 2, digits: 3, unit: "kW"},
	{code: obis.New(1, 0, 41, 7, 0), whole: 2, digits: 3, unit: "kW"},
	{code: obis.New(1, 0, 61, 7, 0), whole: 2, digits: 3, unit: "kW"},
	{code: obis.New(1, 0, 22, 7, 0), whole: 2, digits: 3, unit: "kW"},
	{code: obis.New(1, 0, 42, 7, 0), whole: 2, digits: 3, unit: "kW"},
	{code: obis.New(1, 0, 62, 7, 0), whole: 2, digits: 3, unit: "kW"},
}

// channelLines are the lines of a meter behind this one.
func channelLines(n uint8) [3]dataLine {
	return [...]dataLine{
		{code: obis.New(0, n, 24, 1, 0), whole: 3},
		{code: obis.New(0, n, 96, 1, 0), form: hexed},
		{code: obis.New(0, n, 24, 2, 1), whole: 5, digits: 3, unit: "m3"},
	}
}

func appendChannel(b []byte, r *drivers.Reading, n uint8) ([]byte, error) {
	var err error
	for _, l := range channelLines(n) {
		if b, err = l.appendTo(b, r); err != nil {
			return b, err
		}
	}
	return b, nil
}

// find is the first value with a code, or nil.
func find(r *drivers.Reading, c obis.Code) *drivers.Value {
	for i := range r.Values {
		if r.Values[i].Code == c {
			return &r.Values[i]
		}
	}
	return nil
}

// appendTo appends the line, if r has a value for it.
func (l *dataLine) appendTo(b []byte, r *drivers.Reading) ([]byte, error) {
	v := find(r, l.code)
	if v == nil && !l.always {
		return b, nil
	}
	b = l.code.AppendTo(b)
	var err error
	switch {
	case l.form == log:
		b, err = l.appendLog(b, r)
	case v == nil:
		b = append(b, "()"...)
	default:
		b, err = l.appendValue(b, v)
	}
	if err != nil {
		return b, fmt.Errorf("%s: %w", l.code, err)
	}
	return append(b, "\r\n"...), nil
}

// appendValue appends (value), or (time)(value) if the value has its own time.
func (l *dataLine) appendValue(b []byte, v *drivers.Value) ([]byte, error) {
	if !v.Time.IsZero() {
		b = appendStamp(b, v.Time.Wall)
	}
	switch l.form {
	case text:
		b = append(b, '(')
		b = append(b, v.Text...)
		return append(b, ')'), nil
	case hexed:
		if !printable([]byte(v.Text)) {
			return b, fmt.Errorf("%w: text that cannot be printed", ErrEncode)
		}
		b = append(b, '(')
		b = append(b, bytes.ToUpper([]byte(hex.EncodeToString([]byte(v.Text))))...)
		return append(b, ')'), nil
	case stamp:
		return appendStamp(b, v.Moment.Wall), nil
	default: // a fixed-point number; a log is written elsewhere
		return appendFixed(b, v.Number, l.whole, l.digits, l.unit)
	}
}

// appendStamp appends (YYMMDDhhmmssX). An offset of two hours or more is summer
// time: DSMR meters are in the Netherlands.
func appendStamp(b []byte, t time.Time) []byte {
	b = append(b, '(')
	b = t.AppendFormat(b, "060102150405")
	if _, offset := t.Zone(); offset >= 2*3600 {
		return append(b, "S)"...)
	}
	return append(b, "W)"...)
}

// appendFixed appends (value*unit) with leading zeros.
func appendFixed(b []byte, n drivers.Decimal, whole, digits int, unit string) ([]byte, error) {
	if _, shift, _ := obis.ParseUnit(unit); shift != 0 {
		var err error
		if n, err = n.Shift(-shift); err != nil {
			return b, err
		}
	}
	s := n.String()
	before := len(s)
	if n.Decimals() > 0 {
		before -= n.Decimals() + 1
	}
	if n.Sign() < 0 || before > whole || n.Decimals() < digits {
		return b, fmt.Errorf("%w: %s in %d digits before the point, %d behind it", ErrEncode, s, whole, digits)
	}
	b = append(b, '(')
	for ; before < whole; before++ {
		b = append(b, '0')
	}
	b = append(b, s...)
	if unit != "" {
		b = append(b, '*')
		b = append(b, unit...)
	}
	return append(b, ')'), nil
}

// appendLog appends the power-failure log: (count)(0-0:96.7.19), then (time)
// (duration) for each failure.
func (l *dataLine) appendLog(b []byte, r *drivers.Reading) ([]byte, error) {
	n := 0
	for i := range r.Values {
		if r.Values[i].Code == l.code {
			n++
		}
	}
	b = append(b, '(')
	b = strconv.AppendInt(b, int64(n), 10)
	b = append(b, ")(0-0:96.7.19)"...)
	var err error
	for i := range r.Values {
		v := &r.Values[i]
		if v.Code != l.code {
			continue
		}
		b = appendStamp(b, v.Time.Wall)
		if b, err = appendFixed(b, v.Number, 10, 0, "s"); err != nil {
			return b, err
		}
	}
	return b, nil
}
