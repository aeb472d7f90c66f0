package routeb

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// aNodeLine is a line to an ECHONET Lite node over UDP that answers at once, or never.
type aNodeLine struct {
	drivers.Line

	answer  func(*Frame) *Frame
	asked   []Frame
	waiting [][]byte
}

func (*aNodeLine) String() string                  { return "udp://192.0.2.7:3610" }
func (*aNodeLine) SetReadDeadline(time.Time) error { return nil }

func (l *aNodeLine) Write(p []byte) (int, error) {
	var f Frame
	if _, _, err := f.Parse(slices.Clone(p)); err != nil {
		return 0, err
	}
	l.asked = append(l.asked, f)
	if a := l.answer(&f); a != nil {
		l.waiting = append(l.waiting, a.AppendTo(nil))
	}
	return len(p), nil
}

func (l *aNodeLine) Read(p []byte) (int, error) {
	if len(l.waiting) == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(p, l.waiting[0])
	l.waiting = l.waiting[1:]
	return n, nil
}

// secondMeter is a node with a thermometer and a meter that is the second instance.
func secondMeter(f *Frame) *Frame {
	a := &Frame{TID: f.TID, Source: f.Sink, Sink: f.Source, Service: f.Service + 0x10}
	switch {
	case f.Sink == NodeProfile && f.Service == InfReq:
		a.Properties = []Property{{epcInstanceInf, []byte{2, 0x00, 0x11, 0x01, 0x02, 0x88, 0x02}}}
		return a
	case f.Sink == Meter || f.Service != Get:
		return nil
	}
	for _, p := range f.Properties {
		edt := map[byte][]byte{
			epcUnit: {1}, epcMapGet: {3, epcUnit, epcImport, epcPower}, epcMapSet: {0}, epcPower: {0, 0, 1, 0}, epcImport: {0, 0, 0, 42},
		}[p.EPC]
		if edt == nil {
			a.Service = GetSNA
		}
		a.Properties = append(a.Properties, Property{p.EPC, edt})
	}
	return a
}

func overUDP(t *testing.T, line *aNodeLine) drivers.Session {
	t.Helper()
	c := newConfig()
	c.RequestGap = 0
	s, err := dial(t.Context(), line, c, drivers.Zones{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestANodeIsAskedToAnnounceItsInstancesAndTheMeterAmongThemIsRead(t *testing.T) {
	line := &aNodeLine{answer: secondMeter}
	var r drivers.Reading
	if err := overUDP(t, line).Read(context.Background(), nil, &r); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for i := range r.Values {
		got[r.Values[i].Code.String()] = r.Values[i].Number.String()
	}
	if got["1-0:1.8.0"] != "4.2" || got["1-0:16.7.0"] != "256" {
		t.Errorf("read %v", got)
	}
	first := line.asked[0]
	if first.Service != InfReq || first.Sink != NodeProfile || len(first.Properties) != 1 || first.Properties[0].EPC != epcInstanceInf {
		t.Errorf("asked first: %+v", first)
	}
	for _, f := range line.asked[1:] {
		if f.Sink != Meter+1 && f.Sink != NodeProfile {
			t.Errorf("asked %06X", uint32(f.Sink))
		}
	}
}

func TestANodeWithoutAMeterIsTold(t *testing.T) {
	line := &aNodeLine{answer: func(f *Frame) *Frame {
		return &Frame{
			TID: f.TID, Source: NodeProfile, Sink: f.Source, Service: Inf,
			Properties: []Property{{epcInstanceInf, []byte{1, 0x00, 0x11, 0x01}}},
		}
	}}
	var r drivers.Reading
	err := overUDP(t, line).Read(context.Background(), nil, &r)
	if !errors.Is(err, drivers.ErrRefused) || drivers.Hint(err) == "" {
		t.Errorf("got %v", err)
	}
}

// A node that does not know INF_REQ has the usual instance.
func TestANodeThatTellsNoInstancesIsReadAllTheSame(t *testing.T) {
	line := &aNodeLine{answer: func(f *Frame) *Frame {
		if f.Service == InfReq {
			return nil
		}
		a := &Frame{TID: f.TID, Source: f.Sink, Sink: f.Source, Service: GetRes}
		for _, p := range f.Properties {
			a.Properties = append(a.Properties, Property{p.EPC, []byte{0, 0, 1, 0}})
		}
		return a
	}}
	var r drivers.Reading
	if err := overUDP(t, line).Read(context.Background(), nil, &r); err != nil {
		t.Fatal(err)
	}
	if last := line.asked[len(line.asked)-1]; last.Sink != Meter {
		t.Errorf("asked %06X", uint32(last.Sink))
	}
}

func TestTheInstanceListOfANodeIsExplained(t *testing.T) {
	f := Frame{TID: 1, Source: NodeProfile, Sink: NodeProfile, Service: Inf, Properties: []Property{{epcInstanceInf, []byte{1, 2, 0x88, 1}}}}
	spans, err := explain(newConfig(), drivers.Zones{}, f.AppendTo(nil))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(spans, func(s drivers.Span) bool { return s.Name == "object" && s.Text == "028801" }) {
		t.Errorf("got %+v", spans)
	}
}

// The properties that a meter may have beside those that every one has.
func TestPropertiesOfMakerAndProductAreRead(t *testing.T) {
	want := map[string]string{
		"identification_number": "FE00001600000000000000000000001234", "fault_code": "0000160102", "fault_description": "03E8",
		"factory_code": "00002A", "product_code": "WATT-7", "production_date": "2024-06-15",
	}
	f := Frame{TID: 1, Source: Meter, Sink: Controller, Service: GetRes, Properties: []Property{
		{epcIdentification, unhex(t, want["identification_number"])},
		{epcFaultCode, append([]byte{5}, unhex(t, want["fault_code"])...)},
		{epcFaultText, unhex(t, want["fault_description"])},
		{epcFactory, unhex(t, want["factory_code"])},
		{epcProduct, []byte("WATT-7\x00\x00\x00\x00\x00\x00")},
		{epcProduced, []byte{0x07, 0xE8, 6, 15}},
	}}
	d := NewDecoder(newConfig())
	d.Feed(f.AppendTo(nil))
	var r drivers.Reading
	if err := d.Next(&r); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, v := range r.Values {
		got[v.Name] = strings.TrimSpace(v.Text)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, epc := range f.Properties {
		if !slices.Contains(facts, epc.EPC) {
			t.Errorf("%02X is not asked for", epc.EPC)
		}
	}
}
