package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/bridge/mqttlink"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/all"
)

const (
	// longestScan bounds a search: nobody remembers after that who wanted it.
	longestScan = 6 * time.Hour
	// tellEvery is the least time between two messages of progress.
	tellEvery = 2 * time.Second
	// maxSpeeds is how many speeds a search looks at.
	maxSpeeds = 16
)

// scanRequest is the payload of BASE/bridge/request/scan. Empty fields stand for
// the only line that can be searched, every way, the line's own speed.
type scanRequest struct {
	ID     json.RawMessage `json:"id"`
	Cancel bool            `json:"cancel"` // ends the search under way
	Driver string          `json:"driver"`
	Port   string          `json:"port"` // of a meter of the configuration
	Ways   []string        `json:"ways"`
	Bauds  []int           `json:"bauds"`
	Set    []string        `json:"set"`    // keys of the driver's configuration, KEY=VALUE
	Resume string          `json:"resume"` // of the last message of a search that was ended
}

// scanResponse is what BASE/bridge/response/scan says of a search that has begun.
type scanResponse struct {
	ID    json.RawMessage `json:"id,omitempty"`
	OK    bool            `json:"ok"`
	State string          `json:"state"` // progress, found, done, cancelled, failed
	Port  string          `json:"port"`

	Done   float64 `json:"done"` // 0 to 1
	At     string  `json:"at,omitempty"`
	Probes int     `json:"probes,omitempty"`
	Meters int     `json:"meters"` // found so far

	Meter  *drivers.Identity `json:"meter,omitempty"` // found
	Keys   map[string]string `json:"keys,omitempty"`
	Config string            `json:"config,omitempty"` // its [[meter]] table
	Doubt  string            `json:"doubt,omitempty"`

	Resume string `json:"resume,omitempty"` // cancelled, failed: to go on from there
	Error  string `json:"error,omitempty"`
}

