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
)

// script is a slave that answers just what it was told to, in order, whatever it
// is asked; "" is silence. heard is what it was asked.
type script struct {
	answers []string
	heard   []string
}

func (s *script) Serve(ctx context.Context, line io.ReadWriter) error {
	var framer mbus.Framer
	buf := make([]byte, 512)
	for {
		n, err := line.Read(buf)
		if err != nil {
			return nil //nolint:nilerr // that the line ends is how it ends
		}
		framer.Feed(buf[:n])
		for {
			var f mbus.Frame
			if framer.Next(&f) != nil {
				break
			}
			s.heard = append(s.heard, strings.ToUpper(hex.EncodeToString(f.Raw)))
			if err := s.say(ctx, line); err != nil {
				return nil //nolint:nilerr // the same
			}
		}
	}
}

func (s *script) say(ctx context.Context, line io.Writer) error {
	if len(s.answers) == 0 {
		return nil
	}
	b, err := hex.DecodeString(s.answers[0])
	s.answers = s.answers[1:]
	if err != nil || len(b) == 0 {
		return err
	}
	select {
	case <-time.After(40 * time.Millisecond):
	case <-ctx.Done():
	}
	_, err = line.Write(b)
	return err
}

// data is an answer of meter 12345678 at address 1, or of another.
func data(t *testing.T, a byte, id string, access byte, records string) string {
	t.Helper()
	meter, err := mbus.ParseAddress(id + "24230104")
	if err != nil {
		t.Fatal(err)
	}
	body, err := hex.DecodeString(records)
	if err != nil {
		t.Fatal(err)
	}
	f := mbus.Frame{Kind: mbus.Long, C: 0x08, A: a, CI: 0x72, Data: append(mbus.AppendLongHeader(nil, meter, access, 0, 0), body...)}
	b, err := f.AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(b)
}

// Requests to address 1 and to the selected meter.
const (
	nke1, ask1, ask1again = "1040014116", "107B017C16", "105B015C16"
	askFD, askFDagain     = "107BFD7816", "105BFD5816"
	select1234            = "680B0B6853FD5278563412FFFFFFFFB216"
	e5                    = "E5"
)

