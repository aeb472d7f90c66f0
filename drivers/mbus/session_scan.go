package mbus

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// The ways of a search.
const (
	wayPrimary   = "primary"
	waySecondary = "secondary"
)

var ways = [...]string{waySecondary, wayPrimary}

// search is a search of a line under way.
type search struct {
	bus    *bus
	config *Config
	to     drivers.Search
	place

	path    string // of the resumed search, until it is reached again; "": reached
	share   [2]int // which part of all is under way, of how many
	probes  int
	count   int
	babbles bool     // the line says something when nobody is asked
	makers  []uint16 // of the meters so far
	streak  int      // selections in a row that several seemed to answer
}

// place is where a search is: what another day needs to go on.
type place struct {
	Part     int      `json:"part"`               // index of speed and way
	Next     string   `json:"next"`               // what is asked next: digits, or a primary address
	Restless bool     `json:"restless,omitempty"` // the line has shown noise, a loss or a retry
	Silent   []string `json:"silent,omitempty"`   // where nobody answered while the line was not known to be restless
	Again    bool     `json:"again,omitempty"`    // Silent is being asked once more
	Suspects []string `json:"suspects,omitempty"` // prefixes that several answered to

	// Known are the meters so far, each with the fabrication numbers that it was told
	// with.
	Known map[Address][]string `json:"known,omitempty"`
}

// check looks at a state that came from somewhere.
func (p *place) check() error {
	for _, prefix := range append(append([]string{p.Next}, p.Silent...), p.Suspects...) {
		if len(prefix) > idDigits || strings.Trim(prefix, decimals+hexas+"F") != "" {
			return fmt.Errorf("%.20q is no place of a search", prefix)
		}
	}
	if p.Part < 0 {
		return fmt.Errorf("part %d", p.Part)
	}
	return nil
}

// scan looks for meters. Options of the configuration that say how to talk (wake,
// timeout, pause, retries) count; secondary narrows the search to what fits it.
func scan(ctx context.Context, line drivers.Line, c drivers.Config, to drivers.Search) error {
	config, ok := c.(*Config)
	if !ok {
		return fmt.Errorf("configuration of another driver: %T", c)
	}
	s := &search{config: config, to: to}
	if to.Resume != "" {
		if err := json.Unmarshal([]byte(to.Resume), &s.place); err != nil {
			return fmt.Errorf("%w: the state to resume a search from: %w", drivers.ErrValue, err)
		}
		if err := s.check(); err != nil {
			return fmt.Errorf("%w: the state to resume a search from: %w", drivers.ErrValue, err)
		}
		s.path = s.Next
	}
	if s.Known == nil {
		s.Known = map[Address][]string{}
	}
	for meter := range s.Known {
		s.remember(meter)
	}
	wanted := to.Ways
	if len(wanted) == 0 {
		wanted = ways[:]
	}
	bauds := to.Bauds
	if len(bauds) == 0 {
		bauds = []int{config.Baud}
	}
	parts := len(wanted) * len(bauds)
	for part := s.Part; part < parts; part++ {
		s.share = [2]int{part, parts}
		if part != s.Part {
			s.place = place{Part: part, Known: s.Known}
		}
		if err := s.part(ctx, line, wanted[part%len(wanted)], bauds[part/len(wanted)]); err != nil {
			return err
		}
	}
	return nil
}

// part searches at one speed in one way.
func (s *search) part(ctx context.Context, line drivers.Line, way string, baud int) error {
	s.bus = newBus(line, paceOf(s.config, line, baud))
	defer drivers.WakeOnEnd(ctx, s.bus.line)()
	giveBack, err := s.bus.lend()
	if err != nil && (len(s.to.Bauds) > 1 || !errors.Is(err, errors.ErrUnsupported)) {
		return err
	}
	defer giveBack()
	if err := s.bus.wake(ctx, s.config.Wake); err != nil {
		return err
	}
	switch way {
	case wayPrimary:
		return s.primary(ctx)
	case waySecondary:
		return s.secondary(ctx)
	}
	return fmt.Errorf("%.20q is no way to search M-Bus: want %s", way, strings.Join(ways[:], " or "))
}

