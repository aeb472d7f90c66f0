package bridge

import (
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/hass/statistics"
)

// M-Bus telegrams bring what a register was at the end of past hours, days or months
// as storages 1, 2, … of it, each with the time of its own.

// dateTime is the name of a date with a time of day. A storage that has only a date
// is left out: some meters mean its first minute, others its last.
const dateTime = "date_time"

// keepStored notes what the storages of a telegram say of the hours of an outage.
func (m *meter) keepStored(values []drivers.Value, r *drivers.Reading) {
	if m.registers == nil || len(m.registers.Holes) == 0 {
		return
	}
	for i := range values {
		v := &values[i]
		at, ok := storedAt(values, v, r.Received)
		if !ok {
			continue
		}
		j, ok := presentOf(values, v)
		if !ok || v.Number.Cmp(values[j].Number) > 0 {
			continue
		}
		log := m.registers.Logs[m.names[j]]
		if log != nil && !log.Falls && log.Fits(at, v.Number) {
			log.Add(at, v.Number)
		}
	}
}

// storedAt is when the register of a storage was read. false: the value is no
// register's, or the time is not told to the minute.
func storedAt(values []drivers.Value, v *drivers.Value, received time.Time) (at time.Time, ok bool) {
	const doubtful = drivers.MeterError | drivers.Overflow | drivers.Estimated | drivers.ClockDoubtful
	at = v.Time.Wall
	if v.Record == nil || v.Record.Storage == 0 || v.Kind != drivers.Number || v.Flags&doubtful != 0 ||
		!v.Time.Zoned || !at.Before(received) || received.Sub(at) > statistics.MaxHours*time.Hour {
		return at, false
	}
	dates := 0
	for i := range values {
		d := &values[i]
		if d.Record != nil && d.Kind == drivers.Moment && *d.Record == (drivers.Record{Storage: v.Record.Storage}) {
			if dates++; d.Name != dateTime || !d.Moment.Equal(v.Time) {
				return at, false
			}
		}
	}
	return at, dates == 1
}

// presentOf finds the register that a storage is of, as it is now. false: there is
// none, or more than one fits.
func presentOf(values []drivers.Value, stored *drivers.Value) (index int, ok bool) {
	for i := range values {
		if !isPresentOf(&values[i], stored) {
			continue
		}
		if ok {
			return 0, false
		}
		index, ok = i, true
	}
	return index, ok
}

func isPresentOf(v, stored *drivers.Value) bool {
	if v.Record == nil || v.Kind != drivers.Number || v.Unit != stored.Unit || v.Channel != stored.Channel {
		return false
	}
	of := *stored.Record
	of.Storage = 0
	if *v.Record != of || v.Code.IsZero() != stored.Code.IsZero() {
		return false
	}
	if v.Code.IsZero() {
		return v.Name == stored.Name
	}
	// Storages have D 2 instead of 0, or tell themselves apart by F alone.
	const d, f = 3, 5
	a, b := v.Code, stored.Code
	if a[d] == 0 && b[d] == 2 {
		b[d] = 0
	}
	b[f] = a[f]
	return a == b
}
