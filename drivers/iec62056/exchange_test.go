package iec62056

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/decodertest"
)

// step is one message of a conversation; tx: the reader sends it.
type step struct{ Dir, Hex, Text string }

type corpusExchange struct {
	Exchange []step
	Expected struct {
		Reads []struct {
			Asked, Obis, Value, Unit string
			Decimal                  *string
		}
		Clock string
	}
}

// scripted is a line to a meter that answers what the script says, and notes where
// the reader left it.
type scripted struct {
	net.Conn
	wrong chan string
}

func (scripted) SetMode(drivers.Mode) error  { return nil }
func (scripted) Discard() error              { return nil }
func (scripted) Flush(context.Context) error { return nil }
func (scripted) String() string              { return "script" }

// play answers by a script, within a bubble. What follows the last step is taken
// and not answered; so is a break at the end, which not every reader sends.
func play(t *testing.T, steps []step) scripted {
	t.Helper()
	if last := len(steps) - 1; steps[last].Dir == "tx" && steps[last].Hex == hex.EncodeToString(AppendCommand(nil, "B0", "", false)) {
		steps = steps[:last]
	}
	near, far := net.Pipe()
	line := scripted{near, make(chan string, 1)}
	t.Cleanup(func() { near.Close(); far.Close() })
	go func() {
		defer close(line.wrong)
		for _, s := range steps {
			b, err := hex.DecodeString(s.Hex)
			if err != nil {
				line.wrong <- err.Error()
				return
			}
			if s.Dir == "rx" {
				if _, err := far.Write(b); err != nil {
					return
				}
				continue
			}
			got := make([]byte, len(b))
			if n, err := io.ReadFull(far, got); err != nil || !bytes.Equal(got, b) {
				line.wrong <- "sent " + string(got[:n]) + ", want " + string(b)
				break
			}
		}
		_, _ = io.Copy(io.Discard, far)
	}()
	return line
}

// withProof is a conversation in which the reader asks for something before it shows
// the password, as ours does; the meter does not know what.
func withProof(steps []step) []step {
	shown := slices.IndexFunc(steps, func(s step) bool { return s.Dir == "tx" && strings.HasPrefix(s.Hex, "0150") })
	if shown < 0 {
		return steps
	}
	answer := []byte("\x02(ER01)\x03")
	return slices.Insert(slices.Clone(steps), shown,
		step{Dir: "tx", Hex: hex.EncodeToString(AppendCommand(nil, "R5", "0.0.0()", false))},
		step{Dir: "rx", Hex: hex.EncodeToString(append(answer, BlockCheck(answer[1:])))})
}

// inScript runs do with a session whose meter follows a script of the corpus.
func inScript(t *testing.T, name string, set func(*Config), do func(*testing.T, *session, *corpusExchange)) {
	t.Helper()
	var e corpusExchange
	load(t, "exchanges/"+name+".json", &e)
	synctest.Test(t, func(t *testing.T) {
		line := play(t, withProof(e.Exchange))
		c := newConfig()
		set(c)
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		s, err := dial(iecName)(t.Context(), line, c, drivers.Zones{})
		if err != nil {
			t.Fatal(err)
		}
		do(t, s.(*session), &e)
		_ = line.Close()
		if wrong := <-line.wrong; wrong != "" {
			t.Error(wrong)
		}
	})
}

func TestRealMetersAreReadAsTheirConversationsShow(t *testing.T) {
	nothing := func(*Config) {}
	readable := func(t *testing.T, s *session, e *corpusExchange) {
		t.Helper()
		var r drivers.Reading
		if err := s.Read(t.Context(), nil, &r); err != nil {
			t.Fatal(err)
		}
		if len(r.Values) < 2 || r.Check != drivers.CheckBCC || r.Meter.Manufacturer == "" {
			t.Errorf("got %s", r.AppendJSON(nil))
		}
		for i, want := range e.Expected.Reads {
			v := r.Values[i]
			n, err := drivers.ParseDecimal(*want.Decimal)
			if err != nil || v.Code.String()+"*255" != want.Obis || !v.Number.Equal(n) || string(v.Unit) != want.Unit {
				t.Errorf("%s: got %s %s %s", want.Asked, v.Code, v.Number, v.Unit)
			}
		}
	}
	t.Run("iskra readout", func(t *testing.T) { inScript(t, "iskra-me162-readout", nothing, readable) })
	t.Run("lem readout", func(t *testing.T) { inScript(t, "lem-em4tii-readout", nothing, readable) })
	t.Run("iskra registers", func(t *testing.T) {
		inScript(t, "iskra-me162-programming-r1", func(c *Config) {
			c.Read = []string{"1.8.0", "2.8.0", "1.8.0", "2.8.0", "1.8.0", "2.8.0"}
		}, readable)
	})
	t.Run("lem clock", func(t *testing.T) {
		inScript(t, "lem-em4tii-read-clock", withCode, func(t *testing.T, s *session, e *corpusExchange) {
			t.Helper()
			v, err := s.Get(t.Context(), clockParameter(true))
			if err != nil || v.Moment.String() != e.Expected.Clock {
				t.Errorf("%s, %v", v.Moment, err)
			}
		})
	})
	t.Run("lem sets its clock", func(t *testing.T) {
		inScript(t, "lem-em4tii-set-clock", func(c *Config) {
			withCode(c)
			c.SetClock, c.Repeat = "0.9.129", true
		}, func(t *testing.T, s *session, _ *corpusExchange) {
			t.Helper()
			at := drivers.Stamp{Wall: time.Date(2013, 1, 3, 16, 5, 0, 0, time.UTC)}
			_, err := s.Set(t.Context(), clockParameter(true), drivers.Value{Kind: drivers.Moment, Moment: at})
			if !errors.Is(err, drivers.ErrTimeout) { // the script ends before it is read back
				t.Error(err)
			}
		})
	})
}

