package sim

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
	"github.com/meter2mqtt/meter2mqtt/drivers/p1"
)

// TestMain lets several foreign clients wait at once: they need little of a processor.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

var noon = time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)

// decoded are the readings and losses of a stream of telegrams.
func decoded(t testing.TB, stream []byte) (got []*drivers.Reading, lost int) {
	t.Helper()
	d, err := p1.Driver.NewDecoder(p1.Driver.NewConfig(), drivers.Zones{})
	if err != nil {
		t.Fatal(err)
	}
	d.Feed(stream)
	d.Gap()
	for {
		var r drivers.Reading
		err := d.Next(&r)
		switch _, isLost := errors.AsType[*drivers.FrameError](err); {
		case errors.Is(err, drivers.ErrMore):
			return got, lost
		case isLost:
			lost++
		case err != nil:
			t.Fatal(err)
		default:
			got = append(got, &r)
		}
	}
}

func number(t testing.TB, r *drivers.Reading, code string) drivers.Decimal {
	t.Helper()
	for i := range r.Values {
		if r.Values[i].Code == obis.MustParse(code) {
			return r.Values[i].Number
		}
	}
	t.Fatalf("no %s in %s", code, r.AppendJSON(nil))
	return drivers.Decimal{}
}

func telegram(t testing.TB, m *DSMR, at time.Time) *drivers.Reading {
	t.Helper()
	b, err := m.Telegram(at)
	if err != nil {
		t.Fatal(err)
	}
	got, lost := decoded(t, b)
	if len(got) != 1 || lost != 0 {
		t.Fatalf("%d readings, %d lost from %q", len(got), lost, b)
	}
	return got[0]
}

func TestEveryTotalRisesAndNoneFalls(t *testing.T) {
	friday := noon.Add(4 * 24 * time.Hour) // the low tariff sees the sun at weekends
	m := NewDSMR(1, friday)
	before := telegram(t, m, friday)
	totals := []string{"1-0:1.8.1", "1-0:1.8.2", "1-0:2.8.1", "1-0:2.8.2", "0-1:24.2.1"}
	rose := map[string]bool{}
	for at := friday; at.Before(friday.Add(36 * time.Hour)); at = at.Add(7 * time.Minute) {
		now := telegram(t, m, at)
		for _, code := range totals {
			switch number(t, now, code).Cmp(number(t, before, code)) {
			case -1:
				t.Fatalf("%s fell from %s to %s at %s", code, number(t, before, code), number(t, now, code), at)
			case 1:
				rose[code] = true
			}
		}
		before = now
	}
	for _, code := range totals {
		if !rose[code] {
			t.Errorf("%s never rose in 36 hours", code)
		}
	}
}

func TestTheSunFeedsBackAtMiddayOnly(t *testing.T) {
	m := NewDSMR(1, noon)
	midday := telegram(t, m, noon.Add(time.Minute))
	night := telegram(t, m, noon.Add(11*time.Hour))
	if number(t, midday, "1-0:42.7.0").Sign() == 0 {
		t.Error("nothing is fed back at midday")
	}
	for _, code := range []string{"1-0:2.7.0", "1-0:22.7.0", "1-0:42.7.0", "1-0:62.7.0"} {
		if number(t, night, code).Sign() != 0 {
			t.Errorf("%s is not zero at night", code)
		}
	}
}

func TestTheTariffFollowsTheClock(t *testing.T) {
	m := NewDSMR(1, noon)
	if got := number(t, telegram(t, m, noon), "0-0:96.14.0").String(); got != "2" {
		t.Errorf("tariff %s on a Monday at midday, want 2", got)
	}
	if got := number(t, telegram(t, m, noon.Add(12*time.Hour)), "0-0:96.14.0").String(); got != "1" {
		t.Errorf("tariff %s at night, want 1", got)
	}
}

func TestGasIsReadEveryFiveMinutes(t *testing.T) {
	m := NewDSMR(1, noon)
	r := telegram(t, m, noon.Add(7*time.Minute))
	last := r.Values[len(r.Values)-1]
	if !last.Time.Wall.Equal(noon.Add(5 * time.Minute)) {
		t.Errorf("gas was read at %s", last.Time)
	}
	if r.Channels[0].Meter.ID != "SIM0000000000002" || r.Channels[0].Meter.Medium != "gas" {
		t.Errorf("channels %+v", r.Channels)
	}
}