// step tells where the search is.
func (s *search) step(next, at string, done float64) error {
	s.Next = next
	if s.to.Progress == nil {
		return s.yield()
	}
	state, err := json.Marshal(s.place)
	if err != nil {
		return err
	}
	s.to.Progress(drivers.Progress{
		Done:   (float64(s.share[0]) + done) / float64(s.share[1]),
		Probes: s.probes, Found: s.count,
		At:    at + " at " + strconv.Itoa(s.bus.baud) + " baud",
		State: string(state),
	})
	return s.yield()
}

// yield lets others use the line, at its own speed.
func (s *search) yield() error {
	if s.to.Yield == nil {
		return nil
	}
	_, ports := portOf(s.bus.line)
	away := s.bus.speed
	if err := s.bus.turnTo(cmp.Or(ports, usualBaud)); err != nil {
		return err
	}
	if err := s.to.Yield(); err != nil {
		return err
	}
	return s.bus.turnTo(away)
}

func (s *search) tell(f drivers.Found) error {
	if f.Doubt == "" {
		s.count++
	}
	return s.to.Found(f)
}

// survey is a request that anybody may answer.
func (s *search) survey(ctx context.Context, request []byte) (reply, error) {
	s.probes++
	return s.bus.survey(ctx, request)
}

// primary asks each primary address for an acknowledgement, and whoever gives one
// for its name.
func (s *search) primary(ctx context.Context) error {
	first, err := strconv.ParseUint(cmp.Or(s.path, "0"), 10, 8)
	if err != nil {
		return fmt.Errorf("the state to resume a search from: %w", err)
	}
	s.path = ""
	for a := int(first); a <= int(MaxPrimary); a++ {
		if err := s.step(strconv.Itoa(a), "primary "+strconv.Itoa(a), float64(a)/float64(MaxPrimary+1)); err != nil {
			return err
		}
		if err := s.primaryAt(ctx, byte(a)); err != nil {
			return err
		}
	}
	return nil
}

func (s *search) primaryAt(ctx context.Context, a byte) error {
	got, err := s.survey(ctx, mustFrame(LinkReset(a)))
	if err == nil && got == silent {
		got, err = s.survey(ctx, mustFrame(LinkReset(a)))
	}
	if err != nil || got == silent {
		return err
	}
	acked := s.bus.acks > 0
	named, answer, err := s.named(ctx, a)
	at := []drivers.Setting{{Key: "address", Value: strconv.Itoa(int(a))}}
	switch {
	case err != nil:
		return err
	case answer == telegram && s.bus.frame.A == a:
		return s.tell(drivers.Found{Meter: named, Keys: at})
	case answer == garbled, answer == telegram:
		return s.tell(drivers.Found{Keys: at, Doubt: fmt.Sprintf("several meters share the primary address %d: find them by their secondary ones", a)})
	case acked:
		return s.tell(drivers.Found{Keys: at, Doubt: fmt.Sprintf("address %d acknowledges, and gives no data", a)})
	}
	return nil // noise
}

// named asks for the data of an address, and who sent it. What is shorter than any
// telegram is noise and told as silence.
func (s *search) named(ctx context.Context, a byte) (drivers.Identity, reply, error) {
	request := mustFrame(RequestData(a, true))
	var got reply
	for range 1 + s.config.Retries {
		var err error
		s.probes++
		if got, err = s.bus.ask(ctx, request, telegram, s.bus.first); err != nil {
			return drivers.Identity{}, got, err
		}
		if got == telegram {
			return identityOf(&s.bus.frame), got, nil
		}
		if got == garbled && len(s.bus.heard) < shortestTelegram {
			got = silent
		}
	}
	return drivers.Identity{}, got, nil
}

// shortestTelegram is a control frame.
const shortestTelegram = 9

