package oracle

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// What leaves the configuration leaves Home Assistant, while the gateway runs and
// while it is off: a quantity, a meter behind a meter, a meter.
func TestWhatLeavesTheConfigurationLeavesHomeAssistant(t *testing.T) {
	o := Start(t)
	c := readP1Case(t, "p1-dsmrparser-v5")
	mains := p1Meter("mains", "Mains meter", plugIn(t, c.telegram, time.Second))
	other := p1Meter("other", "Other meter", plugIn(t, c.telegram, time.Second))
	gateway := o.Run(t, p1Config+other+mains)
	rows := p1Rows()
	o.Expect(t, rows)
	o.Until(t, func() error { return o.hasDevice("meter2mqtt_other", true) })

	t.Log("a quantity, while the gateway runs")
	gateway.Configure(t, p1Config+other+mains+"exclude = [\"1-0:32.7.0\"]\n")
	gateway.Reload(t)
	rows = without(rows, "meter2mqtt_mains_1_0_32_7_0")
	o.Expect(t, rows)

	t.Log("a meter, while the gateway runs")
	gateway.Configure(t, p1Config+mains+"exclude = [\"1-0:32.7.0\"]\n")
	gateway.Reload(t)
	o.Until(t, func() error { return o.hasDevice("meter2mqtt_other", false) })
	o.Until(t, func() error { return o.hasDevice("meter2mqtt_other_ch1", false) })
	o.Until(t, func() error { return o.nothingRetained(t, "meter2mqtt/other/#") })
	o.Expect(t, rows)

	t.Log("a meter behind a meter, and another quantity, while the gateway is off")
	gateway.Stop(t)
	gateway.Configure(t, p1Config+mains+"exclude = [\"1-0:32.7.0\", \"1-0:52.7.0\", \"0-1:*\"]\n")
	gateway.Start(t)
	rows = without(rows, "meter2mqtt_mains_1_0_52_7_0")
	rows = slices.DeleteFunc(rows, func(r Row) bool { return strings.HasPrefix(r.UniqueID, "meter2mqtt_mains_ch1_") })
	o.Until(t, func() error { return o.hasDevice("meter2mqtt_mains_ch1", false) })
	o.Expect(t, rows)

	t.Log("a meter, while the gateway is off; another comes")
	gateway.Stop(t)
	gateway.Configure(t, p1Config+other)
	gateway.Start(t)
	o.Until(t, func() error { return o.hasDevice("meter2mqtt_mains", false) })
	o.Until(t, func() error { return o.hasDevice("meter2mqtt_other", true) })
	o.Until(t, func() error { return o.nothingRetained(t, "meter2mqtt/mains/#") })
	o.NoComplaint(t)
}

// Gateway, broker and Home Assistant come back in every order, with the same
// entities and their values.
func TestPartsComeBackInEveryOrder(t *testing.T) {
	o := Start(t)
	c := readP1Case(t, "p1-dsmrparser-v5")
	gateway := o.Run(t, p1Config+p1Meter("mains", "Mains meter", plugIn(t, c.telegram, time.Second)))
	rows := p1Rows()
	o.Expect(t, rows)
	parts := map[string]func(){
		"gateway":        func() { gateway.Start(t) },
		"broker":         func() { o.Broker.Start(t) },
		"Home Assistant": func() { o.StartHomeAssistant(t) },
	}
	for _, order := range [][]string{
		{"gateway", "broker", "Home Assistant"},
		{"gateway", "Home Assistant", "broker"},
		{"broker", "gateway", "Home Assistant"},
		{"broker", "Home Assistant", "gateway"},
		{"Home Assistant", "gateway", "broker"},
		{"Home Assistant", "broker", "gateway"},
	} {
		t.Log(order)
		o.StopHomeAssistant(t)
		gateway.Stop(t)
		o.Broker.Stop(t)
		for _, part := range order {
			parts[part]()
		}
		o.Expect(t, rows)
		o.NoComplaint(t)
	}
}

func without(rows []Row, uniqueID string) []Row {
	return slices.DeleteFunc(slices.Clone(rows), func(r Row) bool { return r.UniqueID == uniqueID })
}

// hasDevice says why Home Assistant does not know a device, or still does.
func (o *Oracle) hasDevice(id string, want bool) error {
	s, err := o.snapshot()
	if err != nil {
		return err
	}
	for _, d := range s.Devices {
		for _, identifier := range d.Identifiers {
			if slices.Contains(identifier, id) {
				if want {
					return nil
				}
				return fmt.Errorf("device %s is still there", id)
			}
		}
	}
	if want {
		return fmt.Errorf("there is no device %s", id)
	}
	return nil
}

// nothingRetained says what the broker still keeps below a filter.
func (o *Oracle) nothingRetained(t *testing.T, filter string) error {
	t.Helper()
	if kept := o.Broker.Retained(t, filter); len(kept) > 0 {
		return fmt.Errorf("the broker still keeps %v", kept)
	}
	return nil
}
