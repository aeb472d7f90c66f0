package routeb

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Config are the keys of a [[meter]] table that only Route B meters have. How often
// power and currents are read is the common key every.
type Config struct {
	// ID is the Route B id of the power company's letter: 32 characters, digits and
	// A to F.
	ID drivers.Secret `koanf:"id"`
	// Password is the Route B password: 12 characters.
	Password drivers.Secret `koanf:"password"`

	// TotalsEvery is how often the totals are read. With every read of power and
	// currents they would cost the module twice the air time.
	TotalsEvery time.Duration `koanf:"totals_every"`
	// AnswerWait is how long the meter may take to answer.
	AnswerWait time.Duration `koanf:"answer_wait"`
	// Tries is how often a request is sent before the meter is given up.
	Tries int `koanf:"tries"`
	// RequestGap is the least time between two requests: faster ones make meters
	// fall silent.
	RequestGap time.Duration `koanf:"request_gap"`
	// JoinWait is how long the meter may take to accept us.
	JoinWait time.Duration `koanf:"join_wait"`
	// SetWith is how parameters are written: "setc", which the meter answers; "seti"
	// for one that does not; "setget", which sets and reads back in one exchange. All
	// are read back.
	SetWith string `koanf:"set_with"`
	// RetryWait is how long to wait after the meter was not found or did not accept
	// us. It doubles with each failure, up to ten times itself.
	RetryWait time.Duration `koanf:"retry_wait"`
}

var _ drivers.Config = (*Config)(nil)

func newConfig() *Config {
	return &Config{
		TotalsEvery: 3 * time.Minute, AnswerWait: 10 * time.Second, Tries: 3, RequestGap: 2 * time.Second,
		JoinWait: 60 * time.Second, RetryWait: 60 * time.Second, SetWith: "setc",
	}
}

const (
	idLen       = 32
	passwordLen = 12
	mostTries   = 10
)

// Validate says which keys are wrong and what they may be. It never shows a secret.
func (c *Config) Validate() error {
	var errs []error
	if c.ID.IsZero() != c.Password.IsZero() {
		errs = append(errs, errors.New("password: id and password belong together: one of them is missing"))
	}
	if id := c.ID.Reveal(); id != "" && (len(id) != idLen || strings.Trim(id, "0123456789ABCDEFabcdef") != "") {
		errs = append(errs, fmt.Errorf("id: want the %d digits and letters A to F of the Route B id, got %d characters", idLen, len(id)))
	}
	if p := c.Password.Reveal(); p != "" && (len(p) != passwordLen || !isPlain(p)) {
		errs = append(errs, fmt.Errorf("password: want the %d letters and digits of the Route B password, got %d characters", passwordLen, len(p)))
	}
	if c.Tries < 1 || c.Tries > mostTries {
		errs = append(errs, fmt.Errorf("tries: %d is not 1 to %d", c.Tries, mostTries))
	}
	if _, known := setServices[c.SetWith]; !known {
		errs = append(errs, fmt.Errorf("set_with: %.20q is not setc, seti or setget", c.SetWith))
	}
	for _, d := range [...]struct {
		key         string
		d           time.Duration
		least, most time.Duration
	}{
		{"totals_every", c.TotalsEvery, 0, 24 * time.Hour},
		{"answer_wait", c.AnswerWait, 100 * time.Millisecond, time.Minute},
		{"request_gap", c.RequestGap, 0, time.Minute},
		{"join_wait", c.JoinWait, 100 * time.Millisecond, 5 * time.Minute},
		{"retry_wait", c.RetryWait, 100 * time.Millisecond, time.Hour},
	} {
		if d.d < d.least || d.d > d.most {
			errs = append(errs, fmt.Errorf("%s: %s is not %s to %s", d.key, d.d, d.least, d.most))
		}
	}
	return errors.Join(errs...)
}

// setServices are the services of set_with.
var setServices = map[string]Service{"setc": SetC, "seti": SetI, "setget": SetGet}

// isPlain says whether s may stand in a command: letters, digits and marks.
func isPlain(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
