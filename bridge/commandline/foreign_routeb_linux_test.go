package commandline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/bridge/brokertest"
	"github.com/meter2mqtt/meter2mqtt/bridge/journal"
	"github.com/meter2mqtt/meter2mqtt/drivers/canary"
	"github.com/meter2mqtt/meter2mqtt/drivers/peertest"
)

const (
	stickID       = "00112233445566778899AABBCCDDEEFF"
	stickPassword = "0123456789AB"
)

// stick is a simulated Wi-SUN module with a meter of Japan behind it.
type stick struct{ *peertest.Peer }

// foreignStick starts one: a meter of its keys, JSON, and its faults.
func foreignStick(t *testing.T, script peertest.Script, meter string, args ...string) stick {
	t.Helper()
	if meter != "" {
		file := filepath.Join(t.TempDir(), "meter.json")
		if err := os.WriteFile(file, []byte(meter), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", file)
	}
	return stick{script.Start(t, append([]string{"--seconds", "300"}, args...)...)}
}

// stickStats is what a module with SKSTACK has counted.
type stickStats struct {
	Scans, Joins, Sends int
	Session             bool
	Flash               int `json:"wopt_writes"`
	Acks                int `json:"infc_acks"`
	Lost                int `json:"lost_bytes"`
	Events              map[string]int
}

func (s stick) stats(t *testing.T) (got stickStats) {
	t.Helper()
	s.Say(`{"do":"stats"}`)
	if line := s.Next(); json.Unmarshal([]byte(line), &got) != nil {
		t.Fatalf("stats: %q", line)
	}
	return got
}

// quickStick are the keys of a meter on it, for a module that is no radio.
func quickStick(port, more string) string {
	return fmt.Sprintf("driver = \"routeb\"\nport = %q\nid = %q\npassword = %q\n"+
		"answer_wait = \"600ms\"\nrequest_gap = \"0s\"\njoin_wait = \"1s\"\nretry_wait = \"200ms\"\n%s\n", port, stickID, stickPassword, more)
}

// isHouse holds what was printed against the foreign meter, digit by digit.
func isHouse(out string) error {
	for _, want := range []string{
		`"driver":"routeb","meter":{"id":"S24X00001234"`,
		`{"obis":"1-0:1.8.0","name":"energy_import","value":12345.6,"unit":"kWh"`,
		`{"obis":"1-0:2.8.0","name":"energy_export","value":78.9,"unit":"kWh"`,
		`{"obis":"1-0:16.7.0","name":"power_net","value":1234,"unit":"W"`,
		`{"obis":"1-0:31.7.0","name":"current_l1","value":5.6,"unit":"A"`,
		`{"obis":"1-0:71.7.0","name":"current_l3","value":7.8,"unit":"A"`,
	} {
		if !strings.Contains(out, want) {
			return fmt.Errorf("no %s in %s", want, out)
		}
	}
	if n := strings.Count(out, "\n"); n != 1 {
		return fmt.Errorf("%d readings, want one: %s", n, out)
	}
	return nil
}

// together runs tests a few at a time: they wait for modules, not for a processor.
func together[T any](t *testing.T, cases []T, name func(T) string, test func(*testing.T, T)) {
	t.Helper()
	var all sync.WaitGroup
	room := make(chan struct{}, 6)
	for _, c := range cases {
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			t.Run(name(c), func(t *testing.T) { test(t, c) })
		})
	}
	all.Wait()
}

