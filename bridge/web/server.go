package web

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"

	"github.com/meter2mqtt/meter2mqtt/bridge/status"
)

const (
	// maxVisitors bounds the connections of one door.
	maxVisitors = 64
	// Requests are small and answers quick.
	readTimeout, writeTimeout, idleTimeout = 10 * time.Second, 30 * time.Second, 2 * time.Minute
	maxHeader                              = 16 << 10
	leaveTime                              = 2 * time.Second
)

// Door is one way in.
type Door struct {
	Listener net.Listener
	// Guard lets in who may come in; nil: everybody who reaches the listener.
	Guard func(http.Handler) http.Handler
}

// Server serves health, metrics and the page. Its functions are called by several
// goroutines.
type Server struct {
	Status func() status.Gateway
	Live   func() Live
	Frames func(meter string) (refused []Frame, known bool) // the newest first
	// Command writes a Parameter. Its result may say that it was refused; an error:
	// there is no such meter.
	Command func(context.Context, Command) (result json.RawMessage, err error)
	Scan    func(request json.RawMessage) error
	Report  func(io.Writer) error
	Log     zerolog.Logger

	leaving chan struct{} // closed when streams must end
}

// Run serves all doors until ctx ends. It closes their listeners.
func (s *Server) Run(ctx context.Context, doors []Door) error {
	s.leaving = make(chan struct{})
	defer context.AfterFunc(ctx, func() { close(s.leaving) })()
	handler := s.handler()
	var all errgroup.Group
	for _, door := range doors {
		all.Go(func() error { return s.serve(ctx, door, handler) })
	}
	return all.Wait()
}

// handler is everything that there is behind the doors.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.health)
	mux.HandleFunc("GET /metrics", s.metrics)
	mux.HandleFunc("GET /live", s.live)
	mux.HandleFunc("GET /frames", s.frames)
	mux.HandleFunc("GET /report", s.report)
	mux.HandleFunc("POST /command", s.command)
	mux.HandleFunc("POST /scan", s.scan)
	for at, f := range pageFiles {
		mux.HandleFunc("GET "+at, serveFile(f.file, f.kind))
	}
	// A page from elsewhere must not write in its visitor's name.
	return withHeaders(http.NewCrossOriginProtection().Handler(mux))
}

func (s *Server) serve(ctx context.Context, door Door, handler http.Handler) error {
	if door.Guard != nil {
		handler = door.Guard(handler)
	}
	server := http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader,
		BaseContext:    func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		ErrorLog:       quiet(s.Log),
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		leave(ctx, &server)
	})
	err := server.Serve(netutil.LimitListener(door.Listener, maxVisitors))
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// leave lets answers that are under way end, for a while, though ctx has ended.
func leave(ctx context.Context, server *http.Server) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		_ = server.Close()
	}
}

// withHeaders tells browsers to run nothing but the page's own script, frame it only where Home Assistant
// does, and keep nothing.
func withHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}
