package drivers

import (
	"strconv"

	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// Keyer names the values of one meter's readings: by their code, or by their
// name and what tells them apart. It remembers the names it made, so that a
// steady stream of telegrams costs no allocation; its memory is bounded.
type Keyer struct {
	names map[keyOf]string // nil until a reading was another one than the one before
	seen  map[keyOf]int    // of the reading at hand, once it differs from the last

	// Meters keep their layout: as long as a reading shows the codes and names of the
	// last one, in their order, its values have the same keys.
	last    []keyed
	at      int  // how many of them have come
	strayed bool // the reading is another one, or goes on where last ends
	before  bool // an earlier reading strayed too
}

// keyed is what a value without a Record was named. One without a code is here if its
// key is its name.
type keyed struct {
	code    obis.Code
	twice   bool
	channel uint8 // of one without a code
	key     string
}

// names says whether v is named as the value was that stood here.
func (e *keyed) names(v *Value) bool {
	return e.code == v.Code && (!e.code.IsZero() || e.key == v.Name && e.channel == v.Channel)
}

// of is what it was counted as.
func (e *keyed) of() keyOf {
	if e.code.IsZero() {
		return keyOf{name: e.key, channel: e.channel}
	}
	return keyOf{code: e.code}
}

// keyOf is what a key is made of.
type keyOf struct {
	code    obis.Code
	name    string
	record  Record
	channel uint8
	nth     uint16
}

// maxKeys bounds what a meter that invents names can make a Keyer remember.
const maxKeys = 4096

// Begin starts a reading: which codes it has shown so far is forgotten.
func (k *Keyer) Begin() {
	if !k.strayed {
		k.seen = nil // most meters never need it again
	}
	clear(k.seen)
	k.before = k.before || k.strayed
	k.at, k.strayed = 0, false
}

// Key names the next value of the reading, in wire order: the first value with a
// code gets that code; a later one is named like a value without a code if it
// has a Record (M-Bus), else CODE#2, CODE#3. twice says that its code had come
// before.
func (k *Keyer) Key(v *Value) (key string, twice bool) {
	plain := v.Record == nil
	if !k.strayed {
		if plain && k.at < len(k.last) && k.last[k.at].names(v) {
			k.at++
			return k.last[k.at-1].key, k.last[k.at-1].twice
		}
		k.stray()
	}
	key, twice = k.find(v)
	if plain && k.at == len(k.last) && k.at < maxKeys && (!v.Code.IsZero() || key == v.Name) {
		k.last = append(k.last, keyed{v.Code, twice, v.Channel, key})
		k.at++
	} else {
		k.at = -1 // what follows has no fixed place
	}
	return key, twice
}

// stray leaves the way of the last reading: from here on codes are counted.
func (k *Keyer) stray() {
	k.strayed, k.last = true, k.last[:k.at]
	if k.seen == nil {
		k.seen = map[keyOf]int{}
	}
	for i := range k.last {
		k.seen[k.last[i].of()]++
	}
}

// find names a value by what the reading has shown before.
func (k *Keyer) find(v *Value) (key string, twice bool) {
	of := keyOf{code: v.Code}
	if v.Code.IsZero() {
		of = nameOf(v)
	}
	n := k.count(of)
	if n > 1 && !v.Code.IsZero() {
		twice = true
		if v.Record != nil {
			of = nameOf(v)
			n = k.count(of)
		}
	}
	of.nth = uint16(min(n, 65535))
	if name, ok := k.names[of]; ok {
		return name, twice
	}
	name := of.text()
	if !k.before {
		return name, twice // most meters never ask again: last has it
	}
	if k.names == nil {
		k.names = map[keyOf]string{}
	}
	if len(k.names) < maxKeys {
		k.names[of] = name
	}
	return name, twice
}

func nameOf(v *Value) keyOf {
	of := keyOf{name: v.Name, channel: v.Channel}
	if v.Record != nil {
		of.record = *v.Record
	}
	return of
}

func (k *Keyer) count(of keyOf) int {
	if len(k.seen) >= maxKeys {
		return 1
	}
	k.seen[of]++
	return k.seen[of]
}

// text is the key: code or name, then @ and the non-zero coordinates, then # and
// the count if it is not the first.
func (of keyOf) text() string {
	b := make([]byte, 0, 32)
	if of.name == "" {
		b = of.code.AppendTo(b)
	} else {
		b = append(b, of.name...)
		b = of.record.appendTo(b)
	}
	if of.nth > 1 {
		b = append(b, '#')
		b = strconv.AppendUint(b, uint64(of.nth), 10)
	}
	return string(b)
}

// appendTo writes the coordinates as in @s1t2u1fmax, nothing if all are zero.
func (r Record) appendTo(b []byte) []byte {
	if r == (Record{}) {
		return b
	}
	b = append(b, '@')
	for _, part := range [...]struct {
		letter byte
		n      uint64
	}{{'s', r.Storage}, {'t', uint64(r.Tariff)}, {'u', uint64(r.Subunit)}} {
		if part.n != 0 {
			b = append(b, part.letter)
			b = strconv.AppendUint(b, part.n, 10)
		}
	}
	if r.Function != Instantaneous {
		b = append(b, 'f')
		b = append(b, r.Function.String()...)
	}
	return b
}
