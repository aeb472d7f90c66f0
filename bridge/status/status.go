// Package status is what the running gateway says of itself: to the health
// check, to monitoring and to people. It holds numbers and names only, never an
// id of a meter, a value, or a secret.
package status

import (
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
)

// Gateway is the whole program at one moment.
type Gateway struct {
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	// Problem is why the gateway must be restarted; "": it is healthy. A broker,
	// a line or a meter that is away is none: a restart brings nothing back.
	Problem string  `json:"problem,omitempty"`
	Broker  bool    `json:"broker"` // it is connected
	Journal Journal `json:"journal"`
	Meters  []Meter `json:"meters"` // in the order of the configuration
}

// Journal is what waits for the broker.
type Journal struct {
	Waiting uint64 `json:"waiting"` // readings that the broker has not acknowledged
	Bytes   int64  `json:"bytes"`   // of them, on disk
	Dropped uint64 `json:"dropped"` // readings lost for want of room since the start
}

// Meter is one configured meter, counted since the start.
type Meter struct {
	Name      string           `json:"name"`
	Label     string           `json:"label,omitempty"`
	Driver    string           `json:"driver"`
	Online    bool             `json:"online"`
	Line      transport.State  `json:"line"`
	Good      uint64           `json:"good"`              // telegrams that gave a reading
	Refused   map[Cause]uint64 `json:"refused,omitempty"` // telegrams and exchanges that gave none
	HeldBack  uint64           `json:"held_back"`         // totals that were not published
	RoundTrip time.Duration    `json:"round_trip"`        // ns, of the last exchange; 0: none, or a meter that speaks unasked
	Last      time.Time        `json:"last,omitzero"`     // the last good telegram; zero: there was none
}

// Healthy says whether the gateway works as it should.
func (g *Gateway) Healthy() bool { return g.Problem == "" }

// AllRefused is the sum over all causes.
func (m *Meter) AllRefused() (n uint64) {
	for _, count := range m.Refused {
		n += count
	}
	return n
}
