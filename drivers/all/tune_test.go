package all

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/hdlc"
	"github.com/meter2mqtt/meter2mqtt/drivers/iec62056"
	"github.com/meter2mqtt/meter2mqtt/drivers/mbus"
	"github.com/meter2mqtt/meter2mqtt/drivers/p1"
	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// reread is what a UART in one mode makes of what one in another has sent, as the
// kernel hands it on: characters whose stop bit is missing are left out, and parity
// is not looked at.
func reread(b []byte, sent, read drivers.Mode) (got []byte) {
	var line []bool // true: high
	for _, c := range b {
		line = appendCharacter(line, c, sent)
	}
	high := func(t float64) bool {
		i := int(t * float64(sent.Baud))
		return i >= len(line) || line[i]
	}
	bit := 1 / float64(read.Baud)
	for t, end := 0.0, float64(len(line))/float64(sent.Baud); t < end; {
		if high(t) {
			t += bit / 16
			continue
		}
		if high(t + bit/2) {
			t += bit / 2 // a glitch
			continue
		}
		c := byte(0)
		for n := range int(read.Bits) {
			if high(t + (1.5+float64(n))*bit) {
				c |= 1 << n
			}
		}
		stop := 1.5 + float64(read.Bits)
		if read.Parity != drivers.NoParity {
			stop++
		}
		t += stop * bit
		if high(t) {
			got = append(got, c)
			continue
		}
		for t < end && !high(t) {
			t += bit / 16
		}
	}
	return got
}

func appendCharacter(line []bool, c byte, m drivers.Mode) []bool {
	line = append(line, false)
	c &= byte(1<<m.Bits - 1)
	for n := range int(m.Bits) {
		line = append(line, c>>n&1 != 0)
	}
	odd := bits.OnesCount8(c)%2 != 0
	switch m.Parity {
	case drivers.EvenParity:
		line = append(line, odd)
	case drivers.OddParity:
		line = append(line, !odd)
	default: // none
	}
	for range m.Stop {
		line = append(line, true)
	}
	return line
}

func TestAUARTReadsWhatItsOwnModeHasSent(t *testing.T) {
	text := []byte("/ABC5METER-1\r\n\x00\xff\x55\xaa")
	for _, m := range modes {
		if got := reread(text, m, m); string(got) != string(text) {
			t.Errorf("%s: %q", m, got)
		}
	}
	seven := drivers.Mode{Baud: 9600, Bits: 7, Parity: drivers.EvenParity, Stop: 1}
	eight := drivers.Mode{Baud: 9600, Bits: 8, Parity: drivers.NoParity, Stop: 1}
	if b, ok := strip(reread([]byte("!1234 AC"), seven, eight)); !ok || string(b) != "!1234 AC" {
		t.Errorf("7E1 read as 8N1: %q", b)
	}
	if got := reread(text, modes[0], modes[1]); string(got) == string(text) {
		t.Error("a wrong speed reads the same")
	}
}

// speaking is a line on which a meter speaks now and then, in a mode of its own.
type speaking struct {
	says   []byte
	mode   drivers.Mode
	period time.Duration
	fixed  bool // its mode cannot be set

	next, deadline time.Time
	read           drivers.Mode
	left           []byte
}

func (l *speaking) Read(p []byte) (int, error) {
	if len(l.left) == 0 {
		if l.next.After(l.deadline) {
			time.Sleep(time.Until(l.deadline))
			return 0, os.ErrDeadlineExceeded
		}
		time.Sleep(time.Until(l.next))
		l.next = l.next.Add(l.period)
		l.left = l.says
		if !l.fixed {
			l.left = reread(l.says, l.mode, l.read)
		}
	}
	n := copy(p, l.left)
	l.left = l.left[n:]
	return n, nil
}

func (l *speaking) SetMode(m drivers.Mode) error {
	if l.fixed {
		return errors.ErrUnsupported
	}
	l.read = m
	return nil
}

