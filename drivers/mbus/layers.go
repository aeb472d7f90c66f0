package mbus

import (
	"encoding/binary"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// CI-fields of the layers below the application: EN 13757-4:2019, 13.2, and
// EN 13757-7:2018, 6.
const (
	ciExtended8C = 0x8C // CC, access number
	ciExtended8D = 0x8D // the same, session number 4, payload CRC 2
	ciExtended8E = 0x8E // CC, access number, manufacturer 2, address 6
	ciExtended8F = 0x8F // the same, session number 4, payload CRC 2
	ciAuth       = 0x90 // authentication and fragmentation
	ciNetwork    = 0x81 // one byte
)

// CI-fields of the application that only wireless telegrams have.
const (
	ciCompact      = 0x79 // without header
	ciCompactShort = 0x7B
	ciCompactLong  = 0x73
	ciMakerFirst   = 0xA0 // to B7: the manufacturer's own
	ciMakerLast    = 0xB7
)

// layers is a wireless telegram without CRCs, taken apart from the outside in.
type layers struct {
	b       []byte // all of it
	at      int    // what is not yet read
	link    [8]byte
	sender  [8]byte // of the extended link layer, else link's
	named   bool    // the extended link layer named a sender
	ci      byte    // of the transport layer
	ciAt    int
	cc      byte // communication control
	session []byte
	payload int  // where its payload CRC stands; 0: it has none
	sealed  bool // its payload CRC fits
	auth    authentication
	header  header
	data    int  // where it begins to be of the application's own; 0: that was not reached
	extra   byte // the third byte of the configuration, mode 7
	flaw    flaw // the one that is told, so that a refused telegram costs nothing
}

// authentication is what CI 90 says.
type authentication struct {
	used    bool
	control byte // MCL
	counter []byte
	mac     []byte
}

// flaw is what is wrong with a telegram and where.
type flaw struct {
	fault
	at        int
	hint      string
	got, want uint16 // of a CRC
}

func (l *layers) short(field string) *flaw { return l.wrong(field, len(l.b), drivers.ErrShort, "") }

func (l *layers) wrong(field string, at int, err error, hint string) *flaw {
	l.flaw = flaw{fault: fault{field, err}, at: at, hint: hint}
	return &l.flaw
}

// mismatch tells of a CRC that stands, low byte first, where b begins.
func (l *layers) mismatch(field string, at int, b, over []byte) *flaw {
	f := l.wrong(field, at, drivers.ErrChecksum, "")
	f.got, f.want = binary.LittleEndian.Uint16(b), wire.CRC13757(over)
	return f
}

// take is the next n bytes, or nil.
func (l *layers) take(n int) []byte {
	if len(l.b)-l.at < n {
		return nil
	}
	l.at += n
	return l.b[l.at-n : l.at]
}

// linkAddress is the address of a link header. It has the manufacturer in front of
// the number, other headers behind.
func linkAddress(b []byte) [8]byte {
	return [8]byte{b[4], b[5], b[6], b[7], b[2], b[3], b[8], b[9]}
}

// parse reads the layers from the link to the transport header. keys decipher the
// extended link layer.
func (l *layers) parse(b []byte, k *keys) *flaw {
	*l = layers{b: b, at: linkHeader}
	l.link = linkAddress(b)
	l.sender = l.link
	for {
		ci := l.take(1)
		if ci == nil {
			return l.short("CI-field")
		}
		var f *flaw
		switch ci[0] {
		case ciExtended8C, ciExtended8D, ciExtended8E, ciExtended8F:
			f = l.extended(ci[0], k)
		case ciAuth:
			f = l.authenticated()
		case ciNetwork:
			if l.take(1) == nil {
				f = l.short("network layer")
			}
		default:
			l.ci, l.ciAt = ci[0], l.at-1
			return l.transport()
		}
		if f != nil {
			return f
		}
	}
}

// extended reads the extended link layer, and deciphers what follows it.
func (l *layers) extended(ci byte, k *keys) *flaw {
	head := l.take(2)
	if head == nil {
		return l.short("extended link layer")
	}
	l.cc = head[0]
	if ci == ciExtended8E || ci == ciExtended8F {
		who := l.take(8)
		if who == nil {
			return l.short("extended link layer")
		}
		l.sender = [8]byte{who[2], who[3], who[4], who[5], who[0], who[1], who[6], who[7]}
		l.named = true
	}
	if ci == ciExtended8C || ci == ciExtended8E {
		return nil
	}
	if l.session = l.take(4); l.session == nil || len(l.b)-l.at < crcLength {
		return l.short("extended link layer")
	}
	return l.open(k)
}

// sessionCTR is AES-128-CTR, in bits 31 to 29 of the session number.
const sessionCTR = 1

// enciphered says whether what follows the session number is.
func (l *layers) enciphered() bool { return l.session[3]>>5 == sessionCTR }

// open deciphers all behind the session number, and checks its CRC.
func (l *layers) open(k *keys) *flaw {
	l.payload = l.at
	rest := l.b[l.at:]
	enciphered := l.enciphered()
	plain := payloadFits(rest)
	switch {
	case enciphered && k.set() && !plain:
		k.counter(l, rest)
		if !payloadFits(rest) {
			return l.wrong("payload CRC", l.at, drivers.ErrAuth, wrongKey)
		}
		k.used = true
	case enciphered && !plain:
		return l.wrong("enciphered payload", l.at, drivers.ErrAuth, missingKey)
	case !plain:
		return l.mismatch("payload CRC", l.at, rest, rest[crcLength:])
	}
	l.sealed = true
	l.at += crcLength
	return nil
}

// payloadFits says whether the two bytes that b begins with, low byte first, are
// the CRC of the rest.
func payloadFits(b []byte) bool {
	return binary.LittleEndian.Uint16(b) == wire.CRC13757(b[crcLength:])
}

// Bits of the fragmentation control field, EN 13757-7, 6.3.
const (
	fcMore    = 0x4000
	fcControl = 0x2000
	fcLength  = 0x1000
	fcCounter = 0x0800
	fcMAC     = 0x0400
	fcKey     = 0x0200
)

// macLength is how long a MAC of each type is; 0: reserved. Type 8 is a GMAC,
// which nothing here can check.
var macLength = [16]int{3: 2, 4: 4, 5: 8, 6: 12, 7: 16, 8: 12}

// authenticated reads CI 90.
func (l *layers) authenticated() *flaw {
	head := l.take(3)
	if head == nil {
		return l.short("authentication layer")
	}
	end := l.at + int(head[0]) - 2
	fc := binary.LittleEndian.Uint16(head[1:])
	if fc&fcMore != 0 {
		return l.wrong("fragmentation", l.at-2, drivers.ErrSyntax, "telegrams in several fragments are not read")
	}
	l.auth.used = true
	for _, part := range [...]struct {
		bit  uint16
		read func() bool
	}{
		{fcControl, func() bool {
			b := l.take(1)
			if b != nil {
				l.auth.control = b[0]
			}
			return b != nil
		}},
		{fcKey, func() bool { return l.take(2) != nil }},
		{fcCounter, func() bool { l.auth.counter = l.take(4); return l.auth.counter != nil }},
		{fcMAC, func() bool { l.auth.mac = l.take(macLength[l.auth.control&0x0F]); return l.auth.mac != nil }},
		{fcLength, func() bool { return l.take(2) != nil }},
	} {
		if fc&part.bit != 0 && !part.read() {
			return l.short("authentication layer")
		}
	}
	if l.at != end {
		return l.wrong("authentication layer", l.at, drivers.ErrSyntax, "")
	}
	return nil
}

// transport reads the header of the application.
func (l *layers) transport() *flaw {
	switch l.ci {
	case ciLong, ciCompactLong, ciErrorLong, ciAlarmLong:
		b := l.take(longHeader)
		if b == nil {
			return l.short("header")
		}
		l.header.parseLong(b)
	case ciShort, ciCompactShort, ciErrorShort, ciAlarmShort:
		b := l.take(shortHeader)
		if b == nil {
			return l.short("header")
		}
		l.header.parseShort(b)
	}
	if !l.header.named {
		l.header.meter = l.sender
	}
	if l.header.sized && l.header.mode() == modeCBCDynamic {
		b := l.take(1)
		if b == nil {
			return l.short("header")
		}
		l.extra = b[0]
	}
	return nil
}
