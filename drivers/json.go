package drivers

import (
	"strconv"
	"unicode/utf8"
)

// AppendJSON appends r as one JSON object, as decode, read and history print it:
// driver, meter, channels, time, values. Numbers carry all the digits that the
// meter sent. It allocates nothing but what b must grow.
func (r *Reading) AppendJSON(b []byte) []byte {
	b = append(b, `{"driver":`...)
	b = AppendJSONString(b, r.Meter.Driver)
	b = append(b, `,"meter":{`...)
	b = r.Meter.appendFields(b)
	b = append(b, '}')
	for i := range r.Channels {
		b = append(b, pick(i == 0, `,"channels":[`, `,`)...)
		b = append(b, `{"channel":`...)
		b = strconv.AppendUint(b, uint64(r.Channels[i].Number), 10)
		b = append(b, ',')
		b = trimComma(r.Channels[i].Meter.appendFields(b))
		b = append(b, '}')
	}
	if len(r.Channels) > 0 {
		b = append(b, ']')
	}
	if !r.Time.IsZero() {
		b = appendTime(append(b, `,"time":`...), r.Time)
	}
	b = append(b, `,"values":[`...)
	for i := range r.Values {
		if i > 0 {
			b = append(b, ',')
		}
		b = r.Values[i].appendJSON(b)
	}
	return append(b, ']', '}')
}

func pick(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}

func trimComma(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == ',' {
		return b[:n-1]
	}
	return b
}

// appendFields writes the fields that are known, without the braces.
func (id Identity) appendFields(b []byte) []byte {
	start := len(b)
	for _, f := range [...]struct{ key, value string }{
		{"id", id.ID},
		{"manufacturer", id.Manufacturer},
		{"model", id.Model},
		{"version", id.Version},
		{"medium", id.Medium},
	} {
		if f.value == "" {
			continue
		}
		if len(b) > start {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = append(b, f.key...)
		b = append(b, '"', ':')
		b = AppendJSONString(b, f.value)
	}
	return b
}

func appendTime(b []byte, s Stamp) []byte {
	b = append(b, '"')
	b = s.AppendTo(b)
	return append(b, '"')
}

// appendJSON writes obis, name, coordinates, value, unit and time, whichever
// there are.
func (v *Value) appendJSON(b []byte) []byte {
	b = append(b, '{')
	if !v.Code.IsZero() {
		b = append(b, `"obis":"`...)
		b = v.Code.AppendTo(b)
		b = append(b, `",`...)
	}
	if v.Name != "" {
		b = append(b, `"name":`...)
		b = AppendJSONString(b, v.Name)
		b = append(b, ',')
	}
	if v.Channel != 0 {
		b = append(b, `"channel":`...)
		b = strconv.AppendUint(b, uint64(v.Channel), 10)
		b = append(b, ',')
	}
	if v.Record != nil {
		b = v.Record.appendFields(b)
	}
	b = append(b, `"value":`...)
	b = v.AppendPayload(b)
	if v.Unit != "" {
		b = append(b, `,"unit":`...)
		b = AppendJSONString(b, string(v.Unit))
	}
	if !v.Time.IsZero() {
		b = appendTime(append(b, `,"time":`...), v.Time)
	}
	return append(b, '}')
}

// appendFields writes the non-zero coordinates, each with a comma behind.
func (r *Record) appendFields(b []byte) []byte {
	for _, f := range [...]struct {
		key string
		n   uint64
	}{{`"storage":`, r.Storage}, {`"tariff":`, uint64(r.Tariff)}, {`"subunit":`, uint64(r.Subunit)}} {
		if f.n == 0 {
			continue
		}
		b = append(b, f.key...)
		b = strconv.AppendUint(b, f.n, 10)
		b = append(b, ',')
	}
	if r.Function != Instantaneous {
		b = append(b, `"function":"`...)
		b = append(b, r.Function.String()...)
		b = append(b, `",`...)
	}
	return b
}

// AppendPayload appends the value alone as JSON: a number with all its digits, a
// string, true or false, or a time between quotes.
func (v *Value) AppendPayload(b []byte) []byte {
	switch v.Kind {
	case Number:
		return v.Number.AppendTo(b)
	case Bool:
		return strconv.AppendBool(b, v.Number.Sign() != 0)
	case Moment:
		return appendTime(b, v.Moment)
	case Text:
		return AppendJSONString(b, v.Text)
	}
	return append(b, "null"...)
}

// AppendJSONString appends s as a JSON string. Bytes that are no UTF-8 become
// U+FFFD, so that a meter's garbage never makes a payload that nobody can parse.
func AppendJSONString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	plain := 0
	for plain < len(s) && s[plain] >= 0x20 && s[plain] < 0x7f && s[plain] != '"' && s[plain] != '\\' {
		plain++
	}
	b = append(b, s[:plain]...)
	for i := plain; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20 || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += n
			continue
		}
		i++
	}
	return append(b, '"')
}