func (l *speaking) Discard() error {
	l.left = nil
	for !l.next.After(time.Now()) {
		l.next = l.next.Add(l.period)
	}
	return nil
}

func (l *speaking) Write([]byte) (int, error) {
	return 0, errors.New("a meter that is listened to was sent something")
}
func (l *speaking) SetReadDeadline(t time.Time) error { l.deadline = t; return nil }
func (l *speaking) Flush(context.Context) error       { return nil }
func (l *speaking) Close() error                      { return nil }
func (l *speaking) String() string                    { return "tcp://meter:1" }

// What meters say.
var (
	dsmr  = "/ABC5METER-1\r\n\r\n1-0:1.8.1(000123.400*kWh)\r\n1-0:1.7.0(00.193*kW)\r\n!"
	push  = "0F400000000001010203090601000108" + "00FF06000004D202020F00161E"
	modeD = "/ESY5Q3DA1024\r\n\r\n1.8.0(000123.4*kWh)\r\n2.8.0(000001.2*kWh)\r\n!\r\n"
	radio = "10449315785634123303780413D2040000"
)

func withCRC(telegram string) []byte {
	return fmt.Appendf(nil, "%s%04X\r\n", telegram, wire.ARC.Update(0, []byte(telegram)))
}

func unhex(text string) []byte {
	b, _ := wire.AppendHex(nil, text)
	return b
}

func lines(telegrams ...[]byte) (b []byte) {
	for _, t := range telegrams {
		b = append(b, strings.ToUpper(hex.EncodeToString(t))+"\r\n"...)
	}
	return b
}

func mode(baud int, frame string) drivers.Mode {
	m, err := drivers.ParseFrame(frame)
	if err != nil {
		panic(err)
	}
	m.Baud = baud
	return m
}

func TestTwentyLinesAreFoundWithinAMinuteByListening(t *testing.T) {
	han := hdlc.AppendHDLC(nil, []byte{0x41, 0x08, 0x83, 0x13}, unhex(push), 200)
	austria := hdlc.AppendMBus(nil, unhex(push), 100)
	hexed := lines(unhex(radio), unhex(radio))
	sealed := lines(mbus.AppendFormatA(nil, unhex(radio)))
	for _, c := range []struct {
		name   string
		says   []byte
		mode   drivers.Mode
		period time.Duration
		fixed  bool
		want   string
	}{
		{"P1 of DSMR 5", withCRC(dsmr), mode(115200, "8N1"), time.Second, false, "p1"},
		{"P1 of DSMR 4", withCRC(dsmr), mode(115200, "8N1"), 10 * time.Second, false, "p1"},
		{"P1 of DSMR 2", []byte(dsmr + "\r\n"), mode(9600, "7E1"), 10 * time.Second, false, "p1"},
		{"P1 at 9600 8N1", withCRC(dsmr), mode(9600, "8N1"), 5 * time.Second, false, "p1"},
		{"P1 at 9600 8E1", withCRC(dsmr), mode(9600, "8E1"), 5 * time.Second, false, "p1"},
		{"P1 behind a converter", withCRC(dsmr), mode(115200, "8N1"), 10 * time.Second, true, "p1"},
		{"D0 with full codes", []byte(dsmr + "\r\n"), mode(9600, "7E1"), 2 * time.Second, false, "p1"},
		{"mode D", []byte(modeD), mode(2400, "7E1"), 2 * time.Second, false, "iec62056-21"},
		{"mode D at 9600", []byte(modeD), mode(9600, "7E1"), 4 * time.Second, false, "iec62056-21"},
		{"mode D behind a converter", []byte(modeD), mode(9600, "7E1"), 4 * time.Second, true, "iec62056-21"},
		{"HAN of Norway", han, mode(2400, "8E1"), 2500 * time.Millisecond, false, "hdlc"},
		{"HAN of Kaifa", han, mode(2400, "8E1"), 2 * time.Second, false, "hdlc"},
		{"HAN of Kamstrup", han, mode(2400, "8N1"), 10 * time.Second, false, "hdlc"},
		{"HAN of Sweden", han, mode(115200, "8N1"), 10 * time.Second, false, "hdlc"},
		{"HAN at 9600", han, mode(9600, "8N1"), 5 * time.Second, false, "hdlc"},
		{"Austria in M-Bus frames", austria, mode(2400, "8E1"), 5 * time.Second, false, "hdlc"},
		{"M-Bus frames at 9600 8E1", austria, mode(9600, "8E1"), 5 * time.Second, false, "hdlc"},
		{"radio receiver at 9600", hexed, mode(9600, "8N1"), 8 * time.Second, false, "wmbus"},
		{"radio receiver at 57600", sealed, mode(57600, "8N1"), 4 * time.Second, false, "wmbus"},
		{"radio receiver at 38400", hexed, mode(38400, "8N1"), 4 * time.Second, false, "wmbus"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				line := &speaking{says: c.says, mode: c.mode, period: c.period, fixed: c.fixed, next: time.Now().Add(c.period / 3)}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				began := time.Now()
				f, err := Listen(ctx, line, 1)
				if err != nil {
					t.Fatalf("after %s: %v", time.Since(began), err)
				}
				wantMode := c.mode
				if c.fixed {
					wantMode = drivers.Mode{}
				}
				if f.Driver.Name != c.want || f.Mode != wantMode || f.Telegrams == 0 {
					t.Errorf("found %s in %v with %d telegrams, want %s in %v", f.Driver.Name, f.Mode, f.Telegrams, c.want, wantMode)
				}
			})
		})
	}
}

