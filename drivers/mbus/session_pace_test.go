package mbus

import (
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// named is a line of which only the name counts.
type named struct {
	drivers.Line
	port string
}

func (n named) String() string { return n.port }

func TestHowLongTheMasterWaits(t *testing.T) {
	const (
		tcp    = "tcp://converter:10001"
		remote = "rfc2217://converter:10001?baud=300&mode=8E1"
		wired  = "serial:///dev/ttyUSB0?baud=2400&mode=8E1"
	)
	for _, c := range []struct {
		name                 string
		config               Config
		port                 string
		baud                 int
		first, window, pause time.Duration
	}{
		{"wired", Config{}, wired, 2400, 500 * time.Millisecond, 210 * time.Millisecond, 64 * time.Millisecond},
		{"over TCP", Config{}, tcp, 2400, 1500 * time.Millisecond, 392 * time.Millisecond, 300 * time.Millisecond},
		{"slowly", Config{Baud: 300}, wired, 300, 1205 * time.Millisecond, 1205 * time.Millisecond, 160 * time.Millisecond},
		{"slowly and remote", Config{}, remote, 300, 1500 * time.Millisecond, 1387 * time.Millisecond, 300 * time.Millisecond},
		{"as configured", Config{Timeout: time.Second, Pause: time.Minute}, tcp, 2400, time.Second, time.Second, time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := paceOf(&c.config, named{port: c.port}, c.config.Baud)
			near := func(a, b time.Duration) bool { return (a - b).Abs() <= time.Millisecond }
			if p.baud != c.baud || !near(p.first, c.first) || !near(p.window, c.window) || !near(p.pause, c.pause) {
				t.Errorf("%+v", p)
			}
		})
	}
}
