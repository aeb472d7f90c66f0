package soak

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/meter2mqtt/meter2mqtt/bridge"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/p1"
	"github.com/meter2mqtt/meter2mqtt/drivers/sim"
	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
)

// whole skips a benchmark of the whole program unless it was asked for.
func whole(b *testing.B) {
	b.Helper()
	if os.Getenv("BENCH_WHOLE") == "" {
		b.Skip("takes a while: make bench-whole")
	}
}

// BenchmarkLatency takes in turns, so that a noisy machine hits all alike: the time
// from a telegram's last byte to a subscriber, the same through a relay that knows
// only how to read a socket and to publish, and the time from a bare client's
// publication of as many bytes, which has one hop less.
func BenchmarkLatency(b *testing.B) {
	whole(b)
	const samples = 2000
	broker := newBroker(b)
	heard := make(chan time.Time, 1)
	subscriber := connected(b, broker, "subscriber")
	wait(b, subscriber.SubscribeMultiple(map[string]byte{meterTopic("state"): 1, "bare": 1, relayTopic: 1},
		func(paho.Client, paho.Message) {
			select {
			case heard <- time.Now():
			default: // a state that the gateway says again by itself
			}
		}))
	bare := connected(b, broker, "bare")
	line := called(b, func(address string) { newGateway(b, broker.address, meterTable("main", address)) })
	relayed := called(b, func(address string) { newRelay(b, address, broker.address) })
	payload := make([]byte, relaySize)
	n := int64(0)
	next := telegram(n, time.Now())
	send := func(line net.Conn) {
		if _, err := line.Write(next); err != nil {
			b.Fatal(err)
		}
	}
	// Until what follows an announcement is over, states come by themselves.
	for range 20 {
		send(line)
		n++
		next = telegram(n, time.Now())
		pass(100 * time.Millisecond)
	}
	took := map[string][]time.Duration{}
	one := func(name string, send func()) {
		select {
		case <-heard:
		default:
		}
		start := time.Now()
		send()
		select {
		case end := <-heard:
			took[name] = append(took[name], end.Sub(start))
		case <-time.After(patience):
			b.Fatal(name, ": nothing came")
		}
		pass(500 * time.Microsecond)
	}
	b.ResetTimer()
	for range samples {
		n++
		next = telegram(n, time.Now())
		one("whole", func() { send(line) })
		one("relay", func() { send(relayed) })
		one("bare", func() { bare.Publish("bare", 1, false, payload) })
	}
	for _, name := range []string{"bare", "relay", "whole"} {
		slices.Sort(took[name])
		for _, p := range []int{50, 99} {
			b.ReportMetric(float64(took[name][p*samples/100].Microseconds()), fmt.Sprintf("%s-p%d-µs", name, p))
		}
	}
}

// called starts what dials a meter, and gives the meter's end of the line.
func called(b *testing.B, start func(address string)) net.Conn {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer listener.Close()
	start(listener.Addr().String())
	line, err := listener.Accept()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = line.Close() })
	return line
}

const (
	relayTopic = "relay"
	relaySize  = 500 // about what a state has
)

func newRelay(b *testing.B, meter, broker string) {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	b.Setenv("SOAK_RELAY", meter+" "+broker)
	spawn(b, &output{}, self)
}

// relay is the least program between a meter and a broker: of each telegram it
// reads the end, and publishes as many bytes as a state has. addresses are the
// meter's and the broker's.
func relay(addresses string) error {
	meter, broker, _ := strings.Cut(addresses, " ")
	client := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + broker).SetClientID("relay"))
	if t := client.Connect(); !t.WaitTimeout(patience) || t.Error() != nil {
		return fmt.Errorf("broker %s: %w", broker, t.Error())
	}
	line, err := net.Dial("tcp", meter)
	if err != nil {
		return err
	}
	defer line.Close()
	payload := make([]byte, relaySize)
	for lines := bufio.NewScanner(line); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "!") {
			client.Publish(relayTopic, 1, false, payload)
		}
	}
	return nil
}

func connected(tb testing.TB, b *broker, id string) paho.Client {
	tb.Helper()
	c := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + b.address).SetClientID(id).SetAutoReconnect(false))
	wait(tb, c.Connect())
	tb.Cleanup(func() { c.Disconnect(100) })
	return c
}

// many is how many meters stand for a house full of them.
const many = 10_000

// crowd are many TCP meters that all say the same telegram once a second.
type crowd struct {
	telegram  []byte
	listeners []net.Listener
	lines     []net.Conn
	sent      []atomic.Int64 // telegrams of each
}

// ownLoopback is an address of this machine on which no other program looks for
// anything. On 127.0.0.1 the crowd would have every third of the ports that are given
// to who asks for any, and would take whoever comes late to one for its gateway.
func ownLoopback() string {
	pid := os.Getpid()
	return net.IPv4(127, byte(128+pid>>16&63), byte(pid>>8), byte(pid)).String()
}

