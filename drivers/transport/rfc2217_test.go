package transport

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

var farPort = Port{Scheme: RFC2217, Address: "far:1", Mode: usual}

// farConverter is the other end of an rfc2217Line, as good or bad as a test
// wants it. Set its fields before serve.
type farConverter struct {
	conn   net.Conn
	refuse string            // commands it answers to the negotiation instead of its own
	mute   map[string]bool   // requests that it does not answer, as in "05 08"
	other  map[string][]byte // what it answers to them instead
	before map[string]string // what it sends before an answer
	say    chan []byte       // what it sends

	mu    sync.Mutex
	data  []byte
	asked []string
}

// dialFar is a line to a converter in a synctest bubble; both end with the test.
func dialFar(t *testing.T, port Port, c *farConverter) (drivers.Line, error) {
	t.Helper()
	near, far := net.Pipe()
	c.conn, c.say = far, make(chan []byte, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	var both sync.WaitGroup
	both.Go(func() { c.listen(cancel) })
	both.Go(func() { c.speak(ctx) })
	l := newRFC2217(port, near)
	t.Cleanup(func() { _ = l.Close(); _ = far.Close(); both.Wait() })
	return l, l.setUp(t.Context())
}

func mustDialFar(t *testing.T, query string, c *farConverter) drivers.Line {
	t.Helper()
	l, err := dialFar(t, mustParse(t, "rfc2217://far:1"+query), c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// speak sends what there is to say. net.Pipe has no buffer, so whoever says it
// must not wait.
func (c *farConverter) speak(ctx context.Context) {
	for {
		select {
		case p := <-c.say:
			if _, err := c.conn.Write(p); err != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func (c *farConverter) listen(done func()) {
	defer done()
	var d telnetDecoder
	for buf := make([]byte, 256); ; {
		n, err := c.conn.Read(buf)
		d.decode(buf[:n], c.hearData, c.hear)
		if err != nil {
			return
		}
	}
}

func (c *farConverter) hearData(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.data = append(c.data, p...)
}

func (c *farConverter) hear(cmd telnetCommand) {
	switch {
	case cmd.verb == telnetSB:
		c.answer(cmd.value)
	case c.refuse != "":
		c.say <- []byte(c.refuse)
	case cmd.verb == telnetWill:
		c.say <- []byte{telnetIAC, telnetDo, cmd.option}
	case cmd.verb == telnetDo:
		c.say <- []byte{telnetIAC, telnetWill, cmd.option}
	}
}

func (c *farConverter) answer(request []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := fmt.Sprintf("% x", request)
	c.asked = append(c.asked, text)
	value, ok := c.other[text]
	if !ok {
		value = request[1:]
	}
	if c.mute[text] {
		return
	}
	c.say <- []byte(c.before[text])
	c.say <- appendComPort(nil, append([]byte{request[0] + comPortAnswer}, value...)...)
}

func (c *farConverter) requests() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

// heard is what has reached it as data.
func (c *farConverter) heard() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.data)
}

func TestRFC2217SetsThePort(t *testing.T) {
	for query, want := range map[string][]string{
		"?baud=300&mode=7E1":                 {"01 00 00 01 2c", "02 07", "03 03", "04 01", "05 01", "05 08", "05 0b", "0a 00", "0b 00"},
		"?baud=9600&mode=8O2&rts=off&dtr=on": {"01 00 00 25 80", "02 08", "03 02", "04 02", "05 01", "05 08", "05 0c", "0a 00", "0b 00"},
		"?dtr=off":                           {"01 00 01 c2 00", "02 08", "03 01", "04 01", "05 01", "05 09", "05 0b", "0a 00", "0b 00"},
	} {
		t.Run(query, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var c farConverter
				mustDialFar(t, query, &c)
				synctest.Wait()
				if diff := cmp.Diff(want, c.requests()); diff != "" {
					t.Errorf("asked for (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestRFC2217RefusalsSayWhatToDo(t *testing.T) {
	for name, c := range map[string]struct {
		query       string
		far         *farConverter
		why, remedy string
		is          error
		after       time.Duration
	}{
		"no COM-PORT-OPTION": {
			far: &farConverter{refuse: "\xff\xfe\x2c"},
			why: "no COM-PORT-OPTION", remedy: "in ser2net: telnet(rfc2217)",
		},
		"no binary transmission": {
			far: &farConverter{refuse: "\xff\xfe\x00"},
			why: "binary transmission", remedy: "use tcp://",
		},
		"no Telnet at all": {
			far: &farConverter{refuse: "/XXX5\r\n"},
			why: "negotiation of Telnet's options: no answer", remedy: "use tcp://", is: drivers.ErrTimeout, after: answerTimeout,
		},
		"another speed": {
			query: "?baud=300", far: &farConverter{other: map[string][]byte{"01 00 00 01 2c": {0, 0, 0x25, 0x80}}},
			why: "asked for 300 baud, the converter has set 9600 baud", remedy: "ask for what it can",
		},
		"another frame": {
			query: "?mode=7E1", far: &farConverter{other: map[string][]byte{"03 03": {1}}},
			why: "asked for even parity, the converter has set no parity", remedy: "ask for what it can",
		},
		"an answer that makes no sense": {
			query: "?mode=7E1", far: &farConverter{other: map[string][]byte{"02 07": {1, 2, 3}}},
			why: "asked for data bits 7, the converter has set data bits 010203", remedy: "ask for what it can",
		},
		"no answer about the speed": {
			query: "?baud=300", far: &farConverter{mute: map[string]bool{"01 00 00 01 2c": true}},
			why: "asked for 300 baud: no answer", remedy: "use tcp://", is: drivers.ErrTimeout, after: answerTimeout,
		},
		"a modem line that was asked for and is not there": {
			query: "?rts=on", far: &farConverter{mute: map[string]bool{"05 0b": true}},
			why: "asked for rts=on: no answer", remedy: "leave rts= and dtr= out", is: drivers.ErrTimeout, after: answerTimeout,
		},
		"a modem line that stays as it is": {
			query: "?dtr=off", far: &farConverter{other: map[string][]byte{"05 09": {controlDTROn}}},
			why: "asked for dtr=off, the converter has set dtr=on", remedy: "ask for what it can",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				_, err := dialFar(t, mustParse(t, "rfc2217://far:1"+c.query), c.far)
				if err == nil || !strings.Contains(err.Error(), c.why) || !strings.Contains(drivers.Hint(err), c.remedy) {
					t.Fatalf("error %v, hint %q", err, drivers.Hint(err))
				}
				if c.is != nil && !errors.Is(err, c.is) {
					t.Errorf("error %v is no %v", err, c.is)
				}
				if took := time.Since(began); took != c.after {
					t.Errorf("told after %s, want %s", took, c.after)
				}
			})
		})
	}
}

// Pseudo-terminals and many converters have no modem lines, and say nothing.
func TestRFC2217DoesWithoutModemLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		mustDialFar(t, "", &farConverter{mute: map[string]bool{"05 01": true, "05 08": true, "05 0b": true, "0a 00": true, "0b 00": true}})
		if took := time.Since(began); took != 0 {
			t.Errorf("waited %s for them", took)
		}
	})
}

func TestRFC2217NoticesAreNoData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c farConverter
		l := mustDialFar(t, "", &c)
		c.say <- []byte("/XX\xff\xfa\x2c\x6b\x30\xff\xf0X5\xff\xfa\x2c\x6a\xff\xff\xff\xf0\r\n\xff\xff\xff\xf1!")
		receive(t, l, "/XXX5\r\n\xff!")
	})
}

