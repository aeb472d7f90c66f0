package sim

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/mbus"
)

// One slave alone is heard as it speaks, whatever it says and when.
func TestTheWireCarriesWhatOneSlaveSays(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		p := make([]byte, 1+r.IntN(60))
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		var got []byte
		for _, h := range receive(draw(nil, r.IntN(500), p), time.Microsecond) {
			got = append(got, h.b)
		}
		if !bytes.Equal(p, got) {
			t.Fatalf("% X is heard as % X", p, got)
		}
	}
}

func TestSlavesThatSpeakTogether(t *testing.T) {
	const baud = mbusSpeed
	bit := time.Second / baud
	e5 := []byte{0xE5}
	for _, c := range []struct {
		name string
		said []spoken
		want []byte
	}{
		{"nobody", nil, nil},
		{"one", []spoken{{bit, e5}}, e5},
		{"two at the same moment melt into one", []spoken{{bit, e5}, {bit, e5}}, e5},
		{"two apart", []spoken{{bit, e5}, {40 * bit, e5}}, []byte{0xE5, 0xE5}},
		{"two different ones: a space wins", []spoken{{0, []byte{0xF0}}, {0, []byte{0x3C}}}, []byte{0x30}},
		{"one a bit late", []spoken{{0, e5}, {bit, e5}}, []byte{0xC0}},
		{"one that was lost", []spoken{{0, nil}, {bit, e5}}, e5},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []byte
			for _, h := range mix(c.said, baud) {
				got = append(got, h.b)
			}
			if !bytes.Equal(c.want, got) {
				t.Errorf("heard % X, want % X", got, c.want)
			}
		})
	}
}

// request is a frame of a master, and what the slave answers.
func (s *mbusSlave) mustHear(t *testing.T, f mbus.Frame, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return s.hear(&f, noon)
}

func TestASlaveCountsFrames(t *testing.T) {
	s := &mbusSlave{MBusSlave: heatMeter(1)}
	ask := func(fcb bool) string {
		b := s.mustHear(t, mbus.RequestData(1, fcb), nil)
		return string(b)
	}
	if got := s.mustHear(t, mbus.LinkReset(1), nil); !bytes.Equal(got, []byte{ack}) {
		t.Fatalf("SND_NKE is answered by % X", got)
	}
	first := ask(true)
	if again := ask(true); again != first {
		t.Error("the same frame count bit brought another telegram")
	}
	second := ask(false)
	if second == first || ask(false) != second {
		t.Error("the other bit did not bring the second telegram, and the same again")
	}
	if first[len(first)-3] != 0x1F || second[len(second)-3] == 0x1F {
		t.Error("only the first telegram may say that another follows")
	}
	s.mustHear(t, mbus.LinkReset(1), nil)
	if fresh := ask(true); fresh[15] != second[15]+1 || len(fresh) != len(first) {
		t.Error("after SND_NKE the first telegram does not come with a new access number")
	}
}

func TestASlaveIsSelectedByItsAddress(t *testing.T) {
	s := &mbusSlave{MBusSlave: MBusBuilding(1)[6]} // 55555555, ZRI, 1, cold water
	for _, c := range []struct {
		address, fabrication string
		want                 bool
	}{
		{"55555555", "", true},
		{"5FFFFFFF", "", true},
		{"56FFFFFF", "", false},
		{"55555555496A0116", "", true},
		{"55555555496AFFFF", "", true},
		{"55555555496B0116", "", false},
		{"FFFFFFFFFFFF02FF", "", false},
		{"FFFFFFFFFFFFFF04", "", false},
		{"55555555", "00000001", true},
		{"55555555", "000000FF", true},
		{"55555555", "00000002", false},
	} {
		to, err := mbus.ParseAddress(c.address)
		if err != nil {
			t.Fatal(err)
		}
		f, err := mbus.Select(to, false, c.fabrication)
		acked := len(s.mustHear(t, f, err)) == 1
		answers := len(s.mustHear(t, mbus.RequestData(mbus.Selected, true), nil)) > 0
		if acked != c.want || answers != c.want {
			t.Errorf("%s %s: selected %v, answers %v, want %v", c.address, c.fabrication, acked, answers, c.want)
		}
	}
	s.mustHear(t, mbus.LinkReset(mbus.Selected), nil)
	if got := s.mustHear(t, mbus.RequestData(mbus.Selected, true), nil); got != nil {
		t.Errorf("a slave that was deselected answers % X", got)
	}
}

