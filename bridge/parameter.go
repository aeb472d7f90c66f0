package bridge

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// parameterInfo is a Parameter in info and in memory.
type parameterInfo struct {
	Name     string           `json:"name"`
	OBIS     string           `json:"obis,omitempty"`
	Kind     string           `json:"kind"`
	Unit     string           `json:"unit,omitempty"`
	Digits   int              `json:"digits,omitempty"`
	Zoned    bool             `json:"zoned,omitempty"`
	Min      *drivers.Decimal `json:"min,omitempty"`
	Max      *drivers.Decimal `json:"max,omitempty"`
	Step     *drivers.Decimal `json:"step,omitempty"`
	Options  []string         `json:"options,omitempty"`
	MaxLen   int              `json:"max_length,omitempty"` // characters
	Readable bool             `json:"readable"`
	Writable bool             `json:"writable"`
	Press    bool             `json:"press,omitempty"` // an action
	Allowed  bool             `json:"allowed"`         // by write = […] of the configuration
	Secret   bool             `json:"secret,omitempty"`
	Doc      string           `json:"doc,omitempty"`
}

func parameterInfoOf(p drivers.Parameter, allowed bool) parameterInfo {
	i := parameterInfo{
		Name: p.Name, Kind: p.Kind.String(), Unit: string(p.Unit), Digits: p.Digits, Zoned: p.Zoned,
		Options: p.Options, MaxLen: p.MaxLen, Secret: p.Secret, Doc: p.Doc, Allowed: allowed,
		Readable: p.Access&drivers.Readable != 0, Writable: p.Access&drivers.Writable != 0,
		Press: p.Access&drivers.Pressable != 0,
	}
	if !p.Code.IsZero() {
		i.OBIS = p.Code.String()
	}
	if p.Min.Cmp(p.Max) != 0 {
		i.Min, i.Max = &p.Min, &p.Max
	}
	if p.Step.Sign() != 0 {
		i.Step = &p.Step
	}
	return i
}

func (i parameterInfo) parameter() drivers.Parameter {
	code, _ := obis.Parse(i.OBIS) // none, or what parameterInfoOf wrote
	p := drivers.Parameter{
		Quantity: drivers.Quantity{
			Key: i.Name, Name: i.Name, Code: code, Kind: drivers.ParseKind(i.Kind), Unit: obis.Unit(i.Unit),
			Digits: i.Digits, Zoned: i.Zoned,
		},
		Options: i.Options, MaxLen: i.MaxLen, Secret: i.Secret, Doc: i.Doc,
	}
	for _, a := range [...]struct {
		is     bool
		access drivers.Access
	}{{i.Readable, drivers.Readable}, {i.Writable, drivers.Writable}, {i.Press, drivers.Pressable}} {
		if a.is {
			p.Access |= a.access
		}
	}
	if i.Min != nil && i.Max != nil {
		p.Min, p.Max = *i.Min, *i.Max
	}
	if i.Step != nil {
		p.Step = *i.Step
	}
	return p
}

// find is the Parameter of that name, or an error that names those there are.
func find(all []drivers.Parameter, name string) (drivers.Parameter, error) {
	names := make([]string, len(all))
	for i, p := range all {
		if p.Name == name {
			return p, nil
		}
		names[i] = p.Name
	}
	there := "it has none"
	if len(names) > 0 {
		there = "there are " + strings.Join(names, ", ")
	}
	return drivers.Parameter{}, fmt.Errorf("%w: the meter has no parameter %q: %s", drivers.ErrValue, shown(name), there)
}

// commander is a session's own, with the Parameter of that name.
func commander(s drivers.Session, name string) (drivers.Commander, drivers.Parameter, error) {
	c, ok := s.(drivers.Commander)
	if !ok {
		return nil, drivers.Parameter{}, fmt.Errorf("%w: meters of this driver have no parameters: %w", drivers.ErrUnsent, errors.ErrUnsupported)
	}
	_, _, all := s.Describe()
	p, err := find(all, name)
	return c, p, err
}

// getParameter reads a Parameter.
func getParameter(ctx context.Context, s drivers.Session, name string) (o outcome) {
	var c drivers.Commander
	if c, o.parameter, o.err = commander(s, name); o.err != nil {
		return o
	}
	if o.err = checkReadable(o.parameter); o.err != nil {
		return o
	}
	o.back, o.err = c.Get(ctx, o.parameter)
	o.known = o.err == nil
	return o
}

// checkReadable says why a Parameter is not read.
func checkReadable(p drivers.Parameter) error {
	switch {
	case p.Access&drivers.Readable == 0:
		return fmt.Errorf("%w: %s cannot be read", drivers.ErrValue, p.Name)
	case p.Secret:
		return fmt.Errorf("%w: %s: %w", drivers.ErrValue, p.Name, errSecret)
	}
	return nil
}