// Each case says which fault it is by what the module must have counted.
func TestTheProgramReadsAForeignStickWithEveryFault(t *testing.T) {
	event := func(number string) func(stickStats) bool {
		return func(s stickStats) bool { return s.Events[number] > 0 }
	}
	scans := func(n int) func(stickStats) bool { return func(s stickStats) bool { return s.Scans == n } }
	joins := func(n int) func(stickStats) bool { return func(s stickStats) bool { return s.Joins >= n } }
	sends := func(n int) func(stickStats) bool { return func(s stickStats) bool { return s.Sends >= n } }
	type fault struct {
		name, args, meter string
		was               func(stickStats) bool
	}
	together(t, []fault{
		{name: "BP35C2"},
		{name: "BP35A1", args: "--module bp35a1"},
		{name: "BP35C0 binary", args: "--module bp35c0 --output binary"},
		{name: "BP35A1 binary", args: "--module bp35a1 --output binary"},
		{name: "no ROPT, binary", args: "--no-ropt --output binary"},
		{name: "no SA2", args: "--no-sa2"},
		{name: "no echo", args: "--no-echo"},
		{name: "slow echo", args: "--slow-echo 0.05"},
		{name: "found on the third scan", args: "--scan-tries 3", was: scans(3)},
		{name: "a neighbour before", args: "--extra-pan before", was: joins(1)},
		{name: "a neighbour after", args: "--extra-pan after", was: joins(1)},
		{name: "the first joins fail", args: "--join-fail 2", was: joins(3)},
		{name: "the first join is not answered", args: "--join-silent 1", was: joins(2)},
		{name: "short lifetime", args: "--lifetime 60"},
		{name: "the session expires and comes back", args: "--latency 0.3 --session-life 0.5 --reauth-delay 0.2", was: event("29")},
		{name: "the session expires and fails", args: "--latency 0.3 --session-life 0.5 --reauth fail --reauth-delay 0.1", was: event("24")},
		{name: "the session expires for good", args: "--latency 0.3 --session-life 0.5 --reauth none", was: joins(2)},
		{name: "the meter closes", args: "--latency 0.3 --peer-close 0.5", was: event("26")},
		{name: "SKTERM is not answered", args: "--term-timeout", was: event("28")},
		{name: "limited after each datagram", args: "--duty-limit 1 --duty-release 0.3", was: event("33")},
		{name: "a slow meter", args: "--latency 0.5"},
		{name: "the first answer is lost", args: "--drop 1", was: sends(3)},
		{name: "answers are lost", args: "--drop 1,3", was: sends(4)},
		{name: "a datagram is not sent", args: "--tx-fail 2", was: sends(3)},
		{name: "busy", args: "--busy-fail 1", was: sends(3)},
		{name: "the neighbour is asked for first", args: "--solicit", was: event("02")},
		{name: "answers come twice", args: "--duplicate"},
		{name: "old answers come again", args: "--stale"},
		{name: "another node answers too", args: "--foreign"},
		{name: "one property a request", args: "--max-opc 1", was: sends(8)},
		{name: "notifications in between", args: "--notify-interval 0.05"},
		{name: "notifications that want an answer", args: "--notify-interval 0.05 --notify-esv 74", was: func(s stickStats) bool { return s.Acks > 0 }},
		{name: "no instance list", args: "--no-instance-list"},
		{name: "noise first", args: "--garbage"},
		{name: "three bytes at a time", args: "--split 3"},
		{name: "no coefficient, first generation", meter: `{"coefficient": null, "generation": 1}`},
		{
			name: "all of the module together", was: func(s stickStats) bool { return s.Scans == 2 && s.Joins >= 2 && s.Acks > 0 },
			args: "--module bp35a1 --output binary --garbage --scan-tries 2 --extra-pan after --join-fail 1 --busy-fail 1 --solicit --duplicate --stale --foreign --split 7 --notify-interval 0.1 --notify-esv 74",
		},
		{
			name: "all losses together", was: func(s stickStats) bool { return s.Joins >= 3 && s.Events["32"] > 0 },
			args: "--no-ropt --no-sa2 --join-silent 1 --drop 2 --tx-fail 3 --peer-close 0.3 --duty-limit 2 --duty-release 0.2 --term-timeout",
		},
	}, func(c fault) string { return c.name }, func(t *testing.T, c fault) {
		t.Helper()
		args := append([]string{"--scan-time", "0.05", "--join-time", "0.1"}, strings.Fields(c.args)...)
		s := foreignStick(t, skStick, c.meter, args...)
		got := program(t, quickStick(s.At, ""), "read", "main")
		if err := isHouse(got.out); got.code != 0 || got.err != "" || err != nil {
			t.Errorf("exit code %d, %v\n%s", got.code, err, got.err)
		}
		seen := s.stats(t)
		if c.was != nil && !c.was(seen) {
			t.Errorf("the fault did not come: %+v", seen)
		}
		if seen.Session || seen.Flash != 0 || seen.Lost != 0 {
			t.Errorf("left behind: %+v", seen)
		}
	})
}

