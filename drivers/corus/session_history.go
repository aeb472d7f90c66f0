package corus

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// window is how much of the logs is asked for at a time: what was given of earlier
// windows need not be asked for again when the line breaks.
const window = 31 * 24 * time.Hour

// span is a stretch of time; a zero end is open.
type span struct{ from, to time.Time }

// record is a row at its place in the order of all.
type record struct {
	at     time.Time // of its own, or of the one before it if that is later
	stamp  drivers.Stamp
	layout *layout
	raw    []byte
}

// History reads the databases of the configuration, oldest record first. A record
// without a time is left out.
func (s *session) History(ctx context.Context, from, to time.Time, each func(*drivers.Reading) error) error {
	return s.conversation(ctx, func(ctx context.Context) error {
		if err := s.ensureWeight(ctx); err != nil {
			return err
		}
		for _, w := range windows(from, to) {
			if err := s.window(ctx, w, each); err != nil {
				return err
			}
		}
		return nil
	})
}

// windows cuts a stretch of time at the same moments wherever it begins, so that a
// later one goes on with the rest of a window. From before any device's clock it is
// not cut.
func windows(from, to time.Time) (all []span) {
	if from.Year() < firstYear+1 {
		return []span{{time.Time{}, to.Add(time.Second)}}
	}
	for from.Before(to) {
		next := from.Truncate(window).Add(window)
		all = append(all, span{from, next})
		from = next
	}
	if n := len(all); n > 0 {
		all[n-1].to = to.Add(time.Second) // the end itself belongs to it
	}
	return all
}

// window gives the records of one stretch of time, its end left out.
func (s *session) window(ctx context.Context, w span, each func(*drivers.Reading) error) error {
	var rows []record
	for _, name := range s.cfg.Databases {
		d, _ := ParseDatabase(name)
		of, err := s.recordsOf(ctx, d, w)
		if err != nil {
			return fmt.Errorf("database %s: %w", d, err)
		}
		rows = append(rows, of...)
	}
	defer leftovers.drop(s.cfg, w.to)
	slices.SortStableFunc(rows, func(a, b record) int { return a.at.Compare(b.at) })
	var r drivers.Reading
	for _, row := range rows {
		r.Reset()
		r.Meter = s.identity
		s.row(row.layout, row.raw, &r)
		r.Time = row.stamp
		if err := each(&r); err != nil {
			return err
		}
	}
	return nil
}

// ensureWeight asks for the input pulse weight, unless it is known. Of a device that
// does not tell it, what it counts in pulses is left out.
func (s *session) ensureWeight(ctx context.Context) error {
	if s.reader.known {
		return nil
	}
	body, err := s.ask(ctx, AppendRead(nil, weightID))
	switch {
	case errors.Is(err, drivers.ErrRefused):
		return nil
	case err != nil:
		return fmt.Errorf("input pulse weight: %w", err)
	case len(body) == typeNames[Float].length:
		s.setWeight(body)
	}
	return nil
}

// recordsOf are the records of a database in a stretch of time, oldest first. The
// device is asked for an hour more on each side, because of its summer time.
func (s *session) recordsOf(ctx context.Context, d Database, w span) ([]record, error) {
	asked := Query{
		Database: d, Mask: s.cfg.maskFor(s.all, d, s.identity.Version),
		Oldest: s.wall(w.from, -time.Hour), Newest: s.wall(w.to, time.Hour),
	}
	t := leftovers.take(s.cfg, d, w.to, s.identity)
	err := s.transferAll(ctx, asked, &t)
	leftovers.put(s.cfg, leftover{t, d, w.to, s.identity, time.Now()})
	if err != nil || len(t.data) == 0 {
		return nil, err
	}
	return s.within(t.layout, t.data, w), nil
}