func TestASilentLineIsToldFromOneThatNobodyKnows(t *testing.T) {
	for _, c := range []struct {
		says string
		want error
	}{{"", ErrSilent}, {"what no meter has ever said, at no length of it\r\n", ErrUnknown}} {
		synctest.Test(t, func(t *testing.T) {
			line := &speaking{says: []byte(c.says), fixed: true, period: time.Second, next: time.Now()}
			if c.says == "" {
				line.next = time.Now().Add(time.Hour)
			}
			if _, err := Listen(t.Context(), line, 1); !errors.Is(err, c.want) {
				t.Errorf("%q: %v, want %v", c.says, err, c.want)
			}
		})
	}
}

func TestALineThatIsNearlyRightIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		damaged := hdlc.AppendHDLC(nil, []byte{0x41, 0x08, 0x83, 0x13}, unhex(push), 200)
		damaged[20] ^= 4
		line := &speaking{says: append(append([]byte(nil), damaged...), damaged...), fixed: true, period: time.Second, next: time.Now()}
		f, err := Listen(t.Context(), line, 1)
		if err != nil || f.Driver.Name != "hdlc" || f.Telegrams != 0 || !strings.Contains(f.Nearly(), "looks like hdlc") {
			t.Errorf("found %s, %d telegrams, %v", f.Driver.Name, f.Telegrams, err)
		}
	})
}

func TestAutoReadsWhatTheDriverThatItFindsReads(t *testing.T) {
	for _, c := range []struct {
		says []byte
		by   drivers.Driver
	}{
		{withCRC(dsmr), p1.Driver},
		{hdlc.AppendHDLC(nil, []byte{0x41, 0x08, 0x83, 0x13}, unhex(push), 200), hdlc.Driver},
		{hdlc.AppendMBus(nil, unhex(push), 100), hdlc.Driver},
		{[]byte(modeD), iec62056.Driver},
		{lines(unhex(radio)), mbus.Wireless},
	} {
		decoder, err := c.by.NewDecoder(c.by.NewConfig(), drivers.Zones{})
		if err != nil {
			t.Fatal(err)
		}
		auto, err := Auto.NewDecoder(Auto.NewConfig(), drivers.Zones{})
		if err != nil {
			t.Fatal(err)
		}
		want, _ := decodeAll(t, decoder, c.says)
		got, _ := decodeAll(t, auto, c.says)
		if len(want) == 0 || strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s: auto reads %q, want %q", c.by.Name, got, want)
		}
	}
}