func TestRFC2217DoublesWhatIsAnIAC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c farConverter
		l := mustDialFar(t, "", &c)
		n, err := l.Write([]byte("\x10\xff\xff\x16\xff"))
		synctest.Wait()
		if n != 5 || err != nil || c.heard() != "\x10\xff\xff\x16\xff" {
			t.Errorf("%d bytes, error %v, %q arrived", n, err, c.heard())
		}
	})
}

func TestRFC2217ModeChangesInMidStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c farConverter
		l := mustDialFar(t, "?baud=300&mode=7E1", &c)
		c.say <- []byte("waiting")
		synctest.Wait()
		if err := l.SetMode(drivers.Mode{Baud: 9600, Bits: 7, Parity: drivers.EvenParity, Stop: 1}); err != nil {
			t.Fatal(err)
		}
		receive(t, l, "waiting")
		got := c.requests()
		want := []string{"01 00 00 25 80", "02 07", "03 03", "04 01"}
		if diff := cmp.Diff(want, got[len(got)-len(want):]); diff != "" {
			t.Errorf("asked for (-want +got):\n%s", diff)
		}
		if err := l.SetMode(drivers.Mode{Baud: 301, Bits: 8, Parity: drivers.NoParity, Stop: 1}); err == nil {
			t.Error("301 baud is accepted")
		}
		c.other = map[string][]byte{"01 00 00 4b 00": {0, 0, 0x25, 0x80}}
		if err := l.SetMode(drivers.Mode{Baud: 19200, Bits: 8, Parity: drivers.NoParity, Stop: 1}); err == nil || !strings.HasPrefix(err.Error(), l.String()+": ") {
			t.Errorf("a speed that is refused gives %v", err)
		}
		c.say <- []byte("as before")
		receive(t, l, "as before")
	})
}