func TestConversations(t *testing.T) {
	one := data(t, 1, "12345678", 1, "0413E8030000")
	first := data(t, 1, "12345678", 1, "0406010000001F")
	second := data(t, 1, "12345678", 2, "0413020000001F")
	last := data(t, 1, "12345678", 3, "042D03000000")
	stranger := data(t, 1, "87654321", 3, "042D03000000")
	elsewhere := data(t, 2, "12345678", 3, "042D03000000")
	broken := one[:len(one)-4] + "0016"
	busy := "68040468080170088116"
	later := time.Minute

	for _, c := range []struct {
		name    string
		config  func(*mbus.Config)
		answers []string
		asked   []string
		values  string // names of the reading; "": there is none
		err     error
	}{
		{
			"one telegram", nil,
			[]string{e5, one},
			[]string{nke1, ask1},
			"volume status", nil,
		},
		{
			"several telegrams toggle the frame count bit", nil,
			[]string{e5, first, second, last},
			[]string{nke1, ask1, ask1again, ask1},
			"energy volume power status", nil,
		},
		{
			"a broken telegram is asked for again with the same bit", nil,
			[]string{e5, first, broken, second, "", last},
			[]string{nke1, ask1, ask1again, ask1again, ask1, ask1},
			"energy volume power status", nil,
		},
		{
			"another meter's telegram among them ends the readout", nil,
			[]string{e5, first, stranger},
			[]string{nke1, ask1, ask1again},
			"", drivers.ErrSyntax,
		},
		{
			"a telegram that never comes ends the readout", nil,
			[]string{e5, first},
			[]string{nke1, ask1, ask1again, ask1again, ask1again},
			"", drivers.ErrTimeout,
		},
		{
			"an acknowledgement in a telegram's place ends it too", nil,
			[]string{e5, first, e5},
			[]string{nke1, ask1, ask1again},
			"", drivers.ErrShort,
		},
		{
			"the same telegram again", nil,
			[]string{e5, first, data(t, 1, "12345678", 2, "0406010000001F")},
			[]string{nke1, ask1, ask1again},
			"", drivers.ErrSyntax,
		},
		{
			"the first telegram alone", func(c *mbus.Config) { c.Telegrams = 1 },
			[]string{e5, first},
			[]string{nke1, ask1},
			"energy status", nil,
		},
		{
			"an answer from another address is asked for again", nil,
			[]string{e5, elsewhere, one},
			[]string{nke1, ask1, ask1},
			"volume status", nil,
		},
		{
			"nothing but answers from another address", nil,
			[]string{e5, elsewhere, elsewhere, elsewhere},
			[]string{nke1, ask1, ask1, ask1},
			"", drivers.ErrSyntax,
		},
		{
			"a busy meter is asked from the start, later", nil,
			[]string{e5, first, busy, e5, first, last},
			[]string{nke1, ask1, ask1again, nke1, ask1, ask1again},
			"energy power status", nil,
		},
		{
			"a meter that stays busy", nil,
			[]string{e5, busy, e5, busy, e5, busy},
			[]string{nke1, ask1, nke1, ask1, nke1, ask1},
			"", drivers.ErrRefused,
		},
		{
			"a meter without data", nil,
			[]string{e5, e5},
			[]string{nke1, ask1},
			"", drivers.ErrRefused,
		},
		{
			"a meter that sleeps through the first call", nil,
			[]string{"", e5, one},
			[]string{nke1, nke1, ask1},
			"volume status", nil,
		},
		{
			"noise in the place of an acknowledgement is somebody", nil,
			[]string{"A5", one},
			[]string{nke1, ask1},
			"volume status", nil,
		},
		{
			"a foreign echo and noise", nil,
			[]string{nke1 + e5, "FF00" + one},
			[]string{nke1, ask1},
			"volume status", nil,
		},
		{
			"reset and choice come before, and the link begins anew", func(c *mbus.Config) { c.Reset, c.Readout = "50", []string{"13", "FD17"} },
			[]string{e5, e5, e5, e5, one},
			[]string{nke1, "6804046873015050" + "1416", "680808685301510813" + "08FD17DC16", nke1, ask1},
			"volume status", nil,
		},
		{
			"a choice that the meter does not take", func(c *mbus.Config) { c.Readout = []string{"all"} },
			[]string{e5, "6804046808017002" + "7B16"},
			[]string{nke1, "6804046873" + "01517F4416"},
			"", drivers.ErrRefused,
		},
		{
			"a request of one's own brings the reading", func(c *mbus.Config) { c.Requests = []string{"68 03 03 68 53 01 A1 F5 16", "10 5B 01 5C 16"} },
			[]string{e5, e5, one},
			[]string{nke1, "680303685301A1F516", ask1again},
			"volume status", nil,
		},
		{
			"after one's own without data the usual request comes", func(c *mbus.Config) { c.Requests = []string{"680303685301A1F516"} },
			[]string{e5, e5, one},
			[]string{nke1, "680303685301A1F516", ask1},
			"volume status", nil,
		},
		{
			"an alarm", func(c *mbus.Config) { c.Alarm = true },
			[]string{e5, one, "6804046808017104" + "7E16"},
			[]string{nke1, ask1, "105A015B16"},
			"volume status alarm", nil,
		},
		{
			"no alarm", func(c *mbus.Config) { c.Alarm = true },
			[]string{e5, one, e5},
			[]string{nke1, ask1, "105A015B16"},
			"volume status alarm", nil,
		},
		{
			"a secondary address is selected, and left", func(c *mbus.Config) { c.Address, c.Secondary = "", "12345678" },
			[]string{e5, first, last, e5},
			[]string{select1234, askFD, askFDagain, "1040FD3D16"},
			"energy power status", nil,
		},
		{
			"whoever answers must fit the secondary address", func(c *mbus.Config) { c.Address, c.Secondary, c.Retries = "", "12345678", 0 },
			[]string{e5, stranger, e5},
			[]string{select1234, askFD, "1040FD3D16"},
			"", drivers.ErrSyntax,
		},
		{
			"a long wait", func(c *mbus.Config) { c.Wake, c.Timeout = 2200*time.Millisecond, 5*time.Second },
			[]string{e5, one},
			[]string{nke1, ask1},
			"volume status", nil,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			slave := &script{answers: c.answers}
			inBubble(t, slave, func(t bubble) {
				config := address("1")
				if c.config != nil {
					c.config(config)
				}
				began := time.Now()
				r, err := readOnce(t, t.line, config)
				if !errors.Is(err, c.err) || time.Since(began) > later {
					t.Errorf("after %s: %v, want %v", time.Since(began), err, c.err)
				}
				if got := strings.Join(keys(r), " "); err == nil && got != c.values {
					t.Errorf("got %s, want %s", got, c.values)
				}
			})
			if diff := cmp.Diff(c.asked, slave.heard); diff != "" {
				t.Errorf("asked %s", diff)
			}
		})
	}
}

