// Package socket asks Home Assistant questions over its WebSocket API: one
// connection, logged in by a token. It knows the form of messages and nothing of
// what they mean.
package socket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

const (
	// maxMessage bounds an answer: the entity registry of a large home has a few
	// megabytes.
	maxMessage = 64 << 20
	// answerTime is how long Home Assistant may take for an answer: its recorder
	// may be busy.
	answerTime = time.Minute
	dialTime   = 15 * time.Second
	// pingEvery is how soon a connection is noticed that died without a word.
	pingEvery = 30 * time.Second
)

// ErrToken says that Home Assistant does not take the token.
var ErrToken = errors.New("home assistant refuses the token")

// Error is Home Assistant's refusal of a request.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Error is what Home Assistant says.
func (e *Error) Error() string { return "home assistant: " + e.Code + ": " + e.Message }

// Conn is a connection that has logged in. Several goroutines may ask at a time.
type Conn struct {
	Version string // Home Assistant's own: "2026.11.0"

	ws   *websocket.Conn
	done chan struct{} // closed when the connection is gone

	mu      sync.Mutex
	id      int
	waiting map[int]chan answer
	err     error // why it is gone
}

// answer is a message of Home Assistant's.
type answer struct {
	ID      int             `json:"id"`
	Type    string          `json:"type"`
	Success bool            `json:"success"`
	Result  json.RawMessage `json:"result"`
	Error   *Error          `json:"error"`
	Version string          `json:"ha_version"`
}

// Dial connects and logs in. url is ws://HOST:8123/api/websocket, or what the
// Supervisor offers. The connection lives until ctx ends or it is closed.
func Dial(ctx context.Context, url string, token drivers.Secret) (*Conn, error) {
	limited, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	ws, response, err := websocket.Dial(limited, url, nil)
	if response != nil && response.Body != nil {
		_ = response.Body.Close()
	}
	if err != nil {
		return nil, drivers.WithHint(fmt.Errorf("home assistant at %s: %w", url, err),
			"is homeassistant.url right? It ends in /api/websocket")
	}
	ws.SetReadLimit(maxMessage)
	c := &Conn{ws: ws, done: make(chan struct{}), waiting: map[int]chan answer{}}
	if err := c.login(limited, token); err != nil {
		_ = ws.CloseNow()
		return nil, err
	}
	go c.listen(ctx)
	go c.ping(ctx)
	return c, nil
}

// login answers the greeting with the token.
func (c *Conn) login(ctx context.Context, token drivers.Secret) error {
	var greeting, verdict answer
	if err := c.read(ctx, &greeting); err != nil {
		return err
	}
	err := c.write(ctx, map[string]string{"type": "auth", "access_token": token.Reveal()})
	if err != nil {
		return err
	}
	if err := c.read(ctx, &verdict); err != nil {
		return err
	}
	if verdict.Type != "auth_ok" {
		return drivers.WithHint(ErrToken, "make a long-lived access token of an administrator: Profile, Security")
	}
	c.Version = verdict.Version
	return nil
}

func (c *Conn) read(ctx context.Context, into *answer) error {
	_, b, err := c.ws.Read(ctx)
	if err != nil {
		return fmt.Errorf("home assistant: %w", err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("home assistant: an answer of %d bytes: %w", len(b), err)
	}
	return nil
}

func (c *Conn) write(ctx context.Context, message any) error {
	b, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if err := c.ws.Write(ctx, websocket.MessageText, b); err != nil {
		return fmt.Errorf("home assistant: %w", err)
	}
	return nil
}

// listen hands answers to those who wait for them.
func (c *Conn) listen(ctx context.Context) {
	for {
		var a answer
		if err := c.read(ctx, &a); err != nil {
			c.fail(err)
			return
		}
		c.mu.Lock()
		waits := c.waiting[a.ID]
		delete(c.waiting, a.ID)
		c.mu.Unlock()
		if waits != nil {
			waits <- a
		}
	}
}

// ping finds out when the other end has died without a word.
func (c *Conn) ping(ctx context.Context) {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.done:
			return
		case <-tick.C:
		}
		limited, cancel := context.WithTimeout(ctx, dialTime)
		err := c.ws.Ping(limited)
		cancel()
		if err != nil {
			_ = c.ws.CloseNow()
			return
		}
	}
}

// fail ends the connection.
func (c *Conn) fail(err error) {
	_ = c.ws.CloseNow()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
		close(c.done)
	}
}

// Done is closed when the connection is gone.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Close ends the connection and waits until nobody reads from it.
func (c *Conn) Close() {
	_ = c.ws.CloseNow()
	<-c.done
}

// Ask sends a request and reads its result into the value that result points to;
// nil: it is of no interest. fields are those of the request beside id and type.
func (c *Conn) Ask(ctx context.Context, kind string, fields map[string]any, result any) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	message := map[string]any{"type": kind}
	maps.Copy(message, fields)
	a, err := c.ask(ctx, message)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", kind, err)
	case a.Error != nil:
		return fmt.Errorf("%s: %w", kind, a.Error)
	case result == nil:
		return nil
	}
	if err := json.Unmarshal(a.Result, result); err != nil {
		return fmt.Errorf("%s: home assistant answers in another form: %w", kind, err)
	}
	return nil
}

func (c *Conn) ask(ctx context.Context, message map[string]any) (answer, error) {
	waits := make(chan answer, 1)
	c.mu.Lock()
	c.id++
	id := c.id
	c.waiting[id] = waits
	message["id"] = id
	err := c.err
	if err == nil {
		err = c.write(ctx, message) // under the lock: ids must rise on the wire
	}
	c.mu.Unlock()
	defer c.forget(id)
	if err != nil {
		return answer{}, err
	}
	select {
	case a := <-waits:
		return a, nil
	case <-c.done:
		return answer{}, c.err
	case <-ctx.Done():
		return answer{}, fmt.Errorf("home assistant: %w", ctx.Err())
	}
}

func (c *Conn) forget(id int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
}
