package discovery

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// payload is one message of Home Assistant's device discovery. Home Assistant
// rejects it as a whole for an unknown key anywhere but in a component, and drops
// unknown keys of components without a word; a test holds all of them against
// its vocabulary.
type payload struct {
	Device           device               `json:"device"`
	Origin           origin               `json:"origin"`
	Availability     []availability       `json:"availability,omitempty"`
	AvailabilityMode string               `json:"availability_mode,omitempty"`
	StateTopic       string               `json:"state_topic,omitempty"`
	QoS              int                  `json:"qos"`
	Components       map[string]component `json:"components"`
}

type device struct {
	Identifiers  []string `json:"identifiers"`
	Name         string   `json:"name"`
	Manufacturer string   `json:"manufacturer,omitempty"`
	Model        string   `json:"model,omitempty"`
	SerialNumber string   `json:"serial_number,omitempty"`
	SWVersion    string   `json:"sw_version,omitempty"`
	ViaDevice    string   `json:"via_device,omitempty"`
}

type origin struct {
	Name       string `json:"name"`
	SWVersion  string `json:"sw_version,omitempty"`
	SupportURL string `json:"support_url"`
}

type availability struct {
	Topic string `json:"topic"`
}

// component is one entity. What is absent is inherited from the payload:
// availability, state topic and QoS.
type component struct {
	Platform           string         `json:"platform"`
	UniqueID           string         `json:"unique_id"`
	Name               string         `json:"name"`
	DeviceClass        string         `json:"device_class,omitempty"`
	StateClass         string         `json:"state_class,omitempty"`
	Unit               string         `json:"unit_of_measurement,omitempty"`
	Precision          *int           `json:"suggested_display_precision,omitempty"`
	Category           string         `json:"entity_category,omitempty"`
	Enabled            *bool          `json:"enabled_by_default,omitempty"`
	Options            []string       `json:"options,omitempty"`
	EventTypes         []string       `json:"event_types,omitempty"`
	Availability       []availability `json:"availability,omitempty"`
	StateTopic         string         `json:"state_topic,omitempty"`
	Template           string         `json:"value_template,omitempty"`
	AttributesTopic    string         `json:"json_attributes_topic,omitempty"`
	AttributesTemplate string         `json:"json_attributes_template,omitempty"`
	PayloadOn          string         `json:"payload_on,omitempty"`
	PayloadOff         string         `json:"payload_off,omitempty"`

	// Of controls.
	CommandTopic string           `json:"command_topic,omitempty"`
	PayloadPress string           `json:"payload_press,omitempty"`
	Min          *drivers.Decimal `json:"min,omitempty"`
	Max          *drivers.Decimal `json:"max,omitempty"`
	Step         *drivers.Decimal `json:"step,omitempty"`
	Mode         string           `json:"mode,omitempty"`
}

// encode writes p with the characters of units as they are.
func (p payload) encode() []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(p); err != nil {
		panic(fmt.Sprintf("discovery payload: %v", err)) // it holds strings and numbers only
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
