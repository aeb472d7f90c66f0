package iec62056

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

func commanded(name, text string) step { return say("tx", AppendCommand(nil, name, text, false)) }
func answered(text string) step        { return say("rx", AppendBlock(nil, []byte(text), false)) }

var (
	acked = say("rx", []byte{ack})
	naked = say("rx", []byte{nak})
)

// inConversation runs do with a session whose meter goes by a script.
func inConversation(t *testing.T, set func(*Config), steps []step, do func(*testing.T, *session)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		line := play(t, steps)
		c := newConfig()
		if set != nil {
			set(c)
		}
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		berlin, err := time.LoadLocation("Europe/Berlin")
		if err != nil {
			t.Fatal(err)
		}
		s, err := dial(iecName)(t.Context(), line, c, drivers.Zones{Meter: berlin})
		if err != nil {
			t.Fatal(err)
		}
		do(t, s.(*session))
		_ = line.Close()
		if wrong := <-line.wrong; wrong != "" {
			t.Error(wrong)
		}
	})
}

func registersOf(lines ...string) func(*Config) {
	return func(c *Config) { c.Registers = lines }
}

// payload is a value as it is published, or "" with an error.
func payload(v drivers.Value, err error) string {
	if err != nil {
		return ""
	}
	return string(v.AppendPayload(nil))
}

func TestRegistersAreReadAsTheirKind(t *testing.T) {
	for _, c := range []struct {
		name, register, answer, want string // want empty: refused
		err                          error
	}{
		{"a number in the unit of the configuration", "x 1.8.0 number MWh", "(1500*kWh)", "1.500", nil},
		{"a number without a unit", "x 1.8.0 number MWh", "(1.5)", "1.5", nil},
		{"a number in another unit", "x 1.8.0 number MWh", "(5*V)", "", drivers.ErrValue},
		{"a number that is none", "x 1.8.0 number", "(five)", "", drivers.ErrSyntax},
		{"true", "x 1.8.0 bool", "(0001)", "true", nil},
		{"false", "x 1.8.0 bool", "(0000)", "false", nil},
		{"neither", "x 1.8.0 bool", "(on)", "", drivers.ErrSyntax},
		{"a moment", "x 1.8.0 time", "(260131120000)", `"2026-01-31T12:00:00+01:00"`, nil},
		{"a moment that is none", "x 1.8.0 time", "(noon)", "", drivers.ErrSyntax},
		{"a text", "x 1.8.0 text", "(a*b)", `"a*b"`, nil},
		{"an error of the meter", "x 1.8.0 text", "(ER07)", "", drivers.ErrRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			inConversation(t, registersOf(c.register), signedOn(commanded("R1", "1.8.0()"), answered("1.8.0"+c.answer)), func(t *testing.T, s *session) {
				t.Helper()
				v, err := s.Get(t.Context(), drivers.Parameter{Quantity: drivers.Quantity{Name: "x"}})
				if got := payload(v, err); got != c.want || !errors.Is(err, c.err) {
					t.Errorf("%s, %v; want %s, %v", got, err, c.want, c.err)
				}
			})
		})
	}
}

