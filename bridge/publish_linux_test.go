package bridge

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/p1"
	"github.com/meter2mqtt/meter2mqtt/drivers/porttest"
	"github.com/meter2mqtt/meter2mqtt/drivers/sim"
)

// BenchmarkTelegram takes a telegram of a three-phase meter from its bytes to
// the broker's acknowledgement, through everything that lies between but the
// line. Each is waited for: a state that waits would give way to a newer one.
func BenchmarkTelegram(b *testing.B) {
	frugal(b)
	address := benchBroker(b)
	g := benchGateway(b, address)
	decode := benchDecoder(b)
	landed := make(chan struct{}, 1)
	m := g.meters[0]
	m.journal = g.journal
	m.acked = func(n uint64) {
		g.journal.Acked(n)
		landed <- struct{}{}
	}
	decode(m.accept)
	<-landed // the meter is known, and announced
	measure(b, func(n int) {
		for range n {
			decode(m.accept)
			<-landed
		}
	})
	if m.payload < 500 {
		b.Fatalf("the state has only %d bytes", m.payload)
	}
	b.ReportMetric(float64(m.payload), "payload-B")
}

// BenchmarkBarePaho publishes a payload of the same size and nothing else, each
// waited for too.
func BenchmarkBarePaho(b *testing.B) {
	address := benchBroker(b)
	client := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + address).SetClientID("bare"))
	if t := client.Connect(); !t.WaitTimeout(10*time.Second) || t.Error() != nil {
		b.Fatal(t.Error())
	}
	defer client.Disconnect(100)
	payload := make([]byte, 900)
	measure(b, func(n int) {
		for range n {
			<-client.Publish("bench/state", 1, false, payload).Done()
		}
	})
}

// BenchmarkBarePahoFrugal is the same with the runtime set up as for the gateway.
func BenchmarkBarePahoFrugal(b *testing.B) {
	frugal(b)
	BenchmarkBarePaho(b)
}

// frugal is Frugal until the benchmark ends.
func frugal(b *testing.B) {
	b.Helper()
	processors, percent := runtime.GOMAXPROCS(0), debug.SetGCPercent(100)
	Frugal()
	b.Cleanup(func() {
		runtime.GOMAXPROCS(processors)
		debug.SetGCPercent(percent)
	})
}

// measure runs work b.N times and tells what it cost this process.
func measure(b *testing.B, work func(n int)) {
	b.Helper()
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	work(b.N)
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.StopTimer()
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// benchBroker is a Mosquitto in a process of its own, whose work is not counted.
func benchBroker(b *testing.B) (address string) {
	b.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/mosquitto"); err != nil {
			b.Skip("mosquitto is not installed")
		}
	}
	address = porttest.Address(b)
	_, port, _ := net.SplitHostPort(address)
	conf := filepath.Join(b.TempDir(), "mosquitto.conf")
	text := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\npersistence false\nuser root\nlog_dest none\n", port)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(path, "-c", conf) //nolint:noctx // it ends with the benchmark
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for range 500 {
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close()
			return address
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.Fatal("mosquitto takes no connection")
	return ""
}

// benchGateway is a gateway with one meter, connected to a broker; its line is
// not opened.
func benchGateway(b *testing.B, address string) *Bridge {
	b.Helper()
	dir := b.TempDir()
	file := filepath.Join(dir, "config.toml")
	text := fmt.Sprintf("[mqtt]\nurl = %q\nclient_id = \"bench\"\n[state]\ndir = %q\n[[meter]]\nname = \"main\"\ndriver = \"p1\"\nport = \"tcp://127.0.0.1:1\"\n",
		"mqtt://"+address, dir)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	c, err := config.Load(file, nil, "")
	if err != nil {
		b.Fatal(err)
	}
	g, err := New(c, Options{Log: zerolog.Nop()})
	if err != nil {
		b.Fatal(err)
	}
	g.started = time.Now()
	g.state = &state{}
	if err := g.openJournal(); err != nil {
		b.Fatal(err)
	}
	g.recall()
	connected := make(chan struct{}, 1)
	g.link.OnConnect(func() {
		g.onConnect()
		connected <- struct{}{}
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.link.Run(ctx, g.lastWords) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	<-connected
	return g
}

// benchDecoder decodes the same telegram again and again, byte for byte.
func benchDecoder(b *testing.B) func(accept func(*drivers.Reading)) {
	b.Helper()
	now := time.Now()
	text, err := sim.NewDSMR(1, now).Telegram(now)
	if err != nil {
		b.Fatal(err)
	}
	d, err := p1.Driver.NewDecoder(p1.Driver.NewConfig(), drivers.Zones{Host: time.UTC})
	if err != nil {
		b.Fatal(err)
	}
	r := new(drivers.Reading)
	return func(accept func(*drivers.Reading)) {
		d.Feed(text)
		if err := d.Next(r); err != nil {
			b.Fatal(err)
		}
		r.Received = time.Now()
		accept(r)
		_ = d.Next(r) // the line end behind the telegram: more is wanted
	}
}
