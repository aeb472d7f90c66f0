package p1

import "github.com/meter2mqtt/meter2mqtt/drivers"

type Decoder struct{}

func newDecoder(c drivers.Config, z drivers.Zones) (*Decoder, error) { return &Decoder{}, nil }
func (d *Decoder) Feed(p []byte)                     {}
func (d *Decoder) Next(r *drivers.Reading) error     { return drivers.ErrMore }
func (d *Decoder) Gap()                              {}