// within are the records of a stretch of time, oldest first. data has them newest
// first.
func (s *session) within(l *layout, data []byte, w span) (rows []record) {
	var last time.Time
	for _, row := range s.dated(l, data) {
		when := s.clock.instant(row.stamp)
		if when.Before(w.from) || !w.to.IsZero() && !when.Before(w.to) {
			continue
		}
		if when.Before(last) {
			when = last // the hour that comes twice in autumn: the device's order holds
		}
		last, row.at = when, when
		rows = append(rows, row)
	}
	return rows
}

// dated are records that have a time, oldest first; by their order where the stamp
// alone does not tell its hour.
func (s *session) dated(l *layout, data []byte) []record {
	rows := make([]record, 0, len(data)/l.length)
	for at := len(data) - l.length; at >= 0; at -= l.length {
		raw := data[at : at+l.length]
		if stamp, ok := s.stampOf(l, raw); ok {
			rows = append(rows, record{stamp: stamp, layout: l, raw: raw})
		}
	}
	stamps := make([]*drivers.Stamp, len(rows))
	for i := range rows {
		stamps[i] = &rows[i].stamp
	}
	drivers.DateByOrder(stamps, s.clock.zone)
	return rows
}

// wall is a limit as the device's clock shows it; zero: there is none, or it is
// beyond what the device knows.
func (s *session) wall(t time.Time, more time.Duration) time.Time {
	if t.IsZero() {
		return t
	}
	t = t.Add(more)
	if s.clock.zone != nil {
		t = t.In(s.clock.zone)
	} else {
		t = t.UTC()
	}
	if _, ok := pack(t); !ok {
		return time.Time{}
	}
	return t
}

func (s *session) stampOf(l *layout, raw []byte) (drivers.Stamp, bool) {
	if l.stamp < 0 {
		return drivers.Stamp{}, false
	}
	return s.clock.stamp(binary.LittleEndian.Uint32(raw[l.stamp:]))
}

// answered is what came of a database, newest record first.
type answered struct {
	layout *layout // of data; nil: there is none
	data   []byte
	left   bool // by an earlier conversation, and the device has not shown that it still has it
}

// maxAnswered bounds the records of a window.
const maxAnswered = 16 << 20

// transferAll adds the records of a query to those that are there. A transfer that
// breaks off goes on where it stopped, as long as each attempt brings something and
// the line holds.
func (s *session) transferAll(ctx context.Context, asked Query, all *answered) (err error) {
	silent, q := false, s.rest(asked, all)
	for idle := 0; idle < tries; idle++ {
		q.Count = s.cfg.Count && !s.noCount
		held := len(all.data)
		err = s.transferOnce(ctx, q, all)
		switch {
		case err == nil || !mayResume(err):
			return err
		case len(all.data) > maxAnswered:
			return fmt.Errorf("%s: more than %d bytes of records: %w", s.line, maxAnswered, drivers.ErrLong)
		}
		if errors.Is(err, drivers.ErrRefused) { // or the command came damaged, or it is the count that is refused
			s.noCount = idle == 1
			continue
		}
		if len(all.data) > held {
			idle = -1
		}
		if err := s.recover(ctx, err, &silent); err != nil {
			return err
		}
		q = s.rest(asked, all)
	}
	return err
}

// recover makes the device ready for a command after a transfer that broke off. When
// it has been silent twice in a row, the conversation is begun anew.
func (s *session) recover(ctx context.Context, broke error, silent *bool) error {
	if !errors.Is(broke, drivers.ErrTimeout) {
		*silent = false
		return s.quiet(ctx)
	}
	if *silent {
		*silent = false
		return s.signOn(ctx)
	}
	*silent = true
	return nil
}

// mayResume says whether an error is one of a transfer that broke off.
func mayResume(err error) bool {
	return errors.Is(err, drivers.ErrTimeout) || errors.Is(err, drivers.ErrRefused) || errors.Is(err, drivers.ErrChecksum) ||
		errors.Is(err, drivers.ErrShort) || errors.Is(err, errOrder) || errors.Is(err, drivers.ErrSyntax)
}

// errOrder says that a frame is missing or comes twice, or records are.
var errOrder = errors.New("frames or records are missing")

