package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/meter2mqtt/meter2mqtt/bridge/mqttlink"
)

const (
	// maxRequests may wait; more are dropped, for whoever floods gets no answer.
	maxRequests = 16
	// maxPayload is more than any request needs.
	maxPayload = 64 << 10
)

func requestTopic(base, name string) string  { return base + "/bridge/request/" + name }
func responseTopic(base, name string) string { return base + "/bridge/response/" + name }

// onRequest takes a request of BASE/bridge/request/NAME. It runs on the client's
// goroutine.
func (b *Bridge) onRequest(r mqttlink.Received) {
	if len(r.Payload) > maxPayload {
		r.Payload = nil
	}
	select {
	case b.requests <- r:
	default:
	}
}

// response is the payload of BASE/bridge/response/NAME.
type response struct {
	ID    json.RawMessage `json:"id,omitempty"` // as in the request
	OK    bool            `json:"ok"`
	Error string          `json:"error,omitempty"`
	File  string          `json:"file,omitempty"` // that a line is recorded into
}

// answer carries out a request and says what became of it.
func (b *Bridge) answer(ctx context.Context, r mqttlink.Received) {
	name := strings.TrimPrefix(r.Topic, requestTopic(b.config.MQTT.Base, ""))
	var request struct {
		ID json.RawMessage `json:"id"`
	}
	_ = json.Unmarshal(r.Payload, &request) // anything else is a request without an id
	if name == "poll" && !r.Retained {
		b.poll(ctx, parseOrder(r.Payload), func(err error) { b.respond(name, response{ID: request.ID}, err) })
		return
	}
	file, err := b.carryOut(ctx, name, r)
	b.respond(name, response{ID: request.ID, File: file}, err)
}

// respond answers a request.
func (b *Bridge) respond(name string, answer response, err error) {
	answer.OK = err == nil
	if err != nil {
		answer.Error = err.Error()
	}
	b.link.Publish(mqttlink.Message{
		Topic: responseTopic(b.config.MQTT.Base, topicLevel(name)), Payload: mustJSON(answer), Keep: true,
	})
}

// carryOut does what a request says. Its file is the one that it began.
func (b *Bridge) carryOut(ctx context.Context, name string, r mqttlink.Received) (file string, err error) {
	o := parseOrder(r.Payload)
	switch {
	case r.Retained:
		return "", fmt.Errorf("the request is retained, so it would be repeated at each connection: publish it without")
	case name == "reload":
		return "", b.reloadAsAsked(ctx)
	case name == "scan":
		return "", b.scan(ctx, r.Payload)
	case name == "log_level":
		return "", b.setLogLevel(o)
	case name == "pause":
		return "", b.pause(o)
	case name == "resume":
		return "", b.resume(ctx, o)
	case name == "record":
		return b.record(ctx, o)
	}
	return "", fmt.Errorf("unknown request %.40q: there are reload, scan, poll, log_level, pause, resume and record", name)
}
