package routeb

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strings"
)

// Channels of SKSTACK; its names for 922.5 MHz and every 0.2 MHz up.
const (
	firstChannel = 0x21
	lastChannel  = 0x3C
)

// PAN is a network that a scan found, or that was joined before.
type PAN struct {
	Channel byte   `json:"channel"` // as SKSTACK counts them
	ID      uint16 `json:"pan"`
	MAC     uint64 `json:"mac,string"`

	Pair    string `json:"-"` // whom it is for: the last 8 characters of a Route B id; "": it does not say
	Quality int32  `json:"-"` // RSSI in thousandths of dBm
	side    int8
	fields  uint8 // how many of the necessary ones came
}

// panFields is how many fields tell a PAN: channel, PAN ID and address.
const panFields = 3

// learn takes a line of an EPANDESC block. false: it is none, or its value is
// unreadable.
func (p *PAN) learn(line []byte) bool {
	name, value, ok := bytes.Cut(bytes.TrimSpace(line), []byte(":"))
	if !ok {
		return false
	}
	if string(name) == "PairID" {
		p.Pair = string(value)
		return len(value) == 8
	}
	n, ok := number(value)
	if !ok {
		return false
	}
	switch string(name) {
	case "Channel":
		p.Channel = byte(n)
		p.fields++
		return n >= firstChannel && n <= lastChannel
	case "Pan ID":
		p.ID = uint16(n)
		p.fields++
		return len(value) == 4
	case "Addr":
		p.MAC = n
		p.fields++
		return len(value) == 16
	case "LQI":
		p.Quality = rssi(n)
	case "Side":
		p.side = int8(n)
	}
	return true
}

// whole says whether all came that it takes to join.
func (p *PAN) whole() bool { return p.fields == panFields && p.side == 0 }

// foundPANs collects the EPANDESC blocks of a scan.
type foundPANs struct {
	all  []PAN
	open bool // the lines of a block are coming
}

// take takes a line of a module's output. A field that is unreadable makes its PAN
// useless.
func (f *foundPANs) take(line []byte) {
	if string(line) == "EPANDESC" {
		f.all, f.open = append(f.all, PAN{}), true
		return
	}
	if len(line) == 0 || line[0] != ' ' {
		f.open = false
		return
	}
	if last := len(f.all) - 1; f.open && !f.all[last].learn(line) {
		f.all[last].side = -1
	}
}

// whole are the PANs of which all came that it takes to join.
func (f *foundPANs) whole() (whole []PAN) {
	for _, p := range f.all {
		if p.whole() {
			whole = append(whole, p)
		}
	}
	return whole
}

// choose is the PAN of a Route B id: one that says it is, else the best heard of
// those that do not say whose they are.
func choose(pans []PAN, id string) (PAN, bool) {
	pair := id[len(id)-8:]
	mine := slices.DeleteFunc(slices.Clone(pans), func(p PAN) bool {
		return p.Pair != "" && !strings.EqualFold(p.Pair, pair)
	})
	if len(mine) == 0 {
		return PAN{}, false
	}
	return slices.MaxFunc(mine, func(a, b PAN) int {
		return cmp.Or(cmp.Compare(len(a.Pair), len(b.Pair)), cmp.Compare(a.Quality, b.Quality))
	}), true
}

// remember is a PAN as it is kept over a restart. None of it is a secret.
func (p *PAN) remember() string {
	b, err := json.Marshal(p)
	if err != nil {
		return ""
	}
	return string(b)
}

// recall is what remember made. Anything else is nothing.
func recall(text string) *PAN {
	p := new(PAN)
	if json.Unmarshal([]byte(text), p) != nil || p.Channel < firstChannel || p.Channel > lastChannel || p.MAC == 0 {
		return nil
	}
	return p
}
