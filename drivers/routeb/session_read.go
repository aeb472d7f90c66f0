package routeb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// What is asked for together.
var (
	// groundwork is what everything else needs: the scale, the maps, and who the
	// meter is.
	groundwork = []byte{epcUnit, epcCoefficient, epcDigits, epcSerial, epcMaker, epcMapGet, epcMapSet, epcMapInf}
	fast       = []byte{epcPower, epcCurrent}
	totals     = []byte{epcImport, epcExport, epcDate, epcTime}
	facts      = []byte{
		epcOperation, epcFault, epcVersion, epcLocation, epcSerial, epcMaker, epcCoefficient, epcRouteB,
		epcIdentification, epcFaultCode, epcFaultText, epcFactory, epcProduct, epcProduced,
	}
	latches = []byte{epcHalfImport, epcHalfExport}
)

const (
	factsEvery = time.Hour
	mandatory  = 6 // of the facts; the others a meter may lack
	// eagerly is how many readings have the totals whatever is configured: a total
	// is believed once several bear it out.
	eagerly = 3
	// latchAge is how old the meter's last half-hour may be before it is asked for;
	// it comes by itself within five minutes.
	latchAge = 36 * time.Minute
)

// meter is what is known of the meter.
type meter struct {
	object   Object // 0: the first instance
	found    bool   // the node told its objects
	absent   bool   // none of them is a meter
	sought   int    // how often it was asked for them in vain
	identity drivers.Identity
	several  several
	mapped   bool
	codes    Codes // that it gives, EPC 9F
	sets     Codes // that it takes, EPC 9E
	refuses  Codes // what it refused, whatever its map says
	scaled   bool
	rssi     int32

	heard    time.Time // when it announced something last, or the session began
	announce bool      // it has announced half-hours
	latched  time.Time // the last half-hour that it told
	totalsAt time.Time // when they were read
	factsAt  time.Time
	minuteAt time.Time
	reads    int
}

// gives says whether it makes sense to ask for a property.
func (m *meter) gives(epc byte) bool {
	if m.refuses.Has(epc) {
		return false
	}
	return !m.mapped || m.codes.Has(epc)
}

// saw learns from a property.
func (m *meter) saw(p Property) {
	switch p.EPC {
	case epcMapGet:
		if c, err := ParseCodes(p.EDT); err == nil {
			m.codes, m.mapped = c, true
		}
	case epcMapSet:
		if c, err := ParseCodes(p.EDT); err == nil {
			m.sets = c
		}
	case epcUnit:
		_, m.scaled = parseUnit(p.EDT)
	case epcHalfImport:
		if l, ok := parseLatch(p.EDT); ok {
			m.latched = l.At.Wall
		}
	}
}

// Describe says who the meter is, as far as it has said so, and what can be set.
func (s *session) Describe() (drivers.Identity, []drivers.Quantity, []drivers.Parameter) {
	return s.meter.identity, nil, s.parameters()
}

// Read asks for power and currents, and for what else is due: the totals, the last
// half-hours, the facts. With codes it asks for those.
func (s *session) Read(ctx context.Context, want []obis.Code, r *drivers.Reading) error {
	defer drivers.WakeOnEnd(ctx, s.line)()
	r.Reset()
	ground, err := s.lay(ctx)
	if err != nil {
		return err
	}
	list, err := s.get(ctx, Meter, s.due(want)...)
	if err != nil {
		return err
	}
	if len(want) == 0 {
		more, err := s.facts(ctx)
		if err != nil {
			return err
		}
		list = append(list, more...)
		s.meter.reads++
		if err := s.lookAtAir(ctx); err != nil {
			return err
		}
	}
	s.decode(append(ground, list...), r)
	s.addStrength(want, r)
	if len(want) > 0 {
		r.Values = slices.DeleteFunc(r.Values, func(v drivers.Value) bool { return !slices.Contains(want, v.Code) })
	}
	return s.pay(ctx)
}

