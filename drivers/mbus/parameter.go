package mbus

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// Parameters that every M-Bus meter may have.
const (
	paramAddress = "address"
	paramClock   = "clock"
	paramBaud    = "baud_rate"
	paramReset   = "reset"
	paramReadout = "readout"
)

// parametersOf are the usual ones and those of the configuration.
func parametersOf(records []namedRecord, zoned bool) []drivers.Parameter {
	all := usualParameters(zoned)
	for i := range records {
		all = append(all, records[i].Parameter)
	}
	return all
}

// parameters are those of a configuration.
func parameters(c drivers.Config) []drivers.Parameter {
	config, ok := c.(*Config)
	if !ok {
		return nil
	}
	records, err := config.records(time.Local)
	if err != nil {
		return nil // Validate tells
	}
	return parametersOf(records, true)
}

// usualParameters are those that need no description. zoned: the zone of the
// meter's clock is known.
func usualParameters(zoned bool) []drivers.Parameter {
	var rates []string
	for _, b := range baudRates {
		rates = append(rates, strconv.Itoa(b))
	}
	return []drivers.Parameter{
		{
			Quantity: drivers.Quantity{Key: paramAddress, Name: paramAddress, Kind: drivers.Number},
			Access:   drivers.Readable | drivers.Writable,
			Max:      drivers.NewDecimal(int64(MaxPrimary), 0), Step: drivers.NewDecimal(1, 0),
			Doc: "The primary address; a meter that is read by it needs it in the configuration too.",
		},
		{
			Quantity: drivers.Quantity{Key: paramClock, Name: paramClock, Code: general[nameDateTime], Kind: drivers.Moment, Zoned: zoned},
			Access:   drivers.Readable | drivers.Writable,
			Doc:      "The meter's clock, in its own time zone.",
		},
		{
			Quantity: drivers.Quantity{Key: paramReset, Name: paramReset, Kind: drivers.Text},
			Access:   drivers.Pressable, MaxLen: len(resetPlain),
			Doc: "Application reset: the meter's usual readout from its start. With a sub-code of two hexadecimal digits, the readout that it names.",
		},
		{
			Quantity: drivers.Quantity{Key: paramReadout, Name: paramReadout, Kind: drivers.Text},
			Access:   drivers.Writable, MaxLen: 2 * maxData,
			Doc: "What the meter sends from now on: all, or VIFs in hexadecimal with commas between them.",
		},
		{
			Quantity: drivers.Quantity{Key: paramBaud, Name: paramBaud, Kind: drivers.Text},
			Access:   drivers.Readable | drivers.Writable, Options: rates,
			Doc: "The meter's speed in baud; the configuration needs it too.",
		},
	}
}

// namedRecord is a data record that the configuration describes: a Parameter and
// how it is coded.
type namedRecord struct {
	drivers.Parameter
	record DataRecord // without data
	plan   *plan
	action []byte // Pressable: data records, whole
}

const recordForm = `write NAME HEAD and what else is known, as in "limit 04FD13 0..100": HEAD is DIF, DIFE, VIF and VIFE in hexadecimal; ` +
	"then limits MIN..MAX, switch, read-only or write-only; or NAME RECORDS press, with data records that are sent as they are"

// parseRecord reads how the configuration describes a data record:
//
//	NAME HEAD [MIN..MAX] [switch] [read-only] [write-only]
//	NAME RECORDS press
//
// NAME is what it is called in topics, HEAD its DIB and VIB, which tell coding,
// unit and coordinates. switch: it is 0 or 1. RECORDS are whole data records, for
// actions such as the object actions of EN 13757-3.
func parseRecord(s string, zone *time.Location) (namedRecord, error) {
	r, err := readRecord(strings.Fields(s), zone)
	if err != nil {
		return r, drivers.WithHint(fmt.Errorf("%.60q: %w", s, err), recordForm)
	}
	return r, nil
}

