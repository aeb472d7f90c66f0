package transport

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// PortInfo is a serial port of this machine.
type PortInfo struct {
	Path         string `json:"path"`              // what to write as port: the most lasting name
	Device       string `json:"device"`            // /dev/ttyUSB0
	ByID         string `json:"by_id,omitempty"`   // /dev/serial/by-id/…, lasting wherever it is plugged in
	ByPath       string `json:"by_path,omitempty"` // /dev/serial/by-path/…, lasting as long as it stays in its socket
	Description  string `json:"description"`       // for people: "FTDI FT232R USB UART"
	VendorID     string `json:"vendor_id,omitempty"`
	ProductID    string `json:"product_id,omitempty"`
	Manufacturer string `json:"manufacturer,omitempty"`
	Product      string `json:"product,omitempty"`
	Serial       string `json:"serial,omitempty"`  // the adapter's serial number
	Warning      string `json:"warning,omitempty"` // why Path may not be what one expects

	usbPart string // which of the adapter's interfaces it is
}

// List finds the serial ports of this machine, sorted by Path.
func List() ([]PortInfo, error) { return ListIn("/") }

// ListIn is List for a machine whose files lie below root. The names that it
// gives are without root.
func ListIn(root string) ([]PortInfo, error) {
	devices, err := deviceNames(root)
	if err != nil {
		return nil, err
	}
	byID, err := links(root, "by-id")
	if err != nil {
		return nil, err
	}
	byPath, err := links(root, "by-path")
	if err != nil {
		return nil, err
	}
	ports := make([]PortInfo, 0, len(devices))
	for _, name := range devices {
		p := PortInfo{Device: "/dev/" + name, ByID: byID[name], ByPath: byPath[name]}
		p.describe(root, name)
		ports = append(ports, p)
	}
	for i := range ports {
		ports[i].choosePath(twins(ports, ports[i]))
	}
	slices.SortFunc(ports, func(a, b PortInfo) int { return cmp.Compare(a.Path, b.Path) })
	return ports, nil
}

// deviceNames are the ttys that are serial ports and really exist.
func deviceNames(root string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(root, "dev"))
	if err != nil {
		return nil, fmt.Errorf("serial ports: %w", err)
	}
	var names []string
	for _, e := range entries {
		if isSerialName(e.Name()) && !isPlaceholder(root, e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func isSerialName(name string) bool {
	for _, prefix := range []string{"ttyUSB", "ttyACM", "ttyAMA", "ttyS"} {
		number, ok := strings.CutPrefix(name, prefix)
		if ok && number != "" && !strings.ContainsFunc(number, notDigit) {
			return true
		}
	}
	return false
}

// isPlaceholder tells the ports that the kernel keeps ready without a chip
// behind them: their type is 0.
func isPlaceholder(root, name string) bool {
	return sysText(filepath.Join(root, "sys/class/tty", name), "type") == "0"
}

// links are the symbolic links in one folder of /dev/serial, by the name of the
// device that they lead to. udev makes more than one by-path link for some
// ports: the first in order is taken.
func links(root, folder string) (map[string]string, error) {
	dir := filepath.Join("/dev/serial", folder)
	entries, err := os.ReadDir(filepath.Join(root, dir))
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("serial ports: %w", err)
	}
	found := make(map[string]string, len(entries))
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(root, dir, e.Name()))
		if err != nil {
			continue // no link: not udev's
		}
		if name := filepath.Base(target); found[name] == "" {
			found[name] = filepath.Join(dir, e.Name())
		}
	}
	return found, nil
}

// describe reads from /sys what the port is.
func (p *PortInfo) describe(root, name string) {
	p.Description = "serial port"
	dir, err := filepath.EvalSymlinks(filepath.Join(root, "sys/class/tty", name, "device"))
	if err != nil {
		return
	}
	for range 4 { // port, interface, adapter; one to spare
		if part := sysText(dir, "bInterfaceNumber"); part != "" {
			p.usbPart = part
		}
		if id := sysText(dir, "idVendor"); id != "" {
			p.describeUSB(dir, id)
			return
		}
		dir = filepath.Dir(dir)
	}
}

func (p *PortInfo) describeUSB(dir, vendor string) {
	p.VendorID, p.ProductID = vendor, sysText(dir, "idProduct")
	p.Manufacturer, p.Product = sysText(dir, "manufacturer"), sysText(dir, "product")
	p.Serial = sysText(dir, "serial")
	p.Description = strings.TrimSpace(p.Manufacturer + " " + p.Product)
	if p.Description == "" {
		p.Description = "USB adapter " + p.VendorID + ":" + p.ProductID
	}
}

// sysText is a one-line file of /sys, or "".
func sysText(dir, file string) string {
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.ToValidUTF8(string(b), "?"))
}

// twins is how many ports udev gives the same id as p, itself included.
func twins(ports []PortInfo, p PortInfo) int {
	n := 0
	for _, o := range ports {
		if p.VendorID != "" && o.usbID() == p.usbID() {
			n++
		}
	}
	return n
}

// usbID is what udev makes a by-id name of.
func (p PortInfo) usbID() [5]string {
	return [5]string{p.VendorID, p.ProductID, p.Product, p.Serial, p.usbPart}
}

// choosePath takes the name that lasts.
func (p *PortInfo) choosePath(twins int) {
	switch {
	case twins > 1 && p.ByPath != "":
		p.Path = p.ByPath
		p.Warning = fmt.Sprintf("%d adapters share one id, so it may lead to another of them tomorrow: use this name, and keep each in its socket", twins)
	case twins > 1:
		p.Path = p.Device
		p.Warning = fmt.Sprintf("%d adapters share one id, and there is no by-path name here: they may change places", twins)
	case p.ByID != "":
		p.Path = p.ByID
	case p.ByPath != "":
		p.Path = p.ByPath
	default:
		p.Path = p.Device
		if p.VendorID != "" {
			p.Warning = "no lasting name here: the number may change when it is plugged in again; a container needs /dev/serial too"
		}
	}
}
