package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers/corus"
	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// Times of the simulated converter.
const (
	corusReaction = 10 * time.Millisecond
	corusPause    = 100 * time.Millisecond // of silence that ends a wake-up
	corusIdle     = 60 * time.Second       // then it forgets the conversation
	corusRepeat   = 3 * time.Second        // how long a NAK to an answer is taken
)

// corusWakeUp is how many NULs wake the device.
const corusWakeUp = 12

// corusTalk is the converter on one line.
type corusTalk struct {
	faultTurns
	reception
	meter *corusMeter
	line  io.Writer
	last  []byte // answer, for a NAK
	nuls  int    // in a row, where a command could come
}

// say sends an answer, with what faults make of it.
func (t *corusTalk) say(ctx context.Context, b []byte) error {
	t.last = b
	return t.again(ctx, b)
}

func (t *corusTalk) again(ctx context.Context, b []byte) error {
	timer := time.NewTimer(corusReaction)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}
	b = append([]byte(nil), b...)
	if len(b) > 4 && t.due("bad-check") {
		b[len(b)-1] ^= 0x5A
	}
	if len(b) > 4 && t.due("cut") {
		b = b[:len(b)/2]
	}
	if len(b) > 4 && t.due("noise") {
		b = append([]byte{0x7F, 0x7F, 0x7F}, b...)
	}
	return send(ctx, t.line, b)
}

// conversation waits for a wake-up and serves what follows. Only the end of the line
// is an error.
func (t *corusTalk) conversation(ctx context.Context) error {
	err := t.awaitSignOn(ctx)
	if err == nil {
		err = t.login(ctx)
	}
	for err == nil {
		err = t.command(ctx)
	}
	if errors.Is(err, errIECSilent) || errors.Is(err, errIECLeft) {
		return nil
	}
	return err
}

// awaitSignOn answers wake-ups until a sign-on comes.
func (t *corusTalk) awaitSignOn(ctx context.Context) error {
	nuls, line := 0, []byte(nil)
	for {
		wait := time.Hour
		if nuls > 0 {
			wait = corusPause
		}
		c, err := t.get(ctx, wait)
		switch {
		case errors.Is(err, errIECSilent) && nuls >= corusWakeUp && !t.due("silence"):
			nuls = 0
			if err := t.say(ctx, []byte{0, 0, 0}); err != nil {
				return err
			}
		case errors.Is(err, errIECSilent):
			nuls = 0
		case err != nil:
			return err
		case c == 0:
			nuls++
		case c == '/':
			line = append(line[:0], c)
		case c == '\n' && string(line) == "/?!\r":
			return nil
		case len(line) > 0 && len(line) < 64:
			line = append(line, c)
		}
	}
}

// login sends the identification and the password, and takes it back.
func (t *corusTalk) login(ctx context.Context) error {
	if err := t.say(ctx, []byte(corusIdent+"\r\n")); err != nil {
		return err
	}
	option, err := t.take(ctx, 6)
	if err != nil {
		return err
	}
	if s := string(option); s != "\x06076\r\n" && s != "\x060"+corusIdent[4:5]+"7\r\n" {
		return errIECLeft
	}
	pass := binary.LittleEndian.AppendUint16([]byte("PASS"), wire.Buypass([]byte("PASS")))
	if err := send(ctx, t.line, pass); err != nil {
		return err
	}
	back, err := t.take(ctx, len(pass))
	if err != nil {
		return err
	}
	if string(back) != string(pass) {
		return errors.Join(send(ctx, t.line, []byte{iecNAK}), errIECLeft)
	}
	return send(ctx, t.line, []byte{iecACK})
}

func (t *corusTalk) take(ctx context.Context, n int) ([]byte, error) {
	b := make([]byte, n)
	for i := range b {
		c, err := t.get(ctx, corusRepeat)
		if err != nil {
			return nil, err
		}
		b[i] = c
	}
	return b, nil
}

