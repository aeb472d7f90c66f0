package transport

import (
	"bytes"
	"errors"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Telnet's commands, which follow an IAC: RFC 854.
const (
	telnetSE   = 240 // ends a sub-negotiation
	telnetSB   = 250 // begins one
	telnetWill = 251
	telnetWont = 252
	telnetDo   = 253
	telnetDont = 254
	telnetIAC  = 255 // begins a command; twice, it is a byte of data
)

// Telnet's options that matter here.
const (
	optionBinary  = 0  // RFC 856
	optionGoAhead = 3  // suppress it: RFC 858
	optionComPort = 44 // RFC 2217
)

// maxSubnegotiation bounds what lies between SB and SE. The longest that means
// anything here has six bytes; a longer one is skipped.
const maxSubnegotiation = 256

// telnetCommand is what a Telnet peer says beside its data.
//
//	IAC verb option                verb: WILL, WONT, DO or DONT
//	IAC SB option value… IAC SE    verb: SB
type telnetCommand struct {
	verb, option byte
	value        []byte // SB only, IAC undoubled; valid during the call
}

// telnetState is where in the stream a telnetDecoder stands.
type telnetState byte

const (
	telnetData      telnetState = iota
	telnetEscaped               // behind IAC
	telnetVerb                  // behind IAC WILL, WONT, DO or DONT
	telnetSub                   // behind IAC SB
	telnetSubEscape             // behind an IAC in there
)

// telnetDecoder takes a Telnet stream apart, however it is cut. Data is taken as
// in binary transmission: CR is a byte like any other.
type telnetDecoder struct {
	state telnetState
	verb  byte
	sub   []byte
	long  bool // sub is not all of it
}

// decode calls data and command in the order of the stream. data gets parts of
// p. Commands without an option, such as NOP, are skipped.
func (d *telnetDecoder) decode(p []byte, data func([]byte), command func(telnetCommand)) {
	for len(p) > 0 {
		if d.state != telnetData {
			d.step(p[:1], data, command)
			p = p[1:]
			continue
		}
		n := bytes.IndexByte(p, telnetIAC)
		if n < 0 {
			data(p)
			return
		}
		if n > 0 {
			data(p[:n])
		}
		d.state, p = telnetEscaped, p[n+1:]
	}
}

// step takes one byte that is not plain data.
func (d *telnetDecoder) step(p []byte, data func([]byte), command func(telnetCommand)) {
	switch b := p[0]; d.state {
	case telnetEscaped:
		d.interpret(p, data)
	case telnetVerb:
		d.state = telnetData
		command(telnetCommand{verb: d.verb, option: b})
	case telnetSub:
		if b == telnetIAC {
			d.state = telnetSubEscape
			return
		}
		d.keep(b)
	case telnetSubEscape:
		d.unescape(p, data, command)
	default: // plain data: decode has it
	}
}

// interpret takes the byte behind an IAC.
func (d *telnetDecoder) interpret(p []byte, data func([]byte)) {
	d.state = telnetData
	switch b := p[0]; b {
	case telnetIAC:
		data(p)
	case telnetWill, telnetWont, telnetDo, telnetDont:
		d.state, d.verb = telnetVerb, b
	case telnetSB:
		d.state, d.sub, d.long = telnetSub, d.sub[:0], false
	}
}

// unescape takes the byte behind an IAC in a sub-negotiation. Any other command
// than SE breaks it off and counts as what it is.
func (d *telnetDecoder) unescape(p []byte, data func([]byte), command func(telnetCommand)) {
	switch p[0] {
	case telnetIAC:
		d.state = telnetSub
		d.keep(telnetIAC)
	case telnetSE:
		d.state = telnetData
		if len(d.sub) > 0 && !d.long {
			command(telnetCommand{verb: telnetSB, option: d.sub[0], value: d.sub[1:]})
		}
	default:
		d.interpret(p, data)
	}
}

func (d *telnetDecoder) keep(b byte) {
	if len(d.sub) == maxSubnegotiation {
		d.long = true
		return
	}
	d.sub = append(d.sub, b)
}

// appendEscaped appends data as Telnet carries it in binary transmission.
func appendEscaped(dst, p []byte) []byte {
	for _, b := range p {
		if b == telnetIAC {
			dst = append(dst, telnetIAC)
		}
		dst = append(dst, b)
	}
	return dst
}

// appendComPort appends a sub-negotiation of COM-PORT-OPTION.
func appendComPort(dst []byte, value ...byte) []byte {
	dst = append(dst, telnetIAC, telnetSB, optionComPort)
	dst = appendEscaped(dst, value)
	return append(dst, telnetIAC, telnetSE)
}

// optionState is how far one side's option has been negotiated.
type optionState byte

const (
	optionOff optionState = iota
	optionAsked
	optionOn
	optionRefused // by the peer
)

// telnetOptions negotiates as RFC 1143 says: it answers what changes something
// and what is out of the question, so two of its kind never circle.
type telnetOptions struct {
	ours, theirs [256]optionState
}

// ask is what to send first: binary transmission and no go-ahead in both
// directions, and that we are the client of RFC 2217. The peer may have spoken
// first: what it has offered or refused by then is not asked for.
func (o *telnetOptions) ask() (first []byte) {
	for _, option := range []byte{optionComPort, optionBinary, optionGoAhead} {
		first = want(first, &o.ours[option], option, telnetWill)
	}
	for _, option := range []byte{optionBinary, optionGoAhead} {
		first = want(first, &o.theirs[option], option, telnetDo)
	}
	return first
}

func want(dst []byte, s *optionState, option, verb byte) []byte {
	if *s != optionOff {
		return dst
	}
	*s = optionAsked
	return append(dst, telnetIAC, verb, option)
}

// hear takes WILL, WONT, DO or DONT and appends the answer, if it needs one.
func (o *telnetOptions) hear(dst []byte, c telnetCommand) []byte {
	switch c.verb {
	case telnetDo:
		return offered(dst, &o.ours[c.option], c.option, telnetWill, telnetWont)
	case telnetDont:
		return refused(dst, &o.ours[c.option], c.option, telnetWont)
	case telnetWill:
		return offered(dst, &o.theirs[c.option], c.option, telnetDo, telnetDont)
	case telnetWont:
		return refused(dst, &o.theirs[c.option], c.option, telnetDont)
	}
	return dst
}

// offered takes DO or WILL.
func offered(dst []byte, s *optionState, option, yes, no byte) []byte {
	was := *s
	switch {
	case option != optionBinary && option != optionGoAhead && option != optionComPort:
		return append(dst, telnetIAC, no, option)
	case was == optionOn:
		return dst
	}
	*s = optionOn
	if was == optionAsked {
		return dst
	}
	return append(dst, telnetIAC, yes, option)
}

// refused takes DONT or WONT.
func refused(dst []byte, s *optionState, option, no byte) []byte {
	was := *s
	if was == optionOff {
		return dst
	}
	*s = optionRefused
	if was == optionOn {
		return append(dst, telnetIAC, no, option)
	}
	return dst
}

// settled says whether all that RFC 2217 needs is agreed on.
func (o *telnetOptions) settled() bool {
	return o.ours[optionComPort] == optionOn && o.ours[optionBinary] == optionOn && o.theirs[optionBinary] == optionOn
}

// refusal is what the peer refuses of that, or nil. A peer may take back later
// what it had agreed to.
func (o *telnetOptions) refusal() error {
	if o.ours[optionComPort] == optionRefused {
		return drivers.WithHint(errors.New("the converter refuses to be set: no COM-PORT-OPTION"), noRFC2217)
	}
	if o.ours[optionBinary] == optionRefused || o.theirs[optionBinary] == optionRefused {
		return drivers.WithHint(errors.New("the converter refuses binary transmission"), noRFC2217)
	}
	return nil
}
