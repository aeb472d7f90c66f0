package oracle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers/dlms"
	"github.com/meter2mqtt/meter2mqtt/drivers/hdlc"
)

// speak puts a pushing meter on a pseudo-terminal that says the next of its
// telegrams each time, and begins again after the last.
func speak(t *testing.T, every time.Duration, telegrams ...[]byte) (port string) {
	t.Helper()
	meter, end := openLine(t)
	unplugged := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for i := 0; say(t, meter, telegrams[i%len(telegrams)]); i++ {
			select {
			case <-tick.C:
			case <-unplugged:
				return
			}
		}
	})
	t.Cleanup(func() {
		close(unplugged)
		done.Wait()
	})
	return end.Name()
}

// A meter of Norway: lists 1, 2 and 3.

func axdr(tag byte, content ...[]byte) []byte {
	return append([]byte{tag, byte(len(content))}, slices.Concat(content...)...)
}

func row(code [6]byte, parts ...[]byte) []byte {
	all := append([][]byte{append([]byte{9, 6}, code[:]...)}, parts...)
	return axdr(2, all...)
}

func visible(s string) []byte { return append([]byte{10, byte(len(s))}, s...) }

func quantity(c, d byte, raw uint32, scaler int8, unit byte) []byte {
	return row([6]byte{1, 0, c, d, 0, 255}, binary.BigEndian.AppendUint32([]byte{6}, raw), []byte{2, 2, 15, byte(scaler), 22, unit})
}

// hanList is one of the lists in its HDLC frame.
func hanList(rows ...[]byte) []byte { return hanFrame(hanAPDU(rows...)) }

func hanAPDU(rows ...[]byte) []byte {
	return append(dlms.AppendNotification(nil, 0x40000000, nil), axdr(1, rows...)...)
}

func hanFrame(apdu []byte) []byte {
	return hdlc.AppendHDLC(nil, []byte{0x41, 0x08, 0x83, 0x13}, apdu, 2047)
}

// hanLists are the three lists. The totals and the clock come in the last alone.
func hanLists(total uint32) (power, phases, hourly [][]byte) {
	power = [][]byte{quantity(1, 7, 1234, 0, 27)}
	phases = append([][]byte{
		row([6]byte{1, 1, 0, 2, 129, 255}, visible("AIDON_V0001")),
		row([6]byte{0, 0, 96, 1, 0, 255}, visible("7359992890000001")),
		row([6]byte{0, 0, 96, 1, 7, 255}, visible("6525")),
	}, power...)
	phases = append(phases,
		quantity(2, 7, 0, 0, 27), quantity(3, 7, 0, 0, 29), quantity(4, 7, 140, 0, 29),
		quantity(31, 7, 51, -1, 33), quantity(32, 7, 2301, -1, 35))
	clock := dlms.DateTime{Year: 2026, Month: 1, Day: 31, Hour: 12, Hundredths: 0xFF}
	hourly = append(slices.Clone(phases),
		row([6]byte{0, 0, 1, 0, 0, 255}, append([]byte{9, 12}, clock.AppendTo(nil)...)),
		quantity(1, 8, total, 1, 30), quantity(2, 8, 0, 1, 30), quantity(3, 8, 27, 1, 32), quantity(4, 8, 171035, 1, 32))
	return power, phases, hourly
}

const hanMeter = `
[[meter]]
name = "han"
label = "HAN meter"
driver = "hdlc"
port = %q
`

// hanRows are the entities of such a meter, as people should see them.
func hanRows(name, device string) []Row {
	id := func(key string) string { return "meter2mqtt_" + name + "_" + key }
	total := func(key, title, state, class, unit string) Row {
		return Row{
			UniqueID: id(key), Device: device, Name: title, State: state,
			DeviceClass: class, StateClass: "total_increasing", Unit: unit,
		}
	}
	level := func(key, title, state, class, unit string) Row {
		return Row{
			UniqueID: id(key), Device: device, Name: title, State: state,
			DeviceClass: class, StateClass: "measurement", Unit: unit,
		}
	}
	rare := func(key string) Row { return Row{UniqueID: id(key), Category: "diagnostic", Disabled: true} }
	rows := []Row{
		total("1_0_1_8_0", "Energy import", "12816.29", "energy", "kWh"),
		total("1_0_2_8_0", "Energy export", "0.0", "energy", "kWh"),
		total("1_0_3_8_0", "Reactive energy import", "0.27", "reactive_energy", "kvarh"),
		total("1_0_4_8_0", "Reactive energy export", "1710.35", "reactive_energy", "kvarh"),
		level("1_0_1_7_0", "Power import", "1234", "power", "W"),
		level("1_0_2_7_0", "Power export", "0", "power", "W"),
		level("1_0_3_7_0", "Reactive power import", "0", "reactive_power", "var"),
		level("1_0_4_7_0", "Reactive power export", "140", "reactive_power", "var"),
		level("1_0_31_7_0", "Current L1", "5.1", "current", "A"),
		level("1_0_32_7_0", "Voltage L1", "230.1", "voltage", "V"),
		rare("0_0_1_0_0"),
		rare("0_0_96_1_0"),
		rare("0_0_96_1_7"),
		rare("1_1_0_2_129"),
	}
	return append(rows, Diagnostics("meter2mqtt_"+name, device, false)...)
}