// command takes one and carries it out. A NAK asks for the last answer again.
func (t *corusTalk) command(ctx context.Context) error {
	c, err := t.get(ctx, corusIdle)
	if c != 0 {
		t.nuls = 0
	}
	switch {
	case err != nil:
		return err
	case c == 0:
		if t.nuls++; t.nuls == corusWakeUp {
			return errIECLeft // a wake-up begins a new conversation
		}
		return nil
	case c == iecNAK && t.last != nil:
		return t.again(ctx, t.last)
	case c != iecSOH[0]:
		return nil
	}
	head, err := t.take(ctx, 2)
	if err != nil {
		return err
	}
	if head[0] == 'B' {
		_, _ = t.take(ctx, 3)
		return errIECLeft
	}
	rest, err := t.take(ctx, int(head[1])+3)
	if err != nil {
		return err
	}
	message := append([]byte{iecSOH[0], head[0], head[1]}, rest...)
	end := len(message) - 2
	switch {
	case t.due("silence"):
		return nil
	case message[end-1] != iecETX, binary.LittleEndian.Uint16(message[end:]) != wire.Buypass(message[:end]), t.due("nak"):
		return t.refuse(ctx)
	}
	return t.carryOut(ctx, head[0], rest[:len(rest)-3])
}

func (t *corusTalk) refuse(ctx context.Context) error { return t.say(ctx, []byte{iecNAK}) }

func (t *corusTalk) carryOut(ctx context.Context, command byte, body []byte) error {
	switch command {
	case 0xBF:
		return t.read(ctx, body)
	case 0xFF:
		return t.write(ctx, body)
	case 0xBE:
		q, ok := corus.ParseQuery(body)
		if !ok {
			return t.refuse(ctx)
		}
		return t.database(ctx, q)
	}
	return t.refuse(ctx)
}

// read answers with parameters.
func (t *corusTalk) read(ctx context.Context, body []byte) error {
	var data []byte
	for len(body) > 0 {
		id, rest, ok := corus.CutID(body)
		value := t.meter.parameter(id)
		if !ok || value == nil || len(data)+len(value) > 255 {
			return t.refuse(ctx)
		}
		data, body = append(data, value...), rest
	}
	return t.say(ctx, corus.AppendAnswer(nil, data))
}

// write sets parameters, all or none.
func (t *corusTalk) write(ctx context.Context, body []byte) error {
	var settings []corus.Setting
	for len(body) > 0 {
		id, rest, ok := corus.CutID(body)
		n := t.meter.lengthOf(id)
		if !ok || n == 0 || len(rest) < n {
			return t.refuse(ctx)
		}
		settings, body = append(settings, corus.Setting{ID: id, Data: rest[:n]}), rest[n:]
	}
	for _, s := range settings {
		if !t.meter.write(s.ID, s.Data) {
			return t.refuse(ctx)
		}
	}
	return t.say(ctx, []byte{iecACK})
}

// corusFrame is how much of the records fits a frame: they cross its borders.
const corusFrame = 240

// database sends records, frame by frame.
func (t *corusTalk) database(ctx context.Context, q corus.Query) error {
	size, data := t.meter.records(q)
	head := []byte{byte(size)}
	if q.Count {
		n := 0
		if size > 0 {
			n = len(data) / size
		}
		head = binary.LittleEndian.AppendUint16(head, uint16(n))
	}
	data = append(head, data...)
	for number := 0; ; number++ {
		n := min(corusFrame, len(data))
		last := n == len(data)
		frame := corus.AppendFrame(nil, number, last, data[:n])
		data = data[n:]
		if number > 0 && !last && t.due("gap") {
			continue
		}
		if err := t.say(ctx, frame); err != nil || last {
			return err
		}
		more, err := t.acknowledged(ctx)
		if err != nil || !more {
			return err
		}
		if t.due("repeat") {
			if err := t.say(ctx, frame); err != nil {
				return err
			}
			if more, err := t.acknowledged(ctx); err != nil || !more {
				return err
			}
		}
	}
}

// acknowledged waits for the ACK to a frame and repeats it at each NAK. False: the
// reader has given up.
func (t *corusTalk) acknowledged(ctx context.Context) (bool, error) {
	for range 4 {
		c, err := t.get(ctx, corusRepeat)
		switch {
		case errors.Is(err, errIECSilent):
			return false, nil
		case err != nil:
			return false, err
		case c == iecACK:
			return true, nil
		case c != iecNAK:
			return false, nil
		}
		if err := t.again(ctx, t.last); err != nil {
			return false, err
		}
	}
	return false, nil
}
