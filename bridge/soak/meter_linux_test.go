package soak

import (
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
	"github.com/meter2mqtt/meter2mqtt/drivers/p1"
)

// total is a total of the numbered meter: from start on it rises by its last
// digit every so many telegrams.
type total struct {
	key   string
	code  obis.Code
	start int64 // thousandths
	every int64
}

// numbered is the total that numbers the telegrams.
const numbered = "1-0:1.8.1"

// totals lie far apart, so that none can be taken for another.
var totals = []total{
	{numbered, obis.New(1, 0, 1, 8, 1), 101_000_000, 1},
	{"1-0:1.8.2", obis.New(1, 0, 1, 8, 2), 252_500_000, 3},
	{"1-0:2.8.1", obis.New(1, 0, 2, 8, 1), 30_300_000, 7},
	{"1-0:2.8.2", obis.New(1, 0, 2, 8, 2), 70_700_000, 11},
	{gas, obis.New(0, 1, 24, 2, 1), 5_100_000, 5},
}

const gas = "0-1:24.2.1"

// thousandths is the total in telegram n.
func (t total) thousandths(n int64) int64 { return t.start + n/t.every }

// derived are the sums that the gateway adds, each of two totals.
var derived = map[string][2]int{"1-0:1.8.0": {0, 1}, "1-0:2.8.0": {2, 3}}

// truth is what telegram n says under a key, as MQTT has it; "" where the meter
// has no such total.
func truth(key string, n int64) string {
	for _, t := range totals {
		if t.key == key {
			return decimal(t.thousandths(n))
		}
	}
	if parts, ok := derived[key]; ok {
		return decimal(totals[parts[0]].thousandths(n) + totals[parts[1]].thousandths(n))
	}
	return ""
}

// power is no total, but tells too whether a state is all of one telegram.
func power(n int64) int64 { return n % 9973 }

func decimal(thousandths int64) string { return drivers.NewDecimal(thousandths, -3).String() }

// numberOf is the telegram whose numbered total reads value.
func numberOf(value string) (int64, error) {
	d, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return 0, err
	}
	return int64(d*1000+0.5) - totals[0].start, nil
}

// telegram is the n-th telegram as a DSMR 5 meter with gas sends it.
func telegram(n int64, now time.Time) []byte {
	r := drivers.Reading{
		Meter:    drivers.Identity{Manufacturer: "SIM", Model: "SOAK"},
		Channels: []drivers.Channel{{Number: 1}},
	}
	stamp := drivers.Stamp{Wall: now.In(time.FixedZone("", 3600)), Zoned: true}
	add := func(v drivers.Value) { r.Values = append(r.Values, v) }
	add(drivers.Value{Code: obis.New(1, 3, 0, 2, 8), Kind: drivers.Text, Text: "50"})
	add(drivers.Value{Code: obis.New(0, 0, 1, 0, 0), Kind: drivers.Moment, Moment: stamp})
	add(drivers.Value{Code: obis.New(0, 0, 96, 1, 1), Kind: drivers.Text, Text: "SOAK000000000001"})
	for _, t := range totals {
		v := drivers.Value{Code: t.code, Number: drivers.NewDecimal(t.thousandths(n), -3)}
		if t.key == gas {
			v.Channel, v.Time = 1, stamp
		}
		add(v)
	}
	add(drivers.Value{Code: obis.New(1, 0, 1, 7, 0), Number: drivers.NewDecimal(power(n), 0)})
	for i := range byte(3) {
		add(drivers.Value{Code: obis.New(1, 0, 32+20*i, 7, 0), Number: drivers.NewDecimal(2300+int64(i), -1)})
		add(drivers.Value{Code: obis.New(1, 0, 31+20*i, 7, 0), Number: drivers.NewDecimal(int64(i), 0)})
	}
	add(drivers.Value{Code: obis.New(0, 1, 24, 1, 0), Number: drivers.NewDecimal(3, 0)})
	add(drivers.Value{Code: obis.New(0, 1, 96, 1, 0), Kind: drivers.Text, Text: "SOAK000000000002"})
	b, err := p1.AppendTelegram(nil, &r)
	if err != nil {
		panic(err) // a total that has outgrown its digits: a mistake of the test
	}
	return b
}

