package iec62056

import "strconv"

// appendRequest appends the sign-on, clause 6.3.1: / table address ! CR LF. The
// usual table is ?.
func appendRequest(b []byte, table byte, address string) []byte {
	b = append(b, '/', table)
	b = append(b, address...)
	return append(b, "!\r\n"...)
}

// appendOption appends the option select, clause 6.3.3: ACK V Z Y CR LF.
func appendOption(b []byte, protocol, speed, option byte) []byte {
	return append(b, ack, protocol, speed, option, '\r', '\n')
}

// AppendCommand appends a command message, clause 6.3.5: SOH name STX text ETX
// BCC. The break has no STX. more: another partial block follows, so EOT ends it.
func AppendCommand(b []byte, name, text string, more bool) []byte {
	b = append(b, soh)
	at := len(b)
	b = append(b, name...)
	if text != "" {
		b = append(b, stx)
		b = append(b, text...)
	}
	return appendEnd(b, at, more)
}

// AppendBlock appends a data message: STX text ETX BCC. more: another partial
// block follows, so EOT ends it.
func AppendBlock(b, text []byte, more bool) []byte {
	b = append(b, stx)
	at := len(b)
	b = append(b, text...)
	return appendEnd(b, at, more)
}

// appendEnd appends ETX or EOT, and the BCC of what begins at b[at].
func appendEnd(b []byte, at int, more bool) []byte {
	if more {
		b = append(b, eot)
	} else {
		b = append(b, etx)
	}
	return append(b, BlockCheck(b[at:]))
}

// DataSet is one data set to send: address(value*unit), and (time) behind it for a
// maximum.
type DataSet struct{ Address, Value, Unit, Time string }

// AppendReadout appends a readout as meters of mode C send it: STX, a line a data
// set, the end line, ETX and BCC.
func AppendReadout(b []byte, sets []DataSet) []byte {
	b = append(b, stx)
	at := len(b)
	for _, s := range sets {
		b = append(s.AppendTo(b), '\r', '\n')
	}
	return appendEnd(append(b, "!\r\n"...), at, false)
}

// AppendTo appends the data set.
func (s DataSet) AppendTo(b []byte) []byte {
	b = append(b, s.Address...)
	b = append(b, '(')
	b = append(b, s.Value...)
	if s.Unit != "" {
		b = append(b, '*')
		b = append(b, s.Unit...)
	}
	b = append(b, ')')
	if s.Time == "" {
		return b
	}
	b = append(b, '(')
	b = append(b, s.Time...)
	return append(b, ')')
}

// lisRange is the bracket of a LIS-200 archive command: column, from, to and how
// many rows a partial block has; 0: no such limit.
func lisRange(column int, from, to string, rows int) string {
	s := "(" + strconv.Itoa(column) + ";" + from + ";" + to + ";"
	if rows > 0 {
		s += strconv.Itoa(rows)
	}
	return s + ")"
}
