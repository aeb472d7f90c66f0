package config

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// HTTP says where health, metrics and the status page are served.
type HTTP struct {
	// Listen is HOST:PORT, HOST an IP address of this machine or localhost. One that
	// other machines reach needs a user and a password. Empty: nowhere.
	Listen string `koanf:"listen"`
	// Username is the user whom the page asks for.
	Username string `koanf:"username"`
	// Password is the user's.
	Password drivers.Secret `koanf:"password"`

	// Ingress is where the app listens for Home Assistant's own proxy, which
	// has checked who asks; "" outside of the app. It is no key.
	Ingress string
}

const listenForm = `write it as in "127.0.0.1:8099", or "0.0.0.0:8099" with username and password_file for the whole network`

func (h *HTTP) validate(s *section) {
	if h.Username == "" && !h.Password.IsZero() {
		s.wrong("username", "there is a password, but no user name", "set username as well")
	}
	if h.Username != "" && h.Password.IsZero() {
		s.wrong("password_file", "there is a user name, but no password", "set password_file, or password, as well")
	}
	if h.Listen == "" {
		return
	}
	local, err := isLoopback(h.Listen)
	if err != nil {
		s.fail("listen", err)
		return
	}
	if !local && h.Password.IsZero() {
		s.wrong("listen", fmt.Sprintf("%s can be reached from other machines, and there is no password", h.Listen),
			`set username and password_file, or listen on "127.0.0.1:8099"`)
	}
}

// isLoopback says whether only this machine can reach an address to listen on.
func isLoopback(address string) (bool, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return false, errWanted(listenForm, "%.60q is not HOST:PORT", address)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return false, errWanted("a port is a number from 1 to 65535", "port %.20q", port)
	}
	switch host {
	case "localhost":
		return true, nil
	case "":
		return false, nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false, errWanted(listenForm, "%.60q is no IP address of this machine", host)
	}
	return ip.Unmap().IsLoopback(), nil
}
