package p1

import "github.com/meter2mqtt/meter2mqtt/drivers/wire"

// texts keeps the strings of earlier telegrams, so that the same text is not made
// twice. It holds no more than maxTexts of each kind.
type texts struct{ asSent, decoded map[string]string }

const maxTexts = 256

// plain is b as a string.
func (t *texts) plain(b []byte) string {
	if s, ok := t.asSent[string(b)]; ok {
		return s
	}
	s := string(b)
	t.asSent = kept(t.asSent, s, s)
	return s
}

// octets is what pairs of hexadecimal digits stand for, if all are printable
// ASCII; else b as it is.
func (t *texts) octets(b []byte) string {
	if s, ok := t.decoded[string(b)]; ok {
		return s
	}
	s := string(b)
	if octets, ok := wire.AppendHex(nil, b); ok && printable(octets) {
		s = string(octets)
	}
	t.decoded = kept(t.decoded, string(b), s)
	return s
}

// kept adds to m, which starts anew when it is full: a text that changes all the
// time must not lock out the others for ever.
func kept(m map[string]string, key, s string) map[string]string {
	if m == nil {
		m = map[string]string{}
	}
	if len(m) >= maxTexts {
		clear(m)
	}
	m[key] = s
	return m
}

func printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c >= 0x7F {
			return false
		}
	}
	return true
}
