package iec62056

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/canary"
)

func say(dir string, b []byte) step { return step{Dir: dir, Hex: hex.EncodeToString(b)} }

// signedOn are the first steps of a conversation in programming mode.
func signedOn(more ...step) []step {
	return append([]step{
		say("tx", []byte("/?!\r\n")), say("rx", []byte("/XYZ5TEST\r\n")), say("tx", []byte("\x06051\r\n")),
		say("rx", AppendCommand(nil, "P0", "()", false)),
	}, more...)
}

// spoiled is a message whose block check character does not fit.
func spoiled(b []byte) []byte {
	b[len(b)-1] ^= 1
	return b
}

func TestRegistersOverABadLine(t *testing.T) {
	read := say("tx", AppendCommand(nil, "R1", "1.8.0()", false))
	good := AppendBlock(nil, []byte("1.8.0(1.5*kWh)"), false)
	for _, c := range []struct {
		name  string
		steps []step
		want  error
	}{
		{"a NAK, then the answer", []step{read, say("rx", []byte{nak}), read, say("rx", good)}, nil},
		{"NAK three times", []step{read, say("rx", []byte{nak}), read, say("rx", []byte{nak}), read, say("rx", []byte{nak})}, drivers.ErrRefused},
		{"a bad BCC, then the answer", []step{
			read, say("rx", spoiled(AppendBlock(nil, []byte("1.8.0(1.5*kWh)"), false))), say("tx", []byte{nak}), say("rx", good),
		}, nil},
		{"a bad BCC three times", []step{
			read, say("rx", spoiled(AppendBlock(nil, []byte("1.8.0(1.5*kWh)"), false))), say("tx", []byte{nak}),
			say("rx", spoiled(AppendBlock(nil, []byte("1.8.0(1.5*kWh)"), false))), say("tx", []byte{nak}),
			say("rx", spoiled(AppendBlock(nil, []byte("1.8.0(1.5*kWh)"), false))),
		}, drivers.ErrChecksum},
		{"silence", []step{read, read, read}, drivers.ErrTimeout},
		{"a break", []step{read, say("rx", AppendCommand(nil, "B0", "", false))}, errEnded},
		{"an error text", []step{read, say("rx", AppendBlock(nil, []byte("(ER01)"), false))}, drivers.ErrRefused},
		{"without its address", []step{read, say("rx", AppendBlock(nil, []byte("(1.5*kWh)"), false))}, nil},
		{"in two partial blocks", []step{
			read, say("rx", AppendBlock(nil, []byte("1.8.0(1."), true)), say("tx", []byte{ack}), say("rx", AppendBlock(nil, []byte("5*kWh)"), false)),
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				line := play(t, signedOn(c.steps...))
				cfg := newConfig()
				cfg.Read = []string{"1.8.0"}
				s, err := dial(iecName)(t.Context(), line, cfg, drivers.Zones{})
				if err != nil {
					t.Fatal(err)
				}
				var r drivers.Reading
				err = s.Read(t.Context(), nil, &r)
				if !errors.Is(err, c.want) {
					t.Fatalf("got %v, want %v", err, c.want)
				}
				if err == nil && (len(r.Values) != 1 || r.Values[0].Number.String() != "1.5") {
					t.Errorf("got %s", r.AppendJSON(nil))
				}
				_ = line.Close()
				if wrong := <-line.wrong; wrong != "" {
					t.Error(wrong)
				}
			})
		})
	}
}

// sleeper is a battery meter that notes the NULs it hears.
type sleeper struct {
	net.Conn
	baud int
}

func (s *sleeper) SetMode(m drivers.Mode) error {
	s.baud = m.Baud
	return nil
}
func (*sleeper) Discard() error { return nil }
func (*sleeper) String() string { return "sleeper" }

// Flush takes as long as 66 NULs at 300 baud do.
func (s *sleeper) Flush(context.Context) error {
	time.Sleep(2200 * time.Millisecond)
	return nil
}

func TestABatteryMeterIsWokenAtTheLinesPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		nuls, pause := make(chan int, 1), make(chan time.Duration, 1)
		go func() {
			defer far.Close()
			b := make([]byte, 512)
			n, err := far.Read(b)
			if err != nil {
				return
			}
			nuls <- n
			heard := time.Now()
			if n, err = far.Read(b); err == nil && string(b[:n]) == "/?!\r\n" {
				pause <- time.Since(heard)
			}
		}()
		cfg := newConfig()
		cfg.Wake = "normal"
		s, err := dial(iecName)(t.Context(), &sleeper{Conn: near}, cfg, drivers.Zones{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
		defer cancel()
		var r drivers.Reading
		_ = s.Read(ctx, nil, &r)
		if n := <-nuls; n < 63 || n > 70 {
			t.Errorf("%d NULs at 300 baud, want 2.1 to 2.3 s of them", n)
		}
		if p := <-pause - 2200*time.Millisecond; p < 1500*time.Millisecond || p > 1700*time.Millisecond {
			t.Errorf("request %s behind the NULs, want 1.5 to 1.7 s", p)
		}
	})
}