// setParameter writes a Parameter, once, and holds what is read back against it.
// before is called when nothing but the sending is left; its error ends it.
func setParameter(
	ctx context.Context, s drivers.Session, name string, a argument, zone *time.Location, before func() error,
) (o outcome) {
	var c drivers.Commander
	if c, o.parameter, o.err = commander(s, name); o.err != nil {
		return o
	}
	began := time.Now()
	if o.sent, o.err = a.value(o.parameter, stampNow(zone)); o.err != nil {
		return o
	}
	if err := before(); err != nil {
		o.err = fmt.Errorf("%w: %w", drivers.ErrUnsent, err)
		return o
	}
	o.back, o.err = c.Set(ctx, o.parameter, o.sent)
	if o.err != nil || o.parameter.Access&drivers.Readable == 0 {
		return o
	}
	o.known = true
	o.err = o.compare(time.Since(began))
	return o
}

// stampNow is the gateway's time, as the meter's zone shows it.
func stampNow(zone *time.Location) drivers.Stamp {
	if zone == nil {
		zone = time.Local
	}
	return drivers.Stamp{Wall: time.Now().In(zone).Truncate(time.Second), Zoned: true}
}

// allows says whether the configuration lets a Parameter be written.
func allows(c config.Meter, name string) bool { return slices.Contains(c.Write, name) }

// knowParameters takes what a session, the configuration or the memory says that
// the meter has. It says whether that is new.
func (m *meter) knowParameters(all []drivers.Parameter) (changed bool) {
	same := func(a, b drivers.Parameter) bool {
		return string(mustJSON(parameterInfoOf(a, false))) == string(mustJSON(parameterInfoOf(b, false)))
	}
	changed = !slices.EqualFunc(m.parameters, all, same)
	m.parameters = sharedParameters(all)
	return changed
}

// parameterLists are what meters have, by what it looks like: those of one make have
// the same. They never change.
var parameterLists struct {
	sync.Mutex
	known map[string][]drivers.Parameter
}

// maxParameterLists bounds what is kept of meters that have gone.
const maxParameterLists = 256

// sharedParameters is a list that equals all.
func sharedParameters(all []drivers.Parameter) []drivers.Parameter {
	if len(all) == 0 {
		return slices.Clone(all) // nil says that they are not known
	}
	var looks []byte
	for _, p := range all {
		looks = append(looks, mustJSON(parameterInfoOf(p, false))...)
	}
	lists := &parameterLists
	lists.Lock()
	defer lists.Unlock()
	if known := lists.known[string(looks)]; reflect.DeepEqual(known, all) {
		return known
	}
	if lists.known == nil || len(lists.known) >= maxParameterLists {
		lists.known = map[string][]drivers.Parameter{}
	}
	own := slices.Clone(all)
	lists.known[string(looks)] = own
	return own
}

// tellUnknown says once which names of write the meter does not have.
func (m *meter) tellUnknown() {
	if m.toldUnknown {
		return
	}
	m.toldUnknown = true
	for _, name := range m.config.Write {
		p, err := find(m.parameters, name)
		if err == nil && p.Access&(drivers.Writable|drivers.Pressable) == 0 {
			err = fmt.Errorf("%s can only be read", name)
		}
		if err != nil {
			m.log.Warn().Err(err).Str("hint", "take it out of write in the meter's configuration").
				Msg("write names what cannot be written")
		}
	}
}

// parameterInfos are all Parameters that are known.
func (m *meter) parameterInfos() []parameterInfo {
	var all []parameterInfo
	for _, p := range m.parameters {
		all = append(all, parameterInfoOf(p, allows(m.config, p.Name)))
	}
	return all
}

// allowed are the Parameters that the configuration lets people write.
func (m *meter) allowed() []drivers.Parameter {
	var all []drivers.Parameter
	for _, p := range m.parameters {
		if allows(m.config, p.Name) && p.Access&(drivers.Writable|drivers.Pressable) != 0 {
			all = append(all, p)
		}
	}
	return all
}

// worthReading are the names of the Parameters that are read when the meter is
// first reached.
func (m *meter) worthReading() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for _, p := range m.allowed() {
		if p.Access&drivers.Readable != 0 && !p.Secret {
			names = append(names, p.Name)
		}
	}
	return names
}

// showParameter publishes a value that was read from the meter.
func (m *meter) showParameter(p drivers.Parameter, v *drivers.Value) {
	if p.Secret || p.Access&drivers.Readable == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.shown[p.Name]; !known {
		m.learned = true
	}
	if m.shown == nil {
		m.shown = map[string]string{}
	}
	m.shown[p.Name] = plain(v)
	m.publish(m.topics.parameter+topicLevel(p.Name), []byte(m.shown[p.Name]), true)
}

// showAgain publishes the last known value of a Parameter once more, so that
// whoever showed a value which was refused jumps back.
func (m *meter) showAgain(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if text := m.shown[name]; text != "" {
		m.publish(m.topics.parameter+topicLevel(name), []byte(text), true)
	}
}

// showParameters publishes all known values to a broker that has just come, and
// takes back those of Parameters that may not be written any more.
func (m *meter) showParameters() {
	for name, text := range m.shown {
		topic := m.topics.parameter + topicLevel(name)
		switch {
		case text != "":
			m.publish(topic, []byte(text), true)
		case !allows(m.config, name):
			m.publish(topic, nil, true)
			delete(m.shown, name)
		}
	}
}

// plain is a value as a topic of its own has it, without JSON's quotes.
func plain(v *drivers.Value) string {
	if v.Kind == drivers.Text {
		return v.Text
	}
	return strings.Trim(string(v.AppendPayload(nil)), `"`)
}
