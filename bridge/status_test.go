package bridge

import (
	"strings"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/bridge/brokertest"
	"github.com/meter2mqtt/meter2mqtt/bridge/status"
	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
)

// untilHealth asks over the socket until the answer is as wanted.
func untilHealth(t *testing.T, g *gateway, what string, ok func(status.Gateway) bool) status.Gateway {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if s, err := Health(t.Context(), g.stateDir()); err == nil && ok(s) {
			return s
		}
	}
	s, err := Health(t.Context(), g.stateDir())
	t.Fatalf("%s: last answer %+v, %v", what, s, err)
	return s
}

func TestHealthIsAskedOverTheSocket(t *testing.T) {
	b, m, g := brokertest.New(t), newTCPMeter(t), newGateway(t)
	b.Start()
	g.configure(b, p1Meter("main", m.port(), ""))
	g.start()
	good := telegram("1-0:1.8.0(000100.100*kWh)")
	m.say(good, strings.Replace(good, "100.100", "100.101", 1), telegram("1-0:1.8.0(000000.000*kWh)"), good)
	s := untilHealth(t, g, "four telegrams", func(s status.Gateway) bool { return len(s.Meters) == 1 && s.Meters[0].Good == 3 })
	main := s.Meters[0]
	if !s.Healthy() || s.Version != "test" || !main.Online || main.Line != transport.LineOpen || main.Last.IsZero() {
		t.Errorf("got %+v", s)
	}
	if main.Refused[status.Checksum] != 1 || main.AllRefused() != 1 || main.HeldBack != 1 {
		t.Errorf("got %+v", main)
	}
	untilHealth(t, g, "the broker connected", func(s status.Gateway) bool { return s.Broker })
	b.Stop()
	m.say(good)
	untilHealth(t, g, "a reading that waits", func(s status.Gateway) bool { return !s.Broker && s.Journal.Waiting > 0 && s.Healthy() })
	g.stop()
	if _, err := Health(t.Context(), g.stateDir()); err == nil {
		t.Error("a gateway that has ended still answers")
	}
}

func TestALoopThatStandsStillIsAProblem(t *testing.T) {
	b := &Bridge{}
	b.housekeeping.beat(time.Hour)
	b.draining.beat(time.Hour)
	if p := b.problem(time.Hour + stuckAfter); p != "" {
		t.Errorf("too early: %s", p)
	}
	b.housekeeping.beat(time.Hour + stuckAfter)
	if p := b.problem(time.Hour + stuckAfter + time.Second); p != "journal stands still since 1m1s" {
		t.Errorf("got %q", p)
	}
}
