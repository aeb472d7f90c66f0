package iec62056

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// window is how much of a log is asked for at a time, which bounds what is held.
const window = 7 * 24 * time.Hour

// maxRows bounds the rows of a window.
const maxRows = 50_000

// History reads the logs of the configuration, oldest row first.
func (s *session) History(ctx context.Context, from, to time.Time, each func(*drivers.Reading) error) error {
	return s.conversation(ctx, func(ctx context.Context) error {
		if err := s.enter(ctx, s.level()); err != nil {
			return err
		}
		for start := from; start.Before(to); start = start.Add(window) {
			end := start.Add(window)
			if end.After(to) {
				end = to
			}
			if err := s.historyOf(ctx, start, end, end.Equal(to), each); err != nil {
				return err
			}
		}
		return nil
	})
}

// historyOf reads one window of all logs. last: its end belongs to it.
func (s *session) historyOf(ctx context.Context, from, to time.Time, last bool, each func(*drivers.Reading) error) error {
	var rows []*drivers.Reading
	for _, name := range s.cfg.Profiles {
		log, err := s.logOf(ctx, name, from, to)
		if err != nil {
			return err
		}
		for _, r := range log {
			if t := s.instant(r.Time); !t.Before(from) && (t.Before(to) || last && t.Equal(to)) {
				rows = append(rows, r)
			}
		}
	}
	slices.SortStableFunc(rows, func(a, b *drivers.Reading) int { return s.instant(a.Time).Compare(s.instant(b.Time)) })
	for _, r := range rows {
		if err := each(r); err != nil {
			return err
		}
	}
	return nil
}

// logOf are the rows of one log, dated by their order where a stamp alone does not
// tell its hour.
func (s *session) logOf(ctx context.Context, name string, from, to time.Time) (rows []*drivers.Reading, err error) {
	var stamps []*drivers.Stamp
	err = s.rows(ctx, name, s.besides(from, -time.Hour), s.besides(to, time.Hour), func(r *drivers.Reading) error {
		if len(rows) == maxRows {
			return fmt.Errorf("%s: %s: more than %d rows in a week: %w", s.line, name, maxRows, drivers.ErrLong)
		}
		row := r.Clone()
		rows, stamps = append(rows, row), append(stamps, &row.Time)
		return nil
	})
	drivers.DateByOrder(stamps, s.decoder.clock.zone)
	return rows, err
}

// besides moves a limit away from the hours around a change of the clock: cut off
// within the hour that comes twice, a log does not tell which of them it is.
func (s *session) besides(t time.Time, by time.Duration) time.Time {
	zone := s.decoder.clock.zone
	if zone == nil {
		return t
	}
	const near = 2 * time.Hour
	_, before := t.Add(-near).In(zone).Zone()
	_, after := t.Add(near).In(zone).Zone()
	if before == after {
		return t
	}
	return t.Add(by)
}

// instant is the moment of a stamp; one without offset is taken as the meter's
// wall clock.
func (s *session) instant(at drivers.Stamp) time.Time {
	zone := s.decoder.clock.zone
	if at.Zoned || zone == nil {
		return at.Wall
	}
	w := at.Wall
	return time.Date(w.Year(), w.Month(), w.Day(), w.Hour(), w.Minute(), w.Second(), 0, zone)
}

// rows reads one log: a number is an archive of LIS-200.
func (s *session) rows(ctx context.Context, name string, from, to time.Time, each func(*drivers.Reading) error) error {
	if _, err := strconv.Atoi(name); err == nil {
		return s.archiveRows(ctx, name, from, to, each)
	}
	text, err := s.profile(ctx, name, from, to)
	if err != nil {
		return err
	}
	d := s.decoder
	d.log, d.who = log{}, s.identity
	var r drivers.Reading
	for len(text) > 0 {
		line := text[:toLineEnd(text)]
		text = text[len(line):]
		r.Reset()
		r.Meter, r.Check = d.who, drivers.CheckBCC
		switch d.log.line(d, line, &r) {
		case no:
			return fmt.Errorf("%s: %s: a line of %d characters is neither header nor row: %w", s.line, name, len(line), drivers.ErrSyntax)
		case yes:
			if err := each(&r); err != nil {
				return err
			}
		default: // wait: the line gave no row
		}
	}
	return nil
}

