package bridge

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/routeb"
	"github.com/meter2mqtt/meter2mqtt/drivers/sim"
)

// aStick is the line to a simulated module, which notes what is sent to it.
type aStick struct {
	drivers.Line

	mute uint64 // of the meter with this MAC nothing arrives but that it is there

	mu    sync.Mutex
	wrote [][]byte
}

// Read gives a message at a time, as the simulated module writes them.
func (s *aStick) Read(p []byte) (int, error) {
	n, err := s.Line.Read(p)
	if s.mute == 0 {
		return n, err
	}
	address := routeb.LinkLocal(s.mute)
	text := bytes.HasPrefix(p[:n], []byte("ERXUDP "+address.String())) && bytes.Contains(p[:n], []byte(" 0E1A 0E1A "))
	if text || n > 28 && p[4] == 0x60 && p[5] == 0x18 && bytes.Equal(p[12:28], address[:]) {
		copy(p, bytes.Repeat([]byte{'\n'}, n))
	}
	return n, err
}

func (s *aStick) Write(p []byte) (int, error) {
	s.mu.Lock()
	s.wrote = append(s.wrote, bytes.Clone(p))
	s.mu.Unlock()
	return s.Line.Write(p)
}

// steps are the commands by which sessions begin and end, in order, and how often each
// came: of SKSTACK, or of the binary dialogue under the same names.
func (s *aStick) steps() (steps []string, count map[string]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	count = map[string]int{}
	for _, b := range s.wrote {
		step := ""
		switch verb, _, _ := bytes.Cut(b, []byte(" ")); string(bytes.TrimSpace(verb)) {
		case "SKRESET", "SKSCAN", "SKJOIN", "SKTERM":
			step = string(bytes.TrimSpace(verb))
		default:
			if bytes.HasPrefix(b, []byte{0xD0, 0xEA, 0x83, 0xFC, 0x00}) {
				step = map[byte]string{0xD9: "SKRESET", 0x51: "SKSCAN", 0x56: "SKJOIN", 0x57: "SKTERM"}[b[5]]
			}
		}
		if step != "" {
			steps = append(steps, step)
			count[step]++
		}
	}
	return steps, count
}

// heard are the readings of a line's meters, by the meter's serial number.
type heard struct {
	mu  sync.Mutex
	ids map[string][]string // of each name, in the order heard
	at  map[string][]time.Time
	sum map[string]string // energy at the end
}

func (h *heard) take(meter string, r *drivers.Reading) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ids == nil {
		h.ids, h.at, h.sum = map[string][]string{}, map[string][]time.Time{}, map[string]string{}
	}
	if r.Meter.ID != "" && !slices.Contains(h.ids[meter], r.Meter.ID) {
		h.ids[meter] = append(h.ids[meter], r.Meter.ID)
	}
	h.at[meter] = append(h.at[meter], r.Received)
	for i := range r.Values {
		if r.Values[i].Code.String() == "1-0:1.8.0" {
			h.sum[meter] = r.Values[i].Number.String()
		}
	}
}

// longestWait is the longest time without a reading of a meter, up to an end.
func (h *heard) longestWait(meter string, began, end time.Time) time.Duration {
	longest, last := time.Duration(0), began
	for _, at := range append(slices.Clone(h.at[meter]), end) {
		longest, last = max(longest, at.Sub(last)), at
	}
	return longest
}

// first and second are the tables of the two meters that the simulated stick reaches.
func first(t *testing.T) *meter {
	t.Helper()
	return routeBOf(t, "main", sim.ExampleRouteBID, sim.ExampleRouteBPassword)
}

func second(t *testing.T) *meter {
	t.Helper()
	return routeBOf(t, "annex", sim.ExampleRouteBID2, sim.ExampleRouteBPassword2)
}

func routeBOf(t *testing.T, name, id, password string) *meter {
	t.Helper()
	m := routeBHouse(t, 0)
	m.config.Name, m.topics = name, topicsOf("t", name)
	c := routeb.Driver.NewConfig().(*routeb.Config)
	c.ID, c.Password = drivers.NewSecret(id), drivers.NewSecret(password)
	m.config.Options = c
	return m
}