func TestRegistersAreWrittenAsTheirKind(t *testing.T) {
	moment := drivers.Value{Kind: drivers.Moment, Moment: drivers.Stamp{Wall: time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC), Zoned: true}}
	number := func(n int64) drivers.Value { return drivers.Value{Number: drivers.NewDecimal(n, 0)} }
	text := func(s string) drivers.Value { return drivers.Value{Kind: drivers.Text, Text: s} }
	written := func(text string, more ...step) []step { return append([]step{commanded("W1", text)}, more...) }
	for _, c := range []struct {
		name, register string
		v              drivers.Value
		steps          []step // behind the sign-on; nil: nothing is said at all
		want           string // what was read back; empty: refused
		err            error
	}{
		{"a number with its decimals", "x 1.1.0 number 0.00..9.00", number(5), written("1.1.0(5.00)", acked, commanded("R1", "1.1.0()"), answered("1.1.0(5.00)")), "5.00", nil},
		{"true", "x 1.1.0 bool", drivers.Value{Kind: drivers.Bool, Number: drivers.NewDecimal(1, 0)}, written("1.1.0(1)", acked, commanded("R1", "1.1.0()"), answered("1.1.0(1)")), "true", nil},
		{"a moment in the meter's zone", "x 1.1.0 time", moment, written("1.1.0(260701120000)", acked, commanded("R1", "1.1.0()"), answered("1.1.0(260701120000)")), `"2026-07-01T12:00:00+02:00"`, nil},
		{"a text", "x 1.1.0 text", text("north"), written("1.1.0(north)", acked, commanded("R1", "1.1.0()"), answered("1.1.0(north)")), `"north"`, nil},
		{"an action", "x 1.1.0 text press", text(""), []step{commanded("E2", "1.1.0()"), acked}, `""`, nil},
		{"an action is not repeated", "x 1.1.0 text press", text(""), []step{commanded("E2", "1.1.0()"), naked}, "", drivers.ErrRefused},
		{"a write that was not understood is sent three times", "x 1.1.0 text", text("a"), written("1.1.0(a)", naked, commanded("W1", "1.1.0(a)"), naked, commanded("W1", "1.1.0(a)"), naked), "", drivers.ErrRefused},
		{"a write that the meter refuses", "x 1.1.0 text", text("a"), written("1.1.0(a)", answered("(ER02)")), "", drivers.ErrRefused},
		{"a write that is answered with a value", "x 1.1.0 text", text("a"), written("1.1.0(a)", answered("1.1.0(a)")), "", drivers.ErrRefused},
		{"a write that cannot be read back", "x 1.1.0 text", text("a"), written("1.1.0(a)", acked, commanded("R1", "1.1.0()"), answered("(ER02)")), "", drivers.ErrUnconfirmed},
		{"a number beyond its limits", "x 1.1.0 number 0..9", number(10), nil, "", drivers.ErrValue},
		{"a bracket", "x 1.1.0 text", text("a)b"), nil, "", drivers.ErrValue},
		{"a text longer than any", "x 1.1.0 text", text(strings.Repeat("a", maxText+1)), nil, "", drivers.ErrValue},
		{"a register that can only be read", "x 1.1.0 text read-only", text("a"), nil, "", drivers.ErrValue},
		{"a register that is not there", "y 1.1.0 text", text("a"), nil, "", drivers.ErrValue},
	} {
		t.Run(c.name, func(t *testing.T) {
			steps := []step{say("tx", nil)}
			if c.steps != nil {
				steps = signedOn(c.steps...)
			}
			inConversation(t, registersOf(c.register), steps, func(t *testing.T, s *session) {
				t.Helper()
				v, err := s.Set(t.Context(), drivers.Parameter{Quantity: drivers.Quantity{Name: "x"}}, c.v)
				if got := payload(v, err); got != c.want || !errors.Is(err, c.err) {
					t.Errorf("%s, %v; want %s, %v", got, err, c.want, c.err)
				}
			})
		})
	}
}

func TestLongTextsAreWrittenInPartialBlocks(t *testing.T) {
	long := strings.Repeat("a", 200)
	first := say("tx", AppendCommand(nil, "W3", "1.1.0("+long[:128], true))
	last := say("tx", AppendCommand(nil, "W3", long[128:]+")", false))
	for _, c := range []struct {
		name  string
		set   func(*Config)
		steps []step
		want  error
	}{
		{"both are taken", nil, []step{first, acked, last, acked, commanded("R1", "1.1.0()"), answered("1.1.0(" + long + ")")}, nil},
		{"the second is not understood", nil, []step{first, acked, last, naked}, drivers.ErrRefused},
		{"the first is refused", nil, []step{first, answered("(ER05)")}, drivers.ErrRefused},
		{"no answer", nil, []step{first}, drivers.ErrTimeout},
		{"a meter that knows no partial blocks", func(c *Config) { c.Command = "R5" }, []step{}, drivers.ErrValue},
	} {
		t.Run(c.name, func(t *testing.T) {
			set := func(own *Config) {
				own.Registers = []string{"x 1.1.0 text"}
				if c.set != nil {
					c.set(own)
				}
			}
			inConversation(t, set, signedOn(c.steps...), func(t *testing.T, s *session) {
				t.Helper()
				_, err := s.Set(t.Context(), drivers.Parameter{Quantity: drivers.Quantity{Name: "x"}}, drivers.Value{Kind: drivers.Text, Text: long})
				if !errors.Is(err, c.want) {
					t.Errorf("%v, want %v", err, c.want)
				}
			})
		})
	}
}

