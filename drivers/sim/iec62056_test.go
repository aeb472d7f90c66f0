package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/canary"
	"github.com/meter2mqtt/meter2mqtt/drivers/iec62056"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// optic is a line to a simulated meter. It notes what was sent and each mode.
type optic struct {
	net.Conn
	mu    sync.Mutex
	sent  strings.Builder
	modes []string
	plain bool // it cannot change its speed
}

func (w *optic) Write(p []byte) (int, error) {
	w.mu.Lock()
	w.sent.Write(p)
	w.mu.Unlock()
	return w.Conn.Write(p)
}

func (w *optic) SetMode(m drivers.Mode) error {
	if w.plain {
		return errors.ErrUnsupported
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.modes = append(w.modes, m.String())
	return nil
}

func (w *optic) Discard() error              { return nil }
func (w *optic) Flush(context.Context) error { return nil }
func (w *optic) String() string              { return "wire" }

func (w *optic) said() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent.String()
}

// optical is a session with a simulated meter, within a bubble. What the meter
// says runs through a pump, for a pipe has no buffer.
func optical(t *testing.T, d drivers.Driver, build func(Options) (*Simulator, error), o Options, set func(*iec62056.Config)) (drivers.Session, *optic) {
	t.Helper()
	o.Clock = time.Now
	m, err := build(o)
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() {
		if err := m.Serve(ctx, far); err != nil && !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		near.Close()
		far.Close()
		ended.Wait()
	})
	c := d.NewConfig().(*iec62056.Config)
	if set != nil {
		set(c)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	w := &optic{Conn: near}
	s, err := d.Dial(t.Context(), w, c, drivers.Zones{Meter: amsterdam()})
	if err != nil {
		t.Fatal(err)
	}
	return s, w
}

func valueOf(r *drivers.Reading, code string) *drivers.Value {
	for i := range r.Values {
		if r.Values[i].Code == obis.MustParse(code) {
			return &r.Values[i]
		}
	}
	return nil
}

func TestEachModeOfTheOpticalMeterIsRead(t *testing.T) {
	for _, c := range []struct{ model, modes string }{
		{"mode-a", "300 7E1"},
		{"mode-b", "300 7E1, 9600 7E1, 300 7E1"},
		{"mode-c", "300 7E1, 9600 7E1, 300 7E1"},
		{"mode-d", "2400 7E1"},
		{"mode-e", "300 7E1, 9600 7E1, 300 7E1"},
	} {
		t.Run(c.model, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, w := optical(t, iec62056.Driver, newIEC, Options{Model: c.model}, func(cfg *iec62056.Config) {
					if c.model == "mode-d" {
						cfg.Mode = "D"
					}
				})
				var r drivers.Reading
				if err := s.Read(t.Context(), nil, &r); err != nil {
					t.Fatal(err)
				}
				if v := valueOf(&r, "1-0:1.8.0"); v == nil || v.Unit != "kWh" || v.Number.Sign() <= 0 || r.Meter.ID != iecAddress {
					t.Errorf("got %s", r.AppendJSON(nil))
				}
				if got := strings.Join(w.modes, ", "); got != c.modes {
					t.Errorf("modes %s, want %s", got, c.modes)
				}
			})
		})
	}
}

func TestEachFaultOfTheOpticalMeterIsSurvived(t *testing.T) {
	for _, f := range iecFaults {
		for _, registers := range []bool{false, true} {
			t.Run(fmt.Sprint(f.Name, " ", registers), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s, _ := optical(t, iec62056.Driver, newIEC, Options{Faults: []string{f.Name + "=3"}}, func(c *iec62056.Config) {
						if registers {
							c.Read = []string{"1.8.0", "32.7.0"}
						}
					})
					read := 0
					for range 12 {
						var r drivers.Reading
						err := s.Read(t.Context(), nil, &r)
						if err == nil {
							read++
						} else if !errors.Is(err, drivers.ErrTimeout) && !errors.Is(err, drivers.ErrChecksum) && !errors.Is(err, drivers.ErrShort) && !errors.Is(err, drivers.ErrRefused) {
							t.Errorf("an error without a type: %v", err)
						}
						time.Sleep(time.Minute)
					}
					if read < 9 {
						t.Errorf("%d of 12 readings", read)
					}
				})
			})
		}
	}
}

func TestASilentMeterIsToldAndTheLineIsLeftReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, w := optical(t, iec62056.Driver, newIEC, Options{Faults: []string{"silence=1"}}, nil)
		var r drivers.Reading
		if err := s.Read(t.Context(), nil, &r); !errors.Is(err, drivers.ErrTimeout) {
			t.Errorf("got %v", err)
		}
		if w.modes[len(w.modes)-1] != "300 7E1" {
			t.Errorf("modes %v", w.modes)
		}
	})
}

func TestACancelledReadEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := optical(t, iec62056.Driver, newIEC, Options{Faults: []string{"silence=1"}}, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		var r drivers.Reading
		if err := s.Read(ctx, nil, &r); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 2*time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	})
}

func TestAWrongPasswordIsSentOnce(t *testing.T) {
	for _, d := range []struct {
		drivers.Driver
		make func(Options) (*Simulator, error)
	}{{iec62056.Driver, newIEC}, {iec62056.LIS200, newLIS200}} {
		t.Run(d.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, w := optical(t, d.Driver, d.make, Options{}, func(c *iec62056.Config) {
					c.Password = drivers.NewSecret(canary.MeterPassword)
					c.Registers = []string{"switch C.3.9 number 0..3"}
				})
				p := drivers.Parameter{Quantity: drivers.Quantity{Name: "switch"}}
				for range 5 {
					_, err := s.(drivers.Commander).Set(t.Context(), p, drivers.Value{Number: drivers.NewDecimal(1, 0)})
					if !errors.Is(err, drivers.ErrAuth) || strings.Contains(err.Error(), canary.MeterPassword) || drivers.Hint(err) == "" {
						t.Fatalf("got %v, hint %q", err, drivers.Hint(err))
					}
				}
				if n := strings.Count(w.said(), canary.MeterPassword); n != 1 {
					t.Errorf("the password was sent %d times", n)
				}
			})
		})
	}
}