// rest is the query for what is still missing: what is not newer than the last record
// that came.
func (s *session) rest(q Query, all *answered) Query {
	for all.layout != nil && len(all.data) > 0 {
		stamp, ok := s.stampOf(all.layout, all.data[len(all.data)-all.layout.length:])
		if ok {
			q.Newest, q.Continue = s.clock.local(stamp), s.cfg.Resume == resumeDevice
			return q
		}
		all.data = all.data[:len(all.data)-all.layout.length]
	}
	return q
}

// transferOnce sends a query and adds to all what comes, also if the transfer breaks
// off.
func (s *session) transferOnce(ctx context.Context, q Query, all *answered) error {
	message, err := AppendQuery(nil, q)
	if err != nil {
		return err
	}
	var t transfer
	t.begin(uncounted)
	if q.Count {
		t.begin(counted)
	}
	err = s.transfer(ctx, q.Database, message, &t)
	if err == nil {
		err = s.complete(&t)
	}
	if t.size == 0 {
		return err
	}
	l := s.all.layoutFor(q.Database, t.size, s.identity.Version)
	if l == nil {
		return err
	}
	if all.layout != nil && all.layout != l {
		return fmt.Errorf("%s: records of %d bytes after ones of %d: %w", s.line, t.size, all.layout.length, drivers.ErrLong)
	}
	all.layout = l
	more := t.records()
	if len(more) == 0 && err != nil {
		return err
	}
	if !all.join(more, l) {
		*all = answered{} // they are not those of before: from the start
		return errors.Join(errOrder, err)
	}
	return err
}

func (s *session) unknownLength(size int) error {
	return drivers.WithHint(fmt.Errorf("%s: %w: %d bytes: %w", s.line, errNoLayout, size, drivers.ErrValue), layoutHint)
}

// complete says whether a transfer that ended has brought all.
func (s *session) complete(t *transfer) error {
	if _, field, err := t.whole(); err != nil {
		return fmt.Errorf("%s: %s: %w: %w", s.line, field, errOrder, err)
	}
	return nil
}

// join adds records that follow those that are there, or begin with the last of them
// once more: records of the same time come in the same order again. False: they
// neither repeat nor follow what an earlier conversation left.
func (all *answered) join(more []byte, l *layout) bool {
	if l.stamp < 0 {
		all.data = append(all.data[:0], more...) // nothing to go on from: it was asked for anew
		return true
	}
	overlap := all.overlap(more, l)
	if all.left && overlap == 0 {
		return false
	}
	all.left = false
	all.data = append(all.data, more[overlap:]...)
	return true
}

// overlap is how many bytes of more repeat the last records.
func (all *answered) overlap(more []byte, l *layout) int {
	group := len(all.data)
	for group >= l.length && sameTime(all.data[group-l.length:], all.data[len(all.data)-l.length:], l) {
		group -= l.length
	}
	tail := all.data[group:]
	if len(tail) == 0 || !bytes.HasPrefix(more, tail) {
		return 0
	}
	return len(tail)
}

func sameTime(a, b []byte, l *layout) bool {
	return bytes.Equal(a[l.stamp:l.stamp+4], b[l.stamp:l.stamp+4])
}

// transfer sends a query and joins the frames of the answer.
func (s *session) transfer(ctx context.Context, d Database, query []byte, t *transfer) error {
	if err := s.send(ctx, query); err != nil {
		return err
	}
	for {
		body, err := s.repeated(ctx, nil)
		if err != nil {
			return err
		}
		done, field, err := t.add(body)
		switch {
		case errors.Is(err, drivers.ErrLong):
			return fmt.Errorf("%s: %s: %w", s.line, field, err)
		case err != nil:
			return fmt.Errorf("%s: %s: %w: %w", s.line, field, errOrder, err)
		case t.size != 0 && s.all.layoutFor(d, t.size, s.identity.Version) == nil:
			return s.unknownLength(t.size)
		case done:
			return nil
		}
		if err := s.send(ctx, []byte{ack}); err != nil {
			return err
		}
	}
}
