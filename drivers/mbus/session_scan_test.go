package mbus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/mbus"
	"github.com/meter2mqtt/meter2mqtt/drivers/sim"
)

// outcome is what a search found, by the keys that reach it.
type outcome struct {
	found  []string
	doubts []string
	last   drivers.Progress
}

// searching is a Search that collects.
func (o *outcome) searching(ways ...string) drivers.Search {
	return drivers.Search{
		Ways: ways,
		Found: func(f drivers.Found) error {
			var at []string
			for _, k := range f.Keys {
				at = append(at, k.Key+" "+k.Value)
			}
			if text := strings.Join(at, ", "); f.Doubt == "" {
				o.found = append(o.found, text)
			} else {
				o.doubts = append(o.doubts, text+": "+f.Doubt)
			}
			return nil
		},
		Progress: func(p drivers.Progress) { o.last = p },
	}
}

func plain() *mbus.Config { return configured(func(*mbus.Config) {}) }

// buildingAddresses are the secondary ones of sim.MBusBuilding.
var buildingAddresses = []string{
	"secondary 300001002D2C0804", "secondary 30000101AE4C0E16", "secondary 30000104AE4C0E16",
	"secondary 30000202A5114006", "secondary 4711081593151003", "secondary 785634124204" + "0202",
	"secondary 55555555496A0116, fabrication 00000001", "secondary 55555555496A0116, fabrication 00000002",
}

func sorted(s []string) []string {
	s = slices.Clone(s)
	sort.Strings(s)
	return s
}

func TestASecondarySearchFindsEveryMeterWhateverTheLineDoes(t *testing.T) {
	for _, fault := range []string{"", "silence=7", "bad-check=4", "cut=4", "noise=3", "noise=1", "echo", "babble", "busy=9"} {
		t.Run("fault "+fault, func(t *testing.T) {
			var faults []string
			if fault != "" {
				faults = []string{fault}
			}
			inBubble(t, building(t, faults...), func(t bubble) {
				var o outcome
				began := time.Now()
				if err := mbus.Driver.Scan(t.Context(), t.line, plain(), o.searching("secondary")); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(sorted(buildingAddresses), sorted(o.found)); diff != "" {
					t.Error(diff)
				}
				for _, d := range o.doubts {
					t.Logf("doubt: %s", d)
				}
				t.Logf("%s, %d probes", time.Since(began), o.last.Probes)
			})
		})
	}
}

func TestAPrimarySearchNamesSharedAddresses(t *testing.T) {
	slaves := sim.MBusBuilding(1)
	slaves[1].Primary = 1
	inBubble(t, busOf(t, slaves), func(t bubble) {
		var o outcome
		if err := mbus.Driver.Scan(t.Context(), t.line, plain(), o.searching("primary")); err != nil {
			t.Fatal(err)
		}
		want := []string{"address 3", "address 4", "address 5", "address 6", "address 7", "address 8"}
		if diff := cmp.Diff(want, o.found); diff != "" {
			t.Error(diff)
		}
		if len(o.doubts) != 1 || !strings.HasPrefix(o.doubts[0], "address 1: several meters share") {
			t.Errorf("doubts: %q", o.doubts)
		}
	})
}

func TestNoiseIsNoMeter(t *testing.T) {
	inBubble(t, busOf(t, nil, "babble"), func(t bubble) {
		var o outcome
		if err := mbus.Driver.Scan(t.Context(), t.line, plain(), o.searching()); err != nil {
			t.Fatal(err)
		}
		if len(o.found)+len(o.doubts) > 0 {
			t.Errorf("found %q, doubts %q", o.found, o.doubts)
		}
	})
}

// A search that is stopped again and again, and goes on each time from where it
// was, finds what an undisturbed one finds.
func TestASearchIsResumed(t *testing.T) {
	inBubble(t, building(t, "noise=9"), func(t bubble) {
		var o outcome
		state, rounds := "", 0
		for {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
			search := o.searching("secondary", "primary")
			search.Resume = state
			err := mbus.Driver.Scan(ctx, t.line, plain(), search)
			cancel()
			if err == nil {
				break
			}
			if !errors.Is(err, context.DeadlineExceeded) || rounds > 50 {
				t.Fatalf("round %d: %v", rounds, err)
			}
			state = o.last.State
			rounds++
		}
		all := sorted(o.found)
		for a := range 8 {
			buildingWith := fmt.Sprintf("address %d", a+1)
			if !slices.Contains(all, buildingWith) {
				t.Errorf("%s is missing", buildingWith)
			}
		}
		for _, a := range buildingAddresses {
			if !slices.Contains(all, a) {
				t.Errorf("%s is missing", a)
			}
		}
		if len(o.doubts) > 0 {
			t.Errorf("doubts: %q", o.doubts)
		}
		if rounds < 2 {
			t.Errorf("stopped %d times only", rounds)
		}
	})
}

