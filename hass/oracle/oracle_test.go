package oracle

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestMain(m *testing.M) { Main(m) }

// Two entities of a made-up meter, as any program could announce them.
const probeConfig = `{
 "device": {"identifiers": ["meter2mqtt_probe"], "name": "Probe meter"},
 "origin": {"name": "oracle"},
 "availability_topic": "probe/availability",
 "state_topic": "probe/state",
 "components": {
  "a": {"platform": "sensor", "unique_id": "meter2mqtt_probe_1_0_1_8_1", "name": "Import tariff 1",
        "device_class": "energy", "state_class": "total_increasing", "unit_of_measurement": "kWh",
        "value_template": "{{ value_json['1-0:1.8.1'] | default(none) }}"},
  "b": {"platform": "sensor", "unique_id": "meter2mqtt_probe_version", "name": "Version",
        "entity_category": "diagnostic", "enabled_by_default": false,
        "value_template": "{{ value_json.version | default(none) }}"}}}`

func probeRows() []Row {
	return []Row{
		{
			UniqueID: "meter2mqtt_probe_1_0_1_8_1", EntityID: "sensor.probe_meter_import_tariff_1", Device: "Probe meter",
			Name: "Import tariff 1", State: "12.345", DeviceClass: "energy", StateClass: "total_increasing", Unit: "kWh",
		},
		{UniqueID: "meter2mqtt_probe_version", Name: "Version", Category: "diagnostic", Disabled: true},
	}
}

func announceProbe(t *testing.T, o *Oracle) {
	t.Helper()
	o.Broker.Publish(t, deviceTopic("meter2mqtt_probe"), probeConfig, true)
	o.Broker.Publish(t, "probe/availability", "online", true)
	o.Broker.Publish(t, "probe/state", `{"1-0:1.8.1": 12.345}`, true)
}

func TestEntitiesAreShownThroughRestartsOfBrokerAndHomeAssistant(t *testing.T) {
	o := Start(t)
	sub := o.Broker.Subscribe(t, "probe/#")
	announceProbe(t, o)
	o.Expect(t, probeRows())

	o.RestartHomeAssistant(t)
	o.Expect(t, probeRows())

	o.Broker.Stop(t)
	o.Expect(t, Unavailable(probeRows()))
	o.Broker.Start(t)
	announceProbe(t, o)
	o.Expect(t, probeRows())

	o.Broker.Publish(t, "probe/availability", "offline", true)
	o.Expect(t, Unavailable(probeRows()))
	o.Until(t, func() error { return sub.Saw("probe/availability", "offline") })
	o.NoComplaint(t)
}

func TestComplaintsAreNoticed(t *testing.T) {
	o := Start(t)
	announceProbe(t, o)
	o.Expect(t, probeRows())
	o.Broker.Publish(t, "probe/state", `{"1-0:1.8.1": "twelve"}`, false)
	got := o.complaints(t)
	if len(got) == 0 || !strings.Contains(got[0].Message, "twelve") {
		t.Errorf("got the complaints %v, want one about the word twelve", got)
	}
}

func TestATestFindsAnEmptyHouse(t *testing.T) {
	for range 2 {
		t.Run("announce", func(t *testing.T) {
			o := Start(t)
			if left := o.retained(t); len(left) > 0 {
				t.Errorf("still retained: %q", left)
			}
			s, err := o.snapshot()
			if err != nil {
				t.Fatal(err)
			}
			if left := s.deviceIDs(); len(left) > 0 {
				t.Errorf("devices still there: %q", left)
			}
			announceProbe(t, o)
			o.Expect(t, probeRows())
		})
	}
}

func TestWithoutTheSwitchTestsAreSkipped(t *testing.T) {
	for value, want := range map[string]bool{"": false, "0": false, "1": true, "yes": true} {
		t.Setenv(switchedOn, value)
		if got := Enabled(); got != want {
			t.Errorf("%s=%q: enabled %v, want %v", switchedOn, value, got, want)
		}
	}
}

func TestGuardEndsWhatIsLeft(t *testing.T) {
	stopped := t.TempDir() + "/stopped"
	stopHA := t.TempDir() + "/stop.sh"
	writeFile(t, stopHA, "#!/bin/sh\ncp \"$1/pid\" "+stopped+"\n", 0o700)
	g, err := newGuard(stopHA)
	if err != nil {
		t.Fatal(err)
	}
	c, err := spawn(g, exec.CommandContext(t.Context(), "sleep", "1000"), &output{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(g.dir+"/homeassistant", 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, g.dir+"/homeassistant/pid", "4711\n", 0o600)

	if err := g.end(); err != nil {
		t.Error(err)
	}
	<-c.ended
	if !killed(c.err) {
		t.Errorf("the process ended with %v, want it killed", c.err)
	}
	if got, err := os.ReadFile(stopped); err != nil || string(got) != "4711\n" {
		t.Errorf("home assistant was not asked to stop: %q, %v", got, err)
	}
	if _, err := os.Stat(g.dir); !os.IsNotExist(err) {
		t.Errorf("the folder %s is still there: %v", g.dir, err)
	}
}

func writeFile(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}
