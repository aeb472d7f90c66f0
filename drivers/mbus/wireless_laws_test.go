package mbus

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// Laws 1 and 2 of wireless telegrams: no panic, the same readings however the
// stream is cut, with any key.
func FuzzWireless(f *testing.F) {
	f.Add(unhex(f, volumeTelegram), []byte(nil), uint16(3))
	f.Add([]byte(volumeTelegram+"\n"), []byte(nil), uint16(3))
	if !testing.Short() {
		for _, c := range corpus(f, "wmbus", false) {
			for _, line := range c.lines {
				f.Add(line, unhex(f, c.Key), uint16(5))
			}
		}
	}
	f.Fuzz(func(t *testing.T, stream, key []byte, cut uint16) {
		if len(key) != 16 {
			key = nil
		}
		want := decode(t, wireless(t, hexOf(key)), stream)
		got := decode(t, wireless(t, hexOf(key)), chunksOf(stream, 1+int(cut)%40)...)
		equalReadings(t, "cut", want.readings, got.readings)
		if len(want.lost) != len(got.lost) {
			t.Fatalf("lost %+v, in pieces %+v", want.lost, got.lost)
		}
	})
}

// sentAs is a telegram of meter 12345678 with these records as it travels, nil if
// they are too many for one.
func sentAs(t testing.TB, records []byte, formatA bool) []byte {
	t.Helper()
	if len(records) > 200 {
		return nil
	}
	plain := append(unhex(t, "004424237856341201047A01000000"), records...)
	plain[0] = byte(len(plain) - 1)
	if formatA {
		return AppendFormatA(nil, plain)
	}
	b, err := formatB(plain)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Law 3: behind a telegram that showed CRCs, one with a bit flipped gives no
// reading, and neither does one that is cut; the next good one is read.
func FuzzWirelessDamage(f *testing.F) {
	f.Add(unhex(f, "0406E8030000"), uint16(100), uint16(20), true)
	f.Add(unhex(f, "0C7812345678041312345678"), uint16(3), uint16(9), false)
	f.Add(unhex(f, "0406E80300000406E80300000406E80300000406E8030000"), uint16(7), uint16(40), true)
	good := unhex(f, volumeTelegram)
	want := decode(f, wireless(f, ""), good, good).readings
	f.Fuzz(func(t *testing.T, records []byte, bit, cut uint16, formatA bool) {
		telegram := sentAs(t, records, formatA)
		if telegram == nil {
			return
		}
		flipped := append([]byte(nil), telegram...)
		flipped[int(bit/8)%len(flipped)] ^= 1 << (bit % 8)
		short := telegram[:int(cut)%len(telegram)]
		if bytes.HasPrefix(slices.Concat(short, good), telegram) {
			return // what was cut off is what follows
		}
		for what, damaged := range map[string][]byte{"flipped": flipped, "cut": short} {
			equalReadings(t, what, want, decode(t, wireless(t, ""), good, damaged, good).readings)
		}
	})
}

// Law 4: noise before, between and after good telegrams changes nothing, once a
// telegram has shown CRCs.
func FuzzWirelessNoise(f *testing.F) {
	f.Add([]byte{0, 0xFF, 0x44, 0x2D}, []byte{0x2D, 0x44, 0x2D, 0x2C}, []byte{0x10}, true)
	f.Add(unhex(f, "FF44AE0C78563412010781"), unhex(f, "1444AE0C7856341201078C20"), unhex(f, "1444AE0C"), false)
	good := unhex(f, volumeTelegram)
	f.Fuzz(func(t *testing.T, before, between, after []byte, formatA bool) {
		if len(decode(t, wireless(t, ""), good, before, between, after).readings) > 1 {
			return // a telegram of its own
		}
		telegram := sentAs(t, unhex(t, "0406E8030000"), formatA)
		want := decode(t, wireless(t, ""), good, telegram, good).readings
		stream := slices.Concat(good, before, telegram, between, good, after)
		equalReadings(t, "bytes", want, decode(t, wireless(t, ""), stream).readings)
		line := func(noise []byte) string { return strings.ReplaceAll(string(noise), "\n", " ") + "\n" }
		text := hexOf(good) + "\n" + line(before) + hexOf(telegram) + "\r\n" + line(between) + hexOf(good) + "\n" + line(after)
		equalReadings(t, "lines", want, decode(t, wireless(t, ""), []byte(text)).readings)
	})
}

// Law 5: what is sent with CRCs is received without them, byte by byte.
func FuzzWirelessEncode(f *testing.F) {
	f.Add(unhex(f, "0406E8030000"), true)
	f.Add([]byte(nil), false)
	f.Add(make([]byte, 200), false)
	f.Fuzz(func(t *testing.T, records []byte, formatA bool) {
		telegram := sentAs(t, records, formatA)
		if telegram == nil {
			return
		}
		var in receiver
		in.feed(telegram)
		in.gap()
		got, check, err := in.next()
		if err != nil || check != drivers.CheckCRC16 {
			t.Fatalf("% X: %v, %v", telegram, check, err)
		}
		got = append([]byte(nil), got...)
		got[0] = byte(len(got) - 1) // of format B it counted the CRCs
		again := AppendFormatA(nil, got)
		if !formatA {
			again, err = formatB(got)
		}
		if err != nil || !slices.Equal(again, telegram) {
			t.Fatalf("% X was sent again as % X, %v", telegram, again, err)
		}
	})
}

// Law 1 of deciphering: it takes any header for what it says, and changes nothing in front of
// the payload.
func FuzzDeciphering(f *testing.F) {
	f.Add(unhex(f, "5144B4097073912218078C00247A030840052F2F0C1325000000"), byte(5))
	f.Add(unhex(f, "2A442D2C998734761B168D2091D37CAC21E1D68CDAFFCD3DC452BD80"), byte(7))
	f.Fuzz(func(t *testing.T, telegram []byte, mode byte) {
		if len(telegram) < linkHeader+2 || len(telegram) > 256 {
			return
		}
		telegram[0] = byte(len(telegram) - 1)
		k, err := newKeys(make([]byte, 16))
		if err != nil {
			t.Fatal(err)
		}
		var l layers
		if l.parse(telegram, k) != nil {
			return
		}
		before := hexOf(l.b[:l.at])
		l.header.config = l.header.config&0xE0FF | uint16(mode&0x1F)<<8
		if f := k.decipher(&l); f != nil && (f.field == "" || f.err == nil) {
			t.Fatalf("a flaw without a name: %+v", f)
		}
		if after := hexOf(l.b[:l.at]); after != before || len(l.b) != len(telegram) {
			t.Fatalf("the layers in front became %s", after)
		}
	})
}

const lawKey = "000102030405060708090A0B0C0D0E0F"

// linkOf is a link header of meter 12345678.
const linkOf = "00442423785634120104"

// enciphered is a telegram of these records under mode 5, or under the counter mode
// of the extended link layer, by the means of the standard library.
func enciphered(t testing.TB, records []byte, access byte, counter bool) []byte {
	t.Helper()
	block, err := aes.NewCipher(unhex(t, lawKey))
	if err != nil {
		t.Fatal(err)
	}
	b := unhex(t, linkOf)
	var iv [aes.BlockSize]byte
	copy(iv[:], b[2:])
	if counter {
		payload := append(unhex(t, "78"), records...)
		payload = append(binary.LittleEndian.AppendUint16(nil, wire.CRC13757(payload)), payload...)
		session := []byte{access, 1, 2, 0x20}
		copy(iv[9:], session)
		iv[8] = 0x20
		cipher.NewCTR(block, iv[:]).XORKeyStream(payload, payload)
		b = append(append(append(b, 0x8D, 0x20, access), session...), payload...)
	} else {
		data := filled(records)
		for i := 8; i < len(iv); i++ {
			iv[i] = access
		}
		cipher.NewCBCEncrypter(block, iv[:]).CryptBlocks(data, data)
		b = append(append(b, 0x7A, access, 0, byte(len(data)), 5), data...)
	}
	b[0] = byte(len(b) - 1)
	return b
}

// filled are records between fillers, in whole blocks.
func filled(records []byte) []byte {
	data := append([]byte{difFiller, difFiller}, records...)
	for len(data)%aes.BlockSize != 0 {
		data = append(data, difFiller)
	}
	return data
}

// Laws 2 to 5 of deciphering: the records are those that were enciphered, however
// the stream is cut, with noise around and damaged telegrams between.
func FuzzCiphered(f *testing.F) {
	f.Add(unhex(f, "0406E8030000"), byte(1), false, uint16(7), uint16(300), []byte{0xFF})
	f.Add(unhex(f, "0C7812345678041312345678"), byte(200), true, uint16(1), uint16(5), []byte("x"))
	f.Fuzz(func(t *testing.T, records []byte, access byte, counter bool, cut, bit uint16, noise []byte) {
		if len(records) > 150 {
			return
		}
		good := AppendFormatA(nil, enciphered(t, unhex(t, "0413E8030000"), 9, counter))
		telegram := AppendFormatA(nil, enciphered(t, records, access, counter))
		damaged := append([]byte(nil), telegram...)
		damaged[int(bit/8)%len(damaged)] ^= 1 << (bit % 8)
		plain := unhex(t, linkOf+"78")
		if counter {
			plain = append(plain, records...)
		} else {
			plain = append(plain, filled(records)...)
		}
		plain[0] = byte(len(plain) - 1)

		got := decode(t, wireless(t, lawKey), good, telegram).readings
		if len(got) == 0 {
			t.Fatalf("% X gave nothing", good)
		}
		open := decode(t, wireless(t, ""), plain).readings
		if len(open) != len(got)-1 {
			t.Fatalf("%d readings, unciphered %d", len(got)-1, len(open))
		}
		if len(open) == 1 && valuesOf(&open[0]) != valuesOf(&got[1]) {
			t.Fatalf("got %s, want %s", valuesOf(&got[1]), valuesOf(&open[0]))
		}
		if len(decode(t, wireless(t, ""), unhex(t, volumeTelegram), noise, noise).readings) > 1 {
			return // a telegram of its own
		}
		stream := slices.Concat(good, noise, damaged, noise, telegram, noise)
		equalReadings(t, "a stream", got, decode(t, wireless(t, lawKey), chunksOf(stream, 1+int(cut)%40)...).readings)
	})
}

// valuesOf are the values of a reading but the status, which only a header has.
func valuesOf(r *drivers.Reading) string {
	text := names(r)
	return strings.TrimSuffix(strings.TrimSuffix(text, "status=0"), " ")
}