func TestTheProgramReadsAForeignBinaryStickWithEveryFault(t *testing.T) {
	type fault struct{ name, args string }
	together(t, []fault{
		{"as it should be", ""},
		{"another channel", "--channel 17"},
		{"found on the third scan", "--scan-tries 3"},
		{"not accepted at first", "--pana-fail 1"},
		{"answers are lost", "--drop 1,3"},
		{"the session ends", "--latency 0.3 --session-life 0.5"},
		{"a slow meter that speaks unasked", "--latency 0.4 --notify-interval 0.1"},
		{"all together", "--scan-tries 2 --pana-fail 1 --drop 2 --session-life 0.7 --latency 0.1 --notify-interval 0.1"},
	}, func(c fault) string { return c.name }, func(t *testing.T, c fault) {
		t.Helper()
		log := filepath.Join(t.TempDir(), "log.json")
		s := foreignStick(t, j11Stick, "", append([]string{"--transcript", log}, strings.Fields(c.args)...)...)
		got := program(t, quickStick(s.At, ""), "read", "main")
		s.End()
		if err := isHouse(got.out); got.code != 0 || got.err != "" || err != nil {
			seen, _ := os.ReadFile(log)
			t.Errorf("exit code %d, %v\n%s\n%s", got.code, err, got.err, seen)
		}
	})
}

// The patience for an answer is the configuration's.
func TestAStickWhoseMeterIsMuteIsGivenUpInSeconds(t *testing.T) {
	t.Parallel()
	s := foreignStick(t, skStick, "", "--scan-time", "0.05", "--join-time", "0.1")
	s.Say(`{"do":"mute","on":true}`)
	got := program(t, quickStick(s.At, ""), "read", "main", "--timeout", "20s")
	if got.code != 1 || got.out != "" || !strings.Contains(got.err, "does not answer") {
		t.Errorf("exit code %d\n%s%s", got.code, got.out, got.err)
	}
	if n := s.stats(t).Sends; n < 3 || n > 8 {
		t.Errorf("%d requests were sent", n)
	}
}

func TestTheProgramWritesToAForeignStick(t *testing.T) {
	const all = `write = ["location", "clock", "history_day", "history_half_hours", "history_minutes", "operation"]`
	for _, c := range []struct {
		name, keys, meter, parameter, value, says string
		sends                                     int // that the module transmitted at least; 0: it was not even joined
	}{
		{"the place", all, "", "location", "kitchen 2", `{"parameter":"location","ok":true,"value":"kitchen 2"}`, 2},
		{"the day of history", all, "", "history_day", "3", `{"parameter":"history_day","ok":true,"value":3}`, 2},
		{"half-hours", all, "", "history_half_hours", "2026-01-15T12:30 12", `"ok":true,"value":"2026-01-15T12:30 12"}`, 2},
		{"minutes", all, "", "history_minutes", "2026-01-15T12:47 7", `"ok":true,"value":"2026-01-15T12:47 7"}`, 2},
		{"the clock", all, `{"clock": "2026-01-15T12:34:56"}`, "clock", "2026-02-03T04:05:00+09:00", `"ok":true,"value":"2026-02-03T04:05:00+09:00"}`, 2},
		{"what this meter does not let set", all, "", "operation", "false", `"ok":false,"error":"`, 1},
		{"out of range", all, "", "history_day", "100", `"ok":false,"error":"value not accepted`, 0},
		{"too many", all, "", "history_half_hours", "2026-01-15T12:30 13", `"ok":false,"error":"`, 0},
		{"no such place", all, "", "location", "the moon", `"ok":false,"error":"`, 0},
		{"not allowed", `write = ["clock"]`, "", "location", "kitchen 2", `"ok":false,"error":"not sent`, 0},
		{"no such parameter", all, "", "tariff", "1", `"ok":false,"error":"`, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := foreignStick(t, skStick, c.meter, "--scan-time", "0.05", "--join-time", "0.1")
			got := program(t, quickStick(s.At, c.keys), "write", "main", c.parameter, c.value)
			done := strings.Contains(c.says, `"ok":true`)
			if !strings.Contains(got.out, c.says) || got.code == 0 != done || strings.Count(got.out, "\n") != 1 {
				t.Errorf("exit code %d\n%s%s", got.code, got.out, got.err)
			}
			if n := s.stats(t).Sends; n < c.sends || c.sends == 0 && n != 0 {
				t.Errorf("%d requests were sent", n)
			}
		})
	}
}

