package routeb_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/peertest"
	"github.com/meter2mqtt/meter2mqtt/drivers/routeb"
	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
)

// Foreign simulated modules with a meter behind them, which this code did not come
// from.
var (
	skPeer  = &peertest.Script{Name: "routeb_dongle.py"}
	j11Peer = &peertest.Script{Name: "routeb_j11_dongle.py"}
)

const (
	peerID       = "00112233445566778899AABBCCDDEEFF"
	peerPassword = "0123456789AB"
)

// startPeer starts a module whose meter has these keys.
func startPeer(t *testing.T, script *peertest.Script, meter map[string]any, args ...string) *peertest.Peer {
	t.Helper()
	args = append([]string{"--seconds", "300"}, args...)
	if meter == nil {
		return script.Start(t, args...)
	}
	file := filepath.Join(t.TempDir(), "meter.json")
	b, err := json.Marshal(meter)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return script.Start(t, append(args, "--config", file)...)
}

// peerStats is what the peer has counted.
type peerStats struct {
	Scans, Joins, Sends int
	WOPT                int `json:"wopt_writes"`
	Acks                int `json:"infc_acks"`
	Lost                int `json:"lost_bytes"`
	ASCII, Session      bool
	Events              map[string]int
}

func stats(t *testing.T, p *peertest.Peer) (s peerStats) {
	t.Helper()
	p.Say(`{"do":"stats"}`)
	if line := p.Next(); json.Unmarshal([]byte(line), &s) != nil {
		t.Fatalf("stats: %q", line)
	}
	return s
}

// quick is for a meter that answers at once.
func quick(c *routeb.Config) {
	c.ID, c.Password = drivers.NewSecret(peerID), drivers.NewSecret(peerPassword)
	c.AnswerWait, c.RequestGap, c.JoinWait, c.RetryWait = time.Second, 0, 2*time.Second, 100*time.Millisecond
	c.TotalsEvery = 0
}

// attached is a session with a peer, and what it told.
type attached struct {
	drivers.Session
	line   drivers.Line
	states []string
	memory string
}

func dialed(t *testing.T, port, memory string, set func(*routeb.Config)) *attached {
	t.Helper()
	d := routeb.Driver
	p, err := transport.ParsePort(port, d.Mode)
	if err != nil {
		t.Fatal(err)
	}
	line, err := transport.Open(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = line.Close() })
	c := d.NewConfig().(*routeb.Config)
	quick(c)
	if set != nil {
		set(c)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	s, err := d.Dial(t.Context(), line, c, drivers.Zones{})
	if err != nil {
		t.Fatal(err)
	}
	routeb.Hasten(s)
	a := &attached{Session: s, line: line}
	s.(drivers.Attacher).Attach(drivers.Attachment{
		Memory: memory, Keep: func(m string) { a.memory = m }, State: func(s string) { a.states = append(a.states, s) },
	})
	return a
}

func (a *attached) read(t *testing.T) map[string]string {
	t.Helper()
	var r drivers.Reading
	if err := a.Read(t.Context(), nil, &r); err != nil {
		t.Fatalf("%v (states %v)", err, a.states)
	}
	return shown(&r)
}

// shown are the values of a reading by code or name.
func shown(r *drivers.Reading) map[string]string {
	m := map[string]string{}
	for i := range r.Values {
		v := &r.Values[i]
		key := v.Name
		if !v.Code.IsZero() {
			key = v.Code.String()
		}
		m[key] = strings.Trim(string(v.AppendPayload(nil)), `"`)
		if v.Kind == drivers.Number && v.Unit != "" {
			m[key] += " " + string(v.Unit)
		}
	}
	return m
}

// house is what the peers' meter shows when nothing is configured.
var house = map[string]string{
	"1-0:1.8.0": "12345.6 kWh", "1-0:2.8.0": "78.9 kWh", "1-0:16.7.0": "1234 W", "1-0:1.7.0": "1234 W", "1-0:2.7.0": "0 W",
	"1-0:31.7.0": "5.6 A", "1-0:71.7.0": "7.8 A",
}

func hasHouse(t *testing.T, got map[string]string) {
	t.Helper()
	for key, want := range house {
		if got[key] != want {
			t.Errorf("%s is %q, want %q", key, got[key], want)
		}
	}
}