func TestTheOpticalMetersClockIsSetAndReadBack(t *testing.T) {
	for _, d := range []struct {
		drivers.Driver
		make func(Options) (*Simulator, error)
		way  string
	}{{iec62056.Driver, newIEC, "0.9.1"}, {iec62056.Driver, newIEC, "0.9.129"}, {iec62056.LIS200, newLIS200, "1:400"}} {
		t.Run(d.way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, w := optical(t, d.Driver, d.make, Options{}, func(c *iec62056.Config) {
					c.Password, c.SetClock = drivers.NewSecret(ExamplePassword), d.way
				})
				_, _, parameters := s.Describe()
				at := time.Date(2026, 7, 1, 10, 11, 12, 0, time.UTC)
				back, err := s.(drivers.Commander).Set(t.Context(), parameters[0], drivers.Value{Kind: drivers.Moment, Moment: drivers.Stamp{Wall: at, Zoned: true}})
				if err != nil {
					t.Fatal(err)
				}
				if off := back.Moment.Wall.Sub(at); off < 0 || off > 5*time.Second || !back.Moment.Zoned {
					t.Errorf("set to %s, reads %s", at, back.Moment)
				}
				if opened, closed := strings.Count(w.said(), ":171.0("), strings.Count(w.said(), ":170.0(0)"); opened != closed {
					t.Errorf("%d locks opened, %d closed", opened, closed)
				}
			})
		})
	}
}

func TestLogsOfTheOpticalMeterComeOldestFirst(t *testing.T) {
	for _, block := range []int64{0, 7} {
		for _, d := range []struct {
			drivers.Driver
			make     func(Options) (*Simulator, error)
			profiles []string
			rows     int
		}{
			{iec62056.Driver, newIEC, []string{"P.01", "P.98"}, 2*96 + 1 + 2},
			{iec62056.LIS200, newLIS200, []string{"3"}, 2*24 + 1},
		} {
			t.Run(fmt.Sprint(d.Name, " ", block), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					time.Sleep(180 * 24 * time.Hour) // into summer, before the meter counts its ticks
					s, _ := optical(t, d.Driver, d.make, Options{}, func(c *iec62056.Config) {
						c.Profiles, c.Block = d.profiles, drivers.NewDecimal(block, 0)
					})
					to := time.Now().Truncate(24 * time.Hour).Add(-2 * time.Hour) // midnight in Amsterdam
					var last time.Time
					rows := 0
					err := s.(drivers.Historian).History(t.Context(), to.Add(-48*time.Hour), to, func(r *drivers.Reading) error {
						if r.Time.Wall.Before(last) || !r.Time.Zoned {
							t.Errorf("row %d: %s after %s", rows, r.Time, last)
						}
						for _, v := range r.Values {
							if v.Flags&drivers.Logged == 0 {
								t.Errorf("%s is not marked as a row of the log", v.Name)
							}
						}
						last = r.Time.Wall
						rows++
						return nil
					})
					if err != nil || rows != d.rows {
						t.Errorf("%d rows, want %d; %v", rows, d.rows, err)
					}
				})
			})
		}
	}
}

func TestAMeterThatDoesNotKeepItsSpeedIsReadAtTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close()
		w := &optic{Conn: near}
		go stubborn(far)
		s, err := iec62056.Driver.Dial(t.Context(), w, iec62056.Driver.NewConfig(), drivers.Zones{})
		if err != nil {
			t.Fatal(err)
		}
		var r drivers.Reading
		if err := s.Read(t.Context(), nil, &r); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(w.said(), "\x06000\r\n") || len(r.Values) != 1 {
			t.Errorf("sent %q, got %s", w.said(), r.AppendJSON(nil))
		}
	})
}

// stubborn offers 9600 baud and falls silent when it is taken.
func stubborn(line net.Conn) {
	var heard string
	buf := make([]byte, 64)
	for {
		n, err := line.Read(buf)
		if err != nil {
			return
		}
		heard += string(buf[:n])
		answer := []byte(nil)
		switch {
		case strings.HasSuffix(heard, "/?!\r\n"):
			answer = []byte("/SIM5STUBBORN\r\n")
		case strings.HasSuffix(heard, "\x06000\r\n"):
			answer = iec62056.AppendReadout(nil, []iec62056.DataSet{{Address: "1.8.0", Value: "1.5", Unit: "kWh"}})
		}
		if len(answer) > 0 {
			if _, err := line.Write(answer); err != nil {
				return
			}
		}
	}
}

func TestEndlessTextIsAnErrorAndNotEndless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close()
		go func() {
			buf := make([]byte, 64)
			if _, err := far.Read(buf); err != nil {
				return
			}
			for {
				if _, err := far.Write([]byte("1.8.0(1.5*kWh)\r\n")); err != nil {
					return
				}
			}
		}()
		s, err := iec62056.Driver.Dial(t.Context(), &optic{Conn: near}, iec62056.Driver.NewConfig(), drivers.Zones{})
		if err != nil {
			t.Fatal(err)
		}
		var r drivers.Reading
		if err := s.Read(t.Context(), nil, &r); !errors.Is(err, drivers.ErrLong) {
			t.Errorf("got %v", err)
		}
	})
}