// ordered are the properties that the foreign module heard us write, each as EPC=EDT,
// from its transcript, which it leaves when it ends.
func ordered(t *testing.T, transcript string) (all []string) {
	t.Helper()
	text, err := os.ReadFile(transcript)
	if err != nil {
		t.Fatal(err)
	}
	// EHD, TID, a controller to a meter, SetC, one property or two of a few bytes.
	for _, m := range regexp.MustCompile(`1081[0-9a-f]{4}05ff010288016101([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2,34})`).FindAllStringSubmatch(strings.ToLower(string(text)), -1) {
		n, err := strconv.ParseUint(m[2], 16, 8)
		if err != nil || len(m[3]) < 2*int(n) {
			t.Fatalf("%v in %q", err, m)
		}
		all = append(all, m[1]+"="+m[3][:2*n])
	}
	return all
}

// What is ordered by MQTT is in the foreign meter's memory afterwards and shows as the
// parameter's value; what is refused has not reached it, unless the meter refused it.
func TestAWriteByMQTTReachesAForeignStick(t *testing.T) {
	t.Parallel()
	transcript := filepath.Join(t.TempDir(), "transcript.json")
	s := foreignStick(t, skStick, `{"clock": "2026-01-15T12:34:56", "set_map": ["80", "81", "E5", "ED"]}`,
		"--scan-time", "0.05", "--join-time", "0.1", "--transcript", transcript)
	r := run(t, quickStick(s.At, "every = \"1h\"\nwrite = [\"location\", \"history_day\", \"history_half_hours\", \"operation\"]\n"))
	const parameters = "meter2mqtt/heat/parameter/"
	r.broker.Until("the place", func(m brokertest.Message) bool { return m.Topic == parameters+"location" && m.Payload != "" })
	for i, o := range []struct{ topic, payload, value, says string }{
		{topic: "set/location", payload: `"kitchen 2"`, value: "kitchen 2"},
		{topic: "set/history_day", payload: "3", value: "3"},
		{topic: "set/history_half_hours", payload: `"2026-01-15T12:30 12"`, value: "2026-01-15T12:30 12"},
		{topic: "get/history_day", value: "3"},
		{topic: "set/operation", payload: "false", says: "refused by the meter"}, // which says that it can be set
		{topic: "set/history_day", payload: "100", says: "value not accepted"},
		{topic: "set/history_day", payload: `"x"`, says: "value not accepted"},
		{topic: "set/location", payload: `"the moon"`, says: "value not accepted"},
		{topic: "set/history_half_hours", payload: `"2026-01-15T12:30 13"`, says: "value not accepted"},
		{topic: "set/clock", payload: `"now"`, says: "may not be written"},
		{topic: "set/tariff", payload: "1", says: "may not be written"},
		{topic: "get/tariff", says: "no parameter"},
	} {
		id := fmt.Sprintf("n%d", i)
		payload := fmt.Sprintf(`{"id":%q}`, id)
		if o.payload != "" {
			payload = fmt.Sprintf(`{"value":%s,"id":%q}`, o.payload, id)
		}
		got := r.tell(o.topic, payload)
		_, parameter, _ := strings.Cut(o.topic, "/")
		if got["id"] != id || got["parameter"] != parameter || got["ok"] != (o.says == "") {
			t.Errorf("%s %s: got %v", o.topic, o.payload, got)
		}
		if text, _ := got["error"].(string); !strings.Contains(text, o.says) || (text == "") != (o.says == "") {
			t.Errorf("%s %s: error %q, want %q", o.topic, o.payload, text, o.says)
		}
		if o.says != "" {
			continue
		}
		if got := fmt.Sprint(got["value"]); got != o.value {
			t.Errorf("%s %s: value %s, want %s", o.topic, o.payload, got, o.value)
		}
		r.broker.UntilIs(parameters+parameter, o.value)
	}

	t.Log("the line is lost")
	s.End()
	if got := r.tell("set/history_day", "4"); got["ok"] == true || got["error"] == "" {
		t.Errorf("without a meter: got %v", got)
	}
	// A kitchen is 3 among the places, in the bits above the number's.
	want := []string{"81=1a", "e5=03", "ed=07ea010f0c1e0c", "80=31"}
	if diff := cmp.Diff(want, ordered(t, transcript)); diff != "" {
		t.Errorf("the meter was ordered (-want +got):\n%s", diff)
	}
}

