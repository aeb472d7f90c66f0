package bridge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/discovery"
	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
)

// linePaused is a line that was told to rest: its port is free for others.
const linePaused transport.State = "paused"

const (
	// recordTime is how long a line is recorded.
	recordTime = time.Hour
	// maxRecording bounds one recording: a fast line makes some ten megabytes an
	// hour.
	maxRecording = 64 << 20
)

// LogLevels are those that the request log_level takes.
var LogLevels = []string{"trace", "debug", "info", "warn", "error"}

// order is what a request says beside its id: {"meter":…}, {"value":…}, or plain
// text that is either.
type order struct {
	Meter string `json:"meter"`
	Value string `json:"value"`
}

// parseOrder reads the payload of a request. What is no object is taken as text,
// and so is what none of our keys are in.
func parseOrder(payload []byte) order {
	var o order
	if text := bytes.TrimSpace(payload); !bytes.HasPrefix(text, []byte("{")) {
		if o.Value = string(text); o.Value == discovery.Press {
			o.Value = ""
		}
		return o
	}
	_ = json.Unmarshal(payload, &o) // of another form: nothing is said
	return o
}

// meters are those that the order names, or all.
func (o order) meters(all []*meter) ([]*meter, error) {
	name := o.Meter
	if name == "" {
		name = o.Value
	}
	if name == "" {
		return all, nil
	}
	names := make([]string, len(all))
	for i, m := range all {
		if names[i] = m.config.Name; m.config.Name == name {
			return all[i : i+1], nil
		}
	}
	return nil, fmt.Errorf("there is no meter %q: there are %s", shown(name), strings.Join(names, ", "))
}

// setLogLevel changes how much is logged, until the program ends.
func (b *Bridge) setLogLevel(o order) error {
	if b.options.SetLogLevel == nil {
		return errors.New("the log level cannot be changed")
	}
	i := slices.Index(LogLevels, o.Value)
	if i < 0 {
		return fmt.Errorf("log level %q: there are %s", shown(o.Value), strings.Join(LogLevels, ", "))
	}
	level, err := zerolog.ParseLevel(LogLevels[i])
	if err != nil {
		return err
	}
	b.options.SetLogLevel(level)
	b.mu.Lock()
	b.logLevel = LogLevels[i]
	b.mu.Unlock()
	b.publishInfo(time.Now())
	return nil
}

// pause stops the lines of the meters and frees their ports.
func (b *Bridge) pause(o order) error {
	keys, err := b.linesOf(o)
	if err != nil {
		return err
	}
	for _, key := range keys {
		b.lines.stop(key)
		b.mu.Lock()
		b.paused[key] = true
		b.mu.Unlock()
		for _, m := range b.onLine(key) {
			m.setLine(linePaused, time.Now())
			m.log.Info().Msg("line paused")
		}
	}
	return nil
}

// resume starts lines that were paused.
func (b *Bridge) resume(ctx context.Context, o order) error {
	keys, err := b.linesOf(o)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if !b.unpause(key) {
			continue
		}
		b.startLines(ctx, b.onLine(key))
	}
	return nil
}

// unpause says whether the line was paused.
func (b *Bridge) unpause(key string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.paused[key]
	delete(b.paused, key)
	return was
}

// linesOf are the keys of the lines that the meters hang on, each once.
func (b *Bridge) linesOf(o order) ([]string, error) {
	meters, err := o.meters(b.everyMeter())
	var keys []string
	for _, m := range meters {
		if key := m.lineKey(); !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys, err
}

// onLine are the meters of a line.
func (b *Bridge) onLine(key string) []*meter {
	return slices.DeleteFunc(b.everyMeter(), func(m *meter) bool { return m.lineKey() != key })
}

// record opens a meter's line anew and writes down for an hour what passes on it,
// without the secrets of its meters. It says into which file.
func (b *Bridge) record(ctx context.Context, o order) (file string, err error) {
	keys, err := b.linesOf(o)
	switch {
	case err != nil:
		return "", err
	case len(keys) != 1:
		return "", errors.New("which line? name one of its meters")
	case b.state.dir == "":
		return "", errors.New("there is no state.dir to write to")
	}
	meters := b.onLine(keys[0])
	file = filepath.Join(b.state.dir, "recordings", meters[0].config.Name+"-"+time.Now().UTC().Format("20060102T150405Z")+".jsonl")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return "", err
	}
	out, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	b.unpause(keys[0])
	b.lines.stop(keys[0])
	r := &recording{out: out, secrets: secretsOf(meters), until: time.Now().Add(recordTime)}
	b.startLinesWith(ctx, meters, r)
	meters[0].log.Info().Str("file", file).Dur("took", recordTime).Msg("line is being recorded")
	return file, nil
}

// secretsOf are what must not stand in a recording: as text, and as the bytes that
// a key's digits mean.
func secretsOf(meters []*meter) [][]byte {
	var secrets [][]byte
	for _, m := range meters {
		secrets = append(secrets, config.Secrets(m.config)...)
	}
	return secrets
}

// recording is a file that a line's traffic goes into until its time is over. The
// line may be opened several times meanwhile: what comes first after opening is
// set off by the recording's own clock.
type recording struct {
	out     *os.File
	secrets [][]byte
	until   time.Time
	written int64
}

// Write takes what is recorded, as long as there is time and room. Beyond, it lets
// it pass: the line goes on.
func (r *recording) Write(p []byte) (int, error) {
	if time.Now().After(r.until) || r.written+int64(len(p)) > maxRecording {
		return len(p), nil
	}
	r.written += int64(len(p))
	return r.out.Write(p)
}

// opener opens the line as open does, and has it recorded.
func (r *recording) opener(open func(context.Context, transport.Port) (drivers.Line, error)) func(context.Context, transport.Port) (drivers.Line, error) {
	if open == nil {
		open = transport.Open
	}
	return func(ctx context.Context, port transport.Port) (drivers.Line, error) {
		line, err := open(ctx, port)
		if err != nil || time.Now().After(r.until) {
			return line, err
		}
		return transport.Record(line, r, r.secrets, time.Now), nil
	}
}

func (r *recording) close() {
	if r != nil {
		_ = r.out.Close() // what was written is there
	}
}