// takeTurns has meters share a simulated stick for a while, within a bubble that
// begins at half past noon in Japan.
func takeTurns(t *testing.T, model string, d time.Duration, during func(), meters ...*meter) (*aStick, *heard) {
	t.Helper()
	stick := &aStick{Line: simulatedModel(t, "routeb", model)}
	return stick, stick.turns(t, d, during, meters...)
}

func (s *aStick) turns(t *testing.T, d time.Duration, during func(), meters ...*meter) *heard {
	t.Helper()
	h := new(heard)
	l := newLine(meters, zonesOf, h.take)
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var other sync.WaitGroup
	if during != nil {
		other.Go(during)
	}
	if err := l.poll(ctx, s); err != nil {
		t.Error(err)
	}
	cancel()
	other.Wait()
	return h
}

var twoMeters = []string{"bp35c2-two", "j11-two"}

// inTurn runs a test within a bubble for each kind of stick with two meters.
func inTurn(t *testing.T, test func(t *testing.T, model string)) {
	t.Helper()
	for _, model := range twoMeters {
		t.Run(model, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(time.Date(2026, 1, 15, 3, 34, 0, 0, time.UTC)))
				test(t, model)
			})
		})
	}
}

func TestTwoMetersHaveAStickInTurns(t *testing.T) {
	inTurn(t, func(t *testing.T, model string) {
		t.Helper()
		began := time.Now()
		stick, h := takeTurns(t, model, time.Hour, nil, first(t), second(t))
		if diff := cmp.Diff(map[string][]string{"main": {"SIM0RouteB01"}, "annex": {"SIM0RouteB02"}}, h.ids); diff != "" {
			t.Errorf("the meters heard (-want +got):\n%s", diff)
		}
		if h.sum["main"] == "" || h.sum["main"] == h.sum["annex"] {
			t.Errorf("energies %v: those of the second are twice the first's", h.sum)
		}
		a, b := len(h.at["main"]), len(h.at["annex"])
		if a < 60 || b < 60 || max(a, b) > min(a, b)*5/4 {
			t.Errorf("%d and %d readings in an hour", a, b)
		}
		for _, name := range []string{"main", "annex"} {
			if wait := h.longestWait(name, began, began.Add(time.Hour)); wait > 90*time.Second {
				t.Errorf("%s waited %s", name, wait)
			}
		}
		steps, count := stick.steps()
		for i, step := range steps[1:] {
			if step == "SKRESET" && steps[i] != "SKTERM" {
				t.Fatalf("the stick went to another meter behind %s: %v", steps[i], steps[:i+2])
			}
		}
		if count["SKSCAN"] != 2 || count["SKJOIN"] != count["SKTERM"] || count["SKJOIN"] < 60 {
			t.Errorf("%v: want a scan for each meter, and as many ends as joins", count)
		}
	})
}

// A meter that is alone keeps its session, and is not joined again.
func TestAMeterAloneKeepsTheStick(t *testing.T) {
	inTurn(t, func(t *testing.T, model string) {
		t.Helper()
		stick, h := takeTurns(t, model, 2*time.Hour, nil, first(t))
		_, count := stick.steps()
		if diff := cmp.Diff(map[string]int{"SKRESET": 1, "SKSCAN": 1, "SKJOIN": 1, "SKTERM": 1}, count); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if n := len(h.at["main"]); n < 240 {
			t.Errorf("%d readings in two hours", n)
		}
	})
}

// Whatever is wrong with the one, the other is read.
func TestADeadMeterOfAStickLeavesItToTheOther(t *testing.T) {
	for name, c := range map[string]struct{ id, password string }{
		"never found":    {strings.Repeat("F", 32), sim.ExampleRouteBPassword2},
		"never accepted": {sim.ExampleRouteBID2, "000000000000"},
	} {
		t.Run(name, func(t *testing.T) {
			inTurn(t, func(t *testing.T, model string) {
				t.Helper()
				began := time.Now()
				stick, h := takeTurns(t, model, 3*time.Hour, nil, routeBOf(t, "annex", c.id, c.password), first(t))
				if n := len(h.at["annex"]); n != 0 {
					t.Errorf("%d readings of the dead one", n)
				}
				// Once the dead one has failed a few times it has a turn every ten minutes.
				if n, wait := len(h.at["main"]), h.longestWait("main", began, began.Add(3*time.Hour)); n < 300 || wait > 4*time.Minute {
					t.Errorf("%d readings in three hours, the longest wait %s", n, wait)
				}
				if _, count := stick.steps(); count["SKRESET"] > 60 {
					t.Errorf("%v: the stick went to and fro for nothing", count)
				}
			})
		})
	}
}

