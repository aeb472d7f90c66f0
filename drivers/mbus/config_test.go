package mbus_test

import (
	"strings"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers/mbus"
)

func TestMistakesInTheConfigurationAreTold(t *testing.T) {
	for want, change := range map[string]func(*mbus.Config){
		"address:":           func(c *mbus.Config) { c.Address = "251" },
		"address: it is set": func(c *mbus.Config) { c.Address, c.Secondary = "1", "12345678" },
		"secondary:":         func(c *mbus.Config) { c.Secondary = "1234567" },
		"fabrication: it":    func(c *mbus.Config) { c.Fabrication = "12345678" },
		"fabrication: \"1\"": func(c *mbus.Config) { c.Secondary, c.Fabrication = "12345678", "1" },
		"baud:":              func(c *mbus.Config) { c.Baud = 1000 },
		"retries:":           func(c *mbus.Config) { c.Retries = 11 },
		"telegrams:":         func(c *mbus.Config) { c.Telegrams = 33 },
		"wake:":              func(c *mbus.Config) { c.Wake = time.Minute },
		"timeout:":           func(c *mbus.Config) { c.Timeout = -1 },
		"pause:":             func(c *mbus.Config) { c.Pause = time.Hour },
		"application_reset:": func(c *mbus.Config) { c.Reset = "5" },
		"readout:":           func(c *mbus.Config) { c.Readout = []string{"13", "all"} },
		"readout: \"FD\"":    func(c *mbus.Config) { c.Readout = []string{"FD"} },
		"requests:":          func(c *mbus.Config) { c.Requests = []string{"105B015D16"} },
		"number 2":           func(c *mbus.Config) { c.Requests = []string{"105B015C16", "E5"} },
	} {
		c := configured(change)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	good := configured(func(c *mbus.Config) {
		c.Secondary, c.Fabrication, c.Baud, c.Wake = "1234567F", "0000000F", 300, 2*time.Second
		c.Reset, c.Readout, c.Requests = "plain", []string{"06", "FD17"}, []string{"10 5B 01 5C 16"}
	})
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
}

func TestTheLimitsOfTheConfigurationAreTaken(t *testing.T) {
	for _, change := range []func(*mbus.Config){
		func(c *mbus.Config) { c.Retries, c.Telegrams = 0, 0 },
		func(c *mbus.Config) { c.Retries, c.Telegrams = 10, 32 },
		func(c *mbus.Config) { c.Wake, c.Timeout, c.Pause = 10*time.Second, 30*time.Second, 30*time.Second },
		func(c *mbus.Config) { c.Address = "" },
		func(c *mbus.Config) { c.Address = "0" },
		func(c *mbus.Config) { c.Address = "250" },
		func(c *mbus.Config) { c.Address = "254" },
		func(c *mbus.Config) { c.Reset = "B0" },
		func(c *mbus.Config) { c.Readout = []string{"all"} },
	} {
		c := configured(change)
		if err := c.Validate(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for want, change := range map[string]func(*mbus.Config){
		"retries: -1":        func(c *mbus.Config) { c.Retries = -1 },
		"telegrams: -1":      func(c *mbus.Config) { c.Telegrams = -1 },
		"wake: 10.001s":      func(c *mbus.Config) { c.Wake = 10*time.Second + time.Millisecond },
		"timeout: 30.001s":   func(c *mbus.Config) { c.Timeout = 30*time.Second + time.Millisecond },
		"address: \"253\"":   func(c *mbus.Config) { c.Address = "253" },
		"address: \"256\"":   func(c *mbus.Config) { c.Address = "256" },
		"readout: \"1313\"":  func(c *mbus.Config) { c.Readout = []string{"1313"} },
		"application_reset:": func(c *mbus.Config) { c.Reset = "B0B" },
		"number 1":           func(c *mbus.Config) { c.Requests = []string{"105B015C16105B015C16"} },
	} {
		c := configured(change)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestMistakesInDescribedRecordsAreTold(t *testing.T) {
	for record, want := range map[string]string{
		"":                                   "want a name",
		"limit":                              "want a name",
		"Limit 0413":                         "want a name",
		"limit 04XX":                         "not hexadecimal",
		"limit 04":                           "VIF at byte 1",
		"limit 0413E8030000":                 "goes on behind",
		"address 0413":                       "parameter of every meter",
		"limit 0413 1..0":                    "not below",
		"limit 0413 0..9999999":              "holds -2147483.648 to 2147483.647 m³",
		"limit 0413 often":                   "not known",
		"limit 0C78 0..5":                    "not known",
		"limit 0813":                         "no value can be sent",
		"limit 0FFD16":                       "DIF at byte 0",
		"code 04FD16":                        "no value can be sent",
		"limit 0013":                         "no value can be sent",
		"clear 0413E803 press":               "data at byte 2",
		"limit 8484848484848484848484848413": "DIFE",
	} {
		c := configured(func(c *mbus.Config) { c.Records = []string{record} })
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", record, err, want)
		}
	}
}