func TestForeignModulesAreReadWithEveryFault(t *testing.T) {
	for _, c := range []struct {
		name   string
		script *peertest.Script
		args   string
		meter  map[string]any
	}{
		{name: "BP35C2", args: ""},
		{name: "BP35A1", args: "--module bp35a1"},
		{name: "BP35C0 binary", args: "--module bp35c0 --output binary"},
		{name: "BP35A1 binary", args: "--module bp35a1 --output binary"},
		{name: "no ROPT, binary", args: "--no-ropt --output binary"},
		{name: "no SA2", args: "--no-sa2"},
		{name: "no echo", args: "--no-echo"},
		{name: "slow echo", args: "--slow-echo 0.1"},
		{name: "found on the third scan", args: "--scan-tries 3"},
		{name: "a neighbour's PAN before", args: "--extra-pan before"},
		{name: "a neighbour's PAN after", args: "--extra-pan after"},
		{name: "the first joins fail", args: "--join-fail 2"},
		{name: "the first join is not answered", args: "--join-silent 1"},
		{name: "session ends soon", args: "--session-life 1"},
		{name: "the meter closes", args: "--peer-close 1"},
		{name: "SKTERM is not answered", args: "--term-timeout"},
		{name: "limited every third datagram", args: "--duty-limit 3 --duty-release 0.5"},
		{name: "a slow meter", args: "--latency 0.6"},
		{name: "the first answer is lost", args: "--drop 1"},
		{name: "answers are lost", args: "--drop 1,3,4"},
		{name: "a datagram is not sent", args: "--tx-fail 2"},
		{name: "busy", args: "--busy-fail 1"},
		{name: "the neighbour is asked for first", args: "--solicit"},
		{name: "answers come twice", args: "--duplicate"},
		{name: "old answers come again", args: "--stale"},
		{name: "another node answers too", args: "--foreign"},
		{name: "one property a request", args: "--max-opc 1"},
		{name: "notifications in between", args: "--notify-interval 0.1 --notify-esv 74"},
		{name: "no instance list", args: "--no-instance-list"},
		{name: "noise first", args: "--garbage"},
		{name: "three bytes at a time", args: "--split 3"},
		{name: "several together", args: "--module bp35a1 --output binary --garbage --scan-tries 2 --extra-pan after --join-fail 1 --busy-fail 1 --solicit --duplicate --stale --foreign --split 7 --notify-interval 0.2 --notify-esv 74"},
		{name: "all losses together", args: "--join-silent 1 --drop 2 --tx-fail 3 --peer-close 2 --duty-limit 4 --duty-release 0.3"},
		{name: "an old meter", args: "", meter: map[string]any{"generation": 1}},
		{name: "no coefficient", args: "", meter: map[string]any{"coefficient": nil}},
		{name: "J11", script: j11Peer},
		{name: "J11 found on the third scan", script: j11Peer, args: "--scan-tries 3"},
		{name: "J11 not accepted at first", script: j11Peer, args: "--pana-fail 1"},
		{name: "J11 answers are lost", script: j11Peer, args: "--drop 1,3"},
		{name: "J11 session ends soon", script: j11Peer, args: "--session-life 1"},
		{name: "J11 slow meter and notifications", script: j11Peer, args: "--latency 0.5 --notify-interval 0.2"},
		{name: "J11 several together", script: j11Peer, args: "--scan-tries 2 --pana-fail 1 --drop 2 --session-life 2 --notify-interval 0.3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			script := skPeer
			if c.script != nil {
				script = c.script
			}
			p := startPeer(t, script, c.meter, strings.Fields(c.args)...)
			s := dialed(t, p.At, "", nil)
			for range 3 {
				hasHouse(t, s.read(t))
			}
			if s.memory == "" || s.states[len(s.states)-1] != "joined" && s.states[len(s.states)-1] != "limited" {
				t.Errorf("memory %q, states %v", s.memory, s.states)
			}
			if strings.Contains(s.memory, peerID[20:]) {
				t.Errorf("the id is in the memory: %s", s.memory)
			}
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if script == skPeer {
				if got := stats(t, p); got.WOPT != 0 || got.Lost != 0 {
					t.Errorf("the module's flash was written %d times, %d bytes were lost", got.WOPT, got.Lost)
				}
			}
		})
	}
}