func TestTheProgramReadsADayOfAForeignStick(t *testing.T) {
	t.Parallel()
	s := foreignStick(t, skStick, `{"clock": "2026-01-15T12:34:56", "missing_half_hours": [3]}`, "--scan-time", "0.05", "--join-time", "0.1")
	got := program(t, quickStick(s.At, ""), "history", "main", "--from", "2026-01-14T00:00:00+09:00", "--to", "2026-01-14T23:59:00+09:00", "--format", "csv")
	lines := strings.Split(strings.TrimSpace(got.out), "\n")
	if got.code != 0 || got.err != "" || len(lines) != 1+47*2 {
		t.Fatalf("exit code %d, %d lines\n%s%s", got.code, len(lines), got.out, got.err)
	}
	// 73 half-hours before the one of 12:30, at three counts each.
	if want := "2026-01-14T00:00:00+09:00,1-1:1.8.0,energy_import,12323.7,kWh"; !strings.Contains(got.out, want) {
		t.Errorf("no %s in %s", want, got.out)
	}
	if strings.Contains(got.out, "2026-01-14T01:30") {
		t.Errorf("a half-hour that is missing: %s", got.out)
	}
}

func TestARestartOfTheProgramJoinsAForeignStickFromItsMemory(t *testing.T) {
	t.Parallel()
	s := foreignStick(t, skStick, "", "--scan-time", "0.05", "--join-time", "0.1")
	r := run(t, quickStick(s.At, "every = \"1s\"\n"))
	state := filepath.Join(filepath.Dir(r.file), "state", "memory.json")
	r.broker.Until("reading", func(brokertest.Message) bool {
		text, _ := os.ReadFile(state)
		return bytes.Contains(text, []byte(`"attachment"`)) // messages go on coming, each a look
	})
	r.kill()
	r.broker.Forget()
	r.start()
	r.broker.Until("session", func(m brokertest.Message) bool {
		return m.Topic == "meter2mqtt/heat/diagnostic" && strings.Contains(m.Payload, `"session":"joined"`)
	})
	if got := s.stats(t); got.Scans != 1 || got.Joins < 2 {
		t.Errorf("%d scans, want 1, %d joins", got.Scans, got.Joins)
	}
}

// A session that the meter announces to last five seconds is renewed after four, again
// and again: it never ends, and nothing is joined or scanned anew.
func TestTheProgramRenewsASessionOfAForeignStickBeforeItEnds(t *testing.T) {
	t.Parallel()
	s := foreignStick(t, skStick, "", "--scan-time", "0.05", "--join-time", "0.1", "--lifetime", "5", "--reauth-delay", "0.1")
	r := run(t, strings.Replace(quickStick(s.At, "every = \"1h\"\n"), `join_wait = "1s"`, `join_wait = "1m"`, 1))
	r.broker.Until("third renewal", func(m brokertest.Message) bool {
		return m.Topic == "meter2mqtt/heat/diagnostic" && strings.Contains(m.Payload, `"session":"joined"`) && s.stats(t).Events["25"] > 3
	})
	if got := s.stats(t); got.Scans != 1 || got.Joins != 1 || got.Events["29"] != 0 {
		t.Errorf("%+v", got)
	}
}