func TestAMeterThatNeverEndsItsReadoutIsLeft(t *testing.T) {
	answers := []string{e5}
	for n := range byte(40) {
		answers = append(answers, data(t, 1, "12345678", n, "0406"+hex.EncodeToString([]byte{n, 0, 0, 0})+"1F"))
	}
	slave := &script{answers: answers}
	inBubble(t, slave, func(t bubble) {
		if _, err := readOnce(t, t.line, address("1")); !errors.Is(err, drivers.ErrLong) {
			t.Error(err)
		}
	})
	if len(slave.heard) != 1+33 {
		t.Errorf("asked %d times", len(slave.heard))
	}
}

// A session outlives a failure: its meter gets one call in the next round, and all
// of them again when it is back.
func TestADeadMeterIsCalledOnceARound(t *testing.T) {
	one := data(t, 1, "12345678", 1, "0413E8030000")
	slave := &script{answers: []string{"", "", "", "", "", e5, one, "", "", e5, one}}
	inBubble(t, slave, func(t bubble) {
		s, err := mbus.Driver.Dial(t.Context(), t.line, address("1"), drivers.Zones{})
		if err != nil {
			t.Fatal(err)
		}
		for i, dead := range []bool{true, true, true, false, false} {
			err := s.Read(t.Context(), nil, new(drivers.Reading))
			if errors.Is(err, drivers.ErrTimeout) != dead || err == nil == dead {
				t.Errorf("round %d: %v", i, err)
			}
		}
		if id, _, _ := s.Describe(); id.ID != "12345678" {
			t.Errorf("described as %+v", id)
		}
	})
	want := []string{nke1, nke1, nke1, nke1, nke1, nke1, ask1, nke1, nke1, nke1, ask1}
	if diff := cmp.Diff(want, slave.heard); diff != "" {
		t.Error(diff)
	}
}

func TestALineThatFailsIsNoMetersFault(t *testing.T) {
	inBubble(t, building(t), func(t bubble) {
		_ = t.line.Close()
		_, err := readOnce(t, t.line, address("1"))
		if !errors.Is(err, io.ErrClosedPipe) || errors.Is(err, drivers.ErrTimeout) {
			t.Error(err)
		}
	})
}

// wakeful notes what is written, and when.
type wakeful struct {
	*pipeLine
	at     []time.Time
	writes []string
}

func (l *wakeful) Write(p []byte) (int, error) {
	l.at, l.writes = append(l.at, time.Now()), append(l.writes, strings.ToUpper(hex.EncodeToString(p)))
	return l.pipeLine.Write(p)
}

func TestASleepingMeterIsWoken(t *testing.T) {
	slave := &script{answers: []string{e5, data(t, 1, "12345678", 1, "0413E8030000")}}
	inBubble(t, slave, func(t bubble) {
		l := &wakeful{pipeLine: t.line}
		c := address("1")
		c.Wake = 2200 * time.Millisecond
		if _, err := readOnce(t, l, c); err != nil {
			t.Fatal(err)
		}
		if want := []string{strings.Repeat("55", 480), nke1, ask1}; !cmp.Equal(want, l.writes) {
			t.Errorf("wrote %q", l.writes)
		}
		bit := time.Second / 2400
		if pause := l.at[1].Sub(l.at[0]) - 480*11*bit; pause < 33*bit || pause > 330*bit {
			t.Errorf("%s between wake-up and request", pause)
		}
	})
}