func TestRFC2217FlushWaitsForTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c farConverter
		l := mustDialFar(t, "?baud=300&mode=7E1", &c)
		began := time.Now()
		for range 2 { // one after the other on the wire
			if _, err := io.WriteString(l, "/?!\r\n"); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := l.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a flush that ends too early gives %v", err)
		}
		if err := l.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began).Round(time.Millisecond); took != 333*time.Millisecond {
			t.Errorf("ten characters of ten bits took %s at 300 baud", took)
		}
		asked := len(c.requests())
		if err := l.Flush(t.Context()); err != nil || len(c.requests()) != asked {
			t.Errorf("a flush of nothing: %v, %d requests", err, len(c.requests())-asked)
		}
	})
}

func TestRFC2217DiscardDropsWhatCameBeforeTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := farConverter{before: map[string]string{"0c 01": "on its way"}}
		l := mustDialFar(t, "", &c)
		c.say <- []byte("old")
		synctest.Wait()
		if err := l.Discard(); err != nil {
			t.Fatal(err)
		}
		c.say <- []byte("new")
		receive(t, l, "new")
	})
}

func TestRFC2217ReadIsWoken(t *testing.T) {
	for name, c := range map[string]struct {
		act  func(drivers.Line, *farConverter)
		want error
	}{
		"by a deadline":             {func(l drivers.Line, _ *farConverter) { _ = l.SetReadDeadline(time.Now().Add(time.Minute)) }, os.ErrDeadlineExceeded},
		"by a deadline in the past": {func(l drivers.Line, _ *farConverter) { _ = l.SetReadDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
		"by Close":                  {func(l drivers.Line, _ *farConverter) { _ = l.Close() }, net.ErrClosed},
		"by a peer that closes":     {func(_ drivers.Line, c *farConverter) { c.conn.Close() }, io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var far farConverter
				l := mustDialFar(t, "", &far)
				done := make(chan error, 1)
				go func() {
					_, err := l.Read(make([]byte, 1))
					done <- err
				}()
				synctest.Wait()
				c.act(l, &far)
				if err := <-done; !errors.Is(err, c.want) || !strings.HasPrefix(err.Error(), "rfc2217://far:1?baud=115200&mode=8N1: ") {
					t.Errorf("error %v, want %v after the port", err, c.want)
				}
			})
		})
	}
}

func TestRFC2217LastBytesAreReadBeforeTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c farConverter
		l := mustDialFar(t, "", &c)
		c.say <- []byte("last")
		synctest.Wait()
		c.conn.Close()
		synctest.Wait()
		receive(t, l, "last")
		if _, err := l.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("then %v", err)
		}
	})
}

func TestRFC2217TakenBackEndsTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c farConverter
		l := mustDialFar(t, "", &c)
		c.say <- []byte{telnetIAC, telnetDont, optionComPort}
		if _, err := l.Read(make([]byte, 1)); err == nil || drivers.Hint(err) != noRFC2217 {
			t.Errorf("error %v, hint %q", err, drivers.Hint(err))
		}
		if _, err := l.Write([]byte("x")); err == nil {
			t.Error("it can still be written to")
		}
	})
}