func TestTheClockIsSetInTheFormInWhichItIsShown(t *testing.T) {
	at := drivers.Value{Kind: drivers.Moment, Moment: drivers.Stamp{Wall: time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC), Zoned: true}}
	read := func(date, hour string) []step {
		return []step{commanded("R1", "0.9.2()"), answered("0.9.2(" + date + ")"), commanded("R1", "0.9.1()"), answered("0.9.1(" + hour + ")")}
	}
	for _, c := range []struct {
		name         string
		shown, wrote [2]string
	}{
		{"plain", [2]string{"260101", "030405"}, [2]string{"260701", "12000"}},
		{"with a season digit", [2]string{"0260101", "0030405"}, [2]string{"1260701", "112000"}},
		{"with separators", [2]string{"26-01-01", "03:04:05"}, [2]string{"26-07-01", "12:00:0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			steps := read(c.shown[0], c.shown[1])
			steps = append(steps, commanded("W1", "0.9.2("+c.wrote[0]+")"), acked, say("tx", []byte("\x01W1\x020.9.1("+c.wrote[1])))
			inConversation(t, nil, signedOn(steps...), func(t *testing.T, s *session) {
				t.Helper()
				_, err := s.Set(t.Context(), drivers.Parameter{Quantity: drivers.Quantity{Name: "clock"}}, at)
				if !errors.Is(err, drivers.ErrTimeout) || !errors.Is(err, drivers.ErrUnconfirmed) { // the script ends within the time of day: some seconds have passed
					t.Error(err)
				}
			})
		})
	}
	t.Run("no time", func(t *testing.T) {
		inConversation(t, nil, signedOn(read("000000", "000000")...), func(t *testing.T, s *session) {
			t.Helper()
			if _, err := s.Get(t.Context(), drivers.Parameter{Quantity: drivers.Quantity{Name: "clock"}}); err == nil {
				t.Error("a clock that shows nothing is read")
			}
		})
	})
	t.Run("a number", func(t *testing.T) {
		inConversation(t, nil, []step{say("tx", nil)}, func(t *testing.T, s *session) {
			t.Helper()
			if _, err := s.Set(t.Context(), drivers.Parameter{Quantity: drivers.Quantity{Name: "clock"}}, drivers.Value{}); !errors.Is(err, drivers.ErrValue) {
				t.Error(err)
			}
		})
	})
	t.Run("formatted", func(t *testing.T) {
		inConversation(t, func(c *Config) { c.SetClock = "C000" }, signedOn(say("tx", []byte("\x01W2\x02C000(2607011200"))), func(t *testing.T, s *session) {
			t.Helper()
			if _, err := s.Set(t.Context(), drivers.Parameter{Quantity: drivers.Quantity{Name: "clock"}}, at); !errors.Is(err, drivers.ErrTimeout) {
				t.Error(err)
			}
		})
	})
}

func TestAMeterMayBeWokenInOtherWays(t *testing.T) {
	identified := []step{say("rx", []byte("/XYZ0TEST\r\n")), say("rx", []byte("\x021.8.0(1.5*kWh)\r\n!\r\n\x03")), say("rx", []byte{BlockCheck([]byte("1.8.0(1.5*kWh)\r\n!\r\n\x03"))})}
	request := []byte("/?!\r\n")
	for _, c := range []struct {
		name, wake string
		steps      []step
		want       error
	}{
		{"the request right behind the NULs", "short", append([]step{say("tx", append(make([]byte, shortWake), request...))}, identified...), nil},
		{"nobody wakes up", "fast", []step{say("tx", []byte{0})}, drivers.ErrTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			inConversation(t, func(own *Config) { own.Wake, own.Mode = c.wake, "A" }, c.steps, func(t *testing.T, s *session) {
				t.Helper()
				var r drivers.Reading
				if err := s.Read(t.Context(), nil, &r); !errors.Is(err, c.want) || err == nil && len(r.Values) != 1 {
					t.Errorf("%v, want %v: %s", err, c.want, r.AppendJSON(nil))
				}
			})
		})
	}
}

func TestTwoRegistersOfOneNameAreAMistake(t *testing.T) {
	for _, lines := range [][]string{{"x 1.8.0 number", "x 2.8.0 number"}, {"clock 0.9.1 time"}, {"x 1.8.0 number a..1"}, {"x 1.8.0 number 1..b"}} {
		c := newConfig()
		c.Registers = lines
		if err := c.Validate(); err == nil || !strings.Contains(fmt.Sprint(err), "registers:") {
			t.Errorf("%q: %v", lines, err)
		}
	}
	c := newConfig()
	c.Address = drivers.Address(strings.Repeat("1", 33))
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "address:") {
		t.Errorf("33 characters: %v", err)
	}
}

// What an explanation says of logs and commands, span by span.
func TestLogsAndCommandsAreExplained(t *testing.T) {
	log := "P.01(1260131120000)(00)(15)(1)(1.5)(kW)\r\n(0.1)\r\n(0.2)\r\n(0.3)(0.4)\r\n"
	capture := append([]byte("/?12345678!\r\n/XYZ5TEST\r\n"), AppendCommand(nil, "P1", "(00000000)", false)...)
	capture = append(capture, AppendCommand(nil, "R5", "P.01(;)", false)...)
	capture = append(capture, AppendBlock(nil, []byte(log), false)...)
	spans, err := Driver.Explain(newConfig(), drivers.Zones{}, capture)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, s := range spans {
		all = append(all, strings.Join(append(s.In, s.Name+" "+s.Text+" "+s.Value), "/"))
	}
	got := strings.Join(all, "\n")
	for _, want := range []string{"device address 12345678", "command/command R5", "password or its operand", "power_import_last_average 100 W", "power_import_last_average 200 W", "refused: row of a log"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not said in\n%s", want, got)
		}
	}
	if strings.Contains(got, "00000000") {
		t.Error("the password is shown")
	}
}