func TestTheSameSeedGivesTheSameTelegrams(t *testing.T) {
	one, two, other := NewDSMR(7, noon), NewDSMR(7, noon), NewDSMR(8, noon)
	at := noon.Add(time.Hour)
	a, _ := one.Telegram(at)
	b, _ := two.Telegram(at)
	c, _ := other.Telegram(at)
	if !bytes.Equal(a, b) || bytes.Equal(a, c) {
		t.Error("the seed does not tell what the meter does")
	}
}

func TestAClockThatFallsBackChangesNoTotal(t *testing.T) {
	m := NewDSMR(1, noon)
	first := telegram(t, m, noon.Add(time.Hour))
	second := telegram(t, m, noon)
	if !number(t, first, "1-0:1.8.2").Equal(number(t, second, "1-0:1.8.2")) {
		t.Error("a total moved")
	}
}

func TestWhatTheMeterSendsReadsBackToTheSameBytes(t *testing.T) {
	m := NewDSMR(3, noon)
	for i := range 2000 {
		b, err := m.Telegram(noon.Add(time.Duration(i) * 53 * time.Second))
		if err != nil {
			t.Fatal(err)
		}
		got, _ := decoded(t, b)
		again, err := p1.AppendTelegram(nil, got[0])
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(b), string(again)); diff != "" {
			t.Fatal(diff)
		}
	}
}

// spokenFor is what a simulator says on a line for some time.
func spokenFor(t *testing.T, o Options, d time.Duration) []byte {
	t.Helper()
	s, err := New("p1", o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	near, far := net.Pipe()
	var said bytes.Buffer
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(&said, near)
	}()
	if err := s.Serve(ctx, far); err != nil {
		t.Error(err)
	}
	_ = far.Close()
	<-read
	_ = near.Close()
	return said.Bytes()
}

func TestATelegramComesEachPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for period, want := range map[time.Duration]int{0: 60, 10 * time.Second: 6} {
			got, lost := decoded(t, spokenFor(t, Options{Period: period}, time.Minute-time.Millisecond))
			if len(got) != want || lost != 0 {
				t.Errorf("%d readings in a minute at %s, %d lost; want %d", len(got), period, lost, want)
			}
		}
	})
}

func TestFaults(t *testing.T) {
	tests := []struct {
		fault      string
		good, lost int
	}{
		{"bad-crc=10", 54, 6},
		{"bad-crc", 54, 6},
		{"cut=10", 54, 6},
		{"noise=5", 60, -1},
		{"silence=10", 20, 0},
		{"zero-total=20", 60, 0},
	}
	for _, tc := range tests {
		t.Run(tc.fault, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got, lost := decoded(t, spokenFor(t, Options{Faults: []string{tc.fault}}, time.Minute-time.Millisecond))
				if len(got) != tc.good || tc.lost >= 0 && lost != tc.lost {
					t.Errorf("%d readings, %d lost; want %d and %d", len(got), lost, tc.good, tc.lost)
				}
				zeros := 0
				for _, r := range got {
					if number(t, r, "1-0:1.8.1").Sign() == 0 {
						zeros++
					}
				}
				if want := map[string]int{"zero-total=20": 3}[tc.fault]; zeros != want {
					t.Errorf("%d totals of 0, want %d", zeros, want)
				}
			})
		})
	}
}

func TestEveryFaultIsDocumented(t *testing.T) {
	for _, driver := range Drivers() {
		for _, f := range Faults(driver) {
			if f.Name == "" || f.Doc == "" || f.Every < 1 {
				t.Errorf("%s: %+v", driver, f)
			}
			if _, err := New(driver, Options{Faults: []string{f.Name}}); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestNewTellsWhatIsWrong(t *testing.T) {
	for want, err := range map[string]error{
		`driver "morse"`: newError("morse", Options{}),
		`fault "fire"`:   newError("p1", Options{Faults: []string{"fire"}}),
		`fault "cut=0"`:  newError("p1", Options{Faults: []string{"cut=0"}}),
		`period -1s`:     newError("p1", Options{Period: -time.Second}),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want a word about %s", err, want)
		}
	}
}

func newError(driver string, o Options) error {
	_, err := New(driver, o)
	return err
}

func TestALineThatBreaksEndsServe(t *testing.T) {
	s, err := New("p1", Options{})
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	_ = near.Close()
	if err := s.Serve(t.Context(), far); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v", err)
	}
}
