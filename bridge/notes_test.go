package bridge

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/bridge/mqttlink"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/hdlc"
)

func TestANoteIsToldOnce(t *testing.T) {
	var log bytes.Buffer
	m := &meter{log: zerolog.New(&log)}
	for _, note := range []string{"", "a list", "a list", "another", "a list"} {
		m.tellNote(&drivers.Reading{Note: note})
	}
	if got := strings.Count(log.String(), "\n"); got != 2 {
		t.Errorf("%d lines:\n%s", got, &log)
	}
	for i := range 10 * maxNotes {
		m.tellNote(&drivers.Reading{Note: time.Duration(i).String()})
	}
	if got := strings.Count(log.String(), "\n"); got != maxNotes {
		t.Errorf("%d lines from a meter that invents lists", got)
	}
}

func TestMetersThatShareAKeyAreToldTogether(t *testing.T) {
	var log bytes.Buffer
	b := &Bridge{options: Options{Log: zerolog.New(&log)}}
	key := func(name, digits string) config.Meter {
		return config.Meter{Name: name, Options: &hdlc.Config{Key: drivers.NewSecret(digits)}}
	}
	b.tellSharedKeys([]config.Meter{key("a", "00112233"), key("b", "44556677"), key("c", "00:11:22:33")})
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `["a","c"]`) || strings.Contains(got, "2233") {
		t.Error(got)
	}
}

// Frames that no key opens are no reason to look at the cable.
func TestALineWithWholeFramesIsNotCalledSilent(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want bool
	}{"wrong key": {drivers.ErrAuth, false}, "bad checks": {drivers.ErrChecksum, true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				w := watch{since: time.Now(), log: zerolog.New(&log), hint: "look at the cable"}
				w.lost(&drivers.FrameError{Err: tt.err})
				time.Sleep(2 * unheard)
				w.bytes([]byte{1})
				if got := log.Len() > 0; got != tt.want {
					t.Errorf("told: %t\n%s", got, &log)
				}
			})
		})
	}
}

func TestASilentLineIsToldWithWhatToLookAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent, err := mqttlink.New(mqttlink.Options{}).OpenTopic(t.Context(), "nobody/speaks")
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		m := &meter{config: config.Meter{Driver: hdlc.Driver, Options: hdlc.Driver.NewConfig()}}
		err = newLine([]*meter{m}, zonesOf, nil).listen(t.Context(), silent)
		if !errors.Is(err, drivers.ErrTimeout) || !strings.Contains(drivers.Hint(err), "opened by the grid company") {
			t.Errorf("%v, hint %q", err, drivers.Hint(err))
		}
	})
}
