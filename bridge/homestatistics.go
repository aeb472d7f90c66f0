package bridge

import (
	"context"
	"fmt"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
	"github.com/meter2mqtt/meter2mqtt/hass/socket"
	"github.com/meter2mqtt/meter2mqtt/hass/statistics"
)

// homeStatistics are the statistics of a Home Assistant that is connected.
type homeStatistics struct {
	conn     *socket.Conn
	version  statistics.Version
	entities map[string]string // unique id → entity id, of MQTT; nil: not asked yet
}

// target is the statistic of one register.
type target struct {
	statistics.Metadata
	power    int // the register × 10^power is in the statistic's unit
	register statistics.Register
}

func (t target) unit() obis.Unit {
	if t.Unit == nil {
		return ""
	}
	return obis.Unit(*t.Unit)
}

// runningEvery is how often it is asked whether Home Assistant has started.
const runningEvery = 2 * time.Second

const (
	// readEvery is how often it is looked whether rows have been written.
	readEvery = 500 * time.Millisecond
	// readLimit is how long they may take; then they are written again.
	readLimit = 30 * time.Second
)

// waitUntilRunning waits until Home Assistant has started: before, its entities
// show nothing.
func (h *homeStatistics) waitUntilRunning(ctx context.Context) error {
	for {
		var c struct {
			State string `json:"state"`
		}
		if err := h.conn.Ask(ctx, "get_config", nil, &c); err != nil {
			return err
		}
		if c.State == "RUNNING" {
			return nil
		}
		if !sleepUntil(ctx, time.Now().Add(runningEvery)) {
			return ctx.Err()
		}
	}
}

// target finds the statistic of an entity. false: there is no such entity, it is
// switched off, or nothing has been kept of it yet.
func (h *homeStatistics) target(ctx context.Context, uniqueID string) (target, bool, error) {
	if err := h.askEntities(ctx); err != nil {
		return target{}, false, err
	}
	id, ok := h.entities[uniqueID]
	if !ok {
		return target{}, false, nil
	}
	var known []statistics.Metadata
	err := h.conn.Ask(ctx, "recorder/get_statistics_metadata", map[string]any{"statistic_ids": []string{id}}, &known)
	if err != nil || len(known) == 0 || !known[0].HasSum {
		return target{}, false, err
	}
	return target{Metadata: known[0]}, true, nil
}

func (h *homeStatistics) askEntities(ctx context.Context) error {
	if h.entities != nil {
		return nil
	}
	var all []struct {
		EntityID   string  `json:"entity_id"`
		UniqueID   string  `json:"unique_id"`
		Platform   string  `json:"platform"`
		DisabledBy *string `json:"disabled_by"`
	}
	if err := h.conn.Ask(ctx, "config/entity_registry/list", nil, &all); err != nil {
		return err
	}
	h.entities = map[string]string{}
	for _, e := range all {
		if e.Platform == "mqtt" && e.DisabledBy == nil {
			h.entities[e.UniqueID] = e.EntityID
		}
	}
	return nil
}

// rows are a statistic's own of a time, in its own unit; end zero: until now.
func (h *homeStatistics) rows(ctx context.Context, t target, period string, start, end time.Time) ([]statistics.Row, error) {
	fields := map[string]any{
		"start_time": start.UTC().Format(time.RFC3339), "statistic_ids": []string{t.ID},
		"period": period, "types": []string{"state", "sum"},
	}
	if !end.IsZero() {
		fields["end_time"] = end.UTC().Format(time.RFC3339)
	}
	if t.UnitClass != nil && t.Unit != nil {
		fields["units"] = map[string]string{*t.UnitClass: *t.Unit} // else it is the one that people see
	}
	var answer map[string][]struct {
		Start float64  `json:"start"` // ms
		State *float64 `json:"state"`
		Sum   *float64 `json:"sum"`
	}
	if err := h.conn.Ask(ctx, "recorder/statistics_during_period", fields, &answer); err != nil {
		return nil, err
	}
	var rows []statistics.Row
	for _, r := range answer[t.ID] {
		if r.State != nil && r.Sum != nil {
			rows = append(rows, statistics.Row{Start: time.UnixMilli(int64(r.Start)).UTC(), State: *r.State, Sum: *r.Sum})
		}
	}
	return rows, nil
}