func withCode(c *Config) { c.Password = drivers.NewSecret("00000000") }

func TestAnswersOfTheCorpusDecode(t *testing.T) {
	for _, file := range corpusFiles(t, "exchanges/*.json") {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			var e corpusExchange
			load(t, "exchanges/"+name+".json", &e)
			d := decoderFor(t)
			blocks := 0
			for _, s := range e.Exchange {
				b, err := hex.DecodeString(s.Hex)
				if err != nil {
					t.Fatal(err)
				}
				d.Feed(b)
				if s.Dir == "rx" && len(b) > 2 && b[0] == stx {
					blocks++
				}
			}
			d.Gap()
			got, lost := decodertest.Drain(t, d)
			for _, f := range lost {
				if errors.Is(f, drivers.ErrChecksum) != strings.Contains(name, "nak") && !errors.Is(f, drivers.ErrRefused) && !errors.Is(f, drivers.ErrSyntax) {
					t.Errorf("lost %v", f)
				}
			}
			if len(got)+len(lost) != blocks {
				t.Errorf("%d readings and %d losses of %d blocks", len(got), len(lost), blocks)
			}
		})
	}
}

func TestMessagesOfTheCorpusAreBuilt(t *testing.T) {
	var messages struct {
		Build []struct {
			What, Address, V, Baud, Mode, Name, Value, Text string
			Items                                           [][3]string
		}
	}
	load(t, "messages.json", &messages)
	for _, m := range messages.Build {
		var got []byte
		switch m.What {
		case "request":
			got = appendRequest(nil, '?', m.Address)
		case "option select":
			got = appendOption(nil, m.V[0], m.Baud[0], m.Mode[0])
		case "command":
			got = AppendCommand(nil, m.Name, m.Address+"("+m.Value+")", false)
		case "break":
			got = AppendCommand(nil, "B0", "", false)
		case "data sets":
			for _, i := range m.Items {
				got = DataSet{Address: i[0], Value: i[1], Unit: i[2]}.AppendTo(got)
			}
		default:
			t.Errorf("unknown message %q", m.What)
		}
		if diff := cmp.Diff(m.Text, string(got)); diff != "" {
			t.Errorf("%s: %s", m.What, diff)
		}
	}
}

func TestALongTextIsWrittenInPartialBlocks(t *testing.T) {
	text := strings.Repeat("0123456789", 20)
	message := func(dir string, b []byte) step { return step{Dir: dir, Hex: hex.EncodeToString(b)} }
	steps := []step{
		message("tx", []byte("/?!\r\n")), message("rx", []byte("/XYZ5TEST\r\n")), message("tx", []byte("\x06051\r\n")),
		message("rx", AppendCommand(nil, "P0", "()", false)),
		message("tx", AppendCommand(nil, "W3", "C.9.9("+text[:128], true)), message("rx", []byte{ack}),
		message("tx", AppendCommand(nil, "W3", text[128:]+")", false)), message("rx", []byte{ack}),
		message("tx", AppendCommand(nil, "R1", "C.9.9()", false)), message("rx", AppendBlock(nil, []byte("C.9.9("+text+")"), false)),
		message("tx", AppendCommand(nil, "B0", "", false)),
	}
	synctest.Test(t, func(t *testing.T) {
		line := play(t, steps)
		c := newConfig()
		c.Registers = []string{"banner C.9.9 text"}
		s, err := dial(iecName)(t.Context(), line, c, drivers.Zones{})
		if err != nil {
			t.Fatal(err)
		}
		_, _, parameters := s.Describe()
		back, err := s.(drivers.Commander).Set(t.Context(), parameters[1], drivers.Value{Kind: drivers.Text, Text: text})
		if err != nil || back.Text != text {
			t.Errorf("%q, %v", back.Text, err)
		}
		_ = line.Close()
		if wrong := <-line.wrong; wrong != "" {
			t.Error(wrong)
		}
	})
}
