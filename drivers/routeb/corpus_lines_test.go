package routeb

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// scanned are the messages of a piece of a module's output.
func scanned(t *testing.T, b []byte) (items []Item) {
	t.Helper()
	var s Scanner
	s.Feed(b)
	for {
		var item Item
		err := s.Next(&item)
		switch {
		case err == nil:
			item.Datagram.Data = append([]byte(nil), item.Datagram.Data...)
			item.Text = append([]byte(nil), item.Text...)
			items = append(items, item)
		case errors.Is(err, drivers.ErrMore):
			return items
		}
	}
}

type skExpect struct {
	Event, Sender   string
	Side            *int
	Param           *int
	SrcAddr         string   `json:"src_addr"`
	DstAddr         string   `json:"dst_addr"`
	SrcPort         uint16   `json:"src_port"`
	DstPort         uint16   `json:"dst_port"`
	SrcMAC          string   `json:"src_mac"`
	Sec             *int     `json:"sec"`
	Data            string   `json:"data"`
	RSSI            *float64 `json:"rssi"`
	Channel         byte     `json:"channel"`
	PAN             string   `json:"pan_id"`
	MAC             string   `json:"mac_addr"`
	Pair            string   `json:"pair_id"`
	Error           string   `json:"error"`
	TID             *uint16  `json:"tid"`
	ESV             string   `json:"esv"`
	PANAResult      *int     `json:"pana_result"`
	LifetimeSeconds int      `json:"lifetime_seconds"`
}

type skLine struct {
	ID, Module, Kind, Text, Hex, Frame string
	Lines                              []string
	Expect                             *skExpect
}

func (l *skLine) bytes(t *testing.T) []byte {
	t.Helper()
	switch {
	case l.Hex != "":
		return append(unhex(t, l.Hex), "\r\n"...)
	case len(l.Lines) > 0:
		return []byte(strings.Join(l.Lines, "\r\n") + "\r\n")
	}
	return []byte(l.Text + "\r\n")
}

func side(s *int) int8 {
	if s == nil {
		return -1
	}
	return int8(*s)
}

func TestCorpusLines(t *testing.T) {
	var file struct{ Lines []skLine }
	corpus(t, "sk_lines.json", &file)
	if len(file.Lines) < 30 {
		t.Fatalf("only %d lines", len(file.Lines))
	}
	for _, l := range file.Lines {
		t.Run(l.ID, func(t *testing.T) {
			items := scanned(t, l.bytes(t))
			switch {
			case l.Expect == nil:
				checkNothing(t, items)
			case len(items) != 1:
				t.Fatalf("%d messages", len(items))
			case l.Expect.Event != "":
				checkEvent(t, items[0].Text, l.Expect)
			default:
				checkDatagram(t, &items[0].Datagram, l.Expect)
			}
		})
	}
}

func checkNothing(t *testing.T, items []Item) {
	t.Helper()
	for _, i := range items {
		if _, ok := ParseEvent(i.Text); ok || i.Form != TextLine {
			t.Errorf("it counts as a message: %+v", i)
		}
	}
}

func checkEvent(t *testing.T, text []byte, want *skExpect) {
	t.Helper()
	e, ok := ParseEvent(text)
	if !ok || fmt.Sprintf("%02X", e.Number) != want.Event || e.Side != side(want.Side) || e.Param != side(want.Param) {
		t.Errorf("%q: %+v, %v, want %+v", text, e, ok, want)
	}
}