func TestOthersAreReadBetweenTheStepsOfASearch(t *testing.T) {
	inBubble(t, building(t), func(t bubble) {
		var o outcome
		search, steps := o.searching("secondary"), 0
		search.Yield = func() error {
			if steps++; steps%10 == 0 {
				if _, err := readOnce(t, t.line, secondary("30000100")); err != nil {
					t.Error(err)
				}
			}
			return nil
		}
		if err := mbus.Driver.Scan(t.Context(), t.line, plain(), search); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(sorted(buildingAddresses), sorted(o.found)); diff != "" || len(o.doubts) > 0 {
			t.Errorf("%s, doubts %q", diff, o.doubts)
		}
	})
}

func TestOthersHaveTheLineAtItsOwnSpeed(t *testing.T) {
	enough := errors.New("enough")
	inBubble(t, building(t), func(t bubble) {
		var o outcome
		search, steps := o.searching("primary"), 0
		search.Bauds = []int{9600}
		search.Yield = func() error {
			if last := t.line.modes[len(t.line.modes)-1].Baud; last != 2400 {
				t.Errorf("the line was handed on at %d baud", last)
			}
			if steps++; steps == 3 {
				return enough
			}
			return nil
		}
		if err := mbus.Driver.Scan(t.Context(), t.line, plain(), search); !errors.Is(err, enough) {
			t.Error(err)
		}
		var rates []int
		for _, m := range t.line.modes {
			rates = append(rates, m.Baud)
		}
		if diff := cmp.Diff([]int{9600, 2400, 9600, 2400, 9600, 2400}, rates); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAStateThatIsNoneIsRefused(t *testing.T) {
	inBubble(t, building(t), func(t bubble) {
		for _, state := range []string{
			"x", `{"part":-1}`, `{"next":"123456789"}`, `{"next":"12G"}`, `{"silent":["1234567890"]}`, `{"suspects":["-"]}`, `{"known":{"x":[]}}`,
		} {
			var o outcome
			search := o.searching("secondary")
			search.Resume = state
			if err := mbus.Driver.Scan(t.Context(), t.line, plain(), search); !errors.Is(err, drivers.ErrValue) {
				t.Errorf("%s: %v", state, err)
			}
		}
		var o outcome
		search := o.searching("primary")
		search.Resume = `{"next":"300"}`
		if err := mbus.Driver.Scan(t.Context(), t.line, plain(), search); err == nil {
			t.Error("a search went on from address 300")
		}
	})
}

func TestTwinsThatNothingTellsApartAreTold(t *testing.T) {
	twins := sim.MBusBuilding(1)[6:]
	twins[0].Fabrication, twins[1].Fabrication = "", ""
	inBubble(t, busOf(t, twins), func(t bubble) {
		var o outcome
		if err := mbus.Driver.Scan(t.Context(), t.line, plain(), o.searching("secondary")); err != nil {
			t.Fatal(err)
		}
		if len(o.found) != 0 || len(o.doubts) != 1 || !strings.Contains(o.doubts[0], "55555555") {
			t.Errorf("found %q, doubts %q", o.found, o.doubts)
		}
	})
}

// crowdOf is so many meters with random numbers, whose answers have a length.
func crowdOf(n, length int) []sim.MBusSlave {
	r := rand.New(rand.NewPCG(9, 9))
	var slaves []sim.MBusSlave
	for i := range n {
		a, err := mbus.ParseAddress(fmt.Sprintf("%08d2D2C%02X04", r.IntN(100_000_000), i%30))
		if err != nil {
			panic(err)
		}
		slaves = append(slaves, sim.MBusSlave{
			Primary: byte(i + 1), Address: a,
			// From 11 to 330 bit times, as the standard allows.
			Delay:   time.Duration(11+r.IntN(320)) * time.Second / 2400,
			Records: sized(length),
		})
	}
	return slaves
}

// sized makes answers of just so many bytes: volumes and fillers of a text.
func sized(length int) func(time.Time) [][]mbus.DataRecord {
	const frame, header, text = 9, 12, 4
	return func(time.Time) [][]mbus.DataRecord {
		volume := mbus.DataRecord{VIB: []byte{0x13}}
		_ = volume.SetInt(1234, 4)
		left := length - frame - header - 6
		records := []mbus.DataRecord{volume}
		for left > 0 {
			n := min(left, 100)
			if rest := left - n; rest > 0 && rest < text+1 {
				n -= text + 1
			}
			name := mbus.DataRecord{VIB: []byte{0xFD, 0x10}}
			_ = name.SetText(strings.Repeat("x", n-text))
			records = append(records, name)
			left -= n
		}
		return [][]mbus.DataRecord{records}
	}
}

// tap counts what goes over a line: the time that the line was in use.
type tap struct {
	*pipeLine
	mu       sync.Mutex
	requests int
	answers  int // bytes
	selects  int
}

func (l *tap) Write(p []byte) (int, error) {
	l.requests += len(p)
	if len(p) > 10 {
		l.selects++
	}
	return l.pipeLine.Write(p)
}

func (l *tap) Read(p []byte) (int, error) {
	n, err := l.pipeLine.Read(p)
	l.mu.Lock()
	l.answers += n
	l.mu.Unlock()
	return n, err
}

func TestABusOf250IsReadInSevenMinutes(t *testing.T) {
	slaves := crowdOf(250, 261)
	inBubble(t, busOf(t, slaves), func(t bubble) {
		counted := &tap{pipeLine: t.line}
		began := time.Now()
		for i := range slaves {
			r, err := readOnce(t, counted, address(fmt.Sprint(i+1)))
			if err != nil || !has(r, "volume") {
				t.Fatalf("meter %d: %v", i+1, err)
			}
		}
		took := time.Since(began)
		t.Logf("250 meters, %d bytes of answers: %s", counted.answers, took)
		if took > 7*time.Minute || counted.answers != 250*262 {
			t.Errorf("%s for %d bytes", took, counted.answers)
		}
	})
}

func TestASearchOf250TakesHardlyMoreThanItsProbes(t *testing.T) {
	slaves := crowdOf(250, 60)
	inBubble(t, busOf(t, slaves), func(t bubble) {
		counted := &tap{pipeLine: t.line}
		var o outcome
		began := time.Now()
		if err := mbus.Driver.Scan(t.Context(), counted, plain(), o.searching("secondary")); err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		var want []string
		for _, s := range slaves {
			want = append(want, "secondary "+s.Address.String())
		}
		if diff := cmp.Diff(sorted(want), sorted(o.found)); diff != "" || len(o.doubts) > 0 {
			t.Errorf("%s doubts: %q", diff, o.doubts)
		}
		// A selection takes its own time and the 330 bit times + 50 ms in which a
		// slave may answer; all else its bytes and the slave's delay.
		bit := time.Second / 2400
		must := time.Duration(counted.requests+counted.answers)*11*bit + time.Duration(counted.selects)*(330*bit+50*time.Millisecond)
		for _, s := range slaves {
			must += s.Delay
		}
		t.Logf("250 meters: %s, %d probes, %d selections; the probes alone %s", took, o.last.Probes, counted.selects, must)
		if took > 9*time.Minute || took > must*110/100 {
			t.Errorf("the search took %s, its probes %s", took, must)
		}
	})
}

func TestASearchIsNarrowed(t *testing.T) {
	inBubble(t, building(t), func(t bubble) {
		var o outcome
		if err := mbus.Driver.Scan(t.Context(), t.line, secondary("300001FF"), o.searching("secondary")); err != nil {
			t.Fatal(err)
		}
		want := []string{"secondary 300001002D2C0804", "secondary 30000101AE4C0E16", "secondary 30000104AE4C0E16"}
		if diff := cmp.Diff(want, sorted(o.found)); diff != "" || o.last.Probes > 30 {
			t.Errorf("%s after %d probes", diff, o.last.Probes)
		}
	})
}

func TestASearchGoesOverSpeeds(t *testing.T) {
	inBubble(t, busOf(t, nil), func(t bubble) {
		var o outcome
		search := o.searching("secondary")
		search.Bauds = []int{300, 2400, 9600}
		var at []string
		search.Progress = func(p drivers.Progress) {
			if !slices.Contains(at, p.At) {
				at = append(at, p.At)
			}
		}
		if err := mbus.Driver.Scan(t.Context(), t.line, plain(), search); err != nil {
			t.Fatal(err)
		}
		want := []string{"secondary FFFFFFFF at 300 baud", "secondary FFFFFFFF at 2400 baud", "secondary FFFFFFFF at 9600 baud"}
		if diff := cmp.Diff(want, at); diff != "" {
			t.Error(diff)
		}
		var bauds []int
		for _, m := range t.line.modes {
			bauds = append(bauds, m.Baud)
		}
		if diff := cmp.Diff([]int{300, 2400, 9600, 2400}, bauds); diff != "" {
			t.Error(diff)
		}
		t.line.name = "tcp://converter:10001"
		if err := mbus.Driver.Scan(t.Context(), t.line, plain(), search); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("speeds of a plain TCP line: %v", err)
		}
	})
}

func TestASearchEndsAsItIsTold(t *testing.T) {
	enough := errors.New("enough")
	inBubble(t, building(t), func(t bubble) {
		for _, c := range []struct {
			search drivers.Search
			want   string
		}{
			{drivers.Search{Found: func(drivers.Found) error { return enough }}, "enough"},
			{drivers.Search{Ways: []string{"by radio"}}, "no way to search"},
			{drivers.Search{Resume: "{"}, "state to resume"},
		} {
			if err := mbus.Driver.Scan(t.Context(), t.line, plain(), c.search); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		}
	})
}

// parrot gives the same answer to whatever it is asked, but to selections that
// hold certain bytes.
type parrot struct{ answer, but []byte }

func (p parrot) Serve(_ context.Context, line io.ReadWriter) error {
	buf := make([]byte, 512)
	for {
		n, err := line.Read(buf)
		if err != nil {
			return nil //nolint:nilerr // that the line ends is how it ends
		}
		if len(p.but) > 0 && bytes.Contains(buf[:n], p.but) {
			continue
		}
		if _, err := line.Write(p.answer); err != nil {
			return nil //nolint:nilerr // the same
		}
	}
}

func TestWhatAnswersEverythingIsNoBus(t *testing.T) {
	for name, answer := range map[string][]byte{
		"acknowledgements":     {0xE5},
		"several of them":      {0xE5, 0xE5},
		"an alarm":             {0x68, 4, 4, 0x68, 8, 1, 0x71, 4, 0x7E, 0x16},
		"a frame that is none": {0x68, 4, 4, 0x68, 8, 1, 0x71, 4, 0x7F, 0x16},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, parrot{answer: answer}, func(t bubble) {
				var o outcome
				began := time.Now()
				if err := mbus.Driver.Scan(t.Context(), t.line, plain(), o.searching("secondary")); err != nil {
					t.Error(err)
				}
				if len(o.found) > 0 || len(o.doubts) != 1 || time.Since(began) > 15*time.Minute {
					t.Errorf("after %s: found %q, doubts %q", time.Since(began), o.found, o.doubts)
				}
			})
		})
	}
}

