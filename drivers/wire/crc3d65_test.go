package wire

import "testing"

func TestCRC13757(t *testing.T) {
	if got := CRC13757([]byte("123456789")); got != 0xC2B7 {
		t.Errorf("check value %#x, want 0xc2b7", got)
	}
	// The example of EN 13757-4 in frame format B: its CRC is 7AC5.
	frame := []byte{0x14, 0x44, 0xAE, 0x0C, 0x78, 0x56, 0x34, 0x12, 0x01, 0x07, 0x8C, 0x20, 0x27, 0x78, 0x0B, 0x13, 0x43, 0x65, 0x87}
	if got := CRC13757(frame); got != 0x7AC5 {
		t.Errorf("the standard's example: %#x", got)
	}
}