func checkDatagram(t *testing.T, d *Datagram, want *skExpect) {
	t.Helper()
	got := skExpect{
		SrcAddr: d.Sender.String(), DstAddr: d.Destination.String(), SrcPort: d.From, DstPort: d.To,
		SrcMAC: fmt.Sprintf("%016X", d.MAC), Data: fmt.Sprintf("%X", d.Data),
	}
	if diff := cmp.Diff([]any{want.SrcAddr, want.DstAddr, want.SrcPort, want.DstPort, want.SrcMAC, want.Data},
		[]any{got.SrcAddr, got.DstAddr, got.SrcPort, got.DstPort, got.SrcMAC, got.Data}); diff != "" {
		t.Error(diff)
	}
	if d.Side != side(want.Side) || d.Secured != (*want.Sec == 1) {
		t.Errorf("side %d, secured %v", d.Side, d.Secured)
	}
	if want.RSSI != nil && fmt.Sprintf("%.3f", *want.RSSI) != drivers.NewDecimal(int64(d.RSSI), -3).String() || want.RSSI == nil && d.RSSI != 0 {
		t.Errorf("RSSI %d", d.RSSI)
	}
}

func TestCorpusScans(t *testing.T) {
	var file struct {
		Blocks    []skLine
		LinkLocal []struct{ MAC, Address string } `json:"link_local"`
		Commands  []struct{ ID, Module, Text string }
	}
	corpus(t, "sk_lines.json", &file)
	for _, b := range file.Blocks {
		if b.Kind != "SkScanResponse" {
			continue
		}
		t.Run(b.ID, func(t *testing.T) {
			found, ok := scanResult(t, b.bytes(t), "00112233445566778899AABBCCDDEEFF")
			if ok == (b.Expect.Error != "") {
				t.Fatalf("found %+v, %v", found, ok)
			}
			if !ok {
				return
			}
			got := []any{found.Channel, fmt.Sprintf("%04X", found.ID), fmt.Sprintf("%016X", found.MAC), found.Pair}
			if diff := cmp.Diff([]any{b.Expect.Channel, b.Expect.PAN, b.Expect.MAC, b.Expect.Pair}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, l := range file.LinkLocal {
		mac, _ := number([]byte(l.MAC))
		if got := LinkLocal(mac).String(); got != l.Address {
			t.Errorf("%s is %s, want %s", l.MAC, got, l.Address)
		}
	}
	for _, c := range file.Commands {
		var duration int
		if _, err := fmt.Sscanf(c.Text, "SKSCAN 2 FFFFFFFF %d", &duration); err == nil {
			if got := (&skModule{dual: c.Module != "bp35a1"}).scanCommand(0xFFFFFFFF, duration); got != c.Text {
				t.Errorf("%s: %s, want %s", c.ID, got, c.Text)
			}
		}
	}
}

// scanResult is the PAN that is chosen of what a scan gave.
func scanResult(t *testing.T, b []byte, id string) (PAN, bool) {
	t.Helper()
	var found foundPANs
	for _, i := range scanned(t, b) {
		found.take(i.Text)
	}
	return choose(found.whole(), id)
}

func TestCorpusCaptures(t *testing.T) {
	var file struct{ Items []skLine }
	corpus(t, "captured_lines.json", &file)
	for _, l := range file.Items {
		t.Run(l.ID, func(t *testing.T) {
			b := l.bytes(t)
			if l.Frame != "" {
				b = unhex(t, l.Frame)
			}
			items := scanned(t, b)
			if len(items) == 0 {
				t.Fatal("no message")
			}
			want := l.Expect
			switch {
			case want.Event != "":
				checkEvent(t, items[0].Text, want)
			case want.LifetimeSeconds > 0:
				life, ok := sessionLifetime(items[0].Datagram.Data)
				if !ok || life != time.Duration(want.LifetimeSeconds)*time.Second {
					t.Errorf("lifetime %s, %v", life, ok)
				}
			case want.TID != nil:
				var f Frame
				if _, _, err := f.Parse(items[0].Datagram.Data); err != nil || f.TID != *want.TID || fmt.Sprintf("%02X", byte(f.Service)) != want.ESV {
					t.Errorf("frame %+v, %v", f, err)
				}
			}
		})
	}
}

func TestCorpusRequests(t *testing.T) {
	var file struct {
		Requests []struct {
			ID, Frame string
			Request   struct {
				ESV        string
				TID        int
				Properties []struct{ EPC, EDT string }
			}
		}
		Values []struct {
			ID, EPC, EDT, Error string
			Input               struct {
				Day       *int64
				Timestamp string
				Count     int
			}
		}
	}
	corpus(t, "encode.json", &file)
	for _, c := range file.Requests {
		r := request{object: Meter, service: Service(code(t, c.Request.ESV)), tid: uint16(c.Request.TID)}
		for _, p := range c.Request.Properties {
			r.properties = append(r.properties, Property{code(t, p.EPC), unhex(t, p.EDT)})
		}
		f := r.frame()
		if got := fmt.Sprintf("%X", f.AppendTo(nil)); got != c.Frame {
			t.Errorf("%s: %s, want %s", c.ID, got, c.Frame)
		}
	}
	names := map[string]string{"E5": paramDay, "ED": paramHalves, "EF": paramMinutes}
	for _, c := range file.Values {
		p, err := new(session).setting(names[c.EPC])
		if err != nil {
			t.Fatal(err)
		}
		v := drivers.Value{Kind: p.Kind, Text: fmt.Sprintf("%.16s %d", c.Input.Timestamp, c.Input.Count)}
		if c.Input.Day != nil {
			v.Number = drivers.NewDecimal(*c.Input.Day, 0)
		}
		list, err := p.encode(v)
		if (err != nil) != (c.Error != "") {
			t.Errorf("%s: %v, want %q", c.ID, err, c.Error)
		}
		if err == nil && fmt.Sprintf("%X", list[0].EDT) != c.EDT {
			t.Errorf("%s: %X, want %s", c.ID, list[0].EDT, c.EDT)
		}
	}
}

// Whole dialogues: what the module sent is decoded, and what the client was given of
// power and energy is what the readings say.
func TestCorpusSessions(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(corpusDir, "sessions", "*.json"))
	var none struct{}
	if len(files) == 0 {
		corpus(t, "sessions", &none)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			var s struct {
				Log    []struct{ Dir, Text, Hex string }
				Result struct {
					Readings map[string]struct{ Value json.RawMessage }
				}
			}
			corpus(t, filepath.Join("sessions", filepath.Base(file)), &s)
			d := NewDecoder(newConfig())
			seen := map[string]bool{}
			for _, e := range s.Log {
				if e.Dir != "rx" {
					continue
				}
				b := []byte(e.Text)
				if e.Hex != "" {
					b = unhex(t, e.Hex)
				}
				d.Feed(b)
				for {
					var r drivers.Reading
					err := d.Next(&r)
					if errors.Is(err, drivers.ErrMore) {
						break
					}
					if err != nil && !strings.Contains(file, "garbage") {
						t.Errorf("refused: %v", err)
					}
					for i := range r.Values {
						seen[r.Values[i].Code.String()+" "+string(r.Values[i].AppendPayload(nil))] = true
					}
				}
			}
			for name, key := range map[string]string{
				"instantaneous_power": "1-0:16.7.0", "measured_cumulative_energy": "1-0:1.8.0", "measured_cumulative_energy_reversed": "1-0:2.8.0",
			} {
				value := s.Result.Readings[name].Value
				if value == nil || string(value) == "null" {
					continue
				}
				if !heldBy(seen, key, value) {
					t.Errorf("%s %s is in no reading: %v", name, value, seen)
				}
			}
		})
	}
}

// heldBy says whether a reading had the number, whatever its decimals.
func heldBy(seen map[string]bool, key string, value json.RawMessage) bool {
	want, err := drivers.ParseDecimal(string(value))
	if err != nil {
		return false
	}
	for s := range seen {
		k, n, _ := strings.Cut(s, " ")
		if got, err := drivers.ParseDecimal(n); k == key && err == nil && got.Cmp(want) == 0 {
			return true
		}
	}
	return false
}
