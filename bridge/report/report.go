// Package report makes the one file that a person sends to whoever helps: which
// version, which configuration, and the last frames of each meter that were
// refused, with the reason. Nothing in it is an id, a key or a password: they are
// masked by as many characters. Nor is anything that a meter enciphered: its frames
// are put under keys that stand in for its own and that the configuration shows, or
// zeros stand for what no key opens.
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
	"iter"
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
	Reads   bool     // there were readings
	Frames  []Frame
}

// Frame is one refused frame.
type Frame struct {
	At    time.Time
	Kind  string // of the refusal: field and cause, as Kind gives it
	From  int64  // where the bytes begin in what the line said
	Bytes []byte // what the line said: the frame, and perhaps a good one before it and behind
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
		for n, e := range meters[i].entries() {
			e.T = step * float64(n+1)
			if err := out.Encode(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// Notes in place of a frame.
const (
	noteUnmaskable = "the frame is left out: it cannot be masked"
	noteOther      = "the frame is left out: masked, it would be refused for another reason"
	// NoteTogether says that the bytes of the next frame are refused for both.
	NoteTogether = "the same bytes as those of the next frame: they are refused for this, then for that"
)

// entries are the lines of the meter's frames.
func (m *Meter) entries() (all []entry) {
	p := &played{shown: m.shown(), ciphers: m.ciphers()}
	for i := range m.Frames {
		f := &m.Frames[i]
		at := f.At.UTC()
		e := entry{Dir: "rx", Meter: m.Name, Driver: m.Driver.Name, Time: &at, Reason: f.Kind}
		b, why := m.next(i, all, p)
		switch {
		case why != nil:
			e.Hex, e.Reason = hex.EncodeToString(b), why[len(why)-1]
			p.frames = append(p.frames, b)
		case m.Driver.Explain == nil || len(f.Bytes) == 0:
			e.Note = noteUnmaskable
		default:
			e.Note = noteOther
		}
		all = append(all, e)
	}
	return all
}

// next shows the i-th frame: alone if that can be had, and if the one before it is
// shown already; else with that one.
func (m *Meter) next(i int, all []entry, p *played) (b []byte, why []string) {
	if i > 0 && all[i-1].Note == noteOther {
		if b, why = m.together(i, all, p); why != nil {
			return b, why
		}
	}
	if b, why = m.show(&m.Frames[i], p, m.Frames[i].Kind); why != nil {
		return b, why
	}
	return m.together(i, all, p)
}

// mostTogether is how many frames one cause makes a decoder give up: a segment is
// damaged, the telegram that it belongs to is cut, and the next is one said again.
const mostTogether = 3

// together shows the i-th frame with some before it, in what the line said from the
// first of them to the last.
func (m *Meter) together(i int, all []entry, p *played) (b []byte, why []string) {
	shown := p.frames
	kinds := []string{m.Frames[i].Kind}
	whole := m.Frames[i]
	for first := i - 1; first >= 0 && len(kinds) < mostTogether; first-- {
		before := m.Frames[first]
		if at := whole.From - before.From; at >= 0 && at <= int64(len(before.Bytes)) {
			whole.Bytes = append(before.Bytes[:at:at], whole.Bytes...)
			whole.From = before.From
		} else {
			break
		}
		kinds = append([]string{before.Kind}, kinds...)
		if all[first].Hex != "" {
			p.frames = p.frames[:len(p.frames)-1]
		}
		if first > 0 && all[first-1].Note == NoteTogether {
			continue
		}
		if b, why = m.show(&whole, p, kinds...); why == nil {
			continue
		}
		for n := range all[first:] {
			e := &all[first+n]
			e.Hex, e.Note, e.Reason = "", NoteTogether, why[n]
		}
		return b, why
	}
	p.frames = shown
	return nil, nil
}

// show masks a frame so that whoever plays the report back, with no keys but those
// that it shows, sees it refused for the same reasons: of these kinds. why is what
// that decoder says then; nil: it cannot be had.
func (m *Meter) show(f *Frame, p *played, kinds ...string) (b []byte, why []string) {
	if m.Driver.Explain == nil || len(f.Bytes) == 0 {
		return nil, nil
	}
	masking := capture.Masking{Driver: m.Driver, Options: m.Options, Shown: p.shown.Options, Zones: m.Zones, Hidden: m.Hidden}
	for b := range m.ways(f, kinds) {
		masked, err := masking.Mask(b)
		if err != nil || !masked.Kept && m.Driver.Reseal == nil {
			continue
		}
		ok := true
		if p.ciphers {
			masked, ok = p.blank(&masking, masked, kinds)
		}
		if !ok {
			continue
		}
		if why := p.refuses(masked.Bytes, kinds); why != nil {
			return masked.Bytes, why
		}
	}
	return nil, nil
}

// ciphers says whether what the meter sends may be ciphered: it has a key, or it
// gave no reading without one, or a frame of it is or may be.
func (m *Meter) ciphers() bool {
	if m.Driver.Reseal == nil {
		return false
	}
	if !m.Reads || hasKey(m.Options) {
		return true
	}
	for i := range m.Frames {
		spans, err := m.Driver.Explain(m.Options, m.Zones, m.Frames[i].Bytes)
		if err != nil || slices.ContainsFunc(spans, mayBeCiphered) {
			return true
		}
	}
	return false
}

// mayBeCiphered says whether a span is of something ciphered, or can be: by radio
// each meter may, and a damaged telegram does not tell.
func mayBeCiphered(s drivers.Span) bool {
	isCiphered := func(text string) bool { return strings.HasPrefix(text, "cipher") }
	return isCiphered(s.Name) || slices.ContainsFunc(s.In, isCiphered) ||
		strings.HasPrefix(s.Text, "encryption mode") || s.Name == "session number" || s.Name == "damaged telegram"
}

// played is what a report shows so far of one meter, as its receiver sees it.
type played struct {
	shown   *Meter // with the options that the report shows
	ciphers bool
	frames  [][]byte
}

// refuses is what the receiver's decoder says of bytes behind what is shown, in
// full, if those are refusals of these kinds and no others; else nil.
func (p *played) refuses(b []byte, kinds []string) (why []string) {
	d, err := p.shown.Driver.NewDecoder(p.shown.Options, p.shown.Zones)
	if err != nil {
		return nil
	}
	for _, before := range p.frames {
		d.Feed(before)
		d.Gap()
		lost(d)
	}
	d.Feed(b)
	d.Gap()
	return just(lost(d), kinds)
}

// just are the texts of refusals, if they are of these kinds and no others; else nil.
func just(all []*drivers.FrameError, kinds []string) (why []string) {
	if len(all) != len(kinds) {
		return nil
	}
	for i, e := range all {
		if Kind(e) != kinds[i] {
			return nil
		}
		why = append(why, e.Error())
	}
	return why
}

// How many bytes may stay as they were sent where it is not known what they are,
// because with zeros there the frame would be refused for another reason: the head of
// something ciphered, too little to have anything from. They are looked for in
// stretches down to smallest.
const smallest, mostLeft = 4, 24

// blank makes zeros of all that may be ciphertext and was not dealt with. false: too
// much of it cannot be blank if the frame is to be refused for the same reason.
func (p *played) blank(g *capture.Masking, m capture.Masked, kinds []string) (capture.Masked, bool) {
	todo := m.Opaque
	if blank, err := g.Blank(m, todo...); err == nil && p.refuses(blank.Bytes, kinds) != nil {
		return blank, true
	}
	if p.refuses(m.Bytes, kinds) == nil {
		return m, false
	}
	left := 0
	for len(todo) > 0 {
		s := todo[0]
		todo = todo[1:]
		blank, err := g.Blank(m, s)
		half := (s.From + s.To) / 2
		switch {
		case err == nil && p.refuses(blank.Bytes, kinds) != nil:
			m = blank
		case s.To-s.From > smallest:
			todo = append(todo, capture.Stretch{From: s.From, To: half}, capture.Stretch{From: half, To: s.To})
		default:
			left += s.To - s.From
		}
	}
	return m, left <= mostLeft
}

// shown is the meter with the options that the report shows.
func (m *Meter) shown() *Meter {
	c := *m
	c.Options = StandIn(m.Options)
	return &c
}

// ways are the bytes that may show a frame: what its line said from where a decoder
// that begins there refuses it alone; from the end of each telegram before it on; and
// from any byte on, for the tail of the one before may look like the head of another.
func (m *Meter) ways(f *Frame, kinds []string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if !yield(m.cut(f)) {
			return
		}
		b := m.cutEnd(f)
		ends := []int{0}
		m.eachLoss(b, func(i int, _ *drivers.FrameError) { ends = append(ends, min(i+1, len(b))) })
		for _, at := range slices.Backward(ends) {
			if at < len(b) && !yield(b[at:]) {
				return
			}
		}
		if len(b) < len(f.Bytes) && !yield(f.Bytes) {
			return
		}
		for at := 1; at < min(len(b), farBack); at++ {
			if m.refusesJust(b[at:], kinds) != nil && !yield(b[at:]) {
				return
			}
		}
	}
}

// cut leaves out what is not the frame's: the beginning of the next, and the
// refused one before it.
func (m *Meter) cut(f *Frame) []byte {
	b := m.cutEnd(f)
	if m.only(b, f.Kind) {
		return b
	}
	// The one before may have been given up only when this one had begun.
	told := m.givenUp(b)
	for at := told; at > 0 && at > told-farBack; at-- {
		if m.only(b[at:], f.Kind) {
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
	m.eachLoss(b, func(i int, _ *drivers.FrameError) { at, last = last, min(i+1, len(b)) })
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

// refusesJust is what a decoder says of bytes, in full, if those are refusals of these
// kinds and nothing else; else nil.
func (m *Meter) refusesJust(b []byte, kinds []string) []string { return just(m.refusals(b), kinds) }

// only says whether a decoder says one refusal of a kind of bytes, and nothing else.
func (m *Meter) only(b []byte, kind string) bool { return m.refusesJust(b, []string{kind}) != nil }

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