// profile asks for a log of VDEW: with a season digit before the stamps, and
// without where the meter does not know that. Empty: nothing is there.
func (s *session) profile(ctx context.Context, name string, from, to time.Time) ([]byte, error) {
	var refusal error
	for _, season := range []bool{true, false} {
		text, err := s.query(ctx, s.profileCommand(), name+s.span(from, to, season))
		meter, ok := errors.AsType[*MeterError](err)
		switch {
		case err == nil:
			return text, nil
		case !ok:
			return nil, fmt.Errorf("%s: %w", name, err)
		case meter.Text == "ERROR":
			return nil, nil
		}
		refusal = err
	}
	return nil, fmt.Errorf("%s: %w", name, refusal)
}

// profileCommand is R6 for partial blocks, else R5; R3 and R1 for meters that are
// read so.
func (s *session) profileCommand() string {
	partial := small(s.cfg.Block) > 0
	switch {
	case s.cfg.Command == "R1" && partial:
		return "R3"
	case s.cfg.Command == "R1" || s.cfg.Command == "R2":
		return s.cfg.Command
	case partial:
		return "R6"
	}
	return "R5"
}

// span is the bracket of a log command: from, to and how many rows a partial block
// has.
func (s *session) span(from, to time.Time, season bool) string {
	text := "(" + s.digits(from, season) + ";" + s.digits(to, season)
	if n := small(s.cfg.Block); n > 0 {
		text += ";" + strconv.Itoa(n)
	}
	return text + ")"
}

// digits is a moment as ZSTs11 or ZST10, the meter's wall clock.
func (s *session) digits(t time.Time, season bool) string {
	zone := s.decoder.clock.zone
	if zone == nil {
		zone = time.UTC
	}
	t = t.In(zone)
	text := t.Format("0601021504")
	switch {
	case !season:
		return text
	case t.IsDST():
		return "1" + text
	}
	return "0" + text
}

// timeColumn is the column of an archive that a range applies to.
const timeColumn = 3

// archiveRows reads one archive of LIS-200 and joins its columns.
func (s *session) archiveRows(ctx context.Context, number string, from, to time.Time, each func(*drivers.Reading) error) error {
	a, err := s.columns(ctx, number)
	if err != nil {
		return err
	}
	name, rows := "R1", small(s.cfg.Block)
	if rows > 0 {
		name = "R3"
	}
	text, err := s.query(ctx, name, number+":V.0"+lisRange(timeColumn, s.lisTime(from), s.lisTime(to), rows))
	if nothingThere(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("archive %s: %w", number, err)
	}
	var r drivers.Reading
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		if !a.row(s.decoder, line, &r) {
			return fmt.Errorf("%s: archive %s: a line of %d characters does not fit its %d columns: %w", s.line, number, len(line), len(a.columns), drivers.ErrSyntax)
		}
		medium := r.Meter.Medium
		r.Meter = s.identity
		r.Meter.Medium = medium
		if err := each(&r); err != nil {
			return err
		}
	}
	return nil
}

// columns reads what the columns of an archive are. Their names are a help where
// an address says nothing, so a device may have none.
func (s *session) columns(ctx context.Context, number string) (archive, error) {
	var parts [3][]byte // units, addresses, names
	for i, attribute := range []string{"3", "4", "2"} {
		text, err := s.query(ctx, "R1", number+":V."+attribute+lisRange(timeColumn, "", "", 0))
		if err != nil && (attribute != "2" || !errors.Is(err, drivers.ErrRefused) || !s.inside) {
			return archive{}, fmt.Errorf("archive %s: columns: %w", number, err)
		}
		parts[i] = text
	}
	return s.decoder.newArchive(parts[1], parts[0], parts[2]), nil
}

func (s *session) lisTime(t time.Time) string {
	if zone := s.decoder.clock.zone; zone != nil {
		t = t.In(zone)
	} else {
		t = t.UTC()
	}
	return t.Format("2006-01-02,15:04:05")
}

// nothingThere says that a refusal means that the archive has no such rows.
func nothingThere(err error) bool {
	meter, ok := errors.AsType[*MeterError](err)
	if !ok {
		return false
	}
	switch strings.TrimLeft(strings.TrimPrefix(meter.Text, "#"), "0") {
	case "103", "104", "105":
		return true
	}
	return false
}
