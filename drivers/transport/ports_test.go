package transport

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// machine is a folder that looks like the /dev and /sys of a machine.
type machine struct {
	*testing.T
	root string
}

func newMachine(t *testing.T) machine {
	t.Helper()
	m := machine{t, t.TempDir()}
	m.file("dev/null", "")
	return m
}

func (m machine) file(path, text string) {
	m.Helper()
	path = filepath.Join(m.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		m.Fatal(err)
	}
}

func (m machine) link(path, target string) {
	m.Helper()
	path = filepath.Join(m.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		m.Fatal(err)
	}
}

// adapter plugs a USB adapter into a socket: its files are those of the kernel.
func (m machine) adapter(name, socket, serial string) {
	m.Helper()
	usb := "sys/devices/usb1/" + socket
	m.file("dev/"+name, "")
	m.file(usb+"/idVendor", "0403\n")
	m.file(usb+"/idProduct", "6001\n")
	m.file(usb+"/manufacturer", "FTDI\n")
	m.file(usb+"/product", "FT232R USB UART\n")
	if serial != "" {
		m.file(usb+"/serial", serial+"\n")
	}
	m.file(usb+"/"+socket+":1.0/bInterfaceNumber", "00\n")
	m.file(usb+"/"+socket+":1.0/"+name+"/port_number", "0\n")
	m.link("sys/class/tty/"+name+"/device", "../../../devices/usb1/"+socket+"/"+socket+":1.0/"+name)
	m.link("dev/serial/by-path/pci-0-usb-0:"+socket+":1.0-port0", "../../"+name)
	m.link("dev/serial/by-path/pci-0-usbv2-0:"+socket+":1.0-port0", "../../"+name)
}

func (m machine) list() []PortInfo {
	m.Helper()
	ports, err := ListIn(m.root)
	if err != nil {
		m.Fatal(err)
	}
	return ports
}

func TestListNamesAnAdapterByItsID(t *testing.T) {
	m := newMachine(t)
	m.adapter("ttyUSB0", "1-1", "A50285BI")
	m.link("dev/serial/by-id/usb-FTDI_A50285BI-if00-port0", "../../ttyUSB0")
	want := []PortInfo{{
		Path:   "/dev/serial/by-id/usb-FTDI_A50285BI-if00-port0",
		Device: "/dev/ttyUSB0",
		ByID:   "/dev/serial/by-id/usb-FTDI_A50285BI-if00-port0",
		ByPath: "/dev/serial/by-path/pci-0-usb-0:1-1:1.0-port0",

		Description: "FTDI FT232R USB UART", Manufacturer: "FTDI", Product: "FT232R USB UART",
		VendorID: "0403", ProductID: "6001", Serial: "A50285BI",
	}}
	if diff := cmp.Diff(want, m.list(), cmpopts.IgnoreUnexported(PortInfo{})); diff != "" {
		t.Errorf("ports (-want +got):\n%s", diff)
	}
}

func TestListWarnsOfAdaptersThatShareAnID(t *testing.T) {
	m := newMachine(t)
	m.adapter("ttyUSB0", "1-1", "")
	m.adapter("ttyUSB1", "1-2", "")
	m.adapter("ttyUSB2", "1-3", "A50285BI")
	m.link("dev/serial/by-id/usb-FTDI-if00-port0", "../../ttyUSB1")
	m.link("dev/serial/by-id/usb-FTDI_A50285BI-if00-port0", "../../ttyUSB2")
	warned := make(map[string]bool)
	for _, p := range m.list() {
		warned[p.Path] = strings.Contains(p.Warning, "2 adapters share one id")
	}
	want := map[string]bool{
		"/dev/serial/by-path/pci-0-usb-0:1-1:1.0-port0":  true,
		"/dev/serial/by-path/pci-0-usb-0:1-2:1.0-port0":  true,
		"/dev/serial/by-id/usb-FTDI_A50285BI-if00-port0": false,
	}
	if diff := cmp.Diff(want, warned); diff != "" {
		t.Errorf("path: warned (-want +got):\n%s", diff)
	}
}

func TestListTellsTheTwoPortsOfOneAdapterApart(t *testing.T) {
	m := newMachine(t)
	m.adapter("ttyUSB0", "1-1", "")
	m.file("dev/ttyUSB1", "")
	m.file("sys/devices/usb1/1-1/1-1:1.1/bInterfaceNumber", "01\n")
	m.file("sys/devices/usb1/1-1/1-1:1.1/ttyUSB1/port_number", "0\n")
	m.link("sys/class/tty/ttyUSB1/device", "../../../devices/usb1/1-1/1-1:1.1/ttyUSB1")
	m.link("dev/serial/by-id/usb-FTDI-if00-port0", "../../ttyUSB0")
	m.link("dev/serial/by-id/usb-FTDI-if01-port0", "../../ttyUSB1")
	for _, p := range m.list() {
		if p.Path != p.ByID || p.Warning != "" {
			t.Errorf("%s: path %s, warning %q", p.Device, p.Path, p.Warning)
		}
	}
}

func TestListLeavesOutWhatIsNoSerialPort(t *testing.T) {
	m := newMachine(t)
	for _, name := range []string{"tty", "tty1", "ttyS0", "ttyS1", "ttyAMA0", "ttyACM0", "ttyprintk", "ttyUSB", "ttyUSBx"} {
		m.file("dev/"+name, "")
	}
	m.file("sys/class/tty/ttyS0/type", "4\n")
	m.file("sys/class/tty/ttyS1/type", "0\n") // no chip behind it
	var got []string
	for _, p := range m.list() {
		got = append(got, p.Path+" "+p.Description+p.Warning)
	}
	want := []string{"/dev/ttyACM0 serial port", "/dev/ttyAMA0 serial port", "/dev/ttyS0 serial port"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ports (-want +got):\n%s", diff)
	}
}

func TestListWarnsWhereNoNameLasts(t *testing.T) {
	m := newMachine(t)
	m.adapter("ttyUSB0", "1-1", "A50285BI")
	if err := os.RemoveAll(filepath.Join(m.root, "dev/serial")); err != nil {
		t.Fatal(err)
	}
	ports := m.list()
	if len(ports) != 1 || ports[0].Path != "/dev/ttyUSB0" || !strings.Contains(ports[0].Warning, "/dev/serial") {
		t.Errorf("ports: %+v", ports)
	}
}

func TestListWithoutDevices(t *testing.T) {
	if _, err := ListIn(t.TempDir()); err == nil {
		t.Error("a machine without /dev is no error")
	}
}
