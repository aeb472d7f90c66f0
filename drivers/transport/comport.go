package transport

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// The commands of COM-PORT-OPTION, as a client sends them; the converter's are
// greater by comPortAnswer: RFC 2217.
const (
	comPortBaud           = 1 // SET-BAUDRATE: four bytes, most significant first; 0 asks
	comPortSize           = 2 // SET-DATASIZE
	comPortParity         = 3 // SET-PARITY
	comPortStop           = 4 // SET-STOPSIZE
	comPortControl        = 5 // SET-CONTROL
	comPortSuspend        = 8 // FLOWCONTROL-SUSPEND
	comPortResume         = 9
	comPortLineMask       = 10 // SET-LINESTATE-MASK
	comPortModemMask      = 11
	comPortPurge          = 12 // PURGE-DATA
	comPortAnswer    byte = 100
)

// Values of SET-CONTROL and PURGE-DATA.
const (
	controlNoFlow      = 1
	controlDTROn       = 8
	controlDTROff      = 9
	controlRTSOn       = 11
	controlRTSOff      = 12
	purgeReceived byte = 1
)

// comPortRequest is a command for the converter.
type comPortRequest struct {
	code  byte
	value []byte

	query   bool // any answer is as good
	lenient bool // neither an answer is awaited nor another value minded
}

// appendTo appends the request as Telnet carries it.
func (r comPortRequest) appendTo(dst []byte) []byte {
	return appendComPort(dst, append([]byte{r.code}, r.value...)...)
}

// answeredBy says whether an answer is to this request. SET-CONTROL has one code
// for things that have nothing to do with each other.
func (r comPortRequest) answeredBy(code byte, value []byte) bool {
	if code != r.code+comPortAnswer {
		return false
	}
	return r.code != comPortControl || len(value) == 1 && controlGroup(value[0]) == controlGroup(r.value[0])
}

// controlGroup is the first value of SET-CONTROL about the same thing.
//
//	0…3, 17…19 flow control   4…6 break   7…9 DTR   10…12 RTS   13…16, 20 inbound flow control
func controlGroup(value byte) byte {
	switch {
	case value <= 3 || value >= 17 && value <= 19:
		return 0
	case value <= 6:
		return 4
	case value <= 9:
		return 7
	case value <= 12:
		return 10
	}
	return 13
}

// judge is nil for an answer that is as good as it must be.
func (r comPortRequest) judge(value []byte) error {
	if r.query || r.lenient || bytes.Equal(value, r.value) {
		return nil
	}
	return drivers.WithHint(fmt.Errorf("asked for %s, the converter has set %s", r.describe(r.value), r.describe(value)),
		"it cannot do that, or its own settings forbid it: ask for what it can, or set it there and use tcp://")
}

// describe is the request with one of its values, for people.
func (r comPortRequest) describe(value []byte) string {
	if r.code == comPortBaud && len(value) == 4 {
		return fmt.Sprintf("%d baud", binary.BigEndian.Uint32(value))
	}
	if len(value) != 1 {
		return fmt.Sprintf("%s %.8x", r.name(), value)
	}
	return r.describeByte(value[0])
}

func (r comPortRequest) describeByte(b byte) string {
	words := map[[2]byte]string{
		{comPortParity, 1}: "no parity", {comPortParity, 2}: "odd parity", {comPortParity, 3}: "even parity",
		{comPortControl, controlDTROn}: "dtr=on", {comPortControl, controlDTROff}: "dtr=off",
		{comPortControl, controlRTSOn}: "rts=on", {comPortControl, controlRTSOff}: "rts=off",
	}
	if word, ok := words[[2]byte{r.code, b}]; ok {
		return word
	}
	return fmt.Sprintf("%s %d", r.name(), b)
}

func (r comPortRequest) name() string {
	switch r.code {
	case comPortBaud:
		return "baud rate"
	case comPortSize:
		return "data bits"
	case comPortParity:
		return "parity"
	case comPortStop:
		return "stop bits"
	case comPortPurge:
		return "purge"
	}
	return "control"
}

// modeRequests set speed and frame.
func modeRequests(m drivers.Mode) []comPortRequest {
	parity := map[drivers.Parity]byte{drivers.NoParity: 1, drivers.OddParity: 2, drivers.EvenParity: 3}[m.Parity]
	return []comPortRequest{
		{code: comPortBaud, value: binary.BigEndian.AppendUint32(nil, uint32(m.Baud))},
		{code: comPortSize, value: []byte{m.Bits}},
		{code: comPortParity, value: []byte{parity}},
		{code: comPortStop, value: []byte{m.Stop}},
	}
}

// controlRequests switch flow control off, set the modem lines and ask to be
// spared what happens on them. Not every converter answers these, so only a
// modem line that was asked for is insisted on.
func controlRequests(p Port) []comPortRequest {
	return []comPortRequest{
		{code: comPortControl, value: []byte{controlNoFlow}, lenient: true},
		signalRequest(p.DTR, controlDTROn, controlDTROff),
		signalRequest(p.RTS, controlRTSOn, controlRTSOff),
		{code: comPortLineMask, value: []byte{0}, lenient: true},
		{code: comPortModemMask, value: []byte{0}, lenient: true},
	}
}

func signalRequest(s Signal, on, off byte) comPortRequest {
	r := comPortRequest{code: comPortControl, value: []byte{on}, lenient: s == Raised}
	if s == Off {
		r.value[0] = off
	}
	return r
}