func TestARestartJoinsTheRememberedPANWithoutAScan(t *testing.T) {
	t.Parallel()
	p := startPeer(t, skPeer, nil)
	first := dialed(t, p.At, "", nil)
	first.read(t)
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := first.line.Close(); err != nil {
		t.Fatal(err)
	}
	second := dialed(t, p.At, first.memory, nil)
	hasHouse(t, second.read(t))
	if slices.Contains(second.states, "scanning") {
		t.Errorf("states %v", second.states)
	}
	if got := stats(t, p); got.Scans != 1 {
		t.Errorf("%d scans, want 1", got.Scans)
	}
}

func TestAPANThatIsNoMoreIsLookedForAgain(t *testing.T) {
	t.Parallel()
	p := startPeer(t, skPeer, nil)
	s := dialed(t, p.At, `{"channel":50,"pan":4660,"mac":"8066"}`, func(c *routeb.Config) { c.JoinWait = time.Second })
	hasHouse(t, s.read(t))
	if diff := cmp.Diff([]string{"starting", "joining", "scanning", "joining", "joined"}, s.states); diff != "" {
		t.Error(diff)
	}
}

func TestNotificationsComeUnasked(t *testing.T) {
	t.Parallel()
	for _, esv := range []string{"73", "74"} {
		p := startPeer(t, skPeer, nil, "--notify-esv", esv, "--notify-interval", "0.2")
		s := dialed(t, p.At, "", nil)
		s.read(t)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		count := 0
		err := s.Session.(drivers.Notifier).Notify(ctx, func(r *drivers.Reading) error {
			got := shown(r)
			if got["1-1:1.8.0"] != "12345.6 kWh" || got["1-1:2.8.0"] != "78.9 kWh" || r.Values[0].Time.IsZero() {
				t.Errorf("notification %v", got)
			}
			if count++; count == 5 {
				cancel()
			}
			return nil
		})
		cancel()
		if err != nil || count < 5 {
			t.Errorf("%d notifications, %v", count, err)
		}
		if got := stats(t, p); esv == "74" && got.Acks < 3 {
			t.Errorf("%d of them answered", got.Acks)
		}
	}
}

