package mbus

import (
	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// application turns the records of telegrams into readings. It is shared by wired
// and wireless frames; its memory is bounded.
type application struct {
	planner
	reader
	census
	due     []dueDate // the dates of the reading under way
	exports uint8     // exportFlow, exportPower: which were seen
	marks   []mark    // for an explanation: what records has read; nil: nobody asks
}

// mark is one record: where it begins, where its data does, LVAR left out, and
// where it ends; and the value it gave, -1 for none.
type mark struct{ start, data, end, value int }

// note adds a mark, if somebody asks. before is how many values there were.
func (a *application) note(start, data, end, before int, r *drivers.Reading) {
	if a.marks == nil {
		return
	}
	m := mark{start, data, end, -1}
	if len(r.Values) > before {
		m.value = before
	}
	a.marks = append(a.marks, m)
}

// dueDate is the time of all values of one storage.
type dueDate struct {
	storage uint64
	stamp   drivers.Stamp
}

// maxDue bounds the storages of one reading that have a date.
const maxDue = 128

// start begins a new reading.
func (a *application) start(r *drivers.Reading) {
	r.Reset()
	a.due = a.due[:0]
	a.exports = 0
}

// records reads variable data: EN 13757-3, 6. more says that another telegram
// follows (DIF 1F). With a fault, at is where it stands.
func (a *application) records(r *drivers.Reading, group byte, b []byte) (more bool, at int, f *fault) {
	a.begin(group)
	for at < len(b) {
		switch b[at] {
		case difFiller:
			at++
			continue
		case difMaker, difMore:
			before := len(r.Values)
			a.maker(r, b[at+1:])
			a.note(at, at+1, len(b), before, r)
			return b[at] == difMore, len(b), nil
		}
		p, wrong, f := a.of(b[at:])
		if f != nil {
			return false, at + wrong, f
		}
		start, before := at, len(r.Values)
		at += len(p.head)
		from, to, lvar, f := scanData(b[at:], p.field)
		if f != nil {
			return false, at + from, f
		}
		a.record(r, p, b[at+from:at+to], lvar)
		a.note(start, at+from, at+to, before, r)
		at += to
	}
	return false, at, nil
}

// record appends the value of one record, if it has one.
func (a *application) record(r *drivers.Reading, p *plan, data []byte, lvar byte) {
	v := grow(r)
	*v = p.value
	if !a.fill(v, p, data, lvar) {
		r.Values = r.Values[:len(r.Values)-1]
		return
	}
	switch p.role {
	case plain:
	case clock:
		if v.Kind == drivers.Moment {
			r.Time = v.Moment
		}
	case dates1:
		if v.Kind == drivers.Moment && !recurs(data) && len(a.due) < maxDue {
			a.due = append(a.due, dueDate{p.record.Storage, v.Moment})
		}
	case exportFlow, exportPower:
		a.exports |= 1 << p.role
	}
}

// grow makes room for one more value, whatever it holds.
func grow(r *drivers.Reading) *drivers.Value {
	n := len(r.Values)
	if n < cap(r.Values) {
		r.Values = r.Values[:n+1]
	} else {
		r.Values = append(r.Values, drivers.Value{})
	}
	return &r.Values[n]
}

// maker appends what only the manufacturer knows to read.
func (a *application) maker(r *drivers.Reading, data []byte) {
	if len(data) == 0 {
		return
	}
	v := grow(r)
	*v = drivers.Value{Name: nameManufacturer, Record: &present}
	a.hexText(v, data)
}

// present are the coordinates of what has none.
var present drivers.Record

// status appends the status byte of a header: bit 0, 1 application, 2 power low,
// 3 permanent error, 4 temporary error, 5 to 7 the manufacturer's.
func (a *application) status(r *drivers.Reading, h *header) {
	if !h.sized {
		return
	}
	v := grow(r)
	*v = drivers.Value{Name: "status", Record: &present}
	setUint(v, uint64(h.status), 0)
}

// finish ties values to the dates of their storages and tells net power from
// imported power.
func (a *application) finish(r *drivers.Reading) {
	net := a.exports&(1<<exportFlow) != 0 && a.exports&(1<<exportPower) == 0
	for i := range r.Values {
		v := &r.Values[i]
		if v.Code == importPower && (net || v.Number.Sign() < 0) {
			v.Code, v.Name = netPower, netPowerName
		}
		if len(a.due) > 0 && v.Record.Storage > 0 && v.Kind != drivers.Moment {
			v.Time = a.dateOf(v.Record.Storage)
		}
	}
}

// dateOf is the time of a storage, zero if the reading does not tell it.
func (a *application) dateOf(storage uint64) drivers.Stamp {
	for i := range a.due {
		if a.due[i].storage == storage {
			return a.due[i].stamp
		}
	}
	return drivers.Stamp{}
}