// identityOf is who sent a frame, as far as it says.
func identityOf(f *Frame) drivers.Identity {
	d := NewDecoder(nil)
	d.Feed(f.Raw)
	d.Gap()
	var r drivers.Reading
	if d.Next(&r) == nil {
		return r.Meter
	}
	if meter, named := meterOf(f, anyone); named {
		return identity(driverName, meter)
	}
	return drivers.Identity{Driver: driverName}
}

// anyone is the secondary address that all fit.
var anyone = Address{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}

// nobody is an address that no meter has: its manufacturer is none, its medium is
// reserved.
var nobody = Address{0xAA, 0xAA, 0xAA, 0xAA, 0, 0, 0xEE, 0xEE}

// Digits of an identification number. Those above 9 are rare, and tried where
// none of the others explains an answer.
const (
	decimals = "0123456789"
	hexas    = "ABCDE"
	idDigits = 8
)

// secondary searches the tree of identification numbers, depth first: where
// several answer it looks one digit deeper.
func (s *search) secondary(ctx context.Context) error {
	err := s.settle(ctx)
	if err == nil {
		err = s.tree(ctx)
	}
	if errors.Is(err, errEndless) {
		err = s.tell(drivers.Found{Doubt: errEndless.Error()})
	}
	if err != nil {
		return err
	}
	_, err = s.survey(ctx, mustFrame(LinkReset(Selected)))
	return err
}

// mostAnswered bounds search.streak: of real meters some branches are empty.
const mostAnswered = 100

var errEndless = errors.New("something acknowledges every selection: find out who, or which noise, before a search by secondary addresses")

// tree goes over all numbers, and again over what may have been lost.
func (s *search) tree(ctx context.Context) error {
	if begin := s.prefix(); !s.Again {
		got, err := s.visit(ctx, begin)
		if err == nil && got == none {
			_, err = s.visit(ctx, begin) // all depends on this one
		}
		if err != nil {
			return err
		}
	}
	if err := s.again(ctx); err != nil {
		return err
	}
	return s.unresolved()
}

// prefix are the digits that the configuration knows before the first F.
func (s *search) prefix() string {
	digits, _, _ := strings.Cut(strings.ToUpper(s.config.Secondary)+"F", "F")
	return digits[:min(len(digits), idDigits)]
}

// mask is the secondary address of all numbers that begin so.
func (s *search) mask(prefix string) Address {
	a, err := ParseAddress(prefix + strings.Repeat("F", idDigits-len(prefix)))
	if err != nil {
		return anyone
	}
	if rest, err := ParseAddress(s.config.Secondary); err == nil {
		copy(a[4:], rest[4:])
	}
	return a
}

// settle deselects whoever is selected, and hears what the line says when nobody
// is asked: some converters give noise, and what acknowledges that would do so for
// ever.
func (s *search) settle(ctx context.Context) error {
	if _, err := s.survey(ctx, mustFrame(LinkReset(Selected))); err != nil {
		return err
	}
	request, err := Select(nobody, false, "")
	if err != nil {
		return err
	}
	for range 2 {
		got, err := s.survey(ctx, mustFrame(request))
		s.babbles = s.babbles || got != silent
		if err != nil || s.bus.acks == 0 && len(s.bus.heard) < shortestTelegram {
			return err
		}
	}
	return errEndless
}

// crowd is how many fit an address, as far as one can hear.
type crowd uint8

const (
	none    crowd = 0
	one     crowd = 1
	several crowd = 2 // or more
)

// visit asks for all numbers that begin so, and looks deeper where that is needed.
func (s *search) visit(ctx context.Context, prefix string) (crowd, error) {
	switch {
	case s.path == "":
	case s.path != prefix && strings.HasPrefix(s.path, prefix):
		return several, s.deeper(ctx, prefix) // as was seen before the search was stopped
	case prefix < s.path:
		return none, nil
	}
	s.path = ""
	if err := s.step(prefix, waySecondary+" "+prefix+strings.Repeat("F", idDigits-len(prefix)), partOf(prefix)); err != nil {
		return none, err
	}
	got, err := s.probe(ctx, s.mask(prefix), "")
	switch {
	case err != nil:
	case got == none && !s.Again:
		s.Silent = append(s.Silent, prefix)
	case got == several && len(prefix) < idDigits:
		err = s.deeper(ctx, prefix)
	case got == several:
		err = s.separate(ctx, prefix)
	}
	return got, err
}