// The second meter accepts us and answers nothing.
func TestAMuteMeterOfAStickLeavesItToTheOther(t *testing.T) {
	inTurn(t, func(t *testing.T, model string) {
		t.Helper()
		began := time.Now()
		stick := &aStick{Line: simulatedModel(t, "routeb", model), mute: 0x001C6400030C12A5}
		h := stick.turns(t, time.Hour, nil, second(t), first(t))
		if n := len(h.at["annex"]); n != 0 {
			t.Errorf("%d readings of the mute one", n)
		}
		if n, wait := len(h.at["main"]), h.longestWait("main", began, began.Add(time.Hour)); n < 30 || wait > 4*time.Minute {
			t.Errorf("%d readings in an hour, the longest wait %s", n, wait)
		}
	})
}

// Between two turns the stick listens to the meter that it is joined to.
func TestTheMeterThatHasTheStickIsHeardMeanwhile(t *testing.T) {
	inTurn(t, func(t *testing.T, model string) {
		t.Helper()
		a, b := first(t), second(t)
		a.config.Every, b.config.Every = 20*time.Minute, 20*time.Minute
		began := time.Now()
		_, h := takeTurns(t, model, 5*time.Hour, nil, a, b)
		told := 0
		for _, at := range append(h.at["main"], h.at["annex"]...) {
			if late := at.Sub(at.Truncate(30 * time.Minute)); late < 5*time.Second && at.After(began) {
				told++
			}
		}
		if told < 8 {
			t.Errorf("%d of 10 half-hours were heard as they came: %v", told, h.at)
		}
	})
}

func TestMissedDaysOfBothMetersOfAStickAreFilled(t *testing.T) {
	inTurn(t, func(t *testing.T, model string) {
		t.Helper()
		a, b := first(t), second(t)
		for _, m := range []*meter{a, b} {
			m.seen = time.Now().Add(-60 * time.Hour)
		}
		_, _ = takeTurns(t, model, time.Hour, nil, a, b)
		for _, m := range []*meter{a, b} {
			log := m.registers.Logs["1-1:1.8.0"]
			if len(m.gaps) != 0 || log == nil || len(log.Hours) < 60 {
				t.Errorf("%s: left %v, filled %v", m.config.Name, m.gaps, log)
			}
		}
	})
}

// Commands for either meter are carried out in its turn, and each meter keeps its own.
func TestParametersOfBothMetersOfAStickAreSet(t *testing.T) {
	inTurn(t, func(t *testing.T, model string) {
		t.Helper()
		a, b := first(t), second(t)
		for _, m := range []*meter{a, b} {
			m.ledger, m.answers = new(ledger), &answers{link: m.link}
		}
		got := map[string]string{}
		_, _ = takeTurns(t, model, 10*time.Minute, func() {
			time.Sleep(2 * time.Minute)
			for i, m := range []*meter{a, b, a, b} {
				answer := make(chan Result, 1)
				c := &command{meter: m, name: "location", arg: argument{fmt.Sprintf("kitchen %d", i%2+1), true}, write: i < 2}
				c.told = func(r Result) { answer <- r }
				if err := m.enqueue(c); err != nil {
					t.Error(err)
					return
				}
				r := <-answer
				got[fmt.Sprint(m.config.Name, " ", i/2)] = string(r.Value) + r.Error
			}
		}, a, b)
		want := map[string]string{
			"main 0": `"kitchen 1"`, "annex 0": `"kitchen 2"`, "main 1": `"kitchen 1"`, "annex 1": `"kitchen 2"`,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
