package web

import (
	"log" //nolint:depguard // net/http takes no other logger

	"github.com/rs/zerolog"
)

// quiet turns what net/http says into debug lines: visitors that speak no HTTP
// are no business of whoever runs the gateway.
func quiet(to zerolog.Logger) *log.Logger {
	return log.New(lines{to}, "", 0)
}

type lines struct{ to zerolog.Logger }

// Write logs one line.
func (l lines) Write(p []byte) (int, error) {
	l.to.Debug().Bytes("said", p).Msg("http server")
	return len(p), nil
}
