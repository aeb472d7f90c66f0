package hdlc

// What a meter sends: for simulators, and to hold the decoder against.

// AppendHDLC appends an APDU with its LLC header in as many HDLC frames as its
// size asks for, none longer than longest (at most 2047, counted as its length
// field does). path is destination and source address and the control field.
// The closing flag of one frame opens the next.
func AppendHDLC(b, path, apdu []byte, longest int) []byte {
	longest = min(longest, maxLength)
	room := longest - formatSize - len(path) - 2*checkSize
	info := append([]byte{0xE6, 0xE7, 0x00}, apdu...)
	for {
		n := min(room, len(info))
		b = appendFrame(b, path, info[:n], n < len(info))
		if info = info[n:]; len(info) == 0 {
			return b
		}
		b = b[:len(b)-1]
	}
}

// AppendMBus appends an APDU in M-Bus long frames with at most size bytes of it in
// each: 250 at most, 16 frames at most.
func AppendMBus(b, apdu []byte, size int) []byte {
	for number := 0; ; number++ {
		n := min(size, len(apdu))
		b = appendLong(b, number, n == len(apdu), apdu[:n])
		if apdu = apdu[n:]; len(apdu) == 0 {
			return b
		}
	}
}
