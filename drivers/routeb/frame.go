package routeb

import (
	"encoding/binary"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Object is an ECHONET object: class group, class, instance.
type Object uint32

// The objects of Route B.
const (
	Controller  Object = 0x05FF01 // we
	Meter       Object = 0x028801 // the low-voltage smart electric energy meter
	NodeProfile Object = 0x0EF001
)

// class is the object without its instance.
func (o Object) class() Object { return o &^ 0xFF }

// Service is ECHONET Lite's ESV.
type Service byte

// The services: requests, answers, refusals (part of which may have succeeded).
const (
	SetI        Service = 0x60 // no answer is wanted
	SetC        Service = 0x61
	Get         Service = 0x62
	InfReq      Service = 0x63
	SetGet      Service = 0x6E
	SetRes      Service = 0x71
	GetRes      Service = 0x72
	Inf         Service = 0x73 // a notification
	InfC        Service = 0x74 // a notification that wants InfCRes
	InfCRes     Service = 0x7A
	SetGetRes   Service = 0x7E
	SetISNA     Service = 0x50
	SetCSNA     Service = 0x51
	GetSNA      Service = 0x52
	InfSNA      Service = 0x53
	SetGetSNA   Service = 0x5E
	frameHead           = 12 // bytes before the first property
	maxProperty         = 64 // of a frame; a meter has about 40
)

// known says whether there is such a service.
func (s Service) known() bool {
	switch s {
	case SetI, SetC, Get, InfReq, SetGet, SetRes, GetRes, Inf, InfC, InfCRes, SetGetRes,
		SetISNA, SetCSNA, GetSNA, InfSNA, SetGetSNA:
		return true
	}
	return false
}

// answers says whether s answers a request, and whether it refuses part of it.
func (s Service) answers(request Service) (answer, refusal bool) {
	if s == request-0x10 {
		return true, true
	}
	return s == request+0x10, false
}

// twoLists says whether the frame carries what was set and what was got.
func (s Service) twoLists() bool { return s&0xF == SetGet&0xF }

// Property is a code and its data.
type Property struct {
	EPC byte
	EDT []byte
}

// Frame is an ECHONET Lite message in format 1.
type Frame struct {
	TID        uint16
	Source     Object
	Sink       Object
	Service    Service
	Properties []Property
	Gets       []Property // of SetGet and its answers, the second list
}

// measure is the length of the frame that b begins with.
func measure(b []byte) (int, verdict) {
	if len(b) > 10 && !Service(b[10]).known() {
		return 0, no
	}
	if len(b) < frameHead {
		return 0, more
	}
	lists := 1
	if Service(b[10]).twoLists() {
		lists = 2
	}
	at := frameHead - 1
	for range lists {
		if at >= len(b) {
			return 0, more
		}
		n := int(b[at])
		at++
		for range n {
			if at+1 >= len(b) {
				return 0, more
			}
			at += 2 + int(b[at+1])
		}
	}
	if at > len(b) {
		return 0, more
	}
	return at, yes
}

// Parse reads a frame whose properties refer to b. Bytes behind the last property
// are tolerated. On an error it names the field and its place.
func (f *Frame) Parse(b []byte) (field string, at int, err error) {
	switch {
	case len(b) < frameHead:
		return "header", len(b), drivers.ErrShort
	case b[0] != bareMark[0] || b[1] != bareMark[1]:
		return "EHD", 0, drivers.ErrSyntax
	case !Service(b[10]).known():
		return "ESV", 10, drivers.ErrSyntax
	}
	f.TID = binary.BigEndian.Uint16(b[2:])
	f.Source, f.Sink, f.Service = object(b[4:]), object(b[7:]), Service(b[10])
	f.Properties, f.Gets = f.Properties[:0], f.Gets[:0]
	f.Properties, at, err = parseList(f.Properties, b, frameHead-1)
	if err == nil && f.Service.twoLists() {
		f.Gets, at, err = parseList(f.Gets, b, at)
	}
	if err != nil {
		return "property", at, err
	}
	return "", 0, nil
}

func object(b []byte) Object { return Object(b[0])<<16 | Object(b[1])<<8 | Object(b[2]) }

// parseList reads a list of properties with its count.
func parseList(list []Property, b []byte, at int) ([]Property, int, error) {
	if at >= len(b) {
		return list, at, drivers.ErrShort
	}
	n := int(b[at])
	if n > maxProperty {
		return list, at, drivers.ErrLong
	}
	at++
	for range n {
		if at+2 > len(b) || at+2+int(b[at+1]) > len(b) {
			return list, at, drivers.ErrShort
		}
		end := at + 2 + int(b[at+1])
		list = append(list, Property{b[at], b[at+2 : end : end]})
		at = end
	}
	return list, at, nil
}

// AppendTo appends the frame. Properties without data are those that are asked for,
// or accepted.
func (f *Frame) AppendTo(b []byte) []byte {
	b = append(b, bareMark...)
	b = binary.BigEndian.AppendUint16(b, f.TID)
	for _, o := range [...]Object{f.Source, f.Sink} {
		b = append(b, byte(o>>16), byte(o>>8), byte(o))
	}
	b = append(b, byte(f.Service))
	b = appendList(b, f.Properties)
	if f.Service.twoLists() {
		b = appendList(b, f.Gets)
	}
	return b
}

func appendList(b []byte, list []Property) []byte {
	b = append(b, byte(len(list)))
	for _, p := range list {
		b = append(b, p.EPC, byte(len(p.EDT)))
		b = append(b, p.EDT...)
	}
	return b
}

// reply is what a notification wants to be answered with; false: nothing.
func (f *Frame) reply() (Frame, bool) {
	if f.Service != InfC {
		return Frame{}, false
	}
	r := Frame{TID: f.TID, Source: Controller, Sink: f.Source, Service: InfCRes}
	for _, p := range f.Properties {
		r.Properties = append(r.Properties, Property{EPC: p.EPC})
	}
	return r, true
}