func TestASearchDoesNotFollowAnswersForEver(t *testing.T) {
	for _, answer := range [][]byte{{0xE5}, {0xA5}, {0xE5, 0xE5}} {
		inBubble(t, parrot{answer, []byte{0xEE, 0xEE}}, func(t bubble) {
			var o outcome
			began := time.Now()
			if err := mbus.Driver.Scan(t.Context(), t.line, plain(), o.searching("secondary")); err != nil {
				t.Error(err)
			}
			if len(o.found) > 0 || len(o.doubts) == 0 || time.Since(began) > 15*time.Minute {
				t.Errorf("% X: after %s: found %q, %d doubts", answer, time.Since(began), o.found, len(o.doubts))
			}
		})
	}
}

// Whatever a line says, a readout and a search end, and a reading is a whole one.
func FuzzLine(f *testing.F) {
	e5 := []byte{1, 0xE5}
	f.Add(append(e5, e5...))
	f.Add([]byte{1, 0xE5, 10, 0x68, 4, 4, 0x68, 8, 1, 0x71, 4, 0x7E, 0x16})
	f.Add([]byte{3, 0x68, 0xFF, 0xFF, 0, 2, 0xE5, 0xE5, 5, 0x10, 0x40, 1, 0x41, 0x16})
	f.Fuzz(func(t *testing.T, answers []byte) {
		s := &script{}
		for len(answers) > 0 && len(s.answers) < 60 {
			n := min(int(answers[0]%64), len(answers)-1)
			s.answers = append(s.answers, fmt.Sprintf("%X", answers[1:1+n]))
			answers = answers[1+n:]
		}
		inBubble(t, s, func(t bubble) {
			began := time.Now()
			if r, err := readOnce(t, t.line, address("1")); err == nil && r.Check != drivers.CheckSum8 {
				t.Errorf("a reading that nothing vouches for: %+v", r)
			}
			if took := time.Since(began); took > time.Minute {
				t.Errorf("a readout took %s", took)
			}
			if err := mbus.Driver.Scan(t.Context(), t.line, plain(), (&outcome{}).searching("secondary")); err != nil {
				t.Error(err)
			}
		})
	})
}