func TestRegistersOfTheConfiguration(t *testing.T) {
	good, err := ParseRegister("limit 0-0:17.0.0 number kW 0.0..10.5 level=2")
	if err != nil || good.Unit != "kW" || good.Level != 2 || good.Digits != 1 || good.Max.String() != "10.5" || good.Code.String() != "0-0:17.0.0" {
		t.Errorf("got %+v, %v", good, err)
	}
	for _, bad := range []string{
		"", "limit", "limit 1.8.0", "Limit 1.8.0 number", "limit 1.8.0 colour", "limit 1.8(0) number",
		"limit 1.8.0 number 5..1", "limit 1.8.0 number level=x", "limit 1.8.0 text 0..1",
	} {
		if _, err := ParseRegister(bad); !errors.Is(err, errRegister) || drivers.Hint(err) == "" {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestNumbersAreWrittenWithTheirDecimals(t *testing.T) {
	for _, c := range []struct {
		n        drivers.Decimal
		decimals int
		want     string
	}{
		{drivers.NewDecimal(5, 0), 2, "5.00"}, {drivers.NewDecimal(51, -1), 2, "5.10"}, {drivers.NewDecimal(5, 0), 0, "5"}, {drivers.NewDecimal(5123, -3), 2, ""},
	} {
		if got, err := padded(c.n, c.decimals); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v; want %q", c.n, got, err, c.want)
		}
	}
}

func TestEveryMistakeOfTheConfigurationIsNamed(t *testing.T) {
	c := newConfig()
	c.Address = "a!b"
	c.Level = drivers.NewDecimal(12, 0)
	c.Medium, c.Mode, c.Wake, c.Command, c.SetClock, c.Option, c.Frame = "beer", "X", "x", "R9", "x", "5", "9X9"
	c.Baud, c.IdentWait, c.SwitchWait = drivers.NewDecimal(301, 0), 0, time.Hour
	c.Password, c.Table, c.Argument = drivers.NewSecret("("+canary.MeterPassword), "!!", "("
	c.Read, c.Registers = []string{"a b"}, []string{"nothing"}
	err := c.Validate()
	for _, key := range []string{
		"address", "level", "medium", "mode", "wake", "command", "set_clock", "option", "frame", "baud",
		"ident_wait", "switch_wait", "password", "table", "argument", "read", "registers",
	} {
		if !strings.Contains(fmt.Sprint(err), key+":") {
			t.Errorf("%s is not named in %v", key, err)
		}
	}
	if strings.Contains(fmt.Sprint(err), "pass)word") {
		t.Error("the password shows")
	}
	for _, good := range []*Config{newConfig(), newLISConfig()} {
		if err := good.Validate(); err != nil {
			t.Error(err)
		}
	}
}

func TestClocks(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ in, zoned, bare string }{
		{"2502282400", "2025-03-01T00:00:00+01:00", "2025-03-01T00:00:00"},
		{"250714123456", "2025-07-14T12:34:56+02:00", "2025-07-14T12:34:56"},
		{"1250714123456", "2025-07-14T12:34:56+02:00", "2025-07-14T12:34:56"},
		{"0250714123456", "2025-07-14T12:34:56+01:00", "2025-07-14T12:34:56"},
		{"2250714123456", "2025-07-14T12:34:56Z", "2025-07-14T12:34:56Z"},
		{"2503300230", "2025-03-30T02:30:00", "2025-03-30T02:30:00"},        // left out in spring
		{"2510260230", "2025-10-26T02:30:00", "2025-10-26T02:30:00"},        // twice in autumn
		{"12510260230", "2025-10-26T02:30:00+02:00", "2025-10-26T02:30:00"}, // told apart
		{"21-10-01 00:00", "2021-10-01T00:00:00+02:00", "2021-10-01T00:00:00"},
		{"2022-06-08&10:06:51", "2022-06-08T10:06:51+02:00", "2022-06-08T10:06:51"},
		{"0000000000", "", ""},
		{"2513011200", "", ""},
		{"2502291200", "", ""},
	} {
		for _, zone := range []*time.Location{berlin, nil} {
			want := c.zoned
			if zone == nil {
				want = c.bare
			}
			k := clock{zone: zone}
			got, ok := k.stamp([]byte(c.in))
			if diff := cmp.Diff(want, got.String()); diff != "" || !ok {
				t.Errorf("%s: %t %s", c.in, ok, diff)
			}
		}
	}
}