// oldTelegram is the n-th telegram in the form of DSMR 2.2: no CRC, and a gas
// value on a line of its own.
func oldTelegram(n int64, now time.Time) []byte {
	value := func(i int) string { return fmt.Sprintf("%09.3f", float64(totals[i].thousandths(n))/1000) }
	return fmt.Appendf(nil, "/SIM5 SOAK\r\n\r\n0-0:96.1.1(534F414B30303031)\r\n"+
		"1-0:1.8.1(%s*kWh)\r\n1-0:1.8.2(%s*kWh)\r\n1-0:2.8.1(%s*kWh)\r\n1-0:2.8.2(%s*kWh)\r\n"+
		"0-0:96.14.0(0001)\r\n1-0:1.7.0(%08.3f*kW)\r\n0-0:17.0.0(999*A)\r\n0-0:96.3.10(1)\r\n0-0:96.13.1()\r\n0-0:96.13.0()\r\n"+
		"0-1:24.1.0(3)\r\n0-1:96.1.0(534F414B30303032)\r\n"+
		"0-1:24.3.0(%s)(00)(60)(1)(0-1:24.2.1)(m3)\r\n(%s)\r\n0-1:24.4.0(1)\r\n!\r\n",
		value(0), value(1), value(2), value(3), float64(power(n))/1000, now.Format("060102150405"), value(4))
}

// sending is what became of one telegram on the meter's side.
type sending struct {
	at     time.Time // when it was handed to the kernel
	client int       // counts connections
}

// meter is a numbered meter that waits for a client on TCP and tells the newest
// one a telegram each pace. Without a client it says nothing and counts nothing.
type meter struct {
	listener net.Listener
	work     sync.WaitGroup
	quit     chan struct{}

	mu      sync.Mutex
	conn    net.Conn
	clients []time.Time // when each came
	sent    []sending   // by number of the telegram
	slowest time.Duration
	paused  bool
}

func newMeter(tb testing.TB, pace time.Duration) *meter {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	m := &meter{listener: l, quit: make(chan struct{})}
	m.work.Go(m.accept)
	m.work.Go(func() { m.speak(pace) })
	tb.Cleanup(m.close)
	return m
}

func (m *meter) address() string { return m.listener.Addr().String() }

func (m *meter) accept() {
	for {
		c, err := m.listener.Accept()
		if err != nil {
			return
		}
		m.mu.Lock()
		if m.conn != nil {
			_ = m.conn.Close()
		}
		m.conn = c
		m.clients = append(m.clients, time.Now())
		m.mu.Unlock()
	}
}

func (m *meter) speak(pace time.Duration) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		select {
		case <-m.quit:
			return
		case now := <-tick.C:
			m.say(now)
		}
	}
}

// say sends the next telegram.
func (m *meter) say(now time.Time) {
	m.mu.Lock()
	conn, client, n := m.conn, len(m.clients), int64(len(m.sent))
	if m.paused {
		conn = nil
	}
	m.mu.Unlock()
	if conn == nil {
		return
	}
	b := telegram(n, now)
	start := time.Now()
	_ = conn.SetWriteDeadline(start.Add(patience))
	_, err := conn.Write(b)
	end := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sent = append(m.sent, sending{end, client})
	m.slowest = max(m.slowest, end.Sub(start))
	if err != nil && m.conn == conn {
		_ = conn.Close()
		m.conn = nil
	}
}

// pause makes it fall silent, or speak again.
func (m *meter) pause(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.paused = on
}

// count is how many telegrams it has sent.
func (m *meter) count() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return int64(len(m.sent))
}

// log is all that it has sent.
func (m *meter) log() (sent []sending, slowest time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]sending(nil), m.sent...), m.slowest
}

// clientsSoFar is how many connections there were.
func (m *meter) clientsSoFar() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.clients)
}

func (m *meter) close() {
	close(m.quit)
	_ = m.listener.Close()
	m.mu.Lock()
	if m.conn != nil {
		_ = m.conn.Close()
	}
	m.mu.Unlock()
	m.work.Wait()
}