// suspect notes numbers that several answered to.
func (s *search) suspect(prefix string) {
	if !slices.Contains(s.Suspects, prefix) {
		s.Suspects = append(s.Suspects, prefix)
	}
}

// deeper goes over the next digit of what several answered to. If that does not
// explain two of them, an answer was lost, or there are digits above 9.
func (s *search) deeper(ctx context.Context, prefix string) error {
	s.suspect(prefix)
	resumed := s.path != ""
	seen, err := s.branches(ctx, prefix, decimals)
	if err != nil || s.path == "" && (resumed || seen > 1) {
		return err
	}
	s.Restless = true
	_, err = s.branches(ctx, prefix, hexas)
	return err
}

// branches visits a prefix with each digit behind it; seen is how many answered
// there at least.
func (s *search) branches(ctx context.Context, prefix, digits string) (seen int, err error) {
	for _, d := range digits {
		got, err := s.visit(ctx, prefix+string(d))
		if err != nil {
			return seen, err
		}
		seen += int(got)
	}
	return seen, nil
}

// partOf is how much of the tree lies before a prefix.
func partOf(prefix string) float64 {
	share, part := 1.0, 0.0
	for _, d := range prefix {
		share /= float64(len(decimals))
		part += share * float64(min(strings.IndexRune(decimals+hexas, d), len(decimals)))
	}
	return min(part, 1)
}

// again asks once more where nobody answered before the line was known to lose
// answers: a lost one hides a whole branch.
func (s *search) again(ctx context.Context) error {
	if !s.Restless {
		return nil
	}
	s.Again = true
	silent := s.Silent
	for i, prefix := range silent {
		s.Silent = silent[i:]
		s.path = ""
		if _, err := s.visit(ctx, prefix); err != nil {
			return err
		}
	}
	s.Silent = nil
	return nil
}

