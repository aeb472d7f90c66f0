package oracle

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Row is one entity as people should see it. Empty means that there is none,
// except for EntityID, Name and Device, which are compared only if given.
type Row struct {
	UniqueID    string // finds the entity: device id, "_", key
	EntityID    string // "sensor.mains_meter_voltage_l1"
	Name        string // without the device's: "Voltage L1"
	Device      string // the device's name: "Mains meter"
	State       string // exactly, or a regular expression between slashes: "/^2026-/"
	DeviceClass string
	StateClass  string
	Unit        string
	Category    string // "diagnostic" or "config"
	Disabled    bool   // known, but switched off: it has no state and no classes
}

// snapshot is what Home Assistant knows of its MQTT entities.
type snapshot struct {
	Devices []struct {
		ID          string
		Name        string
		Identifiers [][]string
		ViaDeviceID string `json:"via_device_id"`
	}
	Entities []entity
	States   map[string]*state
}

// entity is one line of Home Assistant's entity registry.
type entity struct {
	EntityID     string `json:"entity_id"`
	UniqueID     string `json:"unique_id"`
	DeviceID     string `json:"device_id"`
	OriginalName string `json:"original_name"`
	Category     string `json:"entity_category"`
	DisabledBy   string `json:"disabled_by"`
}

type state struct {
	State      string
	Attributes struct {
		DeviceClass string `json:"device_class"`
		StateClass  string `json:"state_class"`
		Unit        string `json:"unit_of_measurement"`
	}
}

// Expect waits until Home Assistant shows exactly the rows: each as it says, and
// no other entity on their devices. If it does not come to that within Patience,
// it fails the test with every difference.
func (o *Oracle) Expect(t *testing.T, rows []Row) {
	t.Helper()
	o.Until(t, func() error {
		s, err := o.snapshot()
		if err != nil {
			return err
		}
		if diff := s.differences(rows); len(diff) > 0 {
			return fmt.Errorf("home assistant shows something else:\n%s", strings.Join(diff, "\n"))
		}
		return nil
	})
}

// Unavailable is rows as they should look while their meter cannot be seen.
func Unavailable(rows []Row) []Row { return withState(rows, "unavailable") }

func withState(rows []Row, state string) []Row {
	rows = slices.Clone(rows)
	for i := range rows {
		if !rows[i].Disabled {
			rows[i].State = state
		}
	}
	return rows
}

// differences are what is wrong, one line each: row by row, then what should not
// be there.
func (s *snapshot) differences(rows []Row) []string {
	var diff []string
	expected, devices := map[string]bool{}, map[string]bool{}
	for _, row := range rows {
		expected[row.UniqueID] = true
		e, ok := s.entity(row.UniqueID)
		if !ok {
			diff = append(diff, row.UniqueID+": no such entity")
			continue
		}
		devices[e.DeviceID] = true
		for _, d := range s.compare(row, e) {
			diff = append(diff, row.UniqueID+": "+d)
		}
	}
	for _, e := range s.Entities {
		if devices[e.DeviceID] && !expected[e.UniqueID] {
			diff = append(diff, e.UniqueID+": not expected, but there: "+s.describe(e))
		}
	}
	return diff
}

func (s *snapshot) entity(uniqueID string) (entity, bool) {
	i := slices.IndexFunc(s.Entities, func(e entity) bool { return e.UniqueID == uniqueID })
	if i < 0 {
		return entity{}, false
	}
	return s.Entities[i], true
}

// compare tells where e is not as row says.
func (s *snapshot) compare(row Row, e entity) []string {
	var diff []string
	check := func(what, got, want string) {
		if got != want {
			diff = append(diff, fmt.Sprintf("%s: got %q, want %q", what, got, want))
		}
	}
	optional := func(what, got, want string) {
		if want != "" {
			check(what, got, want)
		}
	}
	st := s.state(e)
	optional("entity id", e.EntityID, row.EntityID)
	optional("name", e.OriginalName, row.Name)
	optional("device", s.deviceName(e.DeviceID), row.Device)
	if !matches(row.State, st.State) {
		check("state", st.State, row.State)
	}
	check("device class", st.Attributes.DeviceClass, row.DeviceClass)
	check("state class", st.Attributes.StateClass, row.StateClass)
	check("unit", st.Attributes.Unit, row.Unit)
	check("category", e.Category, row.Category)
	check("disabled", fmt.Sprint(e.DisabledBy != ""), fmt.Sprint(row.Disabled))
	return diff
}

// matches says whether got is what a Row's State asks for.
func matches(want, got string) bool {
	if len(want) > 1 && want[0] == '/' && want[len(want)-1] == '/' {
		return regexp.MustCompile(want[1 : len(want)-1]).MatchString(got)
	}
	return want == got
}

// state is what the entity shows; all empty while it shows nothing.
func (s *snapshot) state(e entity) state {
	if st := s.States[e.EntityID]; st != nil {
		return *st
	}
	return state{}
}

func (s *snapshot) deviceName(id string) string {
	for _, d := range s.Devices {
		if d.ID == id {
			return d.Name
		}
	}
	return ""
}

// describe is the entity as the Row that would expect it, ready to be read and
// copied into a table.
func (s *snapshot) describe(e entity) string {
	st := s.state(e)
	return fmt.Sprintf("%+v", Row{
		UniqueID: e.UniqueID, EntityID: e.EntityID, Name: e.OriginalName, Device: s.deviceName(e.DeviceID),
		State: st.State, DeviceClass: st.Attributes.DeviceClass, StateClass: st.Attributes.StateClass,
		Unit: st.Attributes.Unit, Category: e.Category, Disabled: e.DisabledBy != "",
	})
}
