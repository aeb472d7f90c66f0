//go:build !linux

package transport

import (
	"errors"
	"fmt"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// openSerial refuses: locks, hang-ups and modem lines are Linux's here.
func openSerial(port Port) (drivers.Line, error) {
	return nil, drivers.WithHint(fmt.Errorf("%s: serial ports need Linux: %w", port, errors.ErrUnsupported),
		"serve the port with ser2net and name it tcp://host:port")
}
