package routeb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

const (
	// minutesUpTo is the longest time of which minutes are given beside the
	// half-hours: ten minutes cost two exchanges.
	minutesUpTo = 2 * time.Hour
	minuteRows  = 10
	dayTries    = 3
)

// errMidnight says that the meter's day ended while it was asked for a day.
var errMidnight = errors.New("the meter's day changed meanwhile")

// History gives the meter's half-hours, up to 99 days back, and of at most two
// hours also its minutes, where it has them. What it has no data for is left out.
func (s *session) History(ctx context.Context, from, to time.Time, each func(*drivers.Reading) error) error {
	defer drivers.WakeOnEnd(ctx, s.line)()
	if _, err := s.lay(ctx); err != nil {
		return err
	}
	if !s.decoder.values.scale.Known {
		return fmt.Errorf("%s: the meter does not tell its unit of energy: %w", s.line, drivers.ErrRefused)
	}
	if s.meter.gives(epcMinutes) && s.meter.mapped && to.Sub(from) <= minutesUpTo {
		return s.shortHistory(ctx, from, to, each)
	}
	return s.eachDay(ctx, from, to, func(rows []Row) error {
		return giveEach(s.within(rows, half, from, to), each)
	})
}

// kindOfRow tells the rows of half-hours from those of minutes.
type kindOfRow struct{ in, out *drivers.Value }

var (
	half   = kindOfRow{&aHalfImport, &aHalfExport}
	minute = kindOfRow{&aMinuteImport, &aMinuteExport}
)

// within are the rows within the time asked for, as readings.
func (s *session) within(rows []Row, kind kindOfRow, from, to time.Time) (list []*drivers.Reading) {
	for _, row := range rows {
		if row.At.Wall.Before(from) || row.At.Wall.After(to) {
			continue
		}
		if r := s.row(row, kind); len(r.Values) > 0 {
			list = append(list, r)
		}
	}
	return list
}

func giveEach(list []*drivers.Reading, each func(*drivers.Reading) error) error {
	for _, r := range list {
		if err := each(r); err != nil {
			return err
		}
	}
	return nil
}

// row is a row as a reading.
func (s *session) row(row Row, kind kindOfRow) *drivers.Reading {
	v := values{scale: s.decoder.values.scale}
	v.dated(kind.in, row.Import, row.At)
	v.dated(kind.out, row.Export, row.At)
	for i := range v.list {
		v.list[i].Flags |= drivers.Logged
	}
	return &drivers.Reading{
		Meter: s.meter.identity, Time: row.At, Received: time.Now(), Check: s.module.check(), Values: v.list,
	}
}

// shortHistory merges half-hours and minutes, oldest first.
func (s *session) shortHistory(ctx context.Context, from, to time.Time, each func(*drivers.Reading) error) error {
	var all []*drivers.Reading
	err := s.eachDay(ctx, from, to, func(rows []Row) error {
		all = append(all, s.within(rows, half, from, to)...)
		return nil
	})
	if err == nil {
		err = s.minutes(ctx, from, to, func(rows []Row) { all = append(all, s.within(rows, minute, from, to)...) })
	}
	if err != nil {
		return err
	}
	slices.SortStableFunc(all, func(a, b *drivers.Reading) int { return a.Time.Wall.Compare(b.Time.Wall) })
	return giveEach(all, each)
}

// minutes asks for the meter's minutes, ten at a time.
func (s *session) minutes(ctx context.Context, from, to time.Time, take func([]Row)) error {
	now, err := s.clock(ctx)
	if err != nil {
		return err
	}
	if now.at.Before(to) {
		to = now.at
	}
	for from = from.Truncate(time.Minute); !from.After(to); from = from.Add(minuteRows * time.Minute) {
		sel := Selection{Newest: from.Add((minuteRows - 1) * time.Minute), Rows: minuteRows}
		b, err := sel.Encode(epcMinutesSelect)
		if err != nil {
			return err
		}
		if err := s.set(ctx, Property{epcMinutesSelect, b}); err != nil {
			return err
		}
		list, err := s.get(ctx, Meter, epcMinutes)
		if err != nil {
			return err
		}
		for _, p := range list {
			rows, err := ParseRows(p.EDT, time.Minute)
			if err != nil {
				return fmt.Errorf("%s: minutes: %w: %w", s.line, err, drivers.ErrSyntax)
			}
			take(rows)
		}
	}
	return nil
}

