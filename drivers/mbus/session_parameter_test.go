package mbus_test

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/mbus"
	"github.com/meter2mqtt/meter2mqtt/drivers/sim"
)

// commander dials a meter whose parameters are asked and set.
func commander(t testing.TB, line drivers.Line, c *mbus.Config) drivers.Commander {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	s, err := mbus.Driver.Dial(t.Context(), line, c, drivers.Zones{Meter: time.UTC})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s.(drivers.Commander)
}

// named is the parameter that a session describes under a name.
func named(t testing.TB, c drivers.Commander, name string) drivers.Parameter {
	t.Helper()
	_, _, all := c.(drivers.Session).Describe()
	for _, p := range all {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("no parameter %s", name)
	return drivers.Parameter{}
}

func number(n int64, exponent int) drivers.Value {
	return drivers.Value{Number: drivers.NewDecimal(n, exponent)}
}

func textOf(s string) drivers.Value { return drivers.Value{Kind: drivers.Text, Text: s} }

func at(t time.Time) drivers.Value {
	return drivers.Value{Kind: drivers.Moment, Moment: drivers.Stamp{Wall: t, Zoned: true}}
}

func shown(v drivers.Value) string { return string(v.AppendPayload(nil)) }

// Writes to address 1 and what confirms them.
const (
	writeAddress9 = "680606687301" + "51017A094916"
	nke9          = "1040094916"
)

func TestWritesAsTheyTravel(t *testing.T) {
	one := data(t, 1, "12345678", 1, "0413E8030000")
	limit := data(t, 1, "12345678", 2, "0413E803000004FD0B0A000000")
	changed := data(t, 1, "12345678", 3, "0413E803000004FD0B14000000")
	refusal := "68040468080170" + "017" + "A16"
	for _, c := range []struct {
		name      string
		parameter string
		value     drivers.Value
		answers   []string
		asked     []string
		back      string
		err       error
	}{
		{
			"an address that is free", "address", number(9, 0),
			[]string{e5, one, "", e5, e5, e5},
			[]string{nke1, ask1, nke9, nke1, writeAddress9, nke9},
			"9", nil,
		},
		{
			"the address that it has", "address", number(1, 0),
			[]string{e5, one},
			[]string{nke1, ask1},
			"1", nil,
		},
		{
			"an address that another meter has", "address", number(9, 0),
			[]string{e5, one, e5},
			[]string{nke1, ask1, nke9},
			"", drivers.ErrValue,
		},
		{
			"an acknowledgement that comes the second time", "address", number(9, 0),
			[]string{e5, one, "", e5, "", e5, e5},
			[]string{nke1, ask1, nke9, nke1, writeAddress9, writeAddress9, nke9},
			"9", nil,
		},
		{
			"no acknowledgement", "address", number(9, 0),
			[]string{e5, one, "", e5},
			[]string{nke1, ask1, nke9, nke1, writeAddress9, writeAddress9, writeAddress9},
			"", drivers.ErrUnconfirmed,
		},
		{
			"nobody at the new address", "address", number(9, 0),
			[]string{e5, one, "", e5, e5},
			[]string{nke1, ask1, nke9, nke1, writeAddress9, nke9, nke9, nke9},
			"", drivers.ErrUnconfirmed,
		},
		{
			"an application error in the place of an acknowledgement", "address", number(9, 0),
			[]string{e5, one, "", e5, refusal},
			[]string{nke1, ask1, nke9, nke1, writeAddress9},
			"", drivers.ErrRefused,
		},
		{
			"a meter that is not there", "address", number(9, 0),
			nil,
			[]string{nke1, nke1, nke1},
			"", drivers.ErrUnsent,
		},
		{
			"an application reset, which is sent once", "reset", textOf(""),
			[]string{e5},
			[]string{nke1, "680303687301" + "50C416"},
			"", drivers.ErrUnconfirmed,
		},
		{
			"an application reset with its sub-code", "reset", textOf("50"),
			[]string{e5, e5},
			[]string{nke1, "6804046873015050" + "1416"},
			`"50"`, nil,
		},
		{
			"a choice of records", "readout", textOf("13, FD17"),
			[]string{e5, e5},
			[]string{nke1, "680808687301510813" + "08FD17FC16"},
			`"13, FD17"`, nil,
		},
		{
			"a record that is read back", "limit", number(20, 0),
			[]string{e5, e5, e5, changed},
			[]string{nke1, "680A0A68730151" + "04FD0B14000000E516", nke1, ask1},
			"20", nil,
		},
		{
			"a record that stays as it was", "limit", number(20, 0),
			[]string{e5, e5, e5, limit},
			[]string{nke1, "680A0A68730151" + "04FD0B14000000E516", nke1, ask1},
			"10", nil,
		},
		{
			"a record that the readout does not hold", "limit", number(20, 0),
			[]string{e5, e5, e5, one},
			[]string{nke1, "680A0A68730151" + "04FD0B14000000E516", nke1, ask1},
			"", drivers.ErrUnconfirmed,
		},
		{
			"an action, which is sent once", "clear", textOf(""),
			[]string{e5},
			[]string{nke1, "6806066873015100" + "9307" + "5F16"},
			"", drivers.ErrUnconfirmed,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			slave := &script{answers: c.answers}
			inBubble(t, slave, func(t bubble) {
				m := commander(t, t.line, configured(func(q *mbus.Config) {
					q.Address = "1"
					q.Records = []string{"limit 04FD0B 0..100", "clear 009307 press"}
				}))
				back, err := m.Set(t.Context(), named(t, m, c.parameter), c.value)
				if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
					t.Errorf("got %v, want %v", err, c.err)
				}
				if c.back != "" && shown(back) != c.back {
					t.Errorf("read back %s, want %s", shown(back), c.back)
				}
			})
			if diff := cmp.Diff(c.asked, slave.heard); diff != "" {
				t.Errorf("asked %s", diff)
			}
		})
	}
}

