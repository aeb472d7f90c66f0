package routeb

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

// TestMain lets many tests wait for foreign modules at once: they need little of a
// processor.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}