// unresolved tells of what answered and was never told apart.
func (s *search) unresolved() error {
	for _, prefix := range s.Suspects {
		deeper := func(p string) bool { return len(p) > len(prefix) && strings.HasPrefix(p, prefix) }
		if len(prefix) == idDigits || s.fitting(s.mask(prefix)) > 0 || slices.ContainsFunc(s.Suspects, deeper) {
			continue
		}
		err := s.tell(drivers.Found{
			Keys:  []drivers.Setting{{Key: waySecondary, Value: s.mask(prefix).String()[:idDigits]}},
			Doubt: "something answers to this number that cannot be told apart: noise, or meters whose answers get lost; search again, or look at them one by one",
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// probe says how many fit an address; one is told at once. Silence is heard twice
// on a line that has lost something before.
func (s *search) probe(ctx context.Context, mask Address, fabrication string) (crowd, error) {
	f, err := Select(mask, false, fabrication)
	if err != nil {
		return none, err
	}
	request := mustFrame(f)
	got, err := s.selection(ctx, request, mask, fabrication)
	if err == nil && got == none && s.Restless {
		got, err = s.selection(ctx, request, mask, fabrication)
	}
	if s.streak++; got == none {
		s.streak = 0
	}
	if err == nil && s.streak > mostAnswered {
		err = errEndless
	}
	return got, err
}

// selection looks for whoever fits an address, and tells who is there alone. On a
// line that loses something, or adds to it, the same must answer twice.
func (s *search) selection(ctx context.Context, request []byte, mask Address, fabrication string) (crowd, error) {
	got, who, err := s.look(ctx, request, mask)
	if err != nil || got != one {
		return got, err
	}
	s.Restless = s.Restless || !who.alone
	if s.Restless {
		got, twice, err := s.look(ctx, request, mask)
		if err != nil {
			return none, err
		}
		if got != one || twice.meter != who.meter {
			return several, nil
		}
	}
	return s.meet(who, mask, fabrication)
}

// visitor is who answered to a selection.
type visitor struct {
	meter Address
	named bool // meter counts
	empty bool // it has no data to give
	alone bool // nothing but its acknowledgement came
	who   drivers.Identity
}

// look sends a selection and judges what comes. Acknowledgements of several may
// melt into one; only the data tells.
func (s *search) look(ctx context.Context, request []byte, mask Address) (crowd, visitor, error) {
	got, err := s.survey(ctx, request)
	if err != nil || got == silent {
		return none, visitor{}, err
	}
	acks := s.bus.acks
	if !s.babbles && (acks > 1 || acks == 0 && !s.Restless) {
		return several, visitor{}, nil
	}
	who := visitor{alone: acks == 1 && len(s.bus.heard) == 1}
	crowd, err := s.judge(ctx, mask, acks > 0, &who)
	return crowd, who, err
}

// judge asks whoever is selected for data. What is lost may come the second time,
// but a collision does not become better: one digit deeper is quicker.
func (s *search) judge(ctx context.Context, mask Address, acked bool, who *visitor) (crowd, error) {
	data := mustFrame(RequestData(Selected, true))
	tries, last, wait := 1, silent, s.bus.window
	if narrow(mask) {
		tries += s.config.Retries
	}
	if acked {
		wait = s.bus.first
	}
	for try := 0; try < tries; try++ {
		var err error
		s.probes++
		if last, err = s.bus.ask(ctx, data, telegram, wait); err != nil {
			return none, err
		}
		if last == telegram && s.presents(mask, who) {
			s.Restless = s.Restless || try > 0
			return one, nil
		}
		if last != garbled || len(s.bus.heard) < shortestTelegram {
			last, tries = min(last, acknowledged), max(tries, 2)
		}
	}
	switch {
	case last == garbled:
		return several, nil
	case !acked:
		s.Restless = true // it was noise
		return none, nil
	case narrow(mask):
		who.empty = true
		return one, nil
	}
	return several, nil
}

// presents says whether the telegram at hand is of somebody who fits the mask, and
// who that is. An application error says nothing, whoever sent it.
func (s *search) presents(mask Address, who *visitor) bool {
	f := &s.bus.frame
	if f.CI == ciError || f.CI == ciErrorShort || f.CI == ciErrorLong {
		return false
	}
	who.meter, who.named = meterOf(f, mask)
	who.who = identityOf(f)
	return !who.named || mask.fits(who.meter)
}

// narrow says whether all digits of the number are given.
func narrow(mask Address) bool {
	for _, b := range mask[:4] {
		if b&0x0F == 0x0F || b>>4 == 0x0F {
			return false
		}
	}
	return true
}

// meet tells of a meter. One that does not name itself is looked for until all its
// digits are known.
func (s *search) meet(who visitor, mask Address, fabrication string) (crowd, error) {
	if !who.named {
		if !narrow(mask) {
			return several, nil
		}
		who.meter = mask
	} else if !who.empty {
		s.streak = -1 // a meter of its own
	}
	told, known := s.Known[who.meter]
	if known && (fabrication == "" || slices.Contains(told, "") || slices.Contains(told, fabrication)) {
		return one, nil
	}
	s.Known[who.meter] = append(told, fabrication)
	s.remember(who.meter)
	found := drivers.Found{Meter: who.who, Keys: settings(who.meter, fabrication)}
	if who.empty {
		found.Doubt = "a meter is there, and gives no data"
	}
	return one, s.tell(found)
}

func (s *search) remember(meter Address) {
	maker := uint16(meter[4]) | uint16(meter[5])<<8
	if !slices.Contains(s.makers, maker) && maker != 0xFFFF {
		s.makers = append(s.makers, maker)
	}
}

// settings are the keys that reach a meter.
func settings(meter Address, fabrication string) []drivers.Setting {
	digits := meter.String()
	if meter[4] == 0xFF && meter[5] == 0xFF {
		digits = digits[:idDigits] // the fixed structure names no maker
	}
	all := []drivers.Setting{{Key: waySecondary, Value: digits}}
	if fabrication != "" {
		all = append(all, drivers.Setting{Key: "fabrication", Value: fabrication})
	}
	return all
}

// usualMakers have meters in many houses: they are tried where several share a
// number.
var usualMakers = strings.Fields("ABB ACW AMT APA BMT DIE DME EFE ELS ELV EMH EMU ESY GAV GMC GWF HYD INV ITR ITW KAM LGB LGZ LSE LUG MET NZR PAD QDS REL SAP SBC SEN SIE SLB SON SPX TCH TEC WEP ZRI ZRM")

// separate tells meters of the same number apart: by manufacturer, by fabrication
// number, and where that explains less than two, by every version and medium.
func (s *search) separate(ctx context.Context, number string) error {
	s.suspect(number)
	id := s.mask(number)
	for _, try := range []func(context.Context, Address) error{s.byMaker, s.bySerial, s.byVersion} {
		if err := try(ctx, id); err != nil || s.fitting(id) > 1 {
			return err
		}
	}
	return s.tell(drivers.Found{
		Keys:  []drivers.Setting{{Key: waySecondary, Value: number}},
		Doubt: "several meters have this number, and neither manufacturer, version, medium nor fabrication number tells them apart: give them primary addresses one by one",
	})
}

// fitting is how many meters are known that an address stands for.
func (s *search) fitting(mask Address) (n int) {
	for meter, told := range s.Known {
		if mask.fits(meter) {
			n += len(told)
		}
	}
	return n
}

func (s *search) byMaker(ctx context.Context, id Address) error {
	if id[4] != 0xFF || id[5] != 0xFF {
		return nil
	}
	makers := slices.Clone(s.makers)
	for _, letters := range usualMakers {
		if word, ok := ManufacturerWord(letters); ok && !slices.Contains(makers, word) {
			makers = append(makers, word)
		}
	}
	for _, m := range makers {
		id[4], id[5] = byte(m), byte(m>>8)
		got, err := s.probe(ctx, id, "")
		if err == nil && got == several {
			err = s.bySerial(ctx, id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bySerial goes over the fabrication number digit by digit, if somebody takes
// enhanced selections.
func (s *search) bySerial(ctx context.Context, id Address) error {
	got, err := s.probe(ctx, id, strings.Repeat("F", idDigits))
	if err != nil || got != several {
		return err
	}
	return s.serials(ctx, id, "")
}

func (s *search) serials(ctx context.Context, id Address, prefix string) error {
	for _, d := range decimals {
		digits := prefix + string(d)
		if err := s.step(s.Next, waySecondary+" "+id.String()[:idDigits]+", fabrication number "+digits, partOf(s.Next)); err != nil {
			return err
		}
		got, err := s.probe(ctx, id, digits+strings.Repeat("F", idDigits-len(digits)))
		if err == nil && got == several && len(digits) < idDigits {
			err = s.serials(ctx, id, digits)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// byVersion goes over all versions, and all media where several have one.
func (s *search) byVersion(ctx context.Context, id Address) error {
	return s.each(ctx, id, 6, func(id Address) error {
		return s.each(ctx, id, 7, func(id Address) error { return s.bySerial(ctx, id) })
	})
}

// each goes over the values of one byte of the address; where several fit, deeper
// goes on.
func (s *search) each(ctx context.Context, id Address, at int, deeper func(Address) error) error {
	if id[at] != 0xFF {
		return deeper(id)
	}
	for v := range 0xFF {
		id[at] = byte(v)
		if err := s.step(s.Next, waySecondary+" "+id.String(), partOf(s.Next)); err != nil {
			return err
		}
		got, err := s.probe(ctx, id, "")
		if err == nil && got == several {
			err = deeper(id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
