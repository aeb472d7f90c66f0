package transport

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

var (
	errAway   = errors.New("connection refused")
	errBroken = errors.New("connection reset")
)

// logged are the lines of a log from info on, as "level message error".
func logged(t *testing.T, log *bytes.Buffer) []string {
	t.Helper()
	var out []string
	for dec := json.NewDecoder(log); ; {
		var line struct{ Level, Message, Error, Hint, Port string }
		err := dec.Decode(&line)
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if line.Port == "" {
			t.Errorf("no port in %+v", line)
		}
		if line.Level != "debug" {
			out = append(out, strings.TrimSpace(line.Level+" "+line.Message+" "+line.Error+" "+line.Hint))
		}
	}
}

// supervised runs a Supervisor for a while in a bubble, and returns what it logged.
func supervised(t *testing.T, s *Supervisor, d time.Duration, use func(context.Context, drivers.Line) error) []string {
	t.Helper()
	var log bytes.Buffer
	s.Log = zerolog.New(&log)
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := s.Run(ctx, use); err != nil {
		t.Errorf("Run() = %v", err)
	}
	return logged(t, &log)
}

// piped opens lines whose far ends nobody looks at.
func piped(t *testing.T) func(context.Context, Port) (drivers.Line, error) {
	t.Helper()
	return func(context.Context, Port) (drivers.Line, error) {
		near, far := net.Pipe()
		t.Cleanup(func() { far.Close() })
		return fakeLine{near}, nil
	}
}

var fakePort = Port{Scheme: TCP, Address: "fake:1"}

func TestSupervisorPausesLongerAndLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries []time.Time
		s := &Supervisor{Port: fakePort, Open: func(context.Context, Port) (drivers.Line, error) {
			tries = append(tries, time.Now())
			return nil, drivers.WithHint(errAway, "switch it on")
		}}
		log := supervised(t, s, 20*time.Minute, nil)
		if diff := cmp.Diff([]string{"warn line lost connection refused switch it on"}, log); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
		for i := 1; i < len(tries); i++ {
			least, most := time.Duration(float64(firstPause<<(i-1))*0.7), time.Duration(float64(firstPause<<(i-1))*1.3)
			if i > 5 {
				least, most = longestPause*7/10, longestPause*13/10
			}
			if i >= breakAfter {
				least, most = time.Minute, time.Minute+time.Second+breakJitter
			}
			if pause := tries[i].Sub(tries[i-1]); pause < least || pause > most+time.Millisecond {
				t.Errorf("pause %d: %s, want %s to %s", i, pause, least, most)
			}
		}
		if n := len(tries); n < 22 || n > 30 {
			t.Errorf("%d tries in 20 minutes", n)
		}
	})
}

func TestSupervisorPausesAreJittered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pauses := make(map[time.Duration]bool)
		for range 20 {
			var tries []time.Time
			s := &Supervisor{Port: fakePort, Open: func(context.Context, Port) (drivers.Line, error) {
				tries = append(tries, time.Now())
				return nil, errAway
			}}
			supervised(t, s, 2*time.Second, nil)
			if len(tries) < 2 {
				t.Fatalf("%d tries in 2 s", len(tries))
			}
			pauses[tries[1].Sub(tries[0])] = true
		}
		if len(pauses) < 10 {
			t.Errorf("20 lines paused for only %d different times", len(pauses))
		}
	})
}

func TestSupervisorTellsLostAndBackOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		s := &Supervisor{Port: fakePort}
		open := piped(t)
		s.Open = func(ctx context.Context, p Port) (drivers.Line, error) {
			if tries++; tries > 1 && tries < 6 {
				return nil, fmt.Errorf("refused: %w", errAway)
			}
			return open(ctx, p)
		}
		var states []string
		s.State = func(state State, err error) { states = append(states, fmt.Sprint(state, " ", err)) }
		log := supervised(t, s, time.Hour, func(ctx context.Context, _ drivers.Line) error {
			s.Healthy()
			s.Healthy()
			if tries == 1 {
				return errBroken
			}
			<-ctx.Done()
			return nil
		})
		want := []string{"warn line lost connection reset", "warn line lost refused: connection refused", "info line back"}
		if diff := cmp.Diff(want, log); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
		wantStates := []string{"opening <nil>", "open <nil>", "waiting connection reset"}
		for range 4 {
			wantStates = append(wantStates, "opening <nil>", "waiting refused: connection refused")
		}
		wantStates = append(wantStates, "opening <nil>", "open <nil>", "closed <nil>")
		if diff := cmp.Diff(wantStates, states); diff != "" {
			t.Errorf("states (-want +got):\n%s", diff)
		}
	})
}

// A peer that accepts and then fails has not come back: the pauses grow, and
// nobody is told that it was.
func TestSupervisorIsNotTakenInByOpenAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		uses := 0
		s := &Supervisor{Port: fakePort, Open: piped(t)}
		log := supervised(t, s, 20*time.Minute, func(context.Context, drivers.Line) error {
			uses++
			return fmt.Errorf("silent: %w", drivers.ErrTimeout)
		})
		if diff := cmp.Diff([]string{"warn line lost silent: no answer in time"}, log); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
		if uses > 30 {
			t.Errorf("opened %d times in 20 minutes", uses)
		}
	})
}

func TestSupervisorComesBackQuicklyAfterALineThatWorked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Supervisor{Port: fakePort, Open: piped(t)}
		var ended time.Time
		uses := 0
		supervised(t, s, time.Hour, func(context.Context, drivers.Line) error {
			if uses++; uses > 1 && time.Since(ended) > 1300*time.Millisecond {
				t.Errorf("use %d began after %s", uses, time.Since(ended))
			}
			time.Sleep(time.Minute)
			s.Healthy()
			ended = time.Now()
			return errBroken
		})
		if uses < 55 {
			t.Errorf("used %d times in an hour", uses)
		}
	})
}

func TestSupervisorTellsOnlySoManyErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		s := &Supervisor{Port: fakePort, Open: func(context.Context, Port) (drivers.Line, error) {
			n++
			return nil, fmt.Errorf("error %d", n)
		}}
		if log := supervised(t, s, time.Hour, nil); len(log) != maxToldErrors {
			t.Errorf("%d lines: %q", len(log), log)
		}
	})
}

func TestSupervisorClosesTheLineAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var used drivers.Line
		s := &Supervisor{Port: fakePort, Open: piped(t)}
		supervised(t, s, time.Hour, func(_ context.Context, l drivers.Line) error {
			used = l
			return nil
		})
		if _, err := used.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("the line is still open: %v", err)
		}
	})
}

func TestSupervisorGivesUpWhatThisSystemCannotOpen(t *testing.T) {
	s := &Supervisor{Log: zerolog.Nop()}
	if err := s.Run(t.Context(), nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Run() = %v", err)
	}
}

func TestSupervisorPlaysARecordingOnce(t *testing.T) {
	port := recordingFile(t, `{"t":1,"dir":"rx","hex":"2f"}`, "")
	synctest.Test(t, func(t *testing.T) {
		bytesRead := 0
		s := &Supervisor{Port: port}
		log := supervised(t, s, time.Hour, func(_ context.Context, l drivers.Line) error {
			b, err := io.ReadAll(l)
			bytesRead += len(b)
			return errors.Join(err, io.EOF)
		})
		if diff := cmp.Diff([]string{"info recording is over"}, log); diff != "" || bytesRead != 1 {
			t.Errorf("%d bytes; log (-want +got):\n%s", bytesRead, diff)
		}
	})
}

// serialStandIn is a port at a path where a file may come and go.
func serialStandIn(t *testing.T) Port {
	t.Helper()
	return Port{Scheme: Serial, Path: filepath.Join(t.TempDir(), "usb-adapter"), Mode: usual}
}

