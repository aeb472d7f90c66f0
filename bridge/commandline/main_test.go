package commandline

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// TestMain lets scripts run the program itself, as a command of its own.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"meter2mqtt": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			os.Exit(execute(ctx, rootCommand(), os.Args[1:]))
		},
	})
}

// TestScripts runs testdata/script: each file is a session at a terminal.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", RequireExplicitExec: true})
}

// keyless is the configuration of a driver whose meters do not cipher.
type keyless struct{}

func (*keyless) Validate() error { return nil }

func TestAKeyForMetersThatHaveNoneIsAWrongCommandLine(t *testing.T) {
	d := drivers.Driver{Name: "plain", NewConfig: func() drivers.Config { return &keyless{} }}
	for _, k := range []keyFlags{{key: "00"}, {file: "key.txt"}, {auth: "none"}} {
		_, err := k.settings(d)
		if _, ok := errors.AsType[usage](err); !ok {
			t.Errorf("%d: %v is no usage error", len(k.key), err)
		}
	}
	var none keyFlags
	if settings, err := none.settings(d); len(settings) != 0 || err != nil {
		t.Errorf("without a flag: %v, %v", settings, err)
	}
}
