package bridge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// lossLog is what losses told, one text a line: how many, what, and the remedy.
type lossLog struct{ bytes.Buffer }

func (l *lossLog) logger() zerolog.Logger { return zerolog.New(l).Level(zerolog.WarnLevel) }

// told gives what was told since it was asked last.
func (l *lossLog) told(t *testing.T) (all []string) {
	t.Helper()
	for d := json.NewDecoder(&l.Buffer); d.More(); {
		var line struct {
			Count     int
			Err, Hint string
		}
		if err := d.Decode(&line); err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%d × %s (%s)", line.Count, line.Err, line.Hint))
	}
	l.Reset()
	return all
}

var (
	errCheck = &drivers.FrameError{Field: "FCS", Offset: 40, Got: 1, Want: 2, Err: drivers.ErrChecksum, Hint: "look at the cable"}
	another  = &drivers.FrameError{Field: "FCS", Offset: 90, Got: 3, Want: 4, Err: drivers.ErrChecksum, Hint: "look at the cable"}
	errKey   = &drivers.FrameError{Field: "ciphering", Err: drivers.ErrAuth, Hint: "compare the key"}
)

func TestEachKindOfLossIsToldAtOnceAndThenOnceAnHour(t *testing.T) {
	var log lossLog
	var l losses
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	step := func(d time.Duration, want []string, lost ...*drivers.FrameError) {
		t.Helper()
		now = now.Add(d)
		l.tick(now, log.logger())
		for _, e := range lost {
			l.lost(e, now, log.logger())
		}
		if diff := cmp.Diff(want, log.told(t)); diff != "" {
			t.Error(diff)
		}
	}
	step(0, []string{"1 × FCS at byte 40: checksum does not fit: got 0x1, want 0x2 (look at the cable)"}, errCheck)
	step(time.Minute, nil, another, errCheck, another)
	step(time.Minute, []string{"1 × ciphering at byte 0: key or password does not fit (compare the key)"}, errKey, errKey)
	step(59*time.Minute, []string{
		"3 × FCS at byte 90: checksum does not fit: got 0x3, want 0x4 (look at the cable)",
	})
	step(time.Minute, []string{"1 × ciphering at byte 0: key or password does not fit (compare the key)"})
	step(30*time.Minute, nil, errKey)
	step(2*time.Hour, []string{"1 × ciphering at byte 0: key or password does not fit (compare the key)"})
	step(2*time.Hour, []string{"1 × FCS at byte 40: checksum does not fit: got 0x1, want 0x2 (look at the cable)"}, errCheck)
}

func TestALineThatInventsLossesFillsNeitherLogNorMemory(t *testing.T) {
	var log lossLog
	var l losses
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for i := range 10 * maxCauses {
		l.lost(&drivers.FrameError{Field: fmt.Sprint("field ", i), Err: drivers.ErrSyntax}, now, log.logger())
	}
	if n := len(log.told(t)); n > maxCauses+1 || len(l.causes) > maxCauses+1 {
		t.Errorf("%d told, %d remembered", n, len(l.causes))
	}
}

func TestDamageIsWhatALineDoesToFrames(t *testing.T) {
	for err, want := range map[error]bool{
		drivers.ErrChecksum: true, drivers.ErrShort: true, drivers.ErrAuth: false, errors.New("nobody knows this list"): false,
	} {
		if got := isDamage(&drivers.FrameError{Err: err}); got != want {
			t.Errorf("%v: %t", err, got)
		}
	}
}
