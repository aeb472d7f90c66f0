// Package oracle holds the gateway against a real Home Assistant: tests start
// Mosquitto, Home Assistant and the gateway, and compare what people would see.
//
// A test in one look:
//
//	func TestMain(m *testing.M) { oracle.Main(m) }
//
//	func TestMeter(t *testing.T) {
//		o := oracle.Start(t)
//		o.Run(t, `
//	[mqtt]
//	url = "$BROKER"
//	[state]
//	dir = "$STATE"
//	[[meter]]
//	…`)
//		o.Expect(t, []oracle.Row{{UniqueID: "meter2mqtt_main_1_0_1_8_0", State: "12.3", …}})
//	}
//
// One Home Assistant serves all tests of a package, one test at a time. Each
// test finds it empty, and fails at its end if Home Assistant logged a
// complaint that a publisher can cause.
//
// These tests are slow and need Home Assistant beside the repository (see
// Enabled), so a plain go test skips them; with HA_TESTS=1 whatever is
// missing is a failure. Those that wait for what Home Assistant makes of its own
// accord each five minutes run with HA_TESTS=long, alone.
//
// Whatever a test starts is ended with it, also when it panics, runs into its
// time limit or is killed: see guard.
package oracle