// scan begins a search, or ends the one under way.
func (b *Bridge) scan(ctx context.Context, payload []byte) error {
	var r scanRequest
	if len(payload) > 0 {
		if err := json.Unmarshal(payload, &r); err != nil {
			return fmt.Errorf("the request is no JSON object of a search: %w", err)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	under := b.job
	if under != nil && under.isOver() {
		under = nil
	}
	switch {
	case r.Cancel && under == nil:
		return errors.New("no search is under way")
	case r.Cancel:
		under.cancel()
		return nil
	case under != nil:
		return fmt.Errorf("a search of %s is under way: wait, or cancel it", under.port)
	}
	d, err := r.driver()
	if err != nil {
		return err
	}
	l, err := b.searchable(d, r.Port)
	if err != nil {
		return err
	}
	job, err := b.newScan(ctx, d, l, r)
	if err != nil {
		return err
	}
	if err := l.searches.put(l.queue, job); err != nil {
		job.cancel()
		return err
	}
	b.job = job
	return nil
}

// driver is the one that is to search, and what of the request it does not know.
func (r *scanRequest) driver() (drivers.Driver, error) {
	var names []string
	for _, d := range all.Drivers {
		if d.Scan == nil {
			continue
		}
		if names = append(names, d.Name); r.Driver != "" && r.Driver != d.Name {
			continue
		}
		for _, w := range r.Ways {
			if !slices.Contains(d.Ways, w) {
				return d, fmt.Errorf("ways: driver %s cannot search by %.20q, it knows %s", d.Name, w, strings.Join(d.Ways, ", "))
			}
		}
		return d, r.speeds()
	}
	return drivers.Driver{}, fmt.Errorf("driver: %.20q cannot search a line, %s can", r.Driver, strings.Join(names, ", "))
}

func (r *scanRequest) speeds() error {
	if len(r.Bauds) > maxSpeeds {
		return fmt.Errorf("bauds: %d speeds, at most %d", len(r.Bauds), maxSpeeds)
	}
	for _, b := range r.Bauds {
		if b < 50 || b > 1_000_000 {
			return fmt.Errorf("bauds: %d is no speed", b)
		}
	}
	return nil
}

// searchable is the line that is meant: one that the configuration has, for
// whoever may publish must not make the gateway open what it likes.
func (b *Bridge) searchable(d drivers.Driver, port string) (*line, error) {
	var ports []string
	var found *line
	for _, l := range b.byKey {
		c := l.meters[0].config
		if c.Driver.Name != d.Name {
			continue
		}
		text := c.Port.String()
		ports = append(ports, text)
		if port == "" || port == text || port == c.Port.Path {
			found = l
		}
	}
	slices.Sort(ports)
	there := "no meter of the configuration has one"
	if len(ports) > 0 {
		there = "there is " + strings.Join(ports, ", ")
	}
	switch {
	case found == nil:
		return nil, fmt.Errorf("port: %.80q is no line of driver %s: %s; `meter2mqtt scan` searches others", port, d.Name, there)
	case port == "" && len(ports) > 1:
		return nil, fmt.Errorf("port: several lines can be searched: %s", there)
	}
	return found, nil
}

// newScan is a search that has not begun.
func (b *Bridge) newScan(ctx context.Context, d drivers.Driver, l *line, r scanRequest) (*scanJob, error) {
	options, err := config.DriverOptions(d, r.Set)
	if err != nil {
		return nil, fmt.Errorf("set: %w", err)
	}
	job := &scanJob{
		driver: d, options: options, port: l.meters[0].config.Port.String(),
		want: drivers.Search{Ways: r.Ways, Bauds: r.Bauds, Resume: r.Resume},
		tell: func(s scanResponse) {
			s.ID = r.ID
			b.link.Publish(mqttlink.Message{
				Topic: responseTopic(b.config.MQTT.Base, "scan"), Payload: mustJSON(s), Keep: s.State != scanProgress,
			})
		},
	}
	job.began, job.newest = time.Now(), job.response(scanProgress)
	job.tables = config.Tables{Driver: d.Name, Port: job.port}
	job.ctx, job.cancel = context.WithTimeout(ctx, longestScan)
	job.last.State = r.Resume
	return job, nil
}

// What scanResponse.State says.
const (
	scanProgress  = "progress"
	scanFound     = "found"
	scanDone      = "done"
	scanCancelled = "cancelled"
	scanFailed    = "failed"
)

// scanJob is one search that was asked for.
type scanJob struct {
	driver  drivers.Driver
	options drivers.Config
	port    string
	want    drivers.Search
	tables  config.Tables
	tell    func(scanResponse)

	ctx    context.Context //nolint:containedctx // its life is neither the request's nor the line's
	cancel context.CancelFunc

	last  drivers.Progress
	told  time.Time
	count int

	mu      sync.Mutex
	over    bool
	began   time.Time
	newest  scanResponse // without what was found
	configs []string     // of the meters found
}

// say tells of the search, and keeps what the page shows of it.
func (j *scanJob) say(r scanResponse) {
	j.mu.Lock()
	if j.newest = r; r.State == scanFound {
		j.newest.State, j.newest.Meter, j.newest.Keys, j.newest.Doubt = scanProgress, nil, nil, ""
		j.configs = append(j.configs, r.Config)
	}
	j.newest.Config = ""
	j.mu.Unlock()
	j.tell(r)
}

// left is about how many seconds a search goes on; 0: nobody can say yet.
func (j *scanJob) left() int {
	done := j.newest.Done
	if j.newest.State != scanProgress || done < 0.02 {
		return 0
	}
	return int(time.Since(j.began).Seconds() * (1 - done) / done)
}

func (j *scanJob) isOver() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.over
}

// response is what is known of the search.
func (j *scanJob) response(state string) scanResponse {
	return scanResponse{
		OK: true, State: state, Port: j.port, Done: j.last.Done, At: j.last.At, Probes: j.last.Probes, Meters: j.count,
	}
}

func (j *scanJob) progress(p drivers.Progress) {
	j.last = p
	if now := time.Now(); now.Sub(j.told) >= tellEvery {
		j.told = now
		j.say(j.response(scanProgress))
	}
}

func (j *scanJob) found(f drivers.Found) error {
	if f.Doubt == "" {
		j.count++
	}
	r := j.response(scanFound)
	r.Meter, r.Doubt, r.Config = &f.Meter, f.Doubt, j.tables.Table(f)
	r.Keys = map[string]string{}
	for _, k := range f.Keys {
		r.Keys[k.Key] = k.Value
	}
	j.say(r)
	return nil
}

// end tells how a search ended.
func (j *scanJob) end(err error) {
	r := j.response(scanDone)
	switch {
	case err == nil:
		r.Done, r.At = 1, ""
	case errors.Is(err, context.Canceled):
		r.State, r.Resume = scanCancelled, j.last.State
	default:
		r.OK, r.State, r.Resume, r.Error = false, scanFailed, j.last.State, err.Error()
	}
	j.cancel()
	j.mu.Lock()
	j.over = true
	j.mu.Unlock()
	j.say(r)
}

// searches hold the search that waits for a line.
type searches struct {
	next   chan *scanJob
	filled chan struct{} // holds a token when one was put in
}

func newSearches() searches {
	return searches{next: make(chan *scanJob, 1), filled: make(chan struct{}, 1)}
}

// put hands a search to an open line.
func (s searches) put(q *queue, j *scanJob) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.isOpen {
		return errOffline
	}
	select {
	case s.next <- j:
	default:
		return errBusy
	}
	select {
	case s.filled <- struct{}{}:
	default:
	}
	return nil
}

func (s searches) waits() bool { return len(s.next) > 0 }

// take is the search that waits, or nil.
func (s searches) take() *scanJob {
	select {
	case j := <-s.next:
		return j
	default:
		return nil
	}
}

// search searches the line. Commands and meters that are due come between its
// steps. Its error may be one of the line.
func (l *line) search(ctx context.Context, open drivers.Line, j *scanJob) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(j.ctx, cancel)() //nolint:contextcheck // the request ends it too, beside the line
	want := j.want
	want.Found, want.Progress = j.found, j.progress
	want.Yield = func() error {
		c, a := l.ready()
		if err := l.serve(ctx, open, c, a); lineFailed(err) {
			return err
		}
		return nil
	}
	l.log.Info().Str("port", j.port).Msg("the line is searched")
	err := j.driver.Scan(ctx, open, j.options, want)
	if err != nil && ctx.Err() != nil {
		err = context.Canceled
	}
	if errors.Is(j.ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("it took longer than %s: %w", longestScan, j.ctx.Err())
	}
	l.log.Info().Str("port", j.port).Int("meters", j.count).AnErr("reason", err).Msg("the search has ended")
	j.end(err)
	if errors.Is(err, context.Canceled) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}
