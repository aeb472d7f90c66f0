package iec62056_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/iec62056"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
	"github.com/meter2mqtt/meter2mqtt/drivers/peertest"
	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
)

// peer is a simulated meter that this code did not come from.
var peer = peertest.Script{Name: "iec62056_meter.py"}

// startPeer starts the foreign meter and gives the port where it is and the log of
// what it saw.
func startPeer(t *testing.T, args ...string) (port, log string) {
	t.Helper()
	log = filepath.Join(t.TempDir(), "log")
	p := peer.Start(t, append([]string{"--log", log, "--run-for", "300"}, args...)...)
	if strings.HasPrefix(p.At, "/") {
		return p.At + "?mode=8N1", log // a pseudo-terminal has no parity
	}
	return "tcp://" + p.At, log
}

// dialed is a session with the meter at a port.
func dialed(t *testing.T, d drivers.Driver, port string, set func(*iec62056.Config)) drivers.Session {
	t.Helper()
	p, err := transport.ParsePort(port, d.Mode)
	if err != nil {
		t.Fatal(err)
	}
	line, err := transport.Open(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = line.Close() })
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	c := d.NewConfig().(*iec62056.Config)
	if strings.HasSuffix(port, "8N1") {
		c.Frame = "8N1"
	}
	if set != nil {
		set(c)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	s, err := d.Dial(t.Context(), line, c, drivers.Zones{Meter: zone})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func withPassword(c *iec62056.Config) { c.Password = drivers.NewSecret("00000000") }

// quick is for meters that answer at once.
func quick(c *iec62056.Config) {
	c.IdentWait, c.AnswerWait, c.CharWait = time.Second, time.Second, 500*time.Millisecond
}

// isHouse holds a reading against the peer's readout.
func isHouse(r *drivers.Reading) error {
	want := map[string]string{
		"1-0:1.8.0": "1281.6601 kWh", "1-0:1.8.0*12": "1236.1958 kWh", "1-0:1.8.0*11": "1158.9747 kWh",
		"1-0:1.8.1": "812.0000 kWh", "1-0:1.8.2": "469.6601 kWh", "1-0:16.7.0": "-115 W", "1-0:14.7.0": "50.00 Hz",
		"1-0:1.6.1": "502.62 W", "1-0:31.7.0": "0.97 A",
	}
	for _, v := range r.Values {
		if w, ok := want[v.Code.String()]; ok {
			if got := v.Number.String() + " " + string(v.Unit); got != w {
				return fmt.Errorf("%s: %s, want %s", v.Code, got, w)
			}
			delete(want, v.Code.String())
		}
	}
	if len(want) > 0 {
		return fmt.Errorf("missing %v", want)
	}
	if r.Time.String() != "2024-02-29T10:15:30+01:00" || r.Meter.ID != "00012345" || len(r.Values) != 21 {
		return fmt.Errorf("time %s, meter %q, %d values", r.Time, r.Meter.ID, len(r.Values))
	}
	return nil
}

func TestTheForeignMeterIsRead(t *testing.T) {
	for _, c := range []struct {
		name string
		args string
		set  func(*iec62056.Config)
	}{
		{"mode C", "", nil},
		{"mode C with address", "", func(c *iec62056.Config) { c.Address = "12345" }},
		{"one character at a time", "--inject split:1", nil},
		{"bad BCC once", "--inject bad-bcc:1", nil},
		{"bad BCC twice", "--inject bad-bcc:2", nil},
		{"without BCC", "--inject no-bcc", nil},
		{"parity in bit 7", "--inject parity", nil},
		{"parity in bit 7 and a bad BCC", "--inject parity --inject bad-bcc:1", nil},
		{"echo", "--inject echo", nil},
		{"echo and bad BCC", "--inject echo --inject bad-bcc:1", nil},
		{"garbage first", "--inject garbage:5", nil},
		{"ident without escape", "--ident /ISk5MT174-0001", nil},
		{"mode A", "--mode A", nil},
		{"mode B", "--mode B", nil},
		{"mode E", "--mode E", nil},
		{"mode D", "--mode D", func(c *iec62056.Config) { c.Mode = "D" }},
		{"first call ignored", "--inject mute:1", nil},
		{"cut once", "--inject cut:200", nil},
		{"answer after 900 ms", "--reaction 900", func(c *iec62056.Config) { c.AnswerWait, c.IdentWait = 2*time.Second, 2*time.Second }},
		// The gap that the meter allows is widened, for the machine may be busy.
		{"battery", "--battery --nul-gap 1000", func(c *iec62056.Config) { c.Wake, c.Baud = "normal", drivers.NewDecimal(300, 0) }},
	} {
		for _, line := range []string{"--tcp 0", "--pty --strict-baud"} {
			t.Run(c.name+"/"+strings.Fields(line)[0][2:], func(t *testing.T) {
				t.Parallel()
				port, log := startPeer(t, append(strings.Fields(line), strings.Fields(c.args)...)...)
				s := dialed(t, iec62056.Driver, port, func(cfg *iec62056.Config) {
					quick(cfg)
					if c.set != nil {
						c.set(cfg)
					}
				})
				var r drivers.Reading
				err := s.Read(t.Context(), nil, &r)
				if err == nil {
					err = isHouse(&r)
				}
				seen, _ := os.ReadFile(log)
				if err != nil {
					t.Fatalf("%v\n%s", err, seen)
				}
				if c.name != "mode D" && strings.Contains(string(seen), "baud mismatch") { // it pushes before anyone listens
					t.Errorf("speeds differ:\n%s", seen)
				}
			})
		}
	}
}

func TestRegistersOfTheForeignMeter(t *testing.T) {
	t.Parallel()
	set := func(c *iec62056.Config) {
		quick(c)
		withPassword(c)
		c.Read = []string{"1.8.0", "32.7.0", "C.1.0"}
	}
	for name, args := range map[string]string{
		"plain": "", "no P0": "--inject no-p0", "answers without address": "--no-answer-address", "NAK": "--inject nak:1", "bad BCC": "--inject bad-bcc:1",
		"echo": "--inject echo", "parity": "--inject parity", "mode A": "--mode A", "mode B": "--mode B",
	} {
		for _, line := range []string{"--tcp 0", "--pty --strict-baud"} {
			t.Run(name+"/"+strings.Fields(line)[0][2:], func(t *testing.T) {
				t.Parallel()
				port, log := startPeer(t, append(strings.Fields(line), strings.Fields(args)...)...)
				var r drivers.Reading
				if err := dialed(t, iec62056.Driver, port, set).Read(t.Context(), nil, &r); err != nil {
					seen, _ := os.ReadFile(log)
					t.Fatalf("%v\n%s", err, seen)
				}
				if len(r.Values) != 3 || r.Values[0].Number.String() != "1281.6601" || r.Values[1].Unit != "V" || r.Meter.ID != "00012345" {
					t.Errorf("got %s", r.AppendJSON(nil))
				}
			})
		}
	}
}

func TestAWrongPasswordIsToldAndNotRepeated(t *testing.T) {
	for name, args := range map[string]string{"NAK": "", "error text": "--inject error-on-password", "B0": "--inject break-on-password"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port, log := startPeer(t, append([]string{"--tcp", "0"}, strings.Fields(args)...)...)
			s := dialed(t, iec62056.Driver, port, func(c *iec62056.Config) {
				quick(c)
				c.Password = drivers.NewSecret("geheim77")
				c.Read = []string{"1.8.0"}
			})
			var r drivers.Reading
			for range 2 {
				err := s.Read(t.Context(), nil, &r)
				if !errors.Is(err, drivers.ErrAuth) || strings.Contains(err.Error(), "geheim77") {
					t.Fatalf("got %v", err)
				}
			}
			seen, err := os.ReadFile(log)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(seen), `"name": "P1"`); n != 1 {
				t.Errorf("the password was sent %d times", n)
			}
		})
	}
}

