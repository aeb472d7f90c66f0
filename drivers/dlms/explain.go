package dlms

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// ExplainCiphered marks the parts of a ciphered APDU, the whole of l, and gives
// what is enciphered, without its tag. What cannot be taken apart is marked as a
// whole and gives nothing.
func ExplainCiphered(l drivers.Layer) (content drivers.Layer) {
	l = l.In("ciphered APDU")
	l.Mark(0, len(l.Data), "ciphered APDU", "")
	c, err := parseCiphered(l.Data)
	if err != nil {
		return l.Cut(0, 0)
	}
	from := len(l.Data) - len(c.content) // of the content; before it stand LEN, SC and IC
	l.Mark(0, 1, "APDU tag", cipheredNames[l.Data[0]])
	_, _, rest, _ := cipheredHeader(l.Data)
	body := len(l.Data) - len(rest)
	l.Mark(1, body, "system title", c.Title.String())
	l.Mark(body, from-minSecured, "LEN", fmt.Sprintf("%d bytes follow", len(c.content)+minSecured))
	l.Mark(from-minSecured, from-minSecured+1, "SC", c.describe())
	l.Mark(from-minSecured+1, from, "invocation counter", fmt.Sprint(c.Counter))
	end := len(l.Data)
	if c.Authenticated() {
		end -= tagSize
		l.Mark(end, len(l.Data), "GCM tag", "authenticates all before it")
	}
	content = l.Cut(from, end)
	if c.Encrypted() {
		content.Mark(0, end-from, "ciphertext", fmt.Sprintf("%d bytes, to be read with the key", end-from))
	}
	return content
}

var cipheredNames = map[byte]string{
	tagGeneralGlobal: "general-glo-ciphering", tagGeneralDedicated: "general-ded-ciphering", tagGeneralCiphering: "general-ciphering",
}

// describe is the security control byte in words.
func (s Security) describe() string {
	words := []string{fmt.Sprintf("suite %d", s.Suite())}
	for _, bit := range [...]struct {
		mask byte
		word string
	}{{encrypted, "encrypted"}, {authenticated, "authenticated"}, {broadcast, "broadcast key"}, {compressed, "compressed"}} {
		if s.Control&bit.mask != 0 {
			words = append(words, bit.word)
		}
	}
	return strings.Join(words, ", ")
}

// ExplainBlock marks the parts of a block of a general block transfer and gives
// its data; first says that it begins a transfer.
func ExplainBlock(l drivers.Layer) (data drivers.Layer, first bool) {
	l = l.In("block")
	l.Mark(0, len(l.Data), "block", "")
	if len(l.Data) < 6 {
		return l.Cut(0, 0), false
	}
	n, size, err := length(l.Data[6:])
	if err != nil {
		return l.Cut(0, 0), false
	}
	seq := int(l.Data[2])<<8 | int(l.Data[3])
	last := ""
	if l.Data[1]&lastBlock != 0 {
		last = ", the last one"
	}
	l.Mark(0, 1, "APDU tag", "general-block-transfer")
	l.Mark(1, 2, "block control", fmt.Sprintf("0x%02x%s", l.Data[1], last))
	l.Mark(2, 4, "block number", fmt.Sprint(seq))
	l.Mark(4, 6, "acknowledged block", fmt.Sprint(int(l.Data[4])<<8|int(l.Data[5])))
	l.Mark(6, 6+size, "LEN", fmt.Sprintf("%d bytes follow", n))
	return l.Cut(6+size, 6+size+n), seq == 1
}

// ExplainNotification marks the header of a notification, and gives its body.
func ExplainNotification(l drivers.Layer) (body drivers.Layer) {
	n, _, err := ParseNotification(l.Data)
	if err != nil {
		l.Mark(0, len(l.Data), "APDU", "no notification")
		return l.Cut(0, 0)
	}
	at := 1
	if l.Data[0] == tagDataNotification {
		l.Mark(0, 1, "APDU tag", "data-notification")
		l.Mark(1, 5, "long-invoke-id-and-priority", fmt.Sprintf("0x%08x", n.Invoke))
		at = 5
	} else {
		l.Mark(0, 1, "APDU tag", "event-notification")
	}
	l.Mark(at, n.Offset, "date-time", n.describe())
	if n.Class != 0 {
		at = n.Offset - 9
		l.Mark(at, at+2, "class", fmt.Sprint(n.Class))
		l.Mark(at+2, at+8, "logical name", n.Code.String())
		l.Mark(at+8, at+9, "attribute", fmt.Sprint(l.Data[at+8]))
	}
	return l.Cut(n.Offset, len(l.Data))
}

func (n *Notification) describe() string {
	if !n.HasTime {
		return "none"
	}
	return n.Time.describe()
}

// describe is the date-time as the meter wrote it, with its offset to UTC.
func (d DateTime) describe() string {
	t, ok := d.Digits()
	if !ok {
		return "not a date"
	}
	text := t.Format("2006-01-02 15:04:05")
	if d.Deviation != NoDeviation {
		text += fmt.Sprintf(", deviation %d min", d.Deviation)
	}
	if d.Doubtful() {
		text += ", doubtful"
	}
	return text
}

// Explain marks the elements of the tree, which was parsed from l, and gives for
// each the handle of its span: tag, length and content of a leaf, tag and count of
// what holds others.
func (t *Tree) Explain(l drivers.Layer) (spans []int) {
	at, child := 0, 0
	part := l
	for i := range t.Elements {
		e := &t.Elements[i]
		if e.Depth == 1 {
			part = l.In(fmt.Sprintf("element %d", child))
			child++
		}
		end := int(e.Off)
		if !e.Tag.holds() {
			end += int(e.Len)
		}
		spans = append(spans, part.Mark(at, end, e.Tag.String(), t.say(i)))
		at = end
	}
	if at < len(l.Data) {
		l.Mark(at, len(l.Data), "padding", "")
	}
	return spans
}

func (t Tag) holds() bool { return t == Array || t == Structure }

// say is what element i says by itself.
func (t *Tree) say(i int) string {
	e := &t.Elements[i]
	b := t.Bytes(i)
	if e.Tag.holds() {
		return fmt.Sprintf("of %d", e.Count)
	}
	if n, ok := t.Number(i, 0); ok {
		return n.String()
	}
	if d, ok := ParseDateTime(b); ok && (e.Tag == OctetString || e.Tag == DateTimeType) {
		if _, exists := d.Digits(); exists {
			return d.describe()
		}
	}
	if e.Tag.IsString() && isPlainText(b) {
		return fmt.Sprintf("%q", b)
	}
	return hex.EncodeToString(b)
}

func isPlainText(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return len(b) > 0
}
