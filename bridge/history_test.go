package bridge

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/bridge/journal"
	"github.com/meter2mqtt/meter2mqtt/bridge/mqttlink"
	"github.com/meter2mqtt/meter2mqtt/bridge/plausible"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
	"github.com/meter2mqtt/meter2mqtt/drivers/p1"
)

// lonely is a meter whose broker never comes.
func lonely(t *testing.T) *meter {
	t.Helper()
	j, err := journal.Open("", 0, start, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	link := mqttlink.New(mqttlink.Options{})
	return &meter{
		config: config.Meter{Name: "main", Driver: p1.Driver}, link: link, journal: j, acked: j.Acked,
		devices: &devices{link: link}, guard: plausible.New(plausible.Defaults), log: zerolog.Nop(),
		topics: topicsOf("t", "main"), base: "t",
	}
}

// register is one total of a simulated meter, in thousandths.
type register struct {
	code  obis.Code
	truth int64
	said  []int64 // by telegram, -1 where it was left out
}

// say is what the next telegram says of it: most often the truth.
func (r *register) say(rnd *rand.Rand) (n int64, sent bool) {
	r.truth += int64(rnd.IntN(3))
	n = r.truth
	switch rnd.IntN(40) {
	case 0:
		n = 0
	case 1:
		n = int64(rnd.IntN(10_000_000))
	case 2:
		r.said = append(r.said, -1)
		return 0, false
	case 3:
		if rnd.IntN(20) == 0 { // exchanged
			r.truth = int64(rnd.IntN(1000))
			n = r.truth
		}
	case 4:
		if rnd.IntN(20) == 0 { // rolls over
			r.truth = 9_999_999_990
			n = r.truth
		}
	}
	if n >= 10_000_000_000 {
		r.truth -= 10_000_000_000
		n = r.truth
	}
	r.said = append(r.said, n)
	return n, true
}

// borne says whether two of the latest telegrams said about that much.
func (r *register) borne(n int64) bool {
	count := 0
	for _, s := range r.said[max(0, len(r.said)-12):] {
		if s >= n-100 && s <= n+5000 {
			count++
		}
	}
	return count >= 2
}

// TestNoHistoryMakesAPublishedTotalFallOrLeap drives random histories, with
// damage, gaps, exchanges, roll-overs and restarts, through a meter of the bridge
// and looks at every picture that it would publish.
func TestNoHistoryMakesAPublishedTotalFallOrLeap(t *testing.T) {
	for seed := range uint64(100) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		check := []drivers.Check{drivers.CheckNone, drivers.CheckSum8, drivers.CheckCRC16, drivers.CheckTag}[rnd.IntN(4)]
		registers := []*register{
			{code: obis.MustParse("1-0:1.8.1"), truth: int64(rnd.IntN(10_000_000))},
			{code: obis.MustParse("1-0:1.8.2"), truth: int64(rnd.IntN(10_000_000))},
			{code: obis.MustParse("1-0:2.8.1"), truth: int64(rnd.IntN(10_000_000))},
		}
		m, at, before := lonely(t), start, map[string]int64{}
		for range 300 {
			at = at.Add(time.Duration(1+rnd.IntN(10)) * time.Second)
			if rnd.IntN(100) == 0 { // the gateway starts anew
				next := lonely(t)
				remembered := m.memory()
				next.recall(remembered)
				m = next
			}
			r := drivers.Reading{Received: at, Check: check}
			for _, g := range registers {
				if n, sent := g.say(rnd); sent {
					d, err := drivers.Scaled(n, -3)
					if err != nil {
						t.Fatal(err)
					}
					r.Values = append(r.Values, drivers.Value{Code: g.code, Number: d, Unit: "kWh"})
				}
			}
			m.accept(&r)
			for _, g := range registers {
				key := g.code.String()
				now, known := published(t, m, key)
				was, had := before[key]
				if known && had && (now < was || now > was+5000) && !g.borne(now) {
					t.Fatalf("seed %d, check %s: %s went from %d to %d; telegrams said %v", seed, check, key, was, now, g.said[max(0, len(g.said)-8):])
				}
				if known {
					before[key] = now
				}
			}
			sumFits(t, m, seed)
		}
	}
}

// sumFits holds the derived total against its parts, whenever all are fresh.
func sumFits(t *testing.T, m *meter, seed uint64) {
	t.Helper()
	total, known := published(t, m, "1-0:1.8.0")
	one, ok1 := published(t, m, "1-0:1.8.1")
	two, ok2 := published(t, m, "1-0:1.8.2")
	if !known || !ok1 || !ok2 {
		return
	}
	at := func(key string) time.Time {
		i, _ := m.picture.indexOf(key)
		return m.picture.entries[i].pace.last
	}
	if at("1-0:1.8.0").Equal(at("1-0:1.8.1")) && at("1-0:1.8.0").Equal(at("1-0:1.8.2")) && total != one+two {
		t.Fatalf("seed %d: the sum is %d, its parts %d and %d", seed, total, one, two)
	}
}

// published is a key's value in the picture, in thousandths.
func published(t *testing.T, m *meter, key string) (int64, bool) {
	t.Helper()
	i, known := m.picture.indexOf(key)
	if !known || m.picture.entries[i].stale {
		return 0, false
	}
	n, err := m.picture.entries[i].number.Shift(3)
	if err != nil {
		t.Fatal(err)
	}
	return int64(n.Float64()), true
}
