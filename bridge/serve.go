package bridge

import (
	"context"
	"encoding/json"
	"io"
	"net"

	"github.com/meter2mqtt/meter2mqtt/bridge/status"
	"github.com/meter2mqtt/meter2mqtt/bridge/web"
	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// StateDir is the folder in which a gateway remembers whose configuration names
// dir, or none ("").
func StateDir(dir string) string {
	if dir == "" {
		return usualState()
	}
	return dir
}

// Health asks the gateway that runs with the state folder dir.
func Health(ctx context.Context, dir string) (status.Gateway, error) { return web.Ask(ctx, dir) }

// ErrNoGateway says that no gateway runs with a state folder.
var ErrNoGateway = web.ErrNoGateway

// FetchReport asks the gateway that runs with the state folder dir for a report.
func FetchReport(ctx context.Context, dir string, w io.Writer) error {
	return web.FetchReport(ctx, dir, w)
}

// serveWeb answers at every door until ctx ends. One that cannot be opened is told
// and done without: readings matter more.
func (b *Bridge) serveWeb(ctx context.Context) {
	server := web.Server{
		Status: b.Status, Live: b.Live, Frames: b.Frames, Command: b.Command, Report: b.Report, Log: b.options.Log,
		Scan: func(request json.RawMessage) error { return b.scan(ctx, request) },
	}
	if err := server.Run(ctx, b.doors(ctx)); err != nil {
		b.options.Log.Error().Err(err).Msg("health, metrics and page are served no more")
	}
}

func (b *Bridge) doors(ctx context.Context) (doors []web.Door) {
	add := func(key string, door web.Door, err error) {
		if err != nil {
			b.options.Log.Error().Err(err).Str("listen", key).Str("hint", "is the port taken by another program?").
				Msg("health, metrics and page are not served here")
			return
		}
		b.options.Log.Info().Str("listen", door.Listener.Addr().String()).Msg("health, metrics and page are served")
		doors = append(doors, door)
	}
	c := b.config.HTTP
	if c.Listen != "" {
		door := web.Door{Guard: web.Local}
		if !c.Password.IsZero() {
			door.Guard = web.Login(c.Username, c.Password)
		}
		var err error
		door.Listener, err = listen(ctx, c.Listen)
		add(c.Listen, door, err)
	}
	if c.Ingress != "" {
		listener, err := listen(ctx, c.Ingress)
		add(c.Ingress, web.Door{Listener: listener, Guard: web.Ingress}, err)
	}
	return append(doors, b.socket()...)
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	var c net.ListenConfig
	return c.Listen(ctx, "tcp", address)
}

// socket is the door in the state folder, if there is one.
func (b *Bridge) socket() []web.Door {
	if b.state.dir == "" {
		return nil
	}
	listener, err := web.ListenSocket(b.state.dir)
	if err != nil {
		b.options.Log.Warn().Err(err).Str("hint", drivers.Hint(err)).Msg("the health command cannot ask this gateway")
		return nil
	}
	return []web.Door{{Listener: listener}}
}
