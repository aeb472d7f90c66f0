package discovery

import (
	"strconv"
	"strings"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/hass"
)

// controlKey begins the component ids of controls: no key that a value can have.
const controlKey = "parameter_"

// clockName is the Parameter that Home Assistant shows as a button: nobody types
// the time into a meter.
const clockName = "clock"

// Press is the payload of a button that has nothing to say; that of a clock is now.
const (
	Press      = "PRESS"
	pressClock = "now"
)

// addControls adds a control for each Parameter, as configuration. Its state is
// what was last read from the meter, so that after a refused write it jumps back.
func (t Topics) addControls(all map[string]component, id, meter string, parameters []drivers.Parameter) {
	for _, p := range parameters {
		key := controlKey + componentID(p.Name)
		c := component{
			UniqueID: UniqueID(id, controlKey+p.Name), Name: sentence(p.Name), Category: "config",
			StateTopic:   t.Base + "/" + meter + "/parameter/" + p.Name,
			CommandTopic: t.Base + "/" + meter + "/set/" + p.Name,
		}
		c.control(p)
		all[key] = c
	}
}

// control makes the component what fits the Parameter's type.
func (c *component) control(p drivers.Parameter) {
	switch {
	case p.Name == clockName:
		c.button("Set clock", pressClock)
	case p.Access&drivers.Writable == 0:
		c.button(c.Name, Press)
	case p.Kind == drivers.Number:
		c.number(p)
	case p.Kind == drivers.Bool:
		c.Platform = "switch"
		c.PayloadOn, c.PayloadOff = "true", "false"
	case len(p.Options) > 0:
		c.Platform, c.Options = "select", p.Options
		c.Template = optionTemplate(p.Options)
	default:
		c.text(p)
	}
}

// button has no state; left out, it would be that of the meter.
func (c *component) button(name, payload string) {
	c.Platform, c.Name, c.PayloadPress, c.StateTopic = "button", name, payload, ""
}

// leastStep is the finest step that Home Assistant takes.
var leastStep = drivers.NewDecimal(1, -3)

// boundless stands for the limits of a number of which none is known: without any,
// Home Assistant takes 0 to 100.
var boundless = drivers.NewDecimal(1_000_000_000, 0)

// number always has its limits and its step.
func (c *component) number(p drivers.Parameter) {
	least, most := p.Min, p.Max
	if least.Cmp(most) == 0 {
		least, _ = drivers.Decimal{}.Sub(boundless) // a constant that fits
		most = boundless
	}
	step := p.Step
	if step.Sign() <= 0 {
		step = drivers.NewDecimal(1, -min(p.Digits, 3))
	}
	if step.Cmp(leastStep) < 0 {
		step = leastStep
	}
	c.Platform, c.Mode, c.Unit = "number", "box", string(p.Unit)
	c.Min, c.Max, c.Step = &least, &most, &step
	c.Template = rangeTemplate(least, most)
}

// text takes what the meter takes, and what a state can hold.
func (c *component) text(p drivers.Parameter) {
	most := hass.MaxText
	if p.MaxLen > 0 {
		most = min(most, p.MaxLen)
	}
	limit := drivers.NewDecimal(int64(most), 0)
	if p.Secret {
		c.Mode = "password"
	}
	c.Platform, c.Max = "text", &limit
	c.Template = "{{ value[:" + strconv.Itoa(most) + "] }}"
}

// rangeTemplate keeps from Home Assistant what it would complain about: a meter may
// hold what may not be written to it.
func rangeTemplate(least, most drivers.Decimal) string {
	return "{% set n = value | float(none) %}{{ value if n is not none and " +
		least.String() + " <= n <= " + most.String() + " else none }}"
}

func optionTemplate(options []string) string {
	var quotedOptions []string
	for _, o := range options {
		quotedOptions = append(quotedOptions, "'"+quoted(o)+"'")
	}
	return "{{ value if value in [" + strings.Join(quotedOptions, ", ") + "] else none }}"
}