func TestWhatMayNotBeSentNeverReachesTheLine(t *testing.T) {
	slave := &script{}
	inBubble(t, slave, func(t bubble) {
		m := commander(t, t.line, configured(func(q *mbus.Config) {
			q.Address = "1"
			q.Records = []string{
				"limit 04FD0B 0..100", "energy 0C06", "real 0513", "serial 0C78", "name 0DFD10", "day 426C read-only", "valve 01FD1F switch",
			}
		}))
		for _, c := range []struct {
			parameter string
			value     drivers.Value
		}{
			{"address", number(251, 0)},
			{"address", number(-1, 0)},
			{"address", number(15, -1)},
			{"address", textOf("9")},
			{"baud_rate", textOf("1000")},
			{"baud_rate", number(9600, 0)},
			{"reset", textOf("5")},
			{"reset", textOf("again")},
			{"readout", textOf("FD")},
			{"readout", textOf("")},
			{"readout", textOf("all,13")},
			{"clock", drivers.Value{Kind: drivers.Moment}},
			{"limit", number(101, 0)},
			{"limit", number(15, -1)},
			{"energy", number(100_000_000, 0)},
			{"energy", number(5, -1)},
			{"real", number(123_456_789, 0)},
			{"serial", textOf("12a")},
			{"serial", textOf("123456789")},
			{"name", textOf("日本")},
			{"name", textOf(strings.Repeat("x", 192))},
			{"day", at(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))},
			{"valve", number(1, 0)},
			{"valve", drivers.Value{Kind: drivers.Bool, Number: drivers.NewDecimal(2, 0)}},
		} {
			if _, err := m.Set(t.Context(), named(t, m, c.parameter), c.value); !errors.Is(err, drivers.ErrValue) {
				t.Errorf("%s took %s: %v", c.parameter, shown(c.value), err)
			}
		}
		if _, err := m.Get(t.Context(), named(t, m, "reset")); !errors.Is(err, drivers.ErrValue) {
			t.Errorf("reset was read: %v", err)
		}
		if _, err := m.Set(t.Context(), drivers.Parameter{Quantity: drivers.Quantity{Name: "else"}}, number(1, 0)); !errors.Is(err, drivers.ErrValue) {
			t.Errorf("a parameter that is none was set: %v", err)
		}
	})
	if len(slave.heard) > 0 {
		t.Errorf("the meter was told %q", slave.heard)
	}
}