// Lists 1, 2 and 3 come in turns, with ten times as many short ones as long ones;
// what the short ones leave out stays as it was.
func TestHANListsInTurnsKeepEveryEntity(t *testing.T) {
	o := Start(t)
	power, phases, hourly := hanLists(1281629)
	turns := [][]byte{hanList(hourly...)}
	for range 5 {
		turns = append(turns, hanList(power...), hanList(power...), hanList(phases...), hanList(power...))
	}
	sub := o.Broker.Subscribe(t, "meter2mqtt/han/state")
	gateway := o.Run(t, p1Config+fmt.Sprintf(hanMeter, speak(t, 500*time.Millisecond, turns...)))
	rows := hanRows("han", "HAN meter")
	o.Expect(t, rows)
	sub.Forget()
	o.neverUnknown(t, rows, func() error {
		return errors.Join(gateway.Running(), atLeast(len(sub.Messages()), 3*len(turns)))
	})
	o.RestartHomeAssistant(t)
	o.Expect(t, rows)
	o.NoComplaint(t)
}

// neverUnknown waits until enough is nil, and fails the test if an entity that is
// not disabled shows anything but its value until then.
func (o *Oracle) neverUnknown(t *testing.T, rows []Row, enough func() error) {
	t.Helper()
	o.Until(t, func() error {
		s, err := o.snapshot()
		if err != nil {
			return err
		}
		if diff := s.differences(rows); len(diff) > 0 {
			return fatal(fmt.Errorf("between the lists:\n%s", strings.Join(diff, "\n")))
		}
		return enough()
	})
}

func atLeast(got, want int) error {
	if got < want {
		return fmt.Errorf("%d messages so far, want %d", got, want)
	}
	return nil
}

// The same lists, ciphered, as Austria has them: with the right keys they are
// shown; with a wrong one nothing is, and the log says which of the keys it is.
func TestCipheredHANMeterIsShownWithItsKeysAlone(t *testing.T) {
	const key, auth = "000102030405060708090A0B0C0D0E0F", "D0D1D2D3D4D5D6D7D8D9DADBDCDDDEDF"
	o := Start(t)
	_, _, hourly := hanLists(1281629)
	var turns [][]byte
	for counter := range uint32(600) {
		turns = append(turns, hdlc.AppendMBus(nil, sealed(t, key, auth, counter+1, hanAPDU(hourly...)), 200))
	}
	meter := fmt.Sprintf(hanMeter, speak(t, 500*time.Millisecond, turns...))
	keys := "key = %q\nauth_key = %q\n"
	gateway := o.Run(t, p1Config+meter+fmt.Sprintf(keys, strings.ReplaceAll(key, "0", "F"), auth))
	for _, step := range []struct{ key, auth, says string }{
		{"", "", "the encryption key does not fit"},
		{auth, key, "the two keys are swapped"},
		{key, key, "the authentication key does not"},
	} {
		if step.key != "" {
			gateway.Configure(t, p1Config+meter+fmt.Sprintf(keys, step.key, step.auth))
			gateway.Reload(t)
		}
		o.Until(t, func() error {
			if !strings.Contains(gateway.Stderr(), step.says) {
				return errors.Join(gateway.Running(), fmt.Errorf("the log does not say %q", step.says))
			}
			return nil
		})
	}
	if err := o.hasDevice("meter2mqtt_han", false); err != nil {
		t.Error("a wrong key gave something:", err)
	}
	gateway.Configure(t, p1Config+meter+fmt.Sprintf(keys, "0x"+strings.ToLower(key), auth))
	gateway.Reload(t)
	o.Expect(t, hanRows("han", "HAN meter"))
	o.NoComplaint(t)
	if log := gateway.Stderr(); strings.Contains(strings.ToUpper(log), key) || strings.Contains(strings.ToUpper(log), auth) {
		t.Error("the log shows a key")
	}
}

// sealed is an APDU as a meter with these keys ciphers and authenticates it.
func sealed(t *testing.T, key, auth string, counter uint32, apdu []byte) []byte {
	t.Helper()
	ek, errKey := dlms.ParseKey(key)
	ak, errAuth := dlms.ParseKey(auth)
	c, err := dlms.NewCipher(dlms.Keys{Encryption: ek, Authentication: ak}, func([]byte) bool { return true })
	if err := errors.Join(errKey, errAuth, err); err != nil {
		t.Fatal(err)
	}
	s := dlms.Security{Title: dlms.Title{'A', 'D', 'N', 0, 0, 0, 0, 1}, Control: 0x30, Counter: counter}
	b, err := c.Seal(nil, s, apdu)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
