package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/meter2mqtt/meter2mqtt/bridge/status"
	"github.com/meter2mqtt/meter2mqtt/drivers"
)

const (
	socketName = "meter2mqtt.sock"
	askTimeout = 5 * time.Second
)

// ListenSocket makes the Unix socket in the state folder, with mode 0600. One
// that a killed gateway left behind is taken away: whoever calls holds the
// folder's lock.
func ListenSocket(dir string) (net.Listener, error) {
	path, done, err := socketPath(dir)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false) // its path may be gone by then
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return socket{listener, filepath.Join(dir, socketName)}, nil
}

// socket takes its file away when it is closed.
type socket struct {
	net.Listener
	path string
}

// Close takes no more connections.
func (s socket) Close() error { return errors.Join(s.Listener.Close(), os.Remove(s.path)) }

// Ask asks the gateway that has the state folder dir.
func Ask(ctx context.Context, dir string) (status.Gateway, error) {
	var g status.Gateway
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	answer, err := askSocket(ctx, dir, "/healthz")
	if err != nil {
		return g, err
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&g); err != nil {
		return g, fmt.Errorf("answer of the gateway: %w", err)
	}
	return g, nil
}

// askSocket asks for a path at the socket in the state folder dir.
func askSocket(ctx context.Context, dir, path string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://meter2mqtt"+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialSocket(ctx, dir)
	}}
	answer, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return nil, noGateway(err, dir)
	}
	return answer, nil
}

func dialSocket(ctx context.Context, dir string) (net.Conn, error) {
	path, done, err := socketPath(dir)
	if err != nil {
		return nil, err
	}
	defer done()
	var d net.Dialer
	return d.DialContext(ctx, "unix", path)
}

// ErrNoGateway says that nobody answers at the socket.
var ErrNoGateway = errors.New("no gateway runs")

func noGateway(err error, dir string) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return drivers.WithHint(fmt.Errorf("the socket in %s may not be opened", dir), "ask as the user that runs the gateway")
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return drivers.WithHint(fmt.Errorf("%w with the state folder %s", ErrNoGateway, dir),
			"start it with run; if it has another state folder, name its configuration with -c")
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		return fmt.Errorf("the gateway in %s does not answer within %s", dir, askTimeout)
	}
	return err
}

// socketPath is a path of the socket that is short enough for the kernel, which
// takes 107 bytes: a long one goes through the folder's descriptor. done closes
// that.
func socketPath(dir string) (path string, done func(), err error) {
	const longest = 107
	path = filepath.Join(dir, socketName)
	if len(path) <= longest {
		return path, func() {}, nil
	}
	folder, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	path = filepath.Join("/proc/self/fd", strconv.Itoa(int(folder.Fd())), socketName)
	return path, func() { _ = folder.Close() }, nil
}