func TestASessionLostBetweenReadingsIsJoinedAgainUnasked(t *testing.T) {
	for _, c := range []struct{ name, event string }{
		{"the meter closes", `{"do":"peer_close"}`},
		{"an event 28 out of nowhere", `{"do":"raw","text":"EVENT 28 FE80::1 0"}`},
		{"not renewed", `{"do":"expire"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := startPeer(t, skPeer, nil, "--reauth", "none")
			s := dialed(t, p.At, "", nil)
			s.read(t)
			before := len(s.states)
			p.Say(c.event)
			ctx, cancel := context.WithCancel(t.Context())
			back := make(chan struct{})
			s.Session.(drivers.Attacher).Attach(drivers.Attachment{Memory: s.memory, State: func(state string) {
				s.states = append(s.states, state)
				if state == "joined" {
					close(back)
					cancel()
				}
			}})
			if err := s.Session.(drivers.Notifier).Notify(ctx, func(*drivers.Reading) error { return nil }); err != nil {
				t.Fatal(err)
			}
			<-back
			if len(s.states) <= before {
				t.Errorf("states %v", s.states)
			}
			hasHouse(t, s.read(t))
		})
	}
}

func TestAMeterThatFallsSilentIsGivenUpInSecondsAndComesBack(t *testing.T) {
	t.Parallel()
	p := startPeer(t, skPeer, nil)
	s := dialed(t, p.At, "", func(c *routeb.Config) { c.AnswerWait = 300 * time.Millisecond })
	s.read(t)
	p.Say(`{"do":"mute","on":true}`)
	stats(t, p)
	var r drivers.Reading
	for range 2 {
		if err := s.Read(t.Context(), nil, &r); !errors.Is(err, drivers.ErrTimeout) {
			t.Fatalf("read %v", err)
		}
	}
	p.Say(`{"do":"mute","on":false}`)
	stats(t, p)
	hasHouse(t, s.read(t))
}

func TestAWrongPasswordIsAnErrorThatShowsNoSecret(t *testing.T) {
	t.Parallel()
	const canary = "CANARYPASSWD"
	for _, script := range []*peertest.Script{skPeer, j11Peer} {
		p := startPeer(t, script, nil)
		s := dialed(t, p.At, "", func(c *routeb.Config) { c.Password = drivers.NewSecret(canary) })
		var r drivers.Reading
		var err error
		for range 5 { // the peer may not be quick enough to be found at once
			if err = s.Read(t.Context(), nil, &r); errors.Is(err, drivers.ErrRefused) {
				break
			}
		}
		if !errors.Is(err, drivers.ErrRefused) || errors.Is(err, drivers.ErrAuth) || drivers.Hint(err) == "" {
			t.Fatalf("read %v, hint %q", err, drivers.Hint(err))
		}
		text := err.Error() + drivers.Hint(err) + s.memory + strings.Join(s.states, " ")
		for _, secret := range []string{canary, peerID, peerID[24:]} {
			if strings.Contains(text, secret) {
				t.Errorf("%q shows a secret", text)
			}
		}
		if s.states[len(s.states)-1] != "waiting" {
			t.Errorf("states %v", s.states)
		}
	}
}

func TestHistoryOfDaysAndMinutes(t *testing.T) {
	t.Parallel()
	p := startPeer(t, skPeer, map[string]any{"clock": "2026-01-15T12:34:56", "missing_half_hours": []int{3}})
	s := dialed(t, p.At, "", nil)
	japan := time.FixedZone("JST", 9*3600)
	day := time.Date(2026, 1, 15, 0, 0, 0, 0, japan)
	history := func(from, to time.Time) (rows []string) {
		t.Helper()
		err := s.Session.(drivers.Historian).History(t.Context(), from, to, func(r *drivers.Reading) error {
			got := shown(r)
			row := r.Time.String()
			for _, key := range []string{"1-1:1.8.0", "1-1:2.8.0", "1-2:1.8.0", "1-2:2.8.0"} {
				if got[key] != "" {
					row += " " + key + "=" + got[key]
				}
			}
			rows = append(rows, row)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	rows := history(day.AddDate(0, 0, -2), day.Add(24*time.Hour))
	if len(rows) != 47+47+25 { // the third half-hour is missing of two days and of today: 26 have passed
		t.Fatalf("%d rows: %v", len(rows), rows)
	}
	if want := "2026-01-15T12:30:00+09:00 1-1:1.8.0=12345.6 kWh 1-1:2.8.0=78.9 kWh"; rows[len(rows)-1] != want {
		t.Errorf("the newest is %s, want %s", rows[len(rows)-1], want)
	}
	if !slices.IsSorted(rows) {
		t.Error("not oldest first")
	}
	rows = history(day.Add(12*time.Hour), day.Add(12*time.Hour+34*time.Minute))
	if len(rows) != 35+2 {
		t.Fatalf("%d rows: %v", len(rows), rows)
	}
	if want := "2026-01-15T12:34:00+09:00 1-2:1.8.0=12345.6 kWh 1-2:2.8.0=78.9 kWh"; rows[len(rows)-1] != want {
		t.Errorf("the newest is %s, want %s", rows[len(rows)-1], want)
	}
}

func TestParametersAreSetAndReadBack(t *testing.T) {
	t.Parallel()
	p := startPeer(t, skPeer, map[string]any{"clock": "2026-01-15T12:34:56"})
	s := dialed(t, p.At, "", nil)
	s.read(t)
	japan := time.FixedZone("JST", 9*3600)
	_, _, list := s.Describe()
	c := s.Session.(drivers.Commander)
	for _, want := range []struct {
		name  string
		value drivers.Value
	}{
		{"history_day", drivers.Value{Kind: drivers.Number, Number: drivers.NewDecimal(3, 0)}},
		{"history_half_hours", drivers.Value{Kind: drivers.Text, Text: "2026-01-15T12:30 12"}},
		{"history_minutes", drivers.Value{Kind: drivers.Text, Text: "2026-01-15T12:47 7"}},
		{"location", drivers.Value{Kind: drivers.Text, Text: "kitchen 2"}},
		{"clock", drivers.Value{Kind: drivers.Moment, Moment: drivers.Stamp{Wall: time.Date(2026, 2, 3, 4, 5, 0, 0, japan), Zoned: true}}},
	} {
		i := slices.IndexFunc(list, func(p drivers.Parameter) bool { return p.Name == want.name })
		if i < 0 {
			t.Fatalf("there is no %s", want.name)
		}
		got, err := c.Set(t.Context(), list[i], want.value)
		if err != nil {
			t.Fatalf("%s: %v", want.name, err)
		}
		again, err := c.Get(t.Context(), list[i])
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range []drivers.Value{got, again} {
			if a, b := string(v.AppendPayload(nil)), string(want.value.AppendPayload(nil)); a != b {
				t.Errorf("%s is %s, want %s", want.name, a, b)
			}
		}
	}
	for name, bad := range map[string]drivers.Value{
		"history_day":        {Kind: drivers.Number, Number: drivers.NewDecimal(100, 0)},
		"history_half_hours": {Kind: drivers.Text, Text: "2026-01-15T12:30 13"},
		"location":           {Kind: drivers.Text, Text: "the moon"},
	} {
		i := slices.IndexFunc(list, func(p drivers.Parameter) bool { return p.Name == name })
		if _, err := c.Set(t.Context(), list[i], bad); !errors.Is(err, drivers.ErrValue) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The meter's map has the current, and the meter refuses it: what else it answers is
// taken, and the current is not asked for again.
func TestWhatAMeterRefusesIsNotAskedForAgain(t *testing.T) {
	t.Parallel()
	transcript := filepath.Join(t.TempDir(), "transcript.json")
	var told routeb.Codes
	for _, epc := range []byte{0x80, 0x81, 0x82, 0x88, 0x8A, 0x8D, 0x97, 0x98, 0x9D, 0x9E, 0x9F, 0xE0, 0xE1, 0xE7, 0xE8} {
		told.Add(epc)
	}
	mapped := hex.EncodeToString(told.Encode())
	p := startPeer(t, skPeer, map[string]any{"unsupported": []string{"E8"}, "edt": map[string]string{"9F": mapped}}, "--transcript", transcript)
	s := dialed(t, p.At, "", nil)
	for range 3 {
		got := s.read(t)
		if _, there := got["1-0:31.7.0"]; there || got["1-0:16.7.0"] != house["1-0:16.7.0"] || got["1-0:1.8.0"] != house["1-0:1.8.0"] {
			t.Errorf("got %v", got)
		}
	}
	p.End()
	asked := map[byte]int{}
	for _, frame := range requests(t, transcript) {
		for _, property := range frame.Properties {
			asked[property.EPC]++
		}
	}
	if asked[0xE8] != 1 || asked[0xE7] < 3 {
		t.Errorf("the current was asked for %d times, the power %d times", asked[0xE8], asked[0xE7])
	}
}

// requests are what was sent to the meter, from a peer's transcript.
func requests(t *testing.T, transcript string) (all []routeb.Frame) {
	t.Helper()
	content, err := os.ReadFile(transcript)
	if err != nil {
		t.Fatal(err)
	}
	var told struct {
		Log []struct{ Dir, Text, Hex string }
	}
	if err := json.Unmarshal(content, &told); err != nil {
		t.Fatal(err)
	}
	for _, e := range told.Log {
		b := []byte(e.Text)
		if e.Hex != "" {
			b, _ = hex.DecodeString(e.Hex)
		}
		at := bytes.Index(b, []byte{0x10, 0x81})
		if e.Dir != "tx" || !bytes.HasPrefix(b, []byte("SKSENDTO")) || at < 0 {
			continue
		}
		var f routeb.Frame
		if _, _, err := f.Parse(b[at:]); err != nil {
			t.Fatalf("%v in % x", err, b[at:])
		}
		all = append(all, f)
	}
	return all
}

func TestSentinelsAreAbsent(t *testing.T) {
	t.Parallel()
	p := startPeer(t, skPeer, map[string]any{
		"power": nil, "current_t": nil, "reverse": nil, "unit": "03", "coefficient": 60, "forward": 99999999,
	})
	got := dialed(t, p.At, "", nil).read(t)
	for _, key := range []string{"1-0:16.7.0", "1-0:1.7.0", "1-0:2.7.0", "1-0:71.7.0", "1-0:2.8.0"} {
		if v, there := got[key]; there {
			t.Errorf("%s is %s, want none", key, v)
		}
	}
	if got["1-0:1.8.0"] != "5999999.940 kWh" || got["1-0:31.7.0"] != "5.6 A" {
		t.Errorf("got %v", got)
	}
}
