package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/hdlc"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// hanConfig reads the simulated meters, ciphered or not.
func hanConfig() *hdlc.Config {
	c := hdlc.Driver.NewConfig().(*hdlc.Config)
	c.Key, c.AuthKey = drivers.NewSecret(ExampleKey), drivers.NewSecret(ExampleAuthKey)
	return c
}

// heard are the readings of a stream, and why frames were lost.
func heard(t testing.TB, stream []byte) (got []*drivers.Reading, lost []string) {
	t.Helper()
	d, err := hdlc.Driver.NewDecoder(hanConfig(), drivers.Zones{})
	if err != nil {
		t.Fatal(err)
	}
	d.Feed(stream)
	d.Gap()
	for {
		var r drivers.Reading
		err := d.Next(&r)
		switch _, isLost := errors.AsType[*drivers.FrameError](err); {
		case errors.Is(err, drivers.ErrMore):
			return got, lost
		case isLost:
			lost = append(lost, err.Error())
		case err != nil:
			t.Fatal(err)
		default:
			got = append(got, &r)
		}
	}
}

// talking is what a model says to one client, by a clock that the caller moves.
func talking(t testing.TB, o Options, at *time.Time) *hanTalk {
	t.Helper()
	model := slices.IndexFunc(hanModels, func(m hanModel) bool { return m.Name == o.Model })
	every, err := parseFaults(o.Faults, hanFaults)
	if err != nil {
		t.Fatal(err)
	}
	p := &hanPort{model: &hanModels[model], clock: func() time.Time { return *at }, every: every, meter: newHAN(o.Seed, *at), counter: 1000}
	if p.model.Ciphered {
		if p.cipher, err = newSealer(o.Key, o.AuthKey); err != nil {
			t.Fatal(err)
		}
	}
	return &hanTalk{port: p, noise: rand.New(rand.NewPCG(1, 1))}
}

