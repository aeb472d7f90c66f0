package p1

import "github.com/meter2mqtt/meter2mqtt/drivers/wire"

// texts keeps the strings of earlier telegrams, so that the same text is not made
// twice. It holds no more than maxTexts of each kind. A telegram has a dozen, so
// looking through them is as fast as a map, and takes less room.
type texts struct {
	asSent  []string
	decoded []octetText
}

// octetText is a text that was sent as pairs of hexadecimal digits.
type octetText struct{ sent, text string }

const maxTexts = 64

// plain is b as a string.
func (t *texts) plain(b []byte) string {
	for _, s := range t.asSent {
		if s == string(b) {
			return s
		}
	}
	if len(t.asSent) >= maxTexts {
		t.asSent = t.asSent[:0] // a text that changes all the time must not lock out the others for ever
	}
	s := string(b)
	t.asSent = append(t.asSent, s)
	return s
}

// octets is what pairs of hexadecimal digits stand for, if all are printable
// ASCII; else b as it is.
func (t *texts) octets(b []byte) string {
	for i := range t.decoded {
		if t.decoded[i].sent == string(b) {
			return t.decoded[i].text
		}
	}
	if len(t.decoded) >= maxTexts {
		t.decoded = t.decoded[:0]
	}
	known := octetText{sent: string(b), text: string(b)}
	if octets, ok := wire.AppendHex(nil, b); ok && printable(octets) {
		known.text = string(octets)
	}
	t.decoded = append(t.decoded, known)
	return known.text
}

func printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c >= 0x7F {
			return false
		}
	}
	return true
}
