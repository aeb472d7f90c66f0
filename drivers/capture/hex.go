package capture

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// errHex says that a text that began as hexadecimal does not go on so.
var errHex = errors.New("not hexadecimal")

// looksHex says whether a sample is hexadecimal text: digits in pairs at least
// once, between blanks, colons, commas and 0x, and nothing else.
func looksHex(sample []byte) bool {
	digits := 0
	for _, c := range sample {
		if _, ok := wire.HexDigit(c); ok {
			digits++
			continue
		}
		if !isFill(c) && c != 'x' && c != 'X' {
			return false
		}
	}
	return digits >= 2
}

// Telegram is a telegram that may be written in hexadecimal digits: its bytes.
func Telegram(raw []byte) []byte {
	if !looksHex(raw) {
		return raw
	}
	b, err := unhex(nil, raw)
	if err != nil {
		return raw
	}
	return b
}

// isFill says whether c may stand between hexadecimal digits.
func isFill(c byte) bool {
	switch c {
	case ' ', '\t', '\r', '\n', ':', ',', ';':
		return true
	}
	return false
}

// unhex appends the bytes of one line of hexadecimal text.
func unhex(dst, line []byte) ([]byte, error) {
	digits := make([]byte, 0, len(line))
	for i := 0; i < len(line); i++ {
		c := line[i]
		if c == '0' && i+1 < len(line) && (line[i+1] == 'x' || line[i+1] == 'X') {
			i++
			continue
		}
		if isFill(c) {
			continue
		}
		if _, ok := wire.HexDigit(c); !ok {
			return dst, fmt.Errorf("column %d: %q: %w", i+1, c, errHex)
		}
		digits = append(digits, c)
	}
	out, ok := wire.AppendHex(dst, digits)
	if !ok {
		return dst, fmt.Errorf("%d digits, an odd number: %w", len(digits), errHex)
	}
	return out, nil
}

// isBlank says whether a line of hexadecimal text holds nothing.
func isBlank(line []byte) bool { return len(bytes.TrimSpace(line)) == 0 }
