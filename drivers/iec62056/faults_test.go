package iec62056

import (
	"bytes"
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
	"github.com/meter2mqtt/meter2mqtt/drivers/decodertest"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
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
		{"2023-12-31 23:59:59", "2023-12-31T23:59:59+01:00", "2023-12-31T23:59:59"},
		{"2023-12-31,23:59:59", "2023-12-31T23:59:59+01:00", "2023-12-31T23:59:59"},
		{"2023-12-31T23:59:59", "2023-12-31T23:59:59+01:00", "2023-12-31T23:59:59"},
		{"2023-12-31T23:59", "2023-12-31T23:59:00+01:00", "2023-12-31T23:59:00"},
		{"9912312359", "2099-12-31T23:59:00+01:00", "2099-12-31T23:59:00"},
		{"2402291200", "2024-02-29T12:00:00+01:00", "2024-02-29T12:00:00"},
		{"2504301200", "2025-04-30T12:00:00+02:00", "2025-04-30T12:00:00"},
		{"0000000000", "", ""},
		{"2500011200", "", ""},
		{"2501001200", "", ""},
		{"2504311200", "", ""},
		{"2501012401", "", ""},
		{"2501012360", "", ""},
		{"250101235960", "", ""},
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

func TestWhatIsNoClock(t *testing.T) {
	var k clock
	for _, text := range []string{
		"", "250714", "25071412xx", "3250714123456", "25-10-0100:00 ", "21/10/01 00:00", "2022-06-08x10:06:51", "1922-06-08 10:06:51", "2022-06-08 10-06-51",
	} {
		if got, ok := k.stamp([]byte(text)); ok {
			t.Errorf("%q is %s", text, got)
		}
	}
}

// A season digit tells winter and summer in each zone and each year.
func TestTheSeasonIsThatOfTheZone(t *testing.T) {
	for name, want := range map[string][2]string{
		"Europe/Lisbon":    {"2025-07-14T12:00:00Z", "2026-07-14T12:00:00+01:00"},
		"Europe/Istanbul":  {"2025-07-14T12:00:00+03:00", "2026-07-14T12:00:00+04:00"}, // no summer time since 2016
		"Asia/Kolkata":     {"2025-07-14T12:00:00+05:30", "2026-07-14T12:00:00+06:30"},
		"Pacific/Apia":     {"2025-07-14T12:00:00+13:00", "2026-07-14T12:00:00+14:00"},
		"Pacific/Honolulu": {"2025-07-14T12:00:00-10:00", "2026-07-14T12:00:00-09:00"},
	} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		k := clock{zone: zone}
		for i, text := range []string{"02507141200", "12607141200"} {
			if got, ok := k.stamp([]byte(text)); !ok || got.String() != want[i] {
				t.Errorf("%s, %s: %s, want %s", name, text, got, want[i])
			}
		}
	}
	istanbul, err := time.LoadLocation("Europe/Istanbul")
	if err != nil {
		t.Fatal(err)
	}
	k := clock{zone: istanbul}
	for text, want := range map[string]string{"01507141200": "2015-07-14T12:00:00+02:00", "02507141200": "2025-07-14T12:00:00+03:00"} {
		if got, _ := k.stamp([]byte(text)); got.String() != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestTimeAndDateMayComeApart(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ date, hour, want string }{
		{"250714", "123456", "2025-07-14T12:34:56+02:00"},
		{"25-07-14", "12:34:56", "2025-07-14T12:34:56+02:00"},
		{"25:07:14", "12-34-56", "2025-07-14T12:34:56+02:00"},
		{"0250714", "0123456", "2025-07-14T12:34:56+01:00"},
		{"2250714", "2123456", "2025-07-14T12:34:56Z"},
		{"250714", "1234", "2025-07-14T12:34:00+02:00"},
		{"2507", "123456", ""},
		{"25-07:14", "123456", ""},
		{"25.07.14", "123456", ""},
		{"3250714", "123456", ""},
		{"251314", "123456", ""},
		{"250714", "12345", ""},
	} {
		k := clock{zone: berlin}
		if got := k.assembled([]byte(c.date), []byte(c.hour)); got.String() != c.want {
			t.Errorf("%s, %s: %s, want %q", c.date, c.hour, got, c.want)
		}
	}
}

func TestTheLimitsOfTheConfigurationAreTaken(t *testing.T) {
	for _, c := range []struct {
		key  string // that is named; "": it is good
		set  func(*Config)
		name string
	}{
		{"", func(c *Config) { c.Address = "0189 azAZ" }, "an address of all characters"},
		{"", func(c *Config) { c.Address = drivers.Address(strings.Repeat("1", 32)) }, "the longest address"},
		{"address", func(c *Config) { c.Address = drivers.Address(strings.Repeat("1", 33)) }, "a longer one"},
		{"address", func(c *Config) { c.Address = "1/2" }, "an address with a slash"},
		{"address", func(c *Config) { c.Address = "1:2" }, "with a colon"},
		{"address", func(c *Config) { c.Address = "a{" }, "with a brace"},
		{"address", func(c *Config) { c.Address = "@a" }, "with an at"},
		{"", func(c *Config) { c.Level, c.Channel, c.Block = whole64(9), whole64(255), whole64(99) }, "the greatest numbers"},
		{"level", func(c *Config) { c.Level = whole64(10) }, "a level of two digits"},
		{"channel", func(c *Config) { c.Channel = whole64(256) }, "a channel beyond a byte"},
		{"channel", func(c *Config) { c.Channel = whole64(-1) }, "a channel below nought"},
		{"block", func(c *Config) { c.Block = whole64(100) }, "a block of three digits"},
		{"", func(c *Config) {
			c.IdentWait, c.AnswerWait, c.SwitchWait = 10*time.Millisecond, 5*time.Minute, time.Second
		}, "the least and the longest wait"},
		{"ident_wait", func(c *Config) { c.IdentWait = 9 * time.Millisecond }, "a shorter wait"},
		{"answer_wait", func(c *Config) { c.AnswerWait = 5*time.Minute + 1 }, "a longer wait"},
		{"switch_wait", func(c *Config) { c.SwitchWait = time.Second + 1 }, "a longer switch"},
		{"", func(c *Config) { c.Table, c.Argument = "4", " ~" }, "a table and an argument"},
		{"table", func(c *Config) { c.Table = "44" }, "two tables"},
		{"table", func(c *Config) { c.Table = "?" }, "a table that would be a question"},
		{"argument", func(c *Config) { c.Argument = "\x7f" }, "DEL"},
		{"argument", func(c *Config) { c.Argument = "\x1f" }, "a control character"},
		{"", func(c *Config) { c.Read = []string{"1.8.0", "1-0:1.8.0*255", strings.Repeat("1", 32)} }, "addresses"},
		{"read", func(c *Config) { c.Read = []string{""} }, "no address"},
		{"read", func(c *Config) { c.Read = []string{strings.Repeat("1", 33)} }, "an address of 33 characters"},
		{"read", func(c *Config) { c.Read = []string{"*"} }, "a star"},
		{"read", func(c *Config) { c.Read = []string{"x*y"} }, "a star in what is no code"},
	} {
		cfg := newConfig()
		c.set(cfg)
		err := cfg.Validate()
		if (err == nil) != (c.key == "") || err != nil && !strings.HasPrefix(err.Error(), c.key+":") {
			t.Errorf("%s: %v, want %q", c.name, err, c.key)
		}
	}
}

func whole64(n int64) drivers.Decimal { return drivers.NewDecimal(n, 0) }

// What a LIS-200 device says of an archive: the addresses, units and names of its
// columns, and a row.
func TestARowOfAnArchiveIsReadAsItsColumnsAre(t *testing.T) {
	d, err := newDecoder(lisName, newLISConfig(), drivers.Zones{})
	if err != nil {
		t.Fatal(err)
	}
	const addresses, units, names = "(1:400)(2:300)()()", "()(m3)(bar)()", "(Time)(Vm)(p.Mess)(-Zz09!)"
	const row = "(2026-01-31,12:00:00)(1234.5)(1.02)(7)"
	a := d.newArchive([]byte(addresses), []byte(units), []byte(names))
	var r drivers.Reading
	if !a.row(d, []byte(row), &r) {
		t.Fatal("the row is none")
	}
	if got := r.Time.String(); got != "2026-01-31T12:00:00" || r.Check != drivers.CheckBCC || r.Meter.Medium != "gas" {
		t.Errorf("of %s, %s, %s", got, r.Check, r.Meter.Medium)
	}
	var got []string
	for i := range r.Values {
		v := &r.Values[i]
		if v.Flags&drivers.Logged == 0 {
			t.Errorf("%s is not marked as logged", v.Name)
		}
		got = append(got, fmt.Sprintf("%s %s %s", v.Name, v.AppendPayload(nil), v.Unit))
	}
	want := []string{"", "p_mess 1.02 bar", "zz09 7 "}
	if len(got) == len(want) {
		want[0] = got[0] // the name of 2:300 is the table's
	}
	if diff := cmp.Diff(want, got); diff != "" || !strings.Contains(got[0], " 1234.5 m³") {
		t.Errorf("%q: %s", got, diff)
	}
	for name, other := range map[string]string{
		"a column too few": "(2026-01-31,12:00:00)(1234.5)(1.02)", "a column too many": row + "(8)", "no time": "(noon)(1234.5)(1.02)(7)",
		"the time of no moment": "(0000000000)(1234.5)(1.02)(7)", "a bracket that never closes": row[:len(row)-1], "nothing": "",
	} {
		if a.row(d, []byte(other), &r) {
			t.Errorf("%s: it is a row", name)
		}
	}
	timeless := d.newArchive([]byte("(2:300)"), []byte("(m3)"), nil)
	if timeless.row(d, []byte("(1234.5)"), &r) {
		t.Error("without a column of time: it is a row")
	}
	if got := brackets([]byte(strings.Repeat("(1)", maxColumns+1))); len(got) != maxColumns {
		t.Errorf("%d columns, want %d", len(got), maxColumns)
	}
}

func TestAnAnswerWithoutAValueTellsWhy(t *testing.T) {
	for text, want := range map[string]struct {
		field string
		cause error
	}{
		"(ER01)":                      {"answer", drivers.ErrRefused},
		"1.8.0(ER01)":                 {"answer", drivers.ErrRefused},
		"1.8.0()":                     {"data message", errEmpty},
		"()":                          {"data message", errEmpty},
		"no bracket":                  {"data message", errEmpty},
		"1.8.0(five*kWh)":             {"data message", errEmpty},
		"1.8.0(ER01)\r\n2.8.0(1*kWh)": {},
	} {
		d, err := newDecoder(iecName, newConfig(), drivers.Zones{})
		if err != nil {
			t.Fatal(err)
		}
		d.Feed(AppendBlock(nil, []byte(text), false))
		got, lost := decodertest.Drain(t, d)
		if want.field == "" {
			if len(got) != 1 || len(got[0].Values) != 1 || len(lost) != 0 {
				t.Errorf("%q: %d readings, lost %v", text, len(got), lost)
			}
			continue
		}
		if len(got) != 0 || len(lost) != 1 || lost[0].Field != want.field || !errors.Is(lost[0], want.cause) {
			t.Errorf("%q: %d readings, lost %v; want %s, %v", text, len(got), lost, want.field, want.cause)
		}
	}
}

func TestAMessageIsReadSetBySet(t *testing.T) {
	const head = "/XYZ5TEST\r\n"
	for _, c := range []struct {
		name, driver, medium, text string
		want                       string // medium, time and values
	}{
		{"a line of text between", iecName, "", "1.8.0(1*kWh)\r\nwords\r\n2.8.0(2*kWh)", "electricity  1-0:1.8.0=1 1-0:2.8.0=2"},
		{"a line of text at the end", iecName, "", "1.8.0(1*kWh)\r\nwords", "electricity  1-0:1.8.0=1"},
		{"two sets on a line", iecName, "", "1.8.0(1*kWh)2.8.0(2*kWh)", "electricity  1-0:1.8.0=1 1-0:2.8.0=2"},
		{"a set on the line behind its address", iecName, "", "1.8.0(1*kWh)\r\n(2501010000)\r\n2.8.0(2*kWh)", "electricity  1-0:1.8.0=1@2025-01-01T00:00:00 1-0:2.8.0=2"},
		{"blanks before a set", iecName, "", "  1.8.0(1*kWh)", "electricity  1-0:1.8.0=1"},
		{"a date without a time", iecName, "", "0.9.2(250714)\r\n1.8.0(1*kWh)", "electricity  1-0:0.9.2=\"250714\" 1-0:1.8.0=1"},
		{"a time without a date", iecName, "", "0.9.1(123456)\r\n1.8.0(1*kWh)", "electricity  1-0:0.9.1=\"123456\" 1-0:1.8.0=1"},
		{"both", iecName, "", "0.9.1(123456)\r\n0.9.2(250714)", "electricity 2025-07-14T12:34:56 1-0:0.9.1=\"123456\" 1-0:0.9.2=\"250714\""},
		{"a configured medium", iecName, "heat", "1.8.0(1)", "heat  6-0:1.8.0=\"1\""},
		{"a volume converter", lisName, "", "2:300(5*m3)", "gas  "},
	} {
		cfg := newConfig()
		if c.driver == lisName {
			cfg = newLISConfig()
		}
		cfg.Medium = c.medium
		d, err := newDecoder(c.driver, cfg, drivers.Zones{})
		if err != nil {
			t.Fatal(err)
		}
		d.Feed(append([]byte(head), AppendBlock(nil, []byte(c.text), false)...))
		got, lost := decodertest.Drain(t, d)
		if len(got) != 1 {
			t.Errorf("%s: %d readings, lost %v", c.name, len(got), lost)
			continue
		}
		var values []string
		for i := range got[0].Values {
			v := &got[0].Values[i]
			text := fmt.Sprintf("%s=%s", v.Code, v.AppendPayload(nil))
			if !v.Time.IsZero() {
				text += "@" + v.Time.String()
			}
			values = append(values, text)
		}
		text := fmt.Sprintf("%s %s %s", got[0].Meter.Medium, got[0].Time, strings.Join(values, " "))
		if text != c.want && (c.driver != lisName || !strings.HasPrefix(text, c.want)) {
			t.Errorf("%s: %s, want %s", c.name, text, c.want)
		}
	}
}

func TestWhoAMeterIsComesFromItsSets(t *testing.T) {
	d, err := newDecoder(iecName, newConfig(), drivers.Zones{})
	if err != nil {
		t.Fatal(err)
	}
	d.Feed(house)
	got, lost := decodertest.Drain(t, d)
	if len(got) != 1 {
		t.Fatalf("%d readings, lost %v", len(got), lost)
	}
	if m := got[0].Meter; m.Manufacturer != "XYZ" || m.ID != "12345678" || m.Version != "V1.23" || m.Medium != "electricity" {
		t.Errorf("%+v", m)
	}
}

func TestWhatAMeterRefusesWith(t *testing.T) {
	for text, want := range map[string]bool{
		"ER": true, "ER07": true, "ER07*kWh": false, "E": false, "EX07": false, "XR07": false,
		"#0103": true, "#0999": true, "#010/": false, "#010:": false, "#010": false, "#01030": false, "0103#": false, "": false,
	} {
		if got := isRefusal([]byte(text)); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}

func TestABlockIsWholeWithItsEndLine(t *testing.T) {
	for text, want := range map[string]bool{
		"\x021.8.0(1)\r\n!\r\n": true, "\x021.8.0(1)\n!": true, "\x021.8.0(1)\r!\r": true, "\x021.8.0(1)!\r\n": true, "\x02!": true, "\x02!\r\n": true,
		"\x021.8.0(1)\r\n": false, "\x021.8.0(a!\r\n": false, "!": false, "\r\n": false, "": false,
	} {
		if got := endsWhole([]byte(text)); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}

// What stands before a message, of a reader or of another meter, changes neither what
// is read nor where a loss is.
func TestALossIsTheSameWhateverCameBefore(t *testing.T) {
	block := AppendBlock(nil, []byte("1.8.0(1.5*kWh)"), false)
	odd := bytes.Clone(house)
	withParity(odd)
	odd[len(odd)-10] ^= 0x80
	for name, c := range map[string]struct {
		stream []byte
		field  string // of the loss; "": it is read
	}{
		"a block":                 {block, ""},
		"a readout":               {house, ""},
		"a block that is damaged": {spoiled(bytes.Clone(block)), "BCC"},
		"a block that is cut":     {block[:10], "ETX"},
		"a readout that is cut":   {house[:40], "ETX"},
		"a bit of parity":         {odd, "parity"},
	} {
		read := func(stream []byte) (*drivers.Reading, *drivers.FrameError) {
			d, err := newDecoder(iecName, newConfig(), drivers.Zones{})
			if err != nil {
				t.Fatal(err)
			}
			d.Feed(stream)
			got, lost := decodertest.Drain(t, d)
			d.Gap()
			more, late := decodertest.Drain(t, d)
			if got, lost = append(got, more...), append(lost, late...); len(lost) > 0 {
				return nil, lost[0]
			}
			if len(got) != 1 {
				t.Fatalf("%s: %d readings", name, len(got))
			}
			return got[0], nil
		}
		want, loss := read(c.stream)
		if (loss == nil) != (c.field == "") || loss != nil && loss.Field != c.field {
			t.Errorf("%s: lost %v, want %q", name, loss, c.field)
			continue
		}
		for _, before := range []string{"/?!\r\n", "\x06051\r\n", string(AppendCommand(nil, "R1", "1.8.0()", false)), "\x00\x00\x00", "\x01P0\x03x"} {
			got, lost := read(append([]byte(before), c.stream...))
			if loss != nil && (lost == nil || lost.Field != loss.Field || lost.Offset != loss.Offset || lost.Length != loss.Length) {
				t.Errorf("%s behind %q: lost %+v, want %+v", name, before, lost, loss)
			}
			if loss == nil && (got == nil || string(got.AppendJSON(nil)) != string(want.AppendJSON(nil))) {
				t.Errorf("%s behind %q: lost %v", name, before, lost)
			}
		}
	}
}

func TestAnAddressOfLISIsBroughtToItsKey(t *testing.T) {
	for text, want := range map[string]string{
		"2:300": "2:300", "02:0300.0": "2:300", "1:400.A": "1:400", "1:2_0.0": "1:2_0", "0:00": "0:0", "10:900": "10:900", "9:9": "9:9",
		"": "", "400": "", ":400": "", "1:2:3": "", "1:a": "", "1_0:2": "", "1.8.0": "", "12345678901:12345678": "12345678901:12345678", "12345678901:123456789": "",
	} {
		key, n, ok := lisAddress([]byte(text))
		if got := string(key[:n]); ok != (want != "") || ok && got != want {
			t.Errorf("%q: %q, %t; want %q", text, got, ok, want)
		}
	}
}

// IEC 62056-6-1 and the codes of IEC 62056-21, annex A.
func TestWhatACodeHolds(t *testing.T) {
	for _, c := range []struct {
		code obis.Code
		want class
		role role
	}{
		{obis.New(0, 0, 1, 0, 0), now, noRole},
		{obis.New(1, 0, 0, 9, 1), hour, noRole},
		{obis.New(1, 0, 0, 9, 2), day, noRole},
		{obis.New(1, 0, 0, 1, 2), dated, noRole},
		{obis.Code{1, 0, 0, 1, 0, 5}, dated, noRole}, // of billing period 5
		{obis.New(0, 0, 96, 2, 1), dated, noRole},
		{obis.New(0, 0, 96, 2, 3), dated, noRole},
		{obis.New(0, 0, 96, 2, 5), dated, noRole},
		{obis.New(0, 0, 96, 2, 10), dated, noRole},
		{obis.New(0, 0, 96, 14, 0), plainly, noRole},
		{obis.New(1, 0, 1, 8, 0), measure, noRole},
		{obis.New(1, 0, 0, 0, 0), plainly, meterID},
		{obis.New(0, 0, 96, 1, 0), plainly, meterID},
	} {
		if m := meaningOf(c.code); m.class != c.want || m.role != c.role {
			t.Errorf("%s: class %d, role %d; want %d, %d", c.code, m.class, m.role, c.want, c.role)
		}
	}
	for _, code := range []obis.Code{obis.New(1, 0, 0, 1, 0), obis.New(0, 0, 96, 2, 0), obis.New(0, 0, 96, 2, 4), obis.New(0, 0, 96, 2, 9), obis.New(1, 0, 1, 9, 1), obis.New(1, 0, 0, 8, 2)} {
		if m := meaningOf(code); m.class == dated || m.class == hour || m.class == day {
			t.Errorf("%s is of class %d", code, m.class)
		}
	}
	for code, want := range map[obis.Code]role{obis.New(1, 0, 0, 2, 0): meterVersion, obis.New(1, 0, 0, 2, 1): noRole, obis.New(1, 0, 1, 2, 0): noRole, obis.New(1, 0, 0, 3, 0): noRole} {
		if m := meaningOf(code); m.role != want {
			t.Errorf("%s has role %d, want %d", code, m.role, want)
		}
	}
}