// lay reads the groundwork, once. The unit is read again while it is missing:
// without it no energy is told.
func (s *session) lay(ctx context.Context) ([]Property, error) {
	if s.meter.mapped && s.meter.scaled {
		return nil, nil
	}
	if err := s.findMeter(ctx); err != nil {
		return nil, err
	}
	list, err := s.get(ctx, Meter, groundwork...)
	if err != nil || !s.meter.mapped || s.meter.codes.Has(epcSerial) {
		return list, err
	}
	return list, s.askNode(ctx)
}

// askNode lets the node profile say who a meter is that has no serial number.
func (s *session) askNode(ctx context.Context) error {
	list, err := s.get(ctx, NodeProfile, epcIdentification, epcMaker)
	for _, p := range list {
		text := fmt.Sprintf("%X", p.EDT)
		switch p.EPC {
		case epcIdentification:
			s.meter.identity.ID = text
		case epcMaker:
			s.meter.identity.Manufacturer = text
		}
	}
	return err
}

// due are the properties to ask for now.
func (s *session) due(want []obis.Code) (list []byte) {
	if len(want) > 0 {
		return wanted(want)
	}
	now := time.Now()
	list = slices.Clone(fast)
	if s.meter.reads < eagerly || now.Sub(s.meter.totalsAt) >= s.cfg.TotalsEvery {
		s.meter.totalsAt = now
		list = append(list, totals...)
		if s.meter.gives(epcMinute) && s.meter.mapped {
			list = append(list, epcMinute)
		}
	}
	old := now.Sub(s.meter.latched) > latchAge && now.Sub(s.meter.minuteAt) > time.Minute
	if s.meter.reads > 0 && (old || s.meter.reads <= eagerly) {
		s.meter.minuteAt = now
		list = append(list, latches...)
	}
	return list
}

// facts are what hardly ever changes, read now and then, and not before the first
// reading is out.
func (s *session) facts(ctx context.Context) ([]Property, error) {
	if s.meter.reads == 0 || time.Since(s.meter.factsAt) < factsEvery {
		return nil, nil
	}
	s.meter.factsAt = time.Now()
	list := facts
	if !s.meter.mapped {
		list = facts[:mandatory]
	}
	got, err := s.get(ctx, Meter, list...)
	if errors.Is(err, drivers.ErrTimeout) {
		return got, nil // what matters was read
	}
	return got, err
}

// sources says from which property a code comes.
var sources = map[obis.Code][]byte{
	codeImport: {epcImport}, codeExport: {epcExport}, codePower: {epcPower}, codePowerIn: {epcPower}, codePowerOut: {epcPower},
	codeR: {epcCurrent}, codeT: {epcCurrent}, codeHalfImport: {epcHalfImport}, codeHalfExport: {epcHalfExport},
	codeMinImport: {epcMinute}, codeMinExport: {epcMinute}, codeCoefficient: {epcCoefficient}, codeClock: {epcDate, epcTime},
	codeSerial: {epcSerial}, codeMaker: {epcMaker}, codeVersion: {epcVersion}, codeLocation: {epcLocation},
	codeRouteB: {epcRouteB}, codeOperation: {epcOperation}, codeFault: {epcFault}, codeRSSI: {epcOperation},
}

// wanted are the properties of codes.
func wanted(want []obis.Code) (list []byte) {
	for _, c := range want {
		for _, epc := range sources[c] {
			if !slices.Contains(list, epc) {
				list = append(list, epc)
			}
		}
	}
	return list
}

// addStrength adds how strong the meter is heard.
func (s *session) addStrength(want []obis.Code, r *drivers.Reading) {
	if len(want) > 0 && !slices.Contains(want, codeRSSI) {
		return
	}
	v := values{list: r.Values}
	v.strength(s.meter.rssi)
	r.Values = v.list
}
