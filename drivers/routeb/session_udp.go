package routeb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// network is what a meter that is reached over UDP has in place of a module: there is
// nothing to set up, to find or to join.
type network struct{ s *session }

// check is what the network has made of the datagram's checksum.
func (n *network) check() drivers.Check { return drivers.CheckRelayed }

func (n *network) prepare(context.Context) error                      { return nil }
func (n *network) scan(context.Context, *PAN, int) ([]PAN, error)     { return nil, errNoMeter }
func (n *network) join(context.Context, *PAN) error                   { return nil }
func (n *network) rejoin(context.Context) error                       { return nil }
func (n *network) leave(context.Context) error                        { return nil }
func (n *network) restricted(context.Context) (bool, error)           { return false, nil }
func (n *network) transmitted(context.Context) (time.Duration, error) { return 0, drivers.ErrRefused }

// send sends a frame as a datagram.
func (n *network) send(ctx context.Context, frame []byte) error {
	if err := n.s.write(ctx, frame); err != nil {
		return err
	}
	n.s.talk.sent, n.s.talk.left = true, true
	return nil
}

// findMeter has the node announce what objects it has, and takes the first meter of
// them. Over Route B there is nothing to find: the meter is always the first instance.
// A node that does not tell is taken for such a one.
func (s *session) findMeter(ctx context.Context) error {
	if !s.inDatagrams || s.meter.found {
		return nil
	}
	r := &request{object: NodeProfile, service: InfReq, properties: []Property{{EPC: epcInstanceInf}}}
	f, err := s.exchange(ctx, r, 1, min(firstWait, s.cfg.AnswerWait))
	if errors.Is(err, drivers.ErrTimeout) {
		s.meter.sought++
		s.meter.found = s.meter.sought >= s.cfg.Tries
		return nil // the meter may answer all the same
	}
	if err != nil {
		return err
	}
	s.meter.found = true
	s.learnInstances(f)
	if s.meter.absent {
		s.meter.found = false
		return drivers.WithHint(fmt.Errorf("%s: the node has no smart meter: %w", s.line, drivers.ErrRefused),
			"is it the meter's address, or that of another ECHONET Lite device?")
	}
	return nil
}

// learnInstances takes the instance list that a node profile announces.
func (s *session) learnInstances(f *Frame) {
	if !s.inDatagrams || f.Source.class() != NodeProfile.class() {
		return
	}
	for _, p := range f.Properties {
		if p.EPC != epcInstanceInf {
			continue
		}
		list, ok := parseInstances(p.EDT)
		if !ok {
			continue
		}
		i := slices.IndexFunc(list, func(o Object) bool { return o.class() == Meter.class() })
		if s.meter.absent = i < 0; i >= 0 {
			s.meter.object = list[i]
		}
	}
}

// parseInstances reads an instance list, EPC D5 or D6 of a node profile: their number,
// and of each its object.
func parseInstances(b []byte) (list []Object, ok bool) {
	if len(b) == 0 || len(b) != 1+3*int(b[0]) {
		return nil, false
	}
	for b = b[1:]; len(b) > 0; b = b[3:] {
		list = append(list, object(b))
	}
	return list, true
}
