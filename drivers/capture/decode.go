// Package capture reads telegrams that somebody captured: raw bytes, hexadecimal
// text, or a recording of a line, from a file or a pipe that never ends. It feeds
// them to a decoder and hands on what comes out.
package capture

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
)

// enough bytes must have come to tell what an input is; more are looked at if
// they are there, up to sample.
const enough, sample = 16, 512

// maxLine bounds a line of hexadecimal text: the longest telegram, twice, and
// what stands between its digits.
const maxLine = 1 << 20

// Sink takes what a decoder finds. An error of Reading ends the run.
type Sink struct {
	Reading func(*drivers.Reading) error
	Refused func(*drivers.FrameError)
	Meter   string // of a report: whose frames; "": all
}

// Decode feeds all of in to d, with a final Gap. Its errors are those of the
// input, with the line where it has lines, and those of the sink.
func Decode(in io.Reader, d drivers.Decoder, to Sink) error {
	r := bufio.NewReaderSize(in, 64<<10)
	head, err := look(r)
	if err != nil {
		return err
	}
	run := run{decoder: d, sink: to}
	switch {
	case isRecording(head):
		err = run.recording(r)
	case looksHex(head):
		err = run.hexText(r)
	default:
		err = run.raw(r)
	}
	if err != nil {
		return err
	}
	d.Gap()
	return run.drain()
}

// look returns the first bytes, as many as arrive at once but enough to judge,
// and leaves them in r. It waits for no more than that: a pipe may fall silent
// behind its first telegram.
func look(r *bufio.Reader) ([]byte, error) {
	if _, err := r.Peek(enough); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return r.Peek(min(r.Buffered(), sample))
}

func isRecording(head []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(head, " \t\r\n"), []byte(`{"`))
}

// run is one input on its way through one decoder.
type run struct {
	decoder drivers.Decoder
	sink    Sink
	reading drivers.Reading
}

func (r *run) raw(in io.Reader) error {
	buf := make([]byte, 4096)
	for {
		n, err := in.Read(buf)
		r.decoder.Feed(buf[:n])
		if err := r.drain(); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *run) hexText(in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 4096), maxLine)
	var buf []byte
	number := 1
	for ; lines.Scan(); number++ {
		if isBlank(lines.Bytes()) {
			continue
		}
		var err error
		if buf, err = unhex(buf[:0], lines.Bytes()); err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		r.decoder.Feed(buf)
		if err := r.drain(); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("line %d: %w", number, err)
	}
	return nil
}

// recording feeds what the gateway received, and tells a decoder that asks for it
// what was sent. Each frame of a report stands alone: silence is behind it.
func (r *run) recording(in io.Reader) error {
	overhearer, overhears := r.decoder.(drivers.Overhearer)
	for entry, err := range transport.ReadRecording(in) {
		if err != nil {
			return err
		}
		if r.sink.Meter != "" && entry.Meter != r.sink.Meter {
			continue
		}
		if entry.Dir != transport.Received {
			if overhears {
				overhearer.Sent(entry.Data)
			}
			continue
		}
		r.decoder.Feed(entry.Data)
		if entry.Meter != "" {
			r.decoder.Gap()
		}
		if err := r.drain(); err != nil {
			return err
		}
	}
	return nil
}

// drain asks the decoder until it is dry.
func (r *run) drain() error { return Drain(r.decoder, &r.reading, r.sink) }

// Drain asks a decoder until it is dry. r is filled again and again.
func Drain(d drivers.Decoder, r *drivers.Reading, to Sink) error {
	for {
		err := d.Next(r)
		if err == nil {
			if err := to.Reading(r); err != nil {
				return err
			}
			continue
		}
		if errors.Is(err, drivers.ErrMore) {
			return nil
		}
		lost, ok := errors.AsType[*drivers.FrameError](err)
		if !ok {
			return err
		}
		to.Refused(lost)
	}
}

// Bytes are all bytes of an input, as a decoder would be fed with them.
func Bytes(in io.Reader) ([]byte, error) {
	var all collector
	err := Decode(in, &all, Sink{})
	return all, err
}

// Conversation are all bytes of an input, of a recording also what was sent, each in
// its place.
func Conversation(in io.Reader) ([]byte, error) {
	var all conversation
	err := Decode(in, &all, Sink{})
	return all.collector, err
}

// conversation is a collector that is told what was sent.
type conversation struct{ collector }

func (c *conversation) Sent(p []byte) { c.Feed(p) }

// collector is a decoder that finds nothing and keeps what it is fed.
type collector []byte

func (c *collector) Feed(p []byte)               { *c = append(*c, p...) }
func (c *collector) Next(*drivers.Reading) error { return drivers.ErrMore }
func (c *collector) Gap()                        {}
