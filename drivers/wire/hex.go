package wire

// HexDigit is the value of a hexadecimal digit, or false.
func HexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// AppendHex appends the bytes that pairs of hexadecimal digits stand for. false:
// an odd number of digits, or something else among them; dst is then as it was.
func AppendHex[T ~string | ~[]byte](dst []byte, s T) ([]byte, bool) {
	if len(s)%2 != 0 {
		return dst, false
	}
	start := len(dst)
	for i := 0; i < len(s); i += 2 {
		hi, ok := HexDigit(s[i])
		lo, ok2 := HexDigit(s[i+1])
		if !ok || !ok2 {
			return dst[:start], false
		}
		dst = append(dst, hi<<4|lo)
	}
	return dst, true
}
