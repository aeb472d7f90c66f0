package mqttlink

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/bridge/brokertest"
	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// connected is a link whose broker is there.
func connected(t *testing.T, b *brokertest.Broker) *Link {
	t.Helper()
	l := New(options(b))
	up := make(chan struct{}, 16)
	l.OnConnect(func() { up <- struct{}{} })
	run(t, l, nothing)
	<-up
	return l
}

func opened(t *testing.T, l *Link, topic string) drivers.Line {
	t.Helper()
	line, err := l.OpenTopic(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	if err := line.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return line
}

// wantMessage reads one message, in pieces, and the silence behind it.
func wantMessage(t *testing.T, line drivers.Line, want string) {
	t.Helper()
	var got strings.Builder
	p := make([]byte, 3)
	for {
		n, err := line.Read(p)
		got.Write(p[:n])
		if errors.Is(err, os.ErrDeadlineExceeded) && got.Len() > 0 {
			break
		}
		if err != nil {
			t.Fatalf("%q, then %v", got.String(), err)
		}
	}
	if got.String() != want {
		t.Errorf("got %q, want %q", got.String(), want)
	}
}

func TestEachMessageIsATelegramAndASilence(t *testing.T) {
	b := brokertest.New(t)
	b.Start()
	defer b.Stop()
	l := connected(t, b)
	line := opened(t, l, "han/telegram")
	defer line.Close()
	for sent, want := range map[string]string{
		"\x7E\xA0 raw": "\x7E\xA0 raw", "7E A0 0x0D": "\x7E\xA0\x0D", "/ABC5METER": "/ABC5METER",
	} {
		b.Publish("han/telegram", sent, false)
		wantMessage(t, line, want)
	}
	b.Publish("han/telegram", "", false)
	b.Publish("han/telegram", strings.Repeat("x", maxMessage+1), false)
	b.Publish("han/telegram", "one", false)
	wantMessage(t, line, "one")
	if line.String() != "mqtt:han/telegram" {
		t.Error(line.String())
	}
	if _, err := line.Write([]byte("x")); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a write to a meter that hears nothing: %v", err)
	}
}

func TestATopicIsHeardAgainWhenTheBrokerIsBack(t *testing.T) {
	b := brokertest.New(t)
	l := New(options(b))
	up := make(chan struct{}, 16)
	l.OnConnect(func() { up <- struct{}{} })
	line := opened(t, l, "han/telegram") // before there is any broker
	defer line.Close()
	b.Start()
	run(t, l, nothing)
	for i := range 2 {
		<-up
		b.Publish("han/telegram", fmt.Sprint("number ", i), false)
		wantMessage(t, line, fmt.Sprint("number ", i))
		b.Cut()
	}
	b.Stop()
}

func TestARetainedTelegramIsOldNews(t *testing.T) {
	b := brokertest.New(t)
	b.Start()
	defer b.Stop()
	b.Publish("han/telegram", "old", true)
	line := opened(t, connected(t, b), "han/telegram")
	defer line.Close()
	b.Publish("han/telegram", "new", false)
	wantMessage(t, line, "new")
}

func TestADeadlineAndAnEndWakeWhoReadsATopic(t *testing.T) {
	b := brokertest.New(t)
	l := New(options(b)) // never connected
	for name, tt := range map[string]struct {
		wake func(drivers.Line) error
		want error
	}{
		"a deadline": {func(line drivers.Line) error { return line.SetReadDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
		"the end":    {func(line drivers.Line) error { return line.Close() }, os.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			line := opened(t, l, "t")
			defer line.Close()
			read := make(chan error)
			go func() {
				_, err := line.Read(make([]byte, 8))
				read <- err
			}()
			if err := tt.wake(line); err != nil {
				t.Fatal(err)
			}
			if err := <-read; !errors.Is(err, tt.want) {
				t.Errorf("got %v", err)
			}
		})
	}
	if len(l.subs) != 0 {
		t.Errorf("%d subscriptions are left", len(l.subs))
	}
}

func TestATopicThatNobodyReadsFillsNoMemory(t *testing.T) {
	line := opened(t, New(options(brokertest.New(t))), "t").(*topicLine)
	for i := range 3 * maxQueued {
		line.take(Received{Payload: fmt.Appendf(nil, "number %d", i)})
	}
	for i := range maxQueued {
		wantMessage(t, line, fmt.Sprint("number ", i))
	}
	line.take(Received{Payload: []byte("and on")})
	wantMessage(t, line, "and on")
	line.take(Received{Payload: []byte("gone")})
	if err := errors.Join(line.Discard(), line.SetReadDeadline(time.Unix(1, 0))); err != nil {
		t.Fatal(err)
	}
	if n, err := line.Read(make([]byte, 8)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d bytes, %v", n, err)
	}
	if err := line.Close(); err != nil {
		t.Error(err)
	}
	if err := line.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
}
