package sim

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/dlms"
	"github.com/meter2mqtt/meter2mqtt/drivers/p1"
)

// cipheredPort is a P1 port by a clock that moves a second a telegram.
func cipheredPort(t *testing.T, o Options) *dsmrPort {
	t.Helper()
	every, err := parseFaults(o.Faults, dsmrFaults)
	if err != nil {
		t.Fatal(err)
	}
	now := noon
	clock := func() time.Time { now = now.Add(time.Second); return now }
	p := &dsmrPort{meter: NewDSMR(1, noon), clock: clock, every: every, counter: 1000}
	if err := p.cipherWith(o.Key, o.AuthKey); err != nil {
		t.Fatal(err)
	}
	return p
}

// readWith is what a gateway with keys makes of n telegrams of p.
func readWith(t *testing.T, p *dsmrPort, n int, key, auth string) (good int, lost []error) {
	t.Helper()
	c := p1.Driver.NewConfig().(*p1.Config)
	c.Key, c.AuthKey = drivers.NewSecret(key), drivers.NewSecret(auth)
	d, err := p1.Driver.NewDecoder(c, drivers.Zones{})
	if err != nil {
		t.Fatal(err)
	}
	noise := rand.New(rand.NewPCG(1, 1))
	for i := 1; i <= n; i++ {
		b, err := p.spoken(i, noise)
		if err != nil {
			t.Fatal(err)
		}
		d.Feed(b)
		d.Gap()
		var r drivers.Reading
		for err = d.Next(&r); !errors.Is(err, drivers.ErrMore); err = d.Next(&r) {
			switch e, isLost := errors.AsType[*drivers.FrameError](err); {
			case isLost:
				lost = append(lost, e.Clone())
			case r.Check != drivers.CheckTag:
				t.Errorf("check %s, want a tag", r.Check)
			default:
				good++
			}
		}
	}
	return good, lost
}

func TestAMeterWithAKeyCiphers(t *testing.T) {
	key, auth := drivers.NewSecret(ExampleKey), drivers.NewSecret(ExampleAuthKey)
	for _, tc := range []struct {
		name         string
		meter        Options
		key, auth    string
		wantReadings int
		want         error // of every telegram
	}{
		{"Luxembourg", Options{Key: key}, ExampleKey, "", 5, nil},
		{"Austria", Options{Key: key, AuthKey: auth}, ExampleKey, ExampleAuthKey, 5, nil},
		{"without its authentication key", Options{Key: key, AuthKey: auth}, ExampleKey, "", 0, dlms.ErrNoAuthKey},
		{"without its key", Options{Key: key}, "", "", 0, dlms.ErrNoKey},
		{"with bent CRCs", Options{Key: key, Faults: []string{"bad-crc=1"}}, ExampleKey, "", 0, drivers.ErrChecksum},
		{"cut", Options{Key: key, Faults: []string{"cut=1"}}, ExampleKey, "", 0, drivers.ErrShort},
		{"with noise before it", Options{Key: key, Faults: []string{"noise=1"}}, ExampleKey, "", 5, nil},
		{"whose counter stands still", Options{Key: key, Faults: []string{"counter-back=1"}}, ExampleKey, "", 1, dlms.ErrCounter},
	} {
		good, lost := readWith(t, cipheredPort(t, tc.meter), 5, tc.key, tc.auth)
		if good != tc.wantReadings {
			t.Errorf("%s: %d readings, want %d; lost %v", tc.name, good, tc.wantReadings, lost)
		}
		for _, err := range lost {
			if tc.want == nil || !errors.Is(err, tc.want) {
				t.Errorf("%s: lost for %v, want %v", tc.name, err, tc.want)
			}
		}
	}
}

func TestAWrongKeyOfAMeterIsRefused(t *testing.T) {
	for _, key := range []string{"00", ExampleKey + ExampleAuthKey} {
		if _, err := New("p1", Options{Key: drivers.NewSecret(key)}); err == nil || drivers.Hint(err) == "" {
			t.Errorf("a key of %d digits: %v", len(key), err)
		}
	}
}