func readRecord(words []string, zone *time.Location) (r namedRecord, err error) {
	if len(words) < 2 || !isName(words[0]) {
		return r, errors.New("want a name of a to z, 0 to 9 and _, and a record in hexadecimal")
	}
	r.Name, r.Key = words[0], words[0]
	b, ok := wire.AppendHex(nil, words[1])
	if !ok || len(b) == 0 {
		return r, fmt.Errorf("%.40q is not hexadecimal", words[1])
	}
	if len(words) == 3 && words[2] == "press" {
		r.Kind, r.Access, r.action = drivers.Text, drivers.Pressable, b
		return r, wholeRecords(b)
	}
	dib, vib, f := scanHead(b)
	if f != nil {
		return r, fmt.Errorf("%s at byte %d: %w", f.field, dib+vib, f.err)
	}
	if dib+vib != len(b) {
		return r, fmt.Errorf("%.40q goes on behind its VIF: want the head alone, without data", words[1])
	}
	r.record = DataRecord{Record: coordinates(b[:dib]), Field: b[0] & 0x0F, VIB: b[dib:]}
	r.plan = newPlan(0, b, dib)
	r.Access = drivers.Readable | drivers.Writable
	if err := r.kind(zone); err != nil {
		return r, err
	}
	for _, w := range words[2:] {
		if err := r.add(w); err != nil {
			return r, fmt.Errorf("%.20q: %w", w, err)
		}
	}
	return r, nil
}

