package bridge

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/bridge/supervisor"
	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// state is the folder in which the gateway remembers. Without one it forgets,
// and says so.
type state struct {
	dir  string // "": there is none
	lock *flock.Flock
}

// openState takes the configured folder, or the usual one. A folder that cannot
// be had is told and done without, for readings matter more; one that another
// gateway has is an error.
func openState(dir string, log zerolog.Logger) (*state, error) {
	if dir == "" {
		dir = usualState()
	}
	s := &state{dir: dir}
	err := s.acquire()
	if errors.Is(err, errInUse) {
		return nil, err
	}
	if err != nil {
		log.Warn().Err(err).Str("hint", "set state.dir to a folder that can be written to").
			Msg("nothing is remembered over a restart")
		return &state{}, nil
	}
	return s, nil
}

// usualState is $STATE_DIRECTORY, /data in the Home Assistant app, else the
// user's own state folder.
func usualState() string {
	if dir := os.Getenv("STATE_DIRECTORY"); dir != "" {
		return dir
	}
	if os.Getenv(supervisor.TokenVariable) != "" {
		return "/data"
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "meter2mqtt")
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "state", "meter2mqtt")
	}
	return "/var/lib/meter2mqtt"
}

var errInUse = errors.New("another gateway uses it")

// acquire makes the folder and locks it, as long as the program runs.
func (s *state) acquire() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	s.lock = flock.New(filepath.Join(s.dir, "lock"), flock.SetPermissions(0o600))
	mine, err := s.lock.TryLock()
	if err != nil {
		return fmt.Errorf("state.dir: %w", err)
	}
	if !mine {
		return drivers.WithHint(fmt.Errorf("state.dir %s: %w", s.dir, errInUse),
			"end the other one, or give this one a state.dir of its own")
	}
	return nil
}

// journalDir is where the journal's files go; "" keeps it in memory.
func (s *state) journalDir() string {
	if s.dir == "" {
		return ""
	}
	return filepath.Join(s.dir, "journal")
}

// close gives the folder free.
func (s *state) close() {
	if s.lock != nil {
		_ = s.lock.Close()
	}
}