// settable is a meter alone on its line, with records of every coding.
func settable() []sim.MBusSlave {
	s := sim.MBusBuilding(1)[1]
	record := func(field byte, vib string, data string) mbus.DataRecord {
		v, _ := hex.DecodeString(vib)
		d, _ := hex.DecodeString(data)
		return mbus.DataRecord{Field: field, VIB: v, Data: d}
	}
	s.Settable = []mbus.DataRecord{
		record(4, "FD0B", "0A000000"), record(0xC, "78", "78563412"), record(5, "FD48", "00000000"),
		record(2, "ED7E", "0000"), record(1, "FD1F", "00"), record(0xD, "FD10", ""), record(0xB, "FB74", "000000"),
	}
	return []sim.MBusSlave{s}
}

func TestEachKindOfRecordIsSetAndReadBack(t *testing.T) {
	inBubble(t, busOf(t, settable()), func(t bubble) {
		m := commander(t, t.line, configured(func(q *mbus.Config) {
			q.Address = "2"
			q.Records = []string{
				"set 04FD0B", "serial 0C78", "volts 05FD48", "day 02ED7E", "valve 01FD1F switch", "place 0DFD10", "limit 0BFB74",
			}
		}))
		for _, c := range []struct {
			parameter string
			value     drivers.Value
			shown     string
		}{
			{"set", number(-7, 0), "-7"},
			{"serial", textOf("00000042"), `"00000042"`},
			{"volts", number(2305, -1), "230.5"},
			{"day", at(time.Date(2027, 3, 31, 0, 0, 0, 0, time.UTC)), `"2027-03-31T00:00:00Z"`},
			{"valve", drivers.Value{Kind: drivers.Bool, Number: drivers.NewDecimal(1, 0)}, "true"},
			{"place", textOf("Keller süd"), `"Keller süd"`},
			{"limit", number(-12345, -3), "-12.345"},
		} {
			p := named(t, m, c.parameter)
			back, err := m.Set(t.Context(), p, c.value)
			if err != nil || shown(back) != c.shown {
				t.Errorf("%s: wrote %s, read back %s, %v", c.parameter, shown(c.value), shown(back), err)
			}
			if now, err := m.Get(t.Context(), p); err != nil || shown(now) != c.shown {
				t.Errorf("%s: reads %s, %v; want %s", c.parameter, shown(now), err, c.shown)
			}
		}
	})
}

func TestTheClockIsSetToTheMinuteAndReadBack(t *testing.T) {
	inBubble(t, busOf(t, settable()), func(t bubble) {
		m := commander(t, t.line, address("2"))
		clock := named(t, m, "clock")
		for _, to := range []time.Time{
			time.Date(2026, 11, 21, 16, 30, 0, 0, time.UTC),
			time.Date(2028, 2, 29, 23, 59, 50, 0, time.FixedZone("", 3600)),
		} {
			back, err := m.Set(t.Context(), clock, at(to))
			if off := back.Moment.Wall.Sub(to).Abs(); err != nil || off > time.Minute {
				t.Errorf("set %s, read back %s, %v", to, back.Moment, err)
			}
		}
		if _, err := m.Set(t.Context(), clock, at(time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC))); !errors.Is(err, drivers.ErrValue) {
			t.Errorf("1999: %v", err)
		}
	})
}

