// Command meter2mqtt brings utility meters to MQTT and Home Assistant.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // an empty container has no zone data

	"github.com/meter2mqtt/meter2mqtt/bridge/commandline"
)

// Set by the build.
var (
	version = "devel"
	commit  = "unknown"
	date    = "unknown"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := commandline.Run(ctx, commandline.Build{Version: version, Commit: commit, Date: date}, os.Args[1:])
	stop()
	os.Exit(code)
}