// A gap of days is found when the program comes back, and asked of the meter.
func TestTheProgramFillsMissedDaysFromAForeignStick(t *testing.T) {
	t.Parallel()
	s := foreignStick(t, skStick, "", "--scan-time", "0.05", "--join-time", "0.1")
	dir := t.TempDir()
	broker := brokertest.New(t)
	broker.Start()
	t.Cleanup(broker.Stop)
	seen := time.Now().Add(-60 * time.Hour)
	memory := map[string]any{"meters": map[string]any{"main": map[string]any{"driver": "routeb", "seen": seen}}}
	if err := journal.Save(filepath.Join(dir, "memory.json"), memory); err != nil {
		t.Fatal(err)
	}
	_, log := gateway(t, dir, broker, quickStick(s.At, "every = \"30s\"\nbackfill = true\n"))
	defer func() {
		if t.Failed() {
			t.Log(log)
		}
	}()
	// The first piece is a day: half-hours at three counts each, the newest of now.
	japan := time.FixedZone("", 9*3600)
	first := seen.Truncate(30 * time.Minute).Add(30 * time.Minute).In(japan)
	broker.Until("history", func(m brokertest.Message) bool {
		last := first.Add(47 * 30 * time.Minute).Format(time.RFC3339)
		return m.Topic == "meter2mqtt/main/history" && strings.Contains(m.Payload, last)
	})
	rows := broker.Seen("meter2mqtt/main/history")
	if want := `{"time":"` + first.Format(time.RFC3339) + `","source":"meter","1-1:1.8.0":1230`; len(rows) != 48 || !strings.HasPrefix(rows[0].Payload, want) {
		t.Errorf("%d rows, want 48 from %s: %v", len(rows), want, rows)
	}
}

// gateway runs the program until the test ends, with one meter called main, and
// gives what it logs.
func gateway(t *testing.T, dir string, broker *brokertest.Broker, meter string) (file string, log *brokertest.Log) {
	t.Helper()
	file, log = filepath.Join(t.TempDir(), "config.toml"), new(brokertest.Log)
	text := fmt.Sprintf("[log]\nlevel = \"debug\"\n[mqtt]\nurl = %q\n[state]\ndir = %q\n[[meter]]\nname = \"main\"\n%s", broker.URL(), dir, meter)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "meter2mqtt", "run", "-c", file)
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // t.Context has ended it
	return file, log
}

// The module echoes id and password, the meter refuses them, and none of what the
// program writes shows either.
func TestIDAndPasswordOfAForeignStickAreNowhere(t *testing.T) {
	id, password := canary.Key(8), canary.RouteBPassword
	for name, script := range map[string]peertest.Script{"SKSTACK": skStick, "J11": j11Stick} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			meter := fmt.Sprintf(`{"rbid": %q}`, id)
			s := foreignStick(t, script, meter)
			keys := strings.NewReplacer(stickID, id, stickPassword, password).Replace(quickStick(s.At, "every = \"2s\""))
			dir := t.TempDir()
			broker := brokertest.New(t)
			broker.Start()
			t.Cleanup(broker.Stop)
			file, log := gateway(t, dir, broker, keys)
			broker.Until("session", func(m brokertest.Message) bool {
				return m.Topic == "meter2mqtt/main/diagnostic" && strings.Contains(m.Payload, `"session":"waiting"`)
			})
			report := filepath.Join(t.TempDir(), "report.jsonl")
			out, err := exec.CommandContext(t.Context(), "meter2mqtt", "report", "-c", file, report).CombinedOutput()
			if err != nil {
				t.Fatalf("%v %s", err, out)
			}
			texts := map[string]string{"the log": log.String(), "report's output": string(out)}
			for _, m := range broker.Seen("") {
				texts["topics"] += m.Topic + " " + m.Payload + "\n"
			}
			for _, file := range append(files(t, dir), report) {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				texts[filepath.Base(file)] = string(text)
			}
			for where, text := range texts {
				canary.Keep(t, where, []byte(text))
				for _, secret := range []string{id, id[24:], password, fmt.Sprintf("%x", id[24:]), fmt.Sprintf("%x", password)} {
					if strings.Contains(strings.ToLower(text), strings.ToLower(secret)) {
						t.Errorf("%s shows %s:\n%s", where, secret, text)
					}
				}
			}
			if !strings.Contains(texts["the log"], "did not accept us") || texts["topics"] == "" {
				t.Errorf("it was not refused:\n%s\n%s", texts["the log"], texts["topics"])
			}
		})
	}
}

func files(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