func TestAMeterIsFollowedToItsNewAddressAndSpeed(t *testing.T) {
	for _, c := range []*mbus.Config{address("2"), secondary("30000101"), address("")} {
		inBubble(t, busOf(t, settable()), func(t bubble) {
			m := commander(t, t.line, c)
			if back, err := m.Set(t.Context(), named(t, m, "address"), number(77, 0)); err != nil || shown(back) != "77" {
				t.Errorf("address %s, %v", shown(back), err)
			}
			baud := named(t, m, "baud_rate")
			if back, err := m.Set(t.Context(), baud, textOf("9600")); err != nil || shown(back) != `"9600"` {
				t.Errorf("speed %s, %v", shown(back), err)
			}
			if now, err := m.Get(t.Context(), named(t, m, "address")); err != nil || shown(now) != "77" {
				t.Errorf("address %s, %v", shown(now), err)
			}
			if now, err := m.Get(t.Context(), baud); err != nil || shown(now) != `"9600"` {
				t.Errorf("speed %s, %v", shown(now), err)
			}
			if err := m.(drivers.Session).Read(t.Context(), nil, new(drivers.Reading)); err != nil {
				t.Error(err)
			}
			if last := t.line.modes[len(t.line.modes)-1].Baud; last != 2400 {
				t.Errorf("the line was left at %d baud", last)
			}
		})
	}
}

// deaf is a line whose meter acknowledges a new speed and stays at the old one.
type deaf struct {
	*pipeLine
	speed int
}

func (l *deaf) SetMode(m drivers.Mode) error {
	l.speed = m.Baud
	return l.pipeLine.SetMode(m)
}

func (l *deaf) Write(p []byte) (int, error) {
	if l.speed == 9600 {
		return len(p), nil // nobody hears that
	}
	return l.pipeLine.Write(p)
}

func TestAMeterThatDoesNotFollowIsAskedAtItsOldSpeed(t *testing.T) {
	inBubble(t, busOf(t, settable()), func(t bubble) {
		line := &deaf{pipeLine: t.line}
		m := commander(t, line, address("2"))
		back, err := m.Set(t.Context(), named(t, m, "baud_rate"), textOf("9600"))
		if !errors.Is(err, drivers.ErrRefused) || shown(back) != `"2400"` {
			t.Errorf("%s, %v", shown(back), err)
		}
		if _, err := m.Get(t.Context(), named(t, m, "address")); err != nil {
			t.Error(err)
		}
	})
}

func TestASpeedIsRefusedWhereTheLineCannotChangeIt(t *testing.T) {
	slave := &script{}
	inBubble(t, slave, func(t bubble) {
		t.line.name = "tcp://converter:10001"
		m := commander(t, t.line, address("2"))
		_, err := m.Set(t.Context(), named(t, m, "baud_rate"), textOf("9600"))
		if !errors.Is(err, errors.ErrUnsupported) || !errors.Is(err, drivers.ErrUnsent) {
			t.Error(err)
		}
	})
	if len(slave.heard) > 0 {
		t.Errorf("the meter was told %q", slave.heard)
	}
}

// broken is a line that fails after so many writes.
type broken struct {
	*pipeLine
	left int
}

func (l *broken) Write(p []byte) (int, error) {
	if l.left--; l.left < 0 {
		return 0, io.ErrClosedPipe
	}
	return l.pipeLine.Write(p)
}

func TestALineThatFailsAfterAWriteLeavesItOpenWhatBecameOfIt(t *testing.T) {
	for n, open := range []bool{false, true, true, true} {
		slave := &script{answers: []string{e5, e5, e5}}
		inBubble(t, slave, func(t bubble) {
			m := commander(t, &broken{t.line, n}, configured(func(q *mbus.Config) {
				q.Address, q.Records = "1", []string{"limit 04FD0B"}
			}))
			_, err := m.Set(t.Context(), named(t, m, "limit"), number(1, 0))
			if !errors.Is(err, io.ErrClosedPipe) || errors.Is(err, drivers.ErrUnconfirmed) != open || errors.Is(err, drivers.ErrUnsent) == open {
				t.Errorf("after %d writes: %v", n, err)
			}
		})
	}
}