func TestTheForeignMetersClockIsSet(t *testing.T) {
	t.Parallel()
	port, _ := startPeer(t, "--tcp", "0")
	s := dialed(t, iec62056.Driver, port, func(c *iec62056.Config) { quick(c); withPassword(c) }).(drivers.Commander)
	at := time.Date(2026, 7, 1, 10, 11, 12, 0, time.UTC)
	back, err := s.Set(t.Context(), drivers.Parameter{Quantity: drivers.Quantity{Name: "clock"}}, drivers.Value{Kind: drivers.Moment, Moment: drivers.Stamp{Wall: at, Zoned: true}})
	late := back.Moment.Wall.Sub(at) // what the sign-on took is added
	if err != nil || late < 0 || late > time.Minute || !strings.HasSuffix(back.Moment.String(), "+02:00") {
		t.Errorf("%s, %v", back.Moment, err)
	}
}

func TestARegisterOfTheForeignMeterIsWritten(t *testing.T) {
	t.Parallel()
	port, _ := startPeer(t, "--tcp", "0", "--inject", "nak:1", "--open-read")
	s := dialed(t, iec62056.Driver, port, func(c *iec62056.Config) {
		quick(c)
		withPassword(c)
		c.Password = drivers.Secret{}
		c.Registers = []string{"switch C.3.9 number 0..3", "total 1.8.0 number Wh"}
	})
	got, err := s.(drivers.Commander).Get(t.Context(), drivers.Parameter{Quantity: drivers.Quantity{Name: "total"}})
	if err != nil || got.Number.String() != "1281660.1" {
		t.Errorf("%s, %v", got.Number, err)
	}
	port, _ = startPeer(t, "--tcp", "0")
	s = dialed(t, iec62056.Driver, port, func(c *iec62056.Config) {
		quick(c)
		withPassword(c)
		c.Registers = []string{"switch C.3.9 number 0..3", "total 1.8.0 number Wh"}
	})
	back, err := s.(drivers.Commander).Set(t.Context(), drivers.Parameter{Quantity: drivers.Quantity{Name: "switch"}}, drivers.Value{Number: drivers.NewDecimal(2, 0)})
	if err != nil || back.Number.String() != "2" {
		t.Errorf("%s, %v", back.Number, err)
	}
	_, err = s.(drivers.Commander).Set(t.Context(), drivers.Parameter{Quantity: drivers.Quantity{Name: "total"}}, drivers.Value{Number: drivers.NewDecimal(2, 0)})
	if meter, ok := errors.AsType[*iec62056.MeterError](err); !ok || meter.Text != "ER05" || !errors.Is(err, drivers.ErrRefused) {
		t.Errorf("got %v, want ER05", err)
	}
}

