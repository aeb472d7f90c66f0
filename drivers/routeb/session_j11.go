package routeb

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Commands of the binary dialogue. An answer has 0x2000 more.
const (
	j11Version  = 0x006B
	j11Reset    = 0x00D9
	j11Setup    = 0x005F
	j11Login    = 0x0054
	j11Scan     = 0x0051
	j11Start    = 0x0053
	j11Open     = 0x0005
	j11Join     = 0x0056
	j11Rejoin   = 0x00D2
	j11Send     = 0x0008
	j11EndPANA  = 0x0057
	j11End      = 0x0058
	j11Answer   = 0x2000
	j11Found    = 0x4051
	j11Ready    = 0x6019
	j11PANA     = 0x6028
	j11Good     = 0x01
	j11Mask     = 0x0003FFF0 // channels 4 to 17
	j11Channel0 = 4
)

// toJ11 is a channel as these modules count them: from 4 on, in steps of 0.4 MHz.
func toJ11(sk byte) byte { return (sk-firstChannel)/2 + j11Channel0 }

func fromJ11(c byte) byte { return firstChannel + 2*(c-j11Channel0) }

// j11Module is a module with the binary dialogue.
type j11Module struct{ s *session }

func (m *j11Module) check() drivers.Check { return drivers.CheckSum8 }

// noticeJ11 takes note of what such a module tells by itself.
func (s *session) noticeJ11(item *Item) {
	switch {
	case item.Command == j11Received:
		s.arrived(&item.Datagram)
	case item.Command != j11PANA || len(item.Data) < 1:
	case item.Data[0] == j11Good:
		s.up()
	default:
		s.down()
		s.link.refused = true
	}
}

// command sends a command and gives the data of its answer, behind its result.
func (m *j11Module) command(ctx context.Context, command uint16, data []byte) (answer []byte, err error) {
	return m.exchange(ctx, command, data, m.s.timing.command, nil)
}

// exchange is command, with each other frame that comes in between given to take.
func (m *j11Module) exchange(
	ctx context.Context, command uint16, data []byte, wait time.Duration, take func(*Item),
) (answer []byte, err error) {
	if err := m.s.write(ctx, AppendJ11(nil, command, data)); err != nil {
		return nil, err
	}
	err = m.s.await(ctx, wait, func(i *Item) bool {
		switch {
		case i.Form != J11Frame:
		case i.Command == j11Answer|command:
			answer = append([]byte(nil), i.Data...)
			return true
		case take != nil:
			take(i)
		}
		return false
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("command %04X: %w", command, err)
	case len(answer) == 0 || answer[0] != j11Good:
		return nil, fmt.Errorf("command %04X: %w", command, drivers.ErrRefused)
	}
	return answer[1:], nil
}

func (m *j11Module) present(ctx context.Context) error {
	_, err := m.exchange(ctx, j11Version, nil, m.s.timing.present, nil)
	return err
}

// prepare resets the module. Id and password it takes once the channel is known.
func (m *j11Module) prepare(ctx context.Context) error {
	if err := m.s.write(ctx, AppendJ11(nil, j11Reset, nil)); err != nil {
		return err
	}
	err := m.s.await(ctx, m.s.timing.command, func(i *Item) bool { return i.Form == J11Frame && i.Command == j11Ready })
	if err != nil {
		return fmt.Errorf("reset: %w", err)
	}
	return m.setup(ctx, j11Channel0)
}

func (m *j11Module) setup(ctx context.Context, channel byte) error {
	_, err := m.command(ctx, j11Setup, []byte{5, 0, channel, 0})
	return err
}

// scan asks on each channel for our own meter.
func (m *j11Module) scan(ctx context.Context, only *PAN, duration int) (found []PAN, err error) {
	mask, channels := uint32(j11Mask), 14
	if only != nil {
		mask, channels = 1<<toJ11(only.Channel), 1
	}
	id := m.s.cfg.ID.Reveal()
	data := binary.BigEndian.AppendUint32([]byte{byte(duration)}, mask)
	data = append(append(data, 1), id[len(id)-8:]...)
	_, err = m.exchange(ctx, j11Scan, data, scanTime(channels, duration), func(i *Item) {
		if i.Command == j11Found {
			found = appendFound(found, i.Data)
		}
	})
	return found, err
}

// appendFound reads a scan's result on a channel: 0 for found, channel, count, and
// of each MAC (8), PAN (2), RSSI.
func appendFound(found []PAN, b []byte) []PAN {
	const head, each = 3, 11
	if len(b) < head || b[0] != 0 || b[1] < j11Channel0 || b[1] > 17 || len(b) < head+each*int(b[2]) {
		return found
	}
	for i := range int(b[2]) {
		p := b[head+each*i:]
		found = append(found, PAN{
			Channel: fromJ11(b[1]), MAC: binary.BigEndian.Uint64(p), ID: binary.BigEndian.Uint16(p[8:]),
			Quality: int32(int8(p[10])) * 1000,
		})
	}
	return found
}

// join starts Route B on the meter's channel and joins.
func (m *j11Module) join(ctx context.Context, p *PAN) error {
	if _, err := m.command(ctx, j11End, nil); err != nil && !mild(err) {
		return err
	}
	if err := m.setup(ctx, toJ11(p.Channel)); err != nil {
		return err
	}
	for _, c := range [...]struct {
		command uint16
		data    []byte
	}{
		{j11Login, []byte(m.s.cfg.ID.Reveal() + m.s.cfg.Password.Reveal())},
		{j11Start, nil},
		{j11Open, []byte{port >> 8, port & 0xFF}},
		{j11Join, nil},
	} {
		if _, err := m.command(ctx, c.command, c.data); err != nil {
			return err
		}
	}
	return m.s.awaitJoin(ctx)
}

func (m *j11Module) rejoin(ctx context.Context) error {
	m.s.link.joined, m.s.link.refused = false, false
	if _, err := m.command(ctx, j11Rejoin, nil); err != nil {
		return err
	}
	return m.s.awaitJoin(ctx)
}

// send gives a datagram to the module, whose answer says whether it left.
func (m *j11Module) send(ctx context.Context, frame []byte) error {
	to := LinkLocal(m.s.pan.MAC)
	data := append([]byte(nil), to[:]...)
	for _, n := range [...]uint16{port, port, uint16(len(frame))} {
		data = binary.BigEndian.AppendUint16(data, n)
	}
	answer, err := m.command(ctx, j11Send, append(data, frame...))
	if err != nil {
		return err
	}
	m.s.talk.sent, m.s.talk.left = true, len(answer) == 0 || answer[0] == 0
	return nil
}

// restricted: these modules have no way to ask.
func (m *j11Module) restricted(context.Context) (bool, error) { return m.s.link.limited, nil }

func (m *j11Module) leave(ctx context.Context) error {
	_, err := m.command(ctx, j11EndPANA, nil)
	if err == nil {
		_, err = m.command(ctx, j11End, nil)
	}
	return err
}