// close does what closes a hole of one register, and says what it was. closed:
// Home Assistant shows what it was told, and nothing is left to be done.
func (h *homeStatistics) close(
	ctx context.Context, t target, hole statistics.Hole, log []statistics.Hour,
) (plan statistics.Plan, closed bool, err error) {
	if log, err = statistics.Shifted(log, t.power); err != nil {
		return plan, false, err
	}
	if plan, err = h.plan(ctx, t, hole, log); err != nil || !plan.Writes() {
		return plan, plan.Joined, err
	}
	if err := h.write(ctx, t, plan); err != nil {
		return plan, false, err
	}
	closed, err = h.readBack(ctx, t, hole, log)
	return plan, closed, err
}

// plan is what is to be written, as the rows stand.
func (h *homeStatistics) plan(ctx context.Context, t target, hole statistics.Hole, log []statistics.Hour) (statistics.Plan, error) {
	own, err := h.rows(ctx, t, "hour", hole.From.Add(-neighbour), time.Time{})
	if err != nil {
		return statistics.Plan{}, err
	}
	behind, err := h.rows(ctx, t, "5minute", hole.To, hole.To.Add(hopeless))
	if err != nil {
		return statistics.Plan{}, err
	}
	return statistics.Close(hole, t.register, own, behind, log)
}

func (h *homeStatistics) write(ctx context.Context, t target, plan statistics.Plan) error {
	if plan.Shift.Sign() != 0 {
		if err := h.shift(ctx, t, plan.Shift, plan.ShiftFrom); err != nil {
			return err
		}
	}
	if len(plan.Import) == 0 {
		return nil
	}
	request := statistics.NewImport(h.version, t.Metadata, plan.Import)
	return h.conn.Ask(ctx, "recorder/import_statistics", map[string]any{
		"metadata": request.Metadata, "stats": request.Stats,
	}, nil)
}

// readBack waits until the rows are as they were told to be: Home Assistant answers
// when it has the rows, and writes them after. Written again before that, a shift
// would come twice.
func (h *homeStatistics) readBack(ctx context.Context, t target, hole statistics.Hole, log []statistics.Hour) (closed bool, err error) {
	deadline := time.Now().Add(readLimit)
	for time.Now().Before(deadline) {
		left, err := h.plan(ctx, t, hole, log)
		if err != nil || !left.Writes() {
			return left.Joined, err
		}
		if !sleepUntil(ctx, time.Now().Add(readEvery)) {
			return false, ctx.Err()
		}
	}
	return false, drivers.WithHint(fmt.Errorf("statistic %s: what was written does not show after %s", t.ID, readLimit),
		"is Home Assistant's recorder busy, or its disk full?")
}

// shift adds to the sum of all rows from one on.
func (h *homeStatistics) shift(ctx context.Context, t target, by drivers.Decimal, from time.Time) error {
	return h.conn.Ask(ctx, "recorder/adjust_sum_statistics", map[string]any{
		"statistic_id": t.ID, "start_time": from.UTC().Format(time.RFC3339), "adjustment": by,
		"adjustment_unit_of_measurement": t.Unit,
	}, nil)
}

// correct puts the sum right after an exchange. false: Home Assistant has not
// counted it yet, or what was written is to be looked at once more.
func (h *homeStatistics) correct(ctx context.Context, t target, x statistics.Exchange) (done bool, err error) {
	for _, d := range []*drivers.Decimal{&x.Old, &x.New} {
		if *d, err = d.Shift(t.power); err != nil {
			return false, err
		}
	}
	rows, err := h.rows(ctx, t, "5minute", x.At.Add(-time.Hour), time.Time{})
	if err != nil {
		return false, err
	}
	shift, from, found, err := x.Follow(t.register, rows)
	if err != nil || !found {
		return false, err
	}
	if shift.Sign() == 0 {
		return true, nil
	}
	return false, h.shift(ctx, t, shift, from)
}
