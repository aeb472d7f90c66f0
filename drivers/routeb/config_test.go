package routeb

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

const (
	houseID       = "0123456789ABCDEF0123456789ABCDEF"
	housePassword = "Secret456789"
)

func houseConfig() *Config {
	c := newConfig()
	c.ID, c.Password = drivers.NewSecret(houseID), drivers.NewSecret(housePassword)
	return c
}

func TestMistakesOfTheConfigurationAreNamedAndNoSecretIsShown(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*Config)
		says string // empty: it is good
	}{
		{"the defaults", func(c *Config) { *c = *newConfig() }, ""},
		{"both secrets", func(*Config) {}, ""},
		{"an id alone", func(c *Config) { c.Password = drivers.Secret{} }, "password: id and password belong together"},
		{"a password alone", func(c *Config) { c.ID = drivers.Secret{} }, "password: id and password belong together"},
		{"an id that is cut", func(c *Config) { c.ID = drivers.NewSecret(houseID[:31]) }, "got 31 characters"},
		{"an id with another letter", func(c *Config) { c.ID = drivers.NewSecret("G" + houseID[1:]) }, "id: want the 32 digits"},
		{"a password that is cut", func(c *Config) { c.Password = drivers.NewSecret(housePassword[:11]) }, "got 11 characters"},
		{"a password with a blank", func(c *Config) { c.Password = drivers.NewSecret("Secret 56789") }, "password: want the 12"},
		{"a password of other letters", func(c *Config) { c.Password = drivers.NewSecret("Secret\x7f56789") }, "password: want the 12"},
		{"no try", func(c *Config) { c.Tries = 0 }, "tries: 0 is not 1 to 10"},
		{"one try", func(c *Config) { c.Tries = 1 }, ""},
		{"ten tries", func(c *Config) { c.Tries = 10 }, ""},
		{"eleven tries", func(c *Config) { c.Tries = 11 }, "tries: 11 is not 1 to 10"},
		{"totals before they were", func(c *Config) { c.TotalsEvery = -1 }, "totals_every: "},
		{"totals each day", func(c *Config) { c.TotalsEvery = 24 * time.Hour }, ""},
		{"totals each week", func(c *Config) { c.TotalsEvery = 168 * time.Hour }, "totals_every: 168h0m0s is not 0s to 24h0m0s"},
		{"a password with a tilde", func(c *Config) { c.Password = drivers.NewSecret("Secret~56789") }, ""},
		{"no time to answer", func(c *Config) { c.AnswerWait = 0 }, "answer_wait: "},
		{"the shortest time to answer", func(c *Config) { c.AnswerWait = 100 * time.Millisecond }, ""},
		{"too short between tries", func(c *Config) { c.RetryWait = 50 * time.Millisecond }, "retry_wait: 50ms is not 100ms to 1h0m0s"},
		{"too long a gap", func(c *Config) { c.RequestGap = time.Hour }, "request_gap: "},
		{"no time to join", func(c *Config) { c.JoinWait = time.Millisecond }, "join_wait: "},
		{"too long between tries", func(c *Config) { c.RetryWait = 2 * time.Hour }, "retry_wait: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := houseConfig()
			c.set(cfg)
			err := cfg.Validate()
			if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%v, want %q", err, c.says)
			}
			if err != nil && (strings.Contains(err.Error(), "Secret") || strings.Contains(err.Error(), houseID[1:31])) {
				t.Errorf("a secret is shown: %v", err)
			}
		})
	}
}

func TestDefaultsAreThoseOfTheDocumentation(t *testing.T) {
	want := Config{
		TotalsEvery: 180 * time.Second, AnswerWait: 10 * time.Second, Tries: 3, RequestGap: 2 * time.Second,
		JoinWait: time.Minute, RetryWait: time.Minute, SetWith: "setc",
	}
	if got := *newConfig(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if Driver.Every != 30*time.Second {
		t.Errorf("read every %s, want 30s", Driver.Every)
	}
}

func TestADecoderWantsItsOwnConfiguration(t *testing.T) {
	if _, err := Driver.NewDecoder(newConfig(), drivers.Zones{}); err != nil {
		t.Error(err)
	}
	if _, err := Driver.NewDecoder(nil, drivers.Zones{}); !errors.Is(err, errForeignConfig) {
		t.Errorf("%v, want %v", err, errForeignConfig)
	}
}

func TestAWayToSetThatIsNoneIsNamed(t *testing.T) {
	c := newConfig()
	c.SetWith = "set"
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "set_with") {
		t.Errorf("got %v", err)
	}
}

// quiet is a line that nobody speaks on.
type quiet struct{ drivers.Line }

func (quiet) String() string { return "quiet" }

func TestAMeterIsNotDialledWithoutItsSecrets(t *testing.T) {
	_, err := Driver.Dial(t.Context(), quiet{}, newConfig(), drivers.Zones{})
	if !errors.Is(err, drivers.ErrAuth) || drivers.Hint(err) == "" {
		t.Errorf("%v, hint %q", err, drivers.Hint(err))
	}
}

func TestValuesThatAreNone(t *testing.T) {
	for name, parse := range map[string]func([]byte) bool{
		"an empty location": func(b []byte) bool { return encodes(string(b)) },
		"codes": func(b []byte) bool {
			_, err := ParseCodes(b)
			return err == nil
		},
		"a fault code of three bytes": func([]byte) bool {
			_, ok := parseFaultCode([]byte{1, 2, 3})
			return ok
		},
		"a fault code of 226 bytes": func([]byte) bool {
			_, ok := parseFaultCode(make([]byte, 226))
			return ok
		},
		"property codes below 80": func([]byte) bool {
			_, err := ParseCodes([]byte{1, 0x7F})
			return err == nil
		},
	} {
		if parse(nil) {
			t.Errorf("%s: taken", name)
		}
	}
	if text, ok := parseFaultCode([]byte{3, 0, 0, 1, 0xAB}); !ok || text != "000001AB" {
		t.Errorf("a fault code is %q, %t", text, ok)
	}
	for _, size := range []int{4, 225} {
		if _, ok := parseFaultCode(make([]byte, size)); !ok {
			t.Errorf("a fault code of %d bytes is refused", size)
		}
	}
}

func encodes(location string) bool {
	_, err := encodeLocation(location)
	return err == nil
}

func TestLocationsAreWrittenAsTheyAreRead(t *testing.T) {
	position := placeFree + strings.Repeat("0A", 16)
	b, err := encodeLocation(position)
	if err != nil || len(b) != 17 || b[0] != 1 || b[16] != 0x0A {
		t.Errorf("%q is % X, %v", position, b, err)
	}
	for _, no := range []string{placeFree + "0A", placeFree + "no", "the moon", placeUnknown} {
		if encodes(no) {
			t.Errorf("%q is a location", no)
		}
	}
	// ECHONET Lite, Appendix, location code: place in bits 6 to 3, number in bits 2 to 0.
	for c, want := range map[byte]string{0x00: placeNotSet, 0x07: placeUnknown, 0x08: "living room", 0x19: "kitchen 1", 0x7F: "other 7", 0x80: placeUnknown, 0xFF: placeNotFixed} {
		text, ok := parseLocation([]byte{c})
		if !ok || text != want {
			t.Errorf("%02X is %q, want %q", c, text, want)
		}
		if b, err := encodeLocation(want); want != placeUnknown && (err != nil || len(b) != 1 || b[0] != c) {
			t.Errorf("%q is % X, %v; want %02X", want, b, err, c)
		}
	}
}