func newCrowd(tb testing.TB, n int) *crowd {
	tb.Helper()
	now := time.Now()
	text, err := sim.NewDSMR(1, now).Telegram(now)
	if err != nil {
		tb.Fatal(err)
	}
	c := &crowd{telegram: text, lines: make([]net.Conn, n), sent: make([]atomic.Int64, n)}
	for range n {
		l, err := net.Listen("tcp", net.JoinHostPort(ownLoopback(), "0"))
		if err != nil {
			tb.Fatal(err)
		}
		c.listeners = append(c.listeners, l)
	}
	tb.Cleanup(c.hangUp)
	return c
}

// port is how a configuration names a meter.
func (c *crowd) port(i int) string { return "tcp://" + c.listeners[i].Addr().String() }

// connect waits until each meter has its client. Listener and line of a meter are
// never open together, or the descriptors would not do.
func (c *crowd) connect(tb testing.TB) {
	tb.Helper()
	for i, l := range c.listeners {
		_ = l.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
		line, err := l.Accept()
		if err != nil {
			tb.Fatalf("meter %d of %d: %v", i, len(c.listeners), err)
		}
		c.lines[i] = line
		_ = l.Close()
	}
}

// speak has every meter say its telegram each second, spread evenly.
func (c *crowd) speak(seconds int) error {
	const writers = 4
	var broken [writers]error
	var work sync.WaitGroup
	for w := range writers {
		work.Go(func() {
			from, to := w*len(c.lines)/writers, (w+1)*len(c.lines)/writers
			broken[w] = c.speakInTurn(from, to, seconds)
		})
	}
	work.Wait()
	return errors.Join(broken[:]...)
}

// speakInTurn does so for some of the meters.
func (c *crowd) speakInTurn(from, to, seconds int) error {
	start := time.Now()
	for round := range seconds {
		for i := from; i < to; i++ {
			due := start.Add(time.Duration(round)*time.Second + time.Duration(i-from)*time.Second/time.Duration(to-from))
			if d := time.Until(due); d > 2*time.Millisecond {
				pass(d)
			}
			if err := c.say(i); err != nil {
				return err
			}
		}
	}
	return nil
}

// say has one meter say its telegram. An error says which: what it had said before
// may have gone with its line.
func (c *crowd) say(i int) error {
	if _, err := c.lines[i].Write(c.telegram); err != nil {
		return fmt.Errorf("meter %d (%s), after %d telegrams: %w", i, c.port(i), c.sent[i].Load(), err)
	}
	c.sent[i].Add(1)
	return nil
}

// said is how many telegrams all have sent.
func (c *crowd) said() (sum int64) {
	for i := range c.sent {
		sum += c.sent[i].Load()
	}
	return sum
}

func (c *crowd) hangUp() {
	for i := range c.lines {
		_ = c.listeners[i].Close()
		if c.lines[i] != nil {
			_ = c.lines[i].Close()
		}
	}
}

const (
	warmUp  = 5
	lasting = 15
)

// measure has the crowd speak, and tells what a process takes for it.
func (c *crowd) measure(b *testing.B, idle usage, p *process) {
	b.Helper()
	if err := c.speak(warmUp); err != nil {
		b.Fatal(err)
	}
	before, start := p.usage(b), time.Now()
	if err := c.speak(lasting); err != nil {
		b.Fatal(err)
	}
	after, took := p.usage(b), time.Since(start)
	b.ReportMetric(100*float64(after.cpu-before.cpu)/float64(took), "cpu-%")
	b.ReportMetric(float64(after.resident-idle.resident)/float64(len(c.lines)), "kB/meter")
	b.ReportMetric(float64(after.resident), "kB-resident")
}

// BenchmarkManyDecoded has a process of its own decode many meters: lines,
// listeners and decoders, as the gateway has them, and nothing behind.
func BenchmarkManyDecoded(b *testing.B) {
	whole(b)
	c := newCrowd(b, many)
	p := c.listener(b)
	b.Cleanup(func() { tellOfLines(b, p.output) })
	idle := p.usage(b)
	c.connect(b)
	c.measure(b, idle, p)
	want := fmt.Sprintf("good %d\n", c.said())
	c.hangUp()
	until(b, func() string { return missing(p.output, "good ") })
	if missing(p.output, want) != "" {
		b.Errorf("want %sgot %s", want, p.output.tail(1))
	}
	b.ReportMetric(float64(c.said()), "telegrams")
}

// tellOfLines tells of a benchmark that failed what a program said first of its lines.
func tellOfLines(b *testing.B, o *output) {
	b.Helper()
	if b.Failed() {
		b.Logf("of its lines the program said first:\n%s", o.lines("tcp://"))
	}
}

func missing(o *output, s string) string {
	if strings.Contains(o.String(), s) {
		return ""
	}
	return fmt.Sprintf("no %q yet: %s", s, o.tail(5))
}