func TestASlaveObeys(t *testing.T) {
	s := &mbusSlave{MBusSlave: heatMeter(1)}
	s.Alarm = 4
	choice, err := mbus.Choose(1, true, []byte{0x13})
	if got := s.mustHear(t, choice, err); len(got) != 1 {
		t.Fatalf("a choice of records is answered by % X", got)
	}
	if got := len(s.mustHear(t, mbus.RequestData(1, false), nil)); got != 9+12+6+1 {
		t.Errorf("the volume alone makes %d bytes", got)
	}
	s.mustHear(t, mbus.Reset(1, false, 0), nil)
	if got := len(s.mustHear(t, mbus.RequestData(1, true), nil)); got < 60 {
		t.Errorf("after a reset the answer has %d bytes", got)
	}
	if got := s.mustHear(t, mbus.RequestAlarm(1, true), nil); len(got) != 10 || got[7] != 4 {
		t.Errorf("the alarm is % X", got)
	}
	move, err := mbus.SetPrimary(mbus.Broadcast, false, 77)
	if got := s.mustHear(t, move, err); got != nil || s.Primary != 77 {
		t.Errorf("a broadcast is answered by % X; the address is %d", got, s.Primary)
	}
	if got := s.mustHear(t, mbus.LinkReset(1), nil); got != nil {
		t.Errorf("its old address answers % X", got)
	}
}

// told decodes what a slave says at a moment, all telegrams.
func told(t *testing.T, s *mbusSlave, now time.Time) *drivers.Reading {
	t.Helper()
	s.reset()
	d := mbus.NewDecoder(time.UTC)
	for i := range s.Records(now) {
		f := mbus.RequestData(s.Primary, i%2 == 0)
		d.Feed(s.hear(&f, now))
	}
	var r drivers.Reading
	if err := d.Next(&r); err != nil {
		t.Fatal(err)
	}
	return &r
}

func TestEachMeterRisesAndSaysWhatItIs(t *testing.T) {
	for _, c := range []struct {
		model, medium string
		names         []string
	}{
		{"heat", "heat", []string{"energy", "volume", "power", "flow_temperature"}},
		{"cold-water", "cold_water", []string{"volume", "volume_flow"}},
		{"hot-water", "warm_water", []string{"volume", "volume_flow"}},
		{"gas", "gas", []string{"volume"}},
		{"electricity", "electricity", []string{"energy_import", "power_import", "voltage_l1", "current_l3"}},
	} {
		t.Run(c.model, func(t *testing.T) {
			i := slices.IndexFunc(mbusModels, func(m mbusModel) bool { return m.Name == c.model })
			s := &mbusSlave{MBusSlave: mbusModels[i].slaves(7)[0]}
			before, after := told(t, s, noon), told(t, s, noon.Add(24*time.Hour))
			if before.Meter.Medium != c.medium {
				t.Errorf("medium %s", before.Meter.Medium)
			}
			var names []string
			for i := range before.Values {
				names = append(names, before.Values[i].Name)
			}
			t.Logf("%q", names)
			for _, n := range c.names {
				if !slices.Contains(names, n) {
					t.Errorf("%s is missing in %q", n, names)
				}
			}
			if a, b := before.Values[0].Number, after.Values[0].Number; a.Cmp(b) >= 0 {
				t.Errorf("%s stands at %s after %s", names[0], b, a)
			}
		})
	}
}

func TestATotalNeverFalls(t *testing.T) {
	s := newSupply(3, 4, 0.01)
	last := s.total(meterEpoch.Add(-time.Hour))
	for h := range 24 * 30 * 4 {
		now := s.total(meterEpoch.Add(time.Duration(h) * 15 * time.Minute))
		if now < last {
			t.Fatalf("after %d quarters of an hour %g falls to %g", h, last, now)
		}
		last = now
	}
}

func TestMBusOptionsAreChecked(t *testing.T) {
	for name, o := range map[string]Options{
		"an unknown fault": {Faults: []string{"flood"}},
		"a period":         {Period: time.Second},
	} {
		if _, err := newMBus(o.withDefaults()); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	for _, m := range mbusModelNames() {
		if s, err := newMBus(Options{Model: m.Name}.withDefaults()); err != nil || s.Driver != "mbus" {
			t.Errorf("%s: %v", m.Name, err)
		}
	}
	if diff := cmp.Diff(8, len(MBusBuilding(1))); diff != "" {
		t.Error(diff)
	}
}
