package wire

import (
	"fmt"
	"testing"
)

func TestCRC16HasTheCataloguesCheckValue(t *testing.T) {
	for _, c := range []struct {
		name       string
		table      *CRC16
		start, xor uint16
		want       uint16
	}{
		{"CRC-16/ARC", ARC, 0, 0, 0xBB3D},
		{"CRC-16/X-25", X25, 0xFFFF, 0xFFFF, 0x906E},
		{"CRC-16/MODBUS", ARC, 0xFFFF, 0, 0x4B37},
		{"CRC-16/KERMIT", X25, 0, 0, 0x2189},
	} {
		if got := c.table.Update(c.start, []byte("123456789")) ^ c.xor; got != c.want {
			t.Errorf("%s: got %04X, want %04X", c.name, got, c.want)
		}
	}
}

// TestCRC16IsTheSameHoweverItIsCut holds the eight-byte step against the
// definition, bit by bit, at every length and every cut.
func TestCRC16IsTheSameHoweverItIsCut(t *testing.T) {
	var message [67]byte
	for i := range message {
		message[i] = byte(i * 151)
	}
	for n := range len(message) + 1 {
		want := bitByBit(0x8408, 0xFFFF, message[:n])
		for cut := range n + 1 {
			got := X25.Update(X25.Update(0xFFFF, message[:cut]), message[cut:n])
			if got != want {
				t.Fatalf("%d bytes cut at %d: got %04X, want %04X", n, cut, got, want)
			}
		}
	}
}

func bitByBit(polynomial, crc uint16, p []byte) uint16 {
	for _, b := range p {
		crc ^= uint16(b)
		for range 8 {
			low := crc & 1
			crc = crc>>1 ^ low*polynomial
		}
	}
	return crc
}

func ExampleCRC16_Update() {
	fmt.Printf("%04X\n", ARC.Update(0, []byte("123456789")))
	// Output: BB3D
}
