// Package report makes the one file that a person sends to whoever helps: which
// version, which configuration, and the last frames of each meter that were
// refused, with the reason. Nothing in it is an id, a key or a password: they are
// masked by as many characters.
//
// The file is a recording, so it can be played back: replay:FILE?meter=NAME where a
// port goes, or decode --meter NAME FILE. Frames were masked so that they are
// refused for the same reason: checks that fitted do fit again, and those that did
// not still do not. A frame of which that cannot be had is left out, and its reason
// stands alone.
package report

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/capture"
)

// Meter is what is told of one meter.
type Meter struct {
	Name    string
	Driver  drivers.Driver
	Options drivers.Config
	Zones   drivers.Zones
	Hidden  []string // ids, keys and passwords that are known
	Frames  []Frame
}

// Frame is one refused frame.
type Frame struct {
	At    time.Time
	Kind  string // of the refusal: field and cause, as Kind gives it
	Bytes []byte // what the line said: the frame, and perhaps a good one before it
}

// Head is what stands in front.
type Head struct {
	Version string    `json:"version"`
	Made    time.Time `json:"made"`
	Config  any       `json:"config"` // masked
	Status  any       `json:"status,omitempty"`
	Notes   []string  `json:"notes,omitempty"`
}

// step is the recording's time between two frames: longer than the silence that
// ends any frame.
const step = 5.0

// entry is a line of the file. A recording's reader knows t, dir, hex and meter.
type entry struct {
	T      float64    `json:"t"`
	Dir    string     `json:"dir"`
	Hex    string     `json:"hex"`
	Report *Head      `json:"report,omitempty"`
	Meter  string     `json:"meter,omitempty"`
	Driver string     `json:"driver,omitempty"`
	Time   *time.Time `json:"time,omitempty"`
	Reason string     `json:"reason,omitempty"`
	Note   string     `json:"note,omitempty"`
}

// Write writes the file.
func Write(w io.Writer, head Head, meters []Meter) error {
	out := json.NewEncoder(w)
	if err := out.Encode(entry{Dir: "rx", Report: &head}); err != nil {
		return err
	}
	for i := range meters {
		for n, f := range meters[i].Frames {
			e := meters[i].entry(&f)
			e.T = step * float64(n+1)
			if err := out.Encode(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// entry is the line of one frame.
func (m *Meter) entry(f *Frame) entry {
	at := f.At.UTC()
	e := entry{Dir: "rx", Meter: m.Name, Driver: m.Driver.Name, Time: &at, Reason: f.Kind}
	b := m.cut(f)
	if m.Driver.Explain == nil || len(b) == 0 {
		e.Note = "the frame is left out: it cannot be masked"
		return e
	}
	masked, kept, err := capture.Mask(m.Driver, m.Options, m.Zones, b, m.Hidden)
	if err == nil && kept {
		// Whoever plays it back has no keys but those that the report shows.
		if why := m.shown().only(masked, f.Kind); why != "" {
			e.Hex, e.Reason = hex.EncodeToString(masked), why
			return e
		}
	}
	e.Note = "the frame is left out: masked, it would be refused for another reason"
	return e
}

// shown is the meter with the options that the report shows.
func (m *Meter) shown() *Meter {
	c := *m
	c.Options = StandIn(m.Options)
	return &c
}

// cut leaves out what is not the frame's: the beginning of the next, and the
// refused one before it.
func (m *Meter) cut(f *Frame) []byte {
	b := m.cutEnd(f)
	if m.only(b, f.Kind) != "" {
		return b
	}
	// The one before may have been given up only when this one had begun.
	told := m.givenUp(b)
	for at := told; at > 0 && at > told-farBack; at-- {
		if m.only(b[at:], f.Kind) != "" {
			return b[at:]
		}
	}
	return b
}

// farBack is how much of a frame can have come before the one before it is given
// up: about what is read from a line at once.
const farBack = 512

// givenUp is where the last refusal but one is told.
func (m *Meter) givenUp(b []byte) (at int) {
	last := 0
	m.eachLoss(b, func(i int, _ *drivers.FrameError) { at, last = last, i+1 })
	return at
}

// cutEnd leaves out the beginning of the next frame.
func (m *Meter) cutEnd(f *Frame) []byte {
	end := 0
	m.eachLoss(f.Bytes, func(i int, e *drivers.FrameError) {
		if Kind(e) == f.Kind && i < len(f.Bytes) {
			end = i + 1
		}
	})
	if end == 0 {
		return f.Bytes // the silence behind it decided
	}
	// A frame that the start of the next one ended is ended by silence as well.
	if b := f.Bytes[:end]; len(m.refusals(b)) > len(m.refusals(b[:end-1])) && m.tells(b[:end-1], f.Kind) {
		return b[:end-1]
	}
	return f.Bytes[:end]
}

// eachLoss feeds bytes one by one and tells which byte ended which refused frame;
// len(b): the silence behind them.
func (m *Meter) eachLoss(b []byte, told func(i int, e *drivers.FrameError)) {
	d, err := m.Driver.NewDecoder(m.Options, m.Zones)
	if err != nil {
		return
	}
	for i := range len(b) + 1 {
		if i < len(b) {
			d.Feed(b[i : i+1])
		} else {
			d.Gap()
		}
		for _, e := range lost(d) {
			told(i, e)
		}
	}
}

// refusals are all that a decoder refuses of an input.
func (m *Meter) refusals(b []byte) []*drivers.FrameError {
	d, err := m.Driver.NewDecoder(m.Options, m.Zones)
	if err != nil {
		return nil
	}
	d.Feed(b)
	d.Gap()
	return lost(d)
}

// lost are the frames that a decoder gives up now.
func lost(d drivers.Decoder) (all []*drivers.FrameError) {
	_ = capture.Drain(d, new(drivers.Reading), capture.Sink{ // a decoder's only errors are refusals
		Reading: func(*drivers.Reading) error { return nil },
		Refused: func(e *drivers.FrameError) { all = append(all, e.Clone()) },
	})
	return all
}

// tells says whether one of the refusals of an input is of a kind.
func (m *Meter) tells(b []byte, kind string) bool {
	return slices.ContainsFunc(m.refusals(b), func(e *drivers.FrameError) bool { return Kind(e) == kind })
}

// only is what a decoder says of bytes, in full, if that is one refusal of a kind
// and nothing else; else "".
func (m *Meter) only(b []byte, kind string) string {
	all := m.refusals(b)
	if len(all) != 1 || Kind(all[0]) != kind {
		return ""
	}
	return all[0].Error()
}

// Kind is what a refusal is, without what differs from frame to frame or tells
// whose it was: field and innermost cause.
func Kind(e *drivers.FrameError) string {
	if e.Err == nil {
		return e.Field
	}
	cause := e.Err
	for {
		inner := errors.Unwrap(cause)
		if inner == nil || inner.Error() != cause.Error() && !strings.HasSuffix(cause.Error(), ": "+inner.Error()) {
			return e.Field + ": " + cause.Error()
		}
		cause = inner
	}
}
