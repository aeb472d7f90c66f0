package service

import (
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Notifier passes on the gateway's heartbeat. The zero Notifier is ready; one
// caller at a time.
type Notifier struct {
	// Watchdog is how long the service manager waits for a sign of life before it
	// starts the program anew; 0: it does not.
	Watchdog time.Duration

	ready bool
	told  time.Time
}

// New is a Notifier for the service manager that started the program.
func New() (*Notifier, error) {
	watchdog, err := daemon.SdWatchdogEnabled(false)
	return &Notifier{Watchdog: watchdog}, err
}

// Beat says that the gateway is alive: the first one that it has begun, later
// ones, a few times within the watchdog's limit, that it goes on.
func (n *Notifier) Beat(now time.Time) error {
	if !n.ready {
		n.ready, n.told = true, now
		return notify(daemon.SdNotifyReady)
	}
	if n.Watchdog == 0 || now.Sub(n.told) < n.Watchdog/3 {
		return nil
	}
	n.told = now
	return notify(daemon.SdNotifyWatchdog)
}

// Stopping says that the gateway is about to end.
func (n *Notifier) Stopping() error { return notify(daemon.SdNotifyStopping) }

func notify(state string) error {
	_, err := daemon.SdNotify(false, state)
	return err
}