func TestRFC2217WritesNothingWhileSuspended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c farConverter
		l := mustDialFar(t, "", &c)
		c.say <- appendComPort(nil, comPortSuspend+comPortAnswer)
		synctest.Wait()
		if _, err := l.Write([]byte("one")); !errors.Is(err, drivers.ErrTimeout) || c.heard() != "" {
			t.Errorf("error %v, %q arrived", err, c.heard())
		}
		time.AfterFunc(time.Second, func() { c.say <- appendComPort(nil, comPortResume+comPortAnswer) })
		began := time.Now()
		if _, err := l.Write([]byte("two")); err != nil || time.Since(began) != time.Second {
			t.Errorf("error %v after %s", err, time.Since(began))
		}
		synctest.Wait()
		if c.heard() != "two" {
			t.Errorf("%q arrived", c.heard())
		}
	})
}

func TestRFC2217KeepsNoMoreThanItMust(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c farConverter
		l := mustDialFar(t, "", &c).(*rfc2217Line)
		all := bytes.Repeat([]byte("0123456789abcdef"), 16<<10)
		c.say <- all
		synctest.Wait()
		l.mu.Lock()
		kept := len(l.unread)
		l.mu.Unlock()
		if kept < maxUnread || kept >= maxUnread+2048 {
			t.Errorf("%d bytes are kept", kept)
		}
		receive(t, l, string(all))
	})
}

// A peer that takes nothing ends the write, not the program.
func TestAStalledPeerEndsTheWrite(t *testing.T) {
	for name, open := range map[string]func(net.Conn) drivers.Line{
		"tcp":     func(conn net.Conn) drivers.Line { return &tcpLine{socket{port: fakePort, conn: conn}} },
		"rfc2217": func(conn net.Conn) drivers.Line { return newRFC2217(farPort, conn) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				defer far.Close()
				l := open(near)
				defer l.Close()
				began := time.Now()
				if _, err := l.Write([]byte("anybody there?")); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("error %v", err)
				}
				if took := time.Since(began); took != writeTimeout {
					t.Errorf("the write took %s, want %s", took, writeTimeout)
				}
			})
		})
	}
}

func TestControlGroups(t *testing.T) {
	for group, values := range map[byte][]byte{0: {0, 1, 2, 3, 17, 18, 19}, 4: {4, 5, 6}, 7: {7, 8, 9}, 10: {10, 11, 12}, 13: {13, 14, 15, 16}} {
		for _, v := range values {
			if got := controlGroup(v); got != group {
				t.Errorf("value %d is in group %d, want %d", v, got, group)
			}
		}
	}
}

func TestWireTime(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"?baud=300&mode=7E1":  100 * time.Second / 3,
		"?baud=9600&mode=8N1": 1000 * time.Second / 960,
		"?baud=2400&mode=8E1": 1100 * time.Second / 240,
		"?baud=2400&mode=7N2": 1000 * time.Second / 240,
	} {
		if got := wireTime(1000, mustParse(t, "rfc2217://far:1"+text).Mode); got != want {
			t.Errorf("%s: 1000 bytes take %s, want %s", text, got, want)
		}
	}
}

// FuzzRFC2217 lets a converter say anything to a line that is being set up.
func FuzzRFC2217(f *testing.F) {
	f.Add([]byte("\xff\xfd\x2c\xff\xfd\x00\xff\xfb\x00\xff\xfa\x2c\x65\x00\x00\x25\x80\xff\xf0/XXX5\r\n"))
	f.Add(binary.BigEndian.AppendUint32([]byte("\xff\xfa\x2c\x65"), 9600))
	f.Fuzz(func(t *testing.T, said []byte) {
		near, far := net.Pipe()
		l := newRFC2217(farPort, near)
		go func() { _, _ = io.Copy(io.Discard, far) }()
		l.mu.Lock()
		l.open = append(modeRequests(usual), controlRequests(farPort)...)
		l.mu.Unlock()
		_, _ = far.Write(said)
		far.Close()
		if rest, err := io.ReadAll(l); err == nil || len(rest) > len(said) {
			t.Errorf("%d bytes of %d are data, error %v", len(rest), len(said), err)
		}
		l.Close()
	})
}