// listener starts the process that listens to the crowd, and has it begin.
func (c *crowd) listener(tb testing.TB) *process {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	list := tb.TempDir() + "/ports"
	var ports strings.Builder
	for i := range c.listeners {
		fmt.Fprintln(&ports, c.port(i))
	}
	if err := os.WriteFile(list, []byte(ports.String()), 0o600); err != nil {
		tb.Fatal(err)
	}
	tb.Setenv("SOAK_LISTEN", list)
	p := spawn(tb, &output{}, self)
	until(tb, func() string { return missing(p.output, "ready") })
	return p
}

// listenToMany is the process that listens to a crowd. It ends when all lines do.
func listenToMany(list string) error {
	bridge.Frugal()
	f, err := os.Open(list)
	if err != nil {
		return err
	}
	defer f.Close()
	fmt.Println("ready")
	var good atomic.Int64
	var work sync.WaitGroup
	for lines := bufio.NewScanner(f); lines.Scan(); {
		port, err := transport.ParsePort(lines.Text(), p1.Driver.Mode)
		if err != nil {
			return err
		}
		line, err := transport.Open(context.Background(), port)
		if err != nil {
			return err
		}
		decoder, err := p1.Driver.NewDecoder(p1.Driver.NewConfig(), drivers.Zones{Host: time.UTC})
		if err != nil {
			return err
		}
		heard := 0
		listener := drivers.Listener{
			Line: line, Decoder: decoder, Gap: p1.Driver.Gap, Quiet: p1.Driver.Quiet,
			Reading: func(*drivers.Reading) error { heard++; return nil },
			Lost:    func(e *drivers.FrameError) { fmt.Printf("%s: %v\n", line, e) },
		}
		work.Go(func() {
			if err := listener.Run(context.Background()); !errors.Is(err, io.EOF) {
				fmt.Println(err)
			}
			good.Add(int64(heard))
		})
	}
	profile := time.AfterFunc(15*time.Second, heapProfile)
	defer profile.Stop()
	work.Wait()
	fmt.Printf("good %d\n", good.Load())
	return nil
}

// heapProfile is written where SOAK_PROFILE says.
func heapProfile() {
	name := os.Getenv("SOAK_PROFILE")
	if name == "" {
		return
	}
	f, err := os.Create(name)
	if err != nil {
		return
	}
	defer f.Close()
	runtime.GC()
	_ = pprof.WriteHeapProfile(f) // a profile that fails is seen to be missing
}

// BenchmarkManyMeters is the whole gateway with many meters, each of which
// publishes once an hour.
func BenchmarkManyMeters(b *testing.B) {
	whole(b)
	c := newCrowd(b, many)
	broker := newBroker(b)
	came := make(tallies, many)
	subscriber := connected(b, broker, "subscriber")
	wait(b, subscriber.Subscribe(base+"/+/diagnostic", 1, came.note))
	var tables strings.Builder
	tables.WriteString("[homeassistant]\ndiscovery = false\n")
	for i := range c.listeners {
		fmt.Fprintf(&tables, "[[meter]]\nname=\"m%d\"\ndriver=\"p1\"\nport=%q\nevery=\"1h\"\n", i, c.port(i))
	}
	one := newGateway(b, broker.address, meterTable("one", "127.0.0.1:1"))
	pass(time.Second)
	idle := one.usage(b)
	one.kill()
	g := newGateway(b, broker.address, tables.String())
	b.Cleanup(func() { tellOfLines(b, g.out) })
	c.connect(b)
	c.measure(b, idle, g.process)
	c.hangUp()
	until(b, func() string { return c.short(came) })
	b.ReportMetric(float64(c.said()), "telegrams")
}

// tallies are what the gateway says it got of each meter.
type tallies []tally

type tally struct{ good, refused atomic.Int64 }

// note takes a message of a meter's diagnostic topic. The last one comes when its
// line ends.
func (came tallies) note(_ paho.Client, m paho.Message) {
	var d struct{ Good, Refused int64 }
	var i int
	if _, err := fmt.Sscanf(m.Topic(), base+"/m%d/", &i); err != nil || i >= len(came) || json.Unmarshal(m.Payload(), &d) != nil {
		return
	}
	came[i].good.Store(d.Good)
	came[i].refused.Store(d.Refused)
}

// short names meters of which not all telegrams came; "" if there is none.
func (c *crowd) short(came tallies) string {
	var all []string
	for i := range came {
		if got, sent := came[i].good.Load(), c.sent[i].Load(); got != sent {
			all = append(all, fmt.Sprintf("meter %d: %d telegrams sent, %d came, %d were refused", i, sent, got, came[i].refused.Load()))
		}
	}
	if len(all) == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d meters, as %s", len(all), len(came), strings.Join(all[:min(5, len(all))], "; "))
}