func isName(s string) bool {
	for i, c := range s {
		if (c < 'a' || c > 'z') && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return s != "" && len(s) <= 32
}

// wholeRecords says what is wrong with data records that are to be sent.
func wholeRecords(b []byte) error {
	if len(b) > maxData {
		return fmt.Errorf("%d bytes of records, at most %d can be sent", len(b), maxData)
	}
	for len(b) > 0 {
		_, n, err := ParseRecord(b)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

var errUncoded = errors.New("no value can be sent in it: want a number of 8 to 64 bits or 2 to 12 digits, a real, a date, or a text")

// kind is what the head says: which values it takes, in which unit and steps.
func (r *namedRecord) kind(zone *time.Location) error {
	p := r.plan
	r.Unit, r.Code, r.Digits = p.value.Unit, p.value.Code, max(0, -p.shift)
	field := r.record.Field
	decimals := field == 0x9 || field == 0xA || field == 0xB || field == 0xC || field == 0xE
	switch {
	case p.none || p.form == opaque || p.form == level:
		return errUncoded
	case p.form == moment:
		r.Kind, r.Zoned = drivers.Moment, zone != nil
		if field != 2 && field != 4 && field != 6 {
			return errUncoded
		}
	case field == fieldVariable:
		r.Kind, r.MaxLen = drivers.Text, lvarPositive-1
	case p.form == identifier && decimals:
		r.Kind, r.MaxLen = drivers.Text, 2*int(fieldSize[field])
	case field != fieldReal:
		return r.range64(decimals)
	}
	return nil
}

// range64 sets limits and step of an integer by its coding.
func (r *namedRecord) range64(decimals bool) error {
	var low, high int64
	size := int(fieldSize[r.record.Field])
	switch {
	case decimals:
		high = int64(math.Pow10(2*size)) - 1
		low = -int64(math.Pow10(2*size-1)) + 1
	case r.plan.unsigned && size < 8:
		high = 1<<(8*size) - 1
	case r.plan.unsigned:
		high = math.MaxInt64
	default:
		high = math.MaxInt64 >> (64 - 8*size)
		low = -high - 1
	}
	return errors.Join(
		scaled(&r.Min, low, r.plan.shift), scaled(&r.Max, high, r.plan.shift), scaled(&r.Step, 1, r.plan.shift),
	)
}

func scaled(d *drivers.Decimal, n int64, shift int) (err error) {
	*d, err = drivers.Scaled(n, shift)
	return err
}

// add takes one word behind the head.
func (r *namedRecord) add(w string) error {
	low, high, limits := strings.Cut(w, "..")
	switch {
	case w == "read-only":
		r.Access = drivers.Readable
	case w == "write-only":
		r.Access = drivers.Writable
	case w == "switch" && r.Kind == drivers.Number:
		r.Kind = drivers.Bool
	case limits && r.Kind == drivers.Number:
		return r.limit(low, high)
	default:
		return errors.New("not known, or not with this record")
	}
	return nil
}

func (r *namedRecord) limit(low, high string) error {
	from, err := drivers.ParseDecimal(low)
	if err != nil {
		return err
	}
	to, err := drivers.ParseDecimal(high)
	switch {
	case err != nil:
		return err
	case from.Cmp(to) >= 0:
		return errors.New("the lower limit is not below the upper one")
	case r.Min.Cmp(r.Max) != 0 && (from.Cmp(r.Min) < 0 || to.Cmp(r.Max) > 0):
		return fmt.Errorf("the record holds %s to %s %s", r.Min, r.Max, r.Unit)
	}
	r.Min, r.Max = from, to
	return nil
}

// encode makes v the data of the record, or says why it cannot be sent.
func (r *namedRecord) encode(v drivers.Value, zone *time.Location) (DataRecord, error) {
	d := r.record
	if err := r.Validate(v); err != nil {
		return d, err
	}
	var err error
	switch r.Kind {
	case drivers.Moment:
		d.Data, err = appendMoment(int(fieldSize[d.Field]), local(v.Moment, zone))
	case drivers.Text:
		err = r.encodeText(&d, v.Text)
	case drivers.Number, drivers.Bool:
		err = r.encodeNumber(&d, v.Number)
	}
	if err != nil {
		return d, fmt.Errorf("%w: %s: %w", drivers.ErrValue, r.Name, err)
	}
	return d, nil
}

// local is a moment as the meter's clock shows it.
func local(at drivers.Stamp, zone *time.Location) time.Time {
	if at.Zoned && zone != nil {
		return at.Wall.In(zone)
	}
	return at.Wall
}

// appendMoment is t in so many bytes: type G, F or I. Type F knows no seconds, so
// it is rounded to the minute.
func appendMoment(size int, t time.Time) ([]byte, error) {
	if y := t.Year(); y < 2000 || y > 2080 {
		return nil, fmt.Errorf("the year %d cannot be sent: want 2000 to 2080", y)
	}
	switch size {
	case 2:
		return AppendTypeG(nil, t), nil
	case 4:
		return AppendTypeF(nil, t.Add(30*time.Second)), nil
	}
	return AppendTypeI(nil, t), nil
}

func (r *namedRecord) encodeText(d *DataRecord, text string) error {
	if d.Field == fieldVariable {
		return d.SetText(text)
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return fmt.Errorf("%.20q: want digits", text)
	}
	return d.SetBCD(int64(n), int(fieldSize[d.Field]))
}

func (r *namedRecord) encodeNumber(d *DataRecord, n drivers.Decimal) error {
	raw, err := n.Shift(-r.plan.shift)
	if err != nil {
		return err
	}
	if d.Field == fieldReal {
		return encodeReal(d, raw)
	}
	whole, fraction, _ := strings.Cut(raw.String(), ".")
	i, err := strconv.ParseInt(whole, 10, 64)
	switch size := int(fieldSize[d.Field]); {
	case strings.Trim(fraction, "0") != "":
		return fmt.Errorf("%s has more decimals than the meter takes: it counts in steps of %s", n, r.Step)
	case err != nil:
		return fmt.Errorf("%s is too large", n)
	case d.Field > fieldReadout:
		return d.SetBCD(i, size)
	case r.plan.unsigned:
		d.Data = nil
		for k := range size {
			d.Data = append(d.Data, byte(uint64(i)>>(8*k)))
		}
		return nil
	default:
		return d.SetInt(i, size)
	}
}

// encodeReal refuses what a single cannot hold.
func encodeReal(d *DataRecord, n drivers.Decimal) error {
	f, err := strconv.ParseFloat(n.String(), 32)
	if err != nil {
		return err
	}
	back, err := drivers.ParseDecimal(strconv.FormatFloat(f, 'f', -1, 32))
	if err != nil || back.Cmp(n) != 0 {
		return fmt.Errorf("%s has more digits than the meter's 32-bit reals", n)
	}
	d.SetReal(float32(f))
	return nil
}

// records are those of the configuration, every mistake joined.
func (c *Config) records(zone *time.Location) ([]namedRecord, error) {
	var (
		all  []namedRecord
		errs []error
		seen = map[string]bool{}
	)
	for _, p := range usualParameters(false) {
		seen[p.Name] = true
	}
	for _, s := range c.Records {
		r, err := parseRecord(s, zone)
		if err == nil && seen[r.Name] {
			err = fmt.Errorf("%.32s is named twice, or is a parameter of every meter", r.Name)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("records: %w", err))
			continue
		}
		seen[r.Name] = true
		all = append(all, r)
	}
	return all, errors.Join(errs...)
}
