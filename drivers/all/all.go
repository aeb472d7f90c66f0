// Package all names every driver. It is a plain list: nothing registers itself,
// the order is visible, and a new protocol is one line here.
package all

import (
	"slices"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/corus"
	"github.com/meter2mqtt/meter2mqtt/drivers/hdlc"
	"github.com/meter2mqtt/meter2mqtt/drivers/iec62056"
	"github.com/meter2mqtt/meter2mqtt/drivers/mbus"
	"github.com/meter2mqtt/meter2mqtt/drivers/p1"
	"github.com/meter2mqtt/meter2mqtt/drivers/routeb"
)

// Drivers are all protocols, in the order in which help shows them, and Auto.
var Drivers = append(slices.Clip(protocols), Auto)

var protocols = []drivers.Driver{
	p1.Driver,
	hdlc.Driver,
	mbus.Driver,
	mbus.Wireless,
	iec62056.Driver,
	iec62056.LIS200,
	corus.Driver,
	routeb.Driver,
}

// ByName is the driver with that name, as configured: "p1".
func ByName(name string) (drivers.Driver, bool) {
	for _, d := range Drivers {
		if d.Name == name {
			return d, true
		}
	}
	return drivers.Driver{}, false
}