func plugIn(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Error(err)
	}
}

func TestSupervisorOpensAnAdapterSoonAfterItsReturn(t *testing.T) {
	port := serialStandIn(t)
	synctest.Test(t, func(t *testing.T) {
		var tries []time.Duration
		began := time.Now()
		open := piped(t)
		s := &Supervisor{Port: port, Open: func(ctx context.Context, p Port) (drivers.Line, error) {
			tries = append(tries, time.Since(began))
			if _, err := os.Stat(p.Path); err != nil {
				return nil, ErrMissing
			}
			return open(ctx, p)
		}}
		go func() {
			time.Sleep(3 * time.Hour)
			plugIn(t, port.Path)
		}()
		log := supervised(t, s, 4*time.Hour, func(ctx context.Context, _ drivers.Line) error {
			s.Healthy()
			<-ctx.Done()
			return nil
		})
		if len(tries) != 2 || tries[1] < 3*time.Hour || tries[1] > 3*time.Hour+2*time.Second {
			t.Errorf("opened after %s", tries)
		}
		if diff := cmp.Diff([]string{"warn line lost not there", "info line back"}, log); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
	})
}

func TestSupervisorTriesAgainWhenPermissionsChange(t *testing.T) {
	port := serialStandIn(t)
	plugIn(t, port.Path)
	synctest.Test(t, func(t *testing.T) {
		var allowed atomic.Bool
		var opened time.Duration
		began := time.Now()
		open := piped(t)
		s := &Supervisor{Port: port, Open: func(ctx context.Context, p Port) (drivers.Line, error) {
			if !allowed.Load() {
				return nil, ErrForbidden
			}
			opened = time.Since(began)
			return open(ctx, p)
		}}
		go func() {
			time.Sleep(time.Hour)
			allowed.Store(true)
			if err := os.Chmod(port.Path, 0o666); err != nil {
				t.Error(err)
			}
		}()
		supervised(t, s, 2*time.Hour, func(ctx context.Context, _ drivers.Line) error {
			<-ctx.Done()
			return nil
		})
		if opened < time.Hour || opened > time.Hour+2*time.Second {
			t.Errorf("opened after %s", opened)
		}
	})
}

// A converter whose line is dead accepts and stays silent: it is noticed and
// dialled again, with pauses that grow.
func TestSupervisorDialsASilentPeerAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open, dials := piped(t), 0
		s := &Supervisor{Port: fakePort, Open: func(ctx context.Context, p Port) (drivers.Line, error) {
			dials++
			return open(ctx, p)
		}}
		log := supervised(t, s, 3*time.Minute, func(ctx context.Context, l drivers.Line) error {
			silent := drivers.Listener{Line: l, Decoder: nothing{}, Quiet: 30 * time.Second}
			return silent.Run(ctx)
		})
		if dials < 5 || dials > 6 {
			t.Errorf("dialled %d times in 3 minutes, want 5 or 6", dials)
		}
		if diff := cmp.Diff([]string{"warn line lost tcp://fake:1: no byte for 30s: no answer in time"}, log); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
	})
}

func TestSupervisorListensOnASilentSerialLineWithoutPauses(t *testing.T) {
	port := serialStandIn(t)
	plugIn(t, port.Path)
	synctest.Test(t, func(t *testing.T) {
		uses := 0
		s := &Supervisor{Port: port, Open: piped(t)}
		log := supervised(t, s, time.Hour, func(ctx context.Context, l drivers.Line) error {
			uses++
			silent := drivers.Listener{Line: l, Decoder: nothing{}, Quiet: 30 * time.Second}
			return silent.Run(ctx)
		})
		if uses < 110 || uses > 117 {
			t.Errorf("listened %d times in an hour, each for 30 s", uses)
		}
		if len(log) != 1 {
			t.Errorf("log: %q", log)
		}
	})
}