func (t *hanTalk) mustSay(tb testing.TB) []byte {
	tb.Helper()
	b, err := t.next()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// Each model's frames, decoded, say what the model's state says: whatever its
// list, its scales and its framing.
func TestWhatEachModelSaysIsReadBackExactly(t *testing.T) {
	for _, m := range hanModels {
		t.Run(m.Name, func(t *testing.T) {
			at := noon
			talk := talking(t, Options{Model: m.Name, Seed: 5}, &at)
			for range 40 {
				got, lost := heard(t, talk.mustSay(t))
				if len(got) != 1 || len(lost) != 0 {
					t.Fatalf("%d readings, lost %q", len(got), lost)
				}
				sameAsState(t, talk.port, got[0])
				at = at.Add(m.period)
			}
		})
	}
}

// sameAsState compares power, and the voltages where they are.
func sameAsState(t *testing.T, p *hanPort, r *drivers.Reading) {
	t.Helper()
	s := &p.meter.state
	for i := range r.Values {
		v := &r.Values[i]
		c := v.Code
		c[1] = 0
		want := ""
		switch {
		case c == powerCodes[0]:
			want = drivers.NewDecimal(s.power[0], 0).String()
		case c == powerCodes[1]:
			want = drivers.NewDecimal(s.power[1], 0).String()
		case c == voltsCodes[1] && strings.HasPrefix(p.model.Name, "kamstrup"):
			want = drivers.NewDecimal(s.volts[1]/10, 0).String()
		case c == voltsCodes[1]:
			want = drivers.NewDecimal(s.volts[1], -1).String()
		default:
			continue
		}
		if v.Number.String() != want {
			t.Errorf("%s is %s, want %s", v.Code, v.Number, want)
		}
	}
}

func TestTotalsComeEachHourAndNeverFall(t *testing.T) {
	for _, m := range hanModels {
		t.Run(m.Name, func(t *testing.T) {
			at := noon
			talk := talking(t, Options{Model: m.Name, Seed: 2}, &at)
			var before drivers.Decimal
			lists := 0
			for range 60 {
				for _, r := range first(heard(t, talk.mustSay(t))) {
					total, ok := totalOf(r)
					if !ok {
						continue
					}
					if lists++; total.Cmp(before) < 0 {
						t.Fatalf("a total fell from %s to %s", before, total)
					}
					before = total
				}
				at = at.Add(6 * time.Minute)
			}
			want := 7 // the first, and six hours less a moment
			if m.Ciphered {
				want = 60
			}
			if lists < want-1 || lists > want {
				t.Errorf("%d lists with totals in six hours, want %d", lists, want)
			}
		})
	}
}

func first(got []*drivers.Reading, _ []string) []*drivers.Reading { return got }

// totalOf is the energy that a reading tells, on whatever channel.
func totalOf(r *drivers.Reading) (drivers.Decimal, bool) {
	for i := range r.Values {
		c := r.Values[i].Code
		c[1] = 0
		if c == obis.New(1, 0, 1, 8, 0) {
			return r.Values[i].Number, true
		}
	}
	return drivers.Decimal{}, false
}

func TestHANFaults(t *testing.T) {
	for _, tt := range []struct {
		fault, model string
		good, lost   int
	}{
		{"bad-check=10", "aidon", 54, 6},
		{"bad-check=10", "austria", 54, 12}, // each costs the segment before it too
		{"cut=10", "kaifa", 54, 6},
		{"noise=5", "landis-gyr", 60, -1},
		{"silence=10", "kamstrup", 20, 0},
		{"zero-total=20", "kamstrup-se", 60, 0},
		{"counter-back=20", "austria", 55, 5}, // at 20 and 40 with one more each, at 60 alone
	} {
		t.Run(tt.model+" "+tt.fault, func(t *testing.T) {
			at := noon
			talk := talking(t, Options{Model: tt.model, Faults: []string{tt.fault}}, &at)
			var stream []byte
			for range 60 {
				stream = append(stream, talk.mustSay(t)...)
				at = at.Add(talk.port.model.period)
			}
			got, lost := heard(t, stream)
			if len(got) != tt.good || tt.lost >= 0 && len(lost) != tt.lost {
				t.Errorf("%d readings, %d lost, want %d and %d: %q", len(got), len(lost), tt.good, tt.lost, lost)
			}
		})
	}
}

func TestOnlyTheRightKeysReadACipheringMeter(t *testing.T) {
	at := noon
	other := drivers.NewSecret("FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF")
	for name, o := range map[string]Options{
		"another key":                    {Model: "austria", Key: other},
		"another authentication key":     {Model: "austria", AuthKey: other},
		"another key and authentication": {Model: "austria", Key: other, AuthKey: other},
	} {
		if got, lost := heard(t, talking(t, o, &at).mustSay(t)); len(got) != 0 || len(lost) != 1 {
			t.Errorf("%s: %d readings, lost %q", name, len(got), lost)
		}
	}
	if _, err := New("hdlc", Options{Model: "austria", Key: drivers.NewSecret("12")}); err == nil {
		t.Error("a key of two digits was taken")
	}
}

func TestAModelThatIsNotThereIsRefused(t *testing.T) {
	for driver, hint := range map[string]string{"hdlc": "aidon, kaifa", "p1": "just one"} {
		_, err := New(driver, Options{Model: "nokia"})
		if err == nil || !strings.Contains(drivers.Hint(err), hint) {
			t.Errorf("%s: %v, hint %q", driver, err, drivers.Hint(err))
		}
	}
}

func TestAHANMeterSpeaksOnALine(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s, err := New("hdlc", Options{Model: "kaifa", Period: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	line := &stopAfter{n: 5, stop: cancel}
	if err := s.Serve(ctx, line); err != nil {
		t.Fatal(err)
	}
	if got, lost := heard(t, line.said); len(got) != 5 || len(lost) != 0 {
		t.Errorf("%d readings, lost %q", len(got), lost)
	}
}

// stopAfter is a line that has heard enough after n writes.
type stopAfter struct {
	said []byte
	n    int
	stop func()
}

func (l *stopAfter) Read([]byte) (int, error) { select {} }

func (l *stopAfter) Write(b []byte) (int, error) {
	l.said = append(l.said, b...)
	if l.n--; l.n == 0 {
		l.stop()
	}
	return len(b), nil
}