func TestTheForeignMetersLoadProfile(t *testing.T) {
	for _, block := range []int64{0, 3} {
		for _, args := range []string{"", "--inject bad-partial:1", "--inject bad-partial:2"} {
			t.Run(fmt.Sprint(block, " ", args), func(t *testing.T) {
				t.Parallel()
				port, log := startPeer(t, append([]string{"--tcp", "0"}, strings.Fields(args)...)...)
				s := dialed(t, iec62056.Driver, port, func(c *iec62056.Config) {
					quick(c)
					withPassword(c)
					c.Block = drivers.NewDecimal(block, 0)
				}).(drivers.Historian)
				var times []string
				from := time.Date(2024, 2, 28, 0, 0, 0, 0, time.UTC)
				err := s.History(t.Context(), from, from.Add(48*time.Hour), func(r *drivers.Reading) error {
					times = append(times, r.Time.String())
					return nil
				})
				seen, _ := os.ReadFile(log)
				if err != nil || len(times) != 8 || times[0] != "2024-02-29T00:15:00+02:00" {
					t.Errorf("%v, %v\n%s", times, err, seen)
				}
			})
		}
	}
}

func TestTheForeignLISDevice(t *testing.T) {
	for name, args := range map[string]string{"plain": "", "bad first block": "--inject bad-partial:1", "bad second block": "--inject bad-partial:2", "echo": "--inject echo"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port, log := startPeer(t, append([]string{"--tcp", "0", "--lis200"}, strings.Fields(args)...)...)
			s := dialed(t, iec62056.LIS200, port, func(c *iec62056.Config) {
				quick(c)
				withPassword(c)
				c.Registers = []string{"note 3:190.0 number 0..9"}
				c.Block = drivers.NewDecimal(4, 0)
			})
			var r drivers.Reading
			if err := s.Read(t.Context(), nil, &r); err != nil {
				t.Fatal(err)
			}
			if v := find(&r, "7-0:13.2.0"); v == nil || v.Number.String() != "1234.5678" || r.Time.String() != "2024-02-29T10:15:30+01:00" {
				t.Errorf("got %s", r.AppendJSON(nil))
			}
			back, err := s.(drivers.Commander).Set(t.Context(), drivers.Parameter{Quantity: drivers.Quantity{Name: "note"}}, drivers.Value{Number: drivers.NewDecimal(5, 0)})
			if err != nil || back.Number.String() != "5" {
				t.Errorf("%s, %v", back.Number, err)
			}
			rows := 0
			from := time.Date(2024, 2, 28, 0, 0, 0, 0, time.UTC)
			err = s.(drivers.Historian).History(t.Context(), from, from.Add(48*time.Hour), func(*drivers.Reading) error {
				rows++
				return nil
			})
			seen, _ := os.ReadFile(log)
			if err != nil || rows != 12 {
				t.Errorf("%d rows, %v\n%s", rows, err, seen)
			}
			if strings.Count(string(seen), ":171.0") != strings.Count(string(seen), "4:170.0(0)") {
				t.Errorf("a lock was left open:\n%s", seen)
			}
		})
	}
}

func TestAnUnknownObjectIsTold(t *testing.T) {
	t.Parallel()
	port, _ := startPeer(t, "--tcp", "0", "--lis200")
	s := dialed(t, iec62056.LIS200, port, func(c *iec62056.Config) { quick(c); c.Read = []string{"9:999.0"} })
	var r drivers.Reading
	err := s.Read(t.Context(), nil, &r)
	if meter, ok := errors.AsType[*iec62056.MeterError](err); !ok || meter.Meaning != "object not available" {
		t.Errorf("got %v", err)
	}
}

func TestAConnectionThatDropsIsNoticed(t *testing.T) {
	t.Parallel()
	port, _ := startPeer(t, "--tcp", "0", "--inject", "drop")
	s := dialed(t, iec62056.Driver, port, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var r drivers.Reading
	if err := s.Read(ctx, nil, &r); err == nil || errors.Is(err, drivers.ErrTimeout) {
		t.Errorf("got %v", err)
	}
}

func find(r *drivers.Reading, code string) *drivers.Value {
	for i := range r.Values {
		if r.Values[i].Code == obis.MustParse(code) {
			return &r.Values[i]
		}
	}
	return nil
}