// eachDay asks for the half-hours of each day, oldest first.
func (s *session) eachDay(ctx context.Context, from, to time.Time, each func([]Row) error) error {
	now, err := s.clock(ctx)
	if err != nil {
		return err
	}
	first := daysBetween(from, now.at)
	last := max(daysBetween(to, now.at), 0)
	for day := min(first, oldestDay); day >= last; day-- {
		date := startOfDay(now.at).AddDate(0, 0, -day)
		rows, err := s.dayOf(ctx, date)
		if err != nil {
			return err
		}
		if err := each(rows); err != nil {
			return err
		}
	}
	return nil
}

func startOfDay(t time.Time) time.Time {
	y, m, d := t.In(japan).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, japan)
}

// daysBetween is how many midnights of Japan lie between two moments.
func daysBetween(from, to time.Time) int {
	return int(startOfDay(to).Sub(startOfDay(from)) / (24 * time.Hour))
}

// now is the meter's clock when it was read.
type now struct {
	at   time.Time
	read time.Time // by our own clock, for what has passed since
}

// clock reads the meter's date and time, in one request where it takes that.
func (s *session) clock(ctx context.Context) (now, error) {
	v, err := s.readSetting(ctx, paramClock)
	if err != nil {
		return now{}, err
	}
	return now{v.Moment.Wall, time.Now()}, nil
}

// dayOf asks for the half-hours of a day, again if the meter's midnight came in
// between: what it gives is told by days back from its today.
func (s *session) dayOf(ctx context.Context, date time.Time) (rows []Row, err error) {
	for range dayTries {
		if rows, err = s.tryDay(ctx, date); !errors.Is(err, errMidnight) {
			return rows, err
		}
	}
	return nil, fmt.Errorf("%s: %w: %w", s.line, err, drivers.ErrTimeout)
}

func (s *session) tryDay(ctx context.Context, date time.Time) ([]Row, error) {
	before, err := s.clock(ctx)
	if err != nil {
		return nil, err
	}
	back := daysBetween(date, before.at)
	if back > oldestDay || back < 0 {
		return nil, nil
	}
	if err := s.set(ctx, Property{epcDay, []byte{byte(back)}}); err != nil {
		return nil, err
	}
	var sides [2]Day
	for i, epc := range [...]byte{epcDayImport, epcDayExport} {
		list, err := s.get(ctx, Meter, epc)
		if err != nil {
			return nil, err
		}
		for _, p := range list {
			if sides[i], err = ParseDay(p.EDT); err != nil {
				return nil, fmt.Errorf("%s: half-hours: %w: %w", s.line, err, drivers.ErrSyntax)
			}
			if sides[i].Back != back {
				return nil, errMidnight
			}
		}
	}
	// A minute more, for the clock tells no seconds.
	after := before.at.Add(time.Since(before.read) + time.Minute)
	if daysBetween(before.at, after) > 0 {
		if again, err := s.clock(ctx); err != nil || daysBetween(before.at, again.at) > 0 {
			return nil, errors.Join(err, errMidnight)
		}
	}
	return rowsOf(date, sides), nil
}

// rowsOf are the rows of a day.
func rowsOf(date time.Time, sides [2]Day) []Row {
	rows := make([]Row, slots)
	for i := range rows {
		at := drivers.Stamp{Wall: date.Add(time.Duration(i) * 30 * time.Minute), Zoned: true}
		rows[i] = Row{At: at, Import: sides[0].Counts[i], Export: sides[1].Counts[i]}
	}
	return rows
}
