package p1

import (
	"fmt"
	"math/bits"
	"strings"

	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// dsmr5 is a telegram as a three-phase DSMR 5 meter with gas sends it, with a
// second channel that has no meter.
var dsmr5 = sealed(`/TST5\2SIM-THREEPHASE

1-3:0.2.8(50)
0-0:1.0.0(260131235903W)
0-0:96.1.1(4530303030303030303030313233343536)
1-0:1.8.1(001234.567*kWh)
1-0:1.8.2(002345.678*kWh)
1-0:2.8.1(000345.001*kWh)
1-0:2.8.2(000456.120*kWh)
0-0:96.14.0(0002)
1-0:1.7.0(00.244*kW)
1-0:2.7.0(00.000*kW)
0-0:96.7.21(00013)
0-0:96.7.9(00002)
1-0:99.97.0(0)(0-0:96.7.19)
1-0:32.32.0(00000)
1-0:52.32.0(00001)
1-0:72.32.0(00000)
1-0:32.36.0(00000)
1-0:52.36.0(00000)
1-0:72.36.0(00000)
0-0:96.13.0()
1-0:32.7.0(230.1*V)
1-0:52.7.0(229.8*V)
1-0:72.7.0(231.4*V)
1-0:31.7.0(000*A)
1-0:51.7.0(001*A)
1-0:71.7.0(012*A)
1-0:21.7.0(00.070*kW)
1-0:41.7.0(00.032*kW)
1-0:61.7.0(00.142*kW)
1-0:22.7.0(00.000*kW)
1-0:42.7.0(00.000*kW)
1-0:62.7.0(00.000*kW)
0-1:24.1.0(003)
0-1:96.1.0(4730303030303030303030363534333231)
0-1:24.2.1(260131235500W)(00107.120*m3)
0-2:24.1.0(003)
0-2:96.1.0()
!`)

// dsmr2 is a telegram without CRC, in the form of DSMR 2.2.
var dsmr2 = crlfed(`/TST5 SIM-OLD

0-0:96.1.1(53494D30303031)
1-0:1.8.1(00012.345*kWh)
0-0:96.14.0(0001)
0-1:24.1.0(3)
0-1:96.1.0(53494D30303032)
0-1:24.3.0(161107190000)(00)(60)(1)(0-1:24.2.1)(m3)
(00001.001)
0-1:24.4.0(1)
!
`)

// crlfed is s with CR LF at its line ends.
func crlfed(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// sealed is a telegram that ends with !, with CR LF at its line ends and its CRC
// behind it.
func sealed(s string) string {
	s = crlfed(s)
	return fmt.Sprintf("%s%04X\r\n", s, wire.ARC.Update(0, []byte(s)))
}

// cipheredFrame is a ciphered telegram with a made-up title and ciphertext that
// holds every mark of a plain one.
var cipheredFrame = "\xdb\x08SIM\x01\x02\x03\x04\x05" + "\x34" + "\x30" + "\x00\x00\x00\x01" +
	"\n/ISk5\r\n\r\n!1234\r\n\xdb\x08/x\r\n1-0:1.8.0(1)" + "tagtagtagtag"

// shiftedTelegram is dsmr2 as a 7E1 meter sends it, on an 8N1 line.
func shiftedTelegram() string {
	b := []byte(dsmr2)
	for i, c := range b {
		if bits.OnesCount8(c)%2 != 0 {
			b[i] |= 0x80
		}
	}
	return string(b)
}
