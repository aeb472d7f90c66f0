package mbus

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// answerOf is an answer of meter 12345678, in one long frame.
func answerOf(t testing.TB, access byte, records string) []byte {
	t.Helper()
	return answerOfMeter(t, Address{0x78, 0x56, 0x34, 0x12, 0x24, 0x23, 1, 4}, access, records)
}

func answerOfMeter(t testing.TB, meter Address, access byte, records string) []byte {
	t.Helper()
	data := append(AppendLongHeader(nil, meter, access, 0, 0), unhex(t, records)...)
	b, err := (&Frame{Kind: Long, C: answerC, A: 1, CI: ciLong, Data: data}).AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// names are the values of a reading, as name and payload.
func names(r *drivers.Reading) string {
	var all []string
	for i := range r.Values {
		v := &r.Values[i]
		all = append(all, string(v.AppendPayload([]byte(v.Name+"="))))
	}
	return strings.Join(all, " ")
}

const (
	firstPart  = "0406010000001F"
	secondPart = "0413020000001F"
	lastPart   = "042D03000000"
)

func TestTelegramsOfOneReadoutAreOneReading(t *testing.T) {
	other := Address{0x79, 0x56, 0x34, 0x12, 0x24, 0x23, 1, 4}
	first, middle, last := answerOf(t, 1, firstPart), answerOf(t, 2, secondPart), answerOf(t, 3, lastPart)
	damaged := append([]byte(nil), middle...)
	damaged[20] ^= 1
	busy := unhex(t, "68040468080170088116")
	whole := "energy=1 volume=0.002 power=300 status=0"
	for _, c := range []struct {
		name   string
		chunks [][]byte
		want   []string // of each reading
		lost   int
	}{
		{"in order", [][]byte{first, middle, last}, []string{whole}, 0},
		{"one asked for twice", [][]byte{first, first, middle, middle, last}, []string{whole}, 0},
		{"with what the master said between", [][]byte{first, unhex(t, "105B015C16"), middle, unhex(t, "107B017C16"), last}, []string{whole}, 0},
		{"one damaged and sent again", [][]byte{first, damaged, middle, last}, []string{whole}, 1},
		{"one busy and sent again", [][]byte{first, busy, middle, last}, []string{whole}, 1},
		{"cut off", [][]byte{first, middle}, []string{"energy=1 volume=0.002 status=0"}, 0},
		{"cut off after damage", [][]byte{first, damaged}, nil, 2},
		{"another meter's comes", [][]byte{first, answerOfMeter(t, other, 2, lastPart)}, []string{"power=300 status=0"}, 1},
		{"a telegram that breaks inside", [][]byte{first, answerOf(t, 2, "0413020000003F"), middle, last}, []string{whole}, 1},
		{"two readouts", [][]byte{first, middle, last, first, middle, last}, []string{whole, whole}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := decode(t, NewDecoder(nil), c.chunks...)
			var got []string
			for i := range all.readings {
				got = append(got, names(&all.readings[i]))
			}
			if diff := cmp.Diff(c.want, got); diff != "" || len(all.lost) != c.lost {
				t.Errorf("%s%d lost: %+v", diff, len(all.lost), all.lost)
			}
		})
	}
}

func TestAMeterThatNeverEndsIsRefused(t *testing.T) {
	d := NewDecoder(nil)
	var all decoded
	for n := range maxTelegrams + 1 {
		d.Feed(answerOf(t, byte(n), firstPart))
		all.drain(t, d)
	}
	if len(all.readings) != 0 || len(all.lost) != 1 || !errors.Is(&all.lost[0], drivers.ErrLong) {
		t.Errorf("got %+v", all)
	}
}

func TestTheDateOfAStorageIsTheTimeOfItsValues(t *testing.T) {
	vienna, err := time.LoadLocation("Europe/Vienna")
	if err != nil {
		t.Skip(err)
	}
	records := "4406E8030000" + // energy, storage 1, before its date
		"426CDF15" + // 2014-... storage 1
		"046D0B0B7A18" + // the clock
		"4413E8030000" + // volume, storage 1
		"0413E8030000" + // volume now
		"42EC7EDF1C" + // when storage 1 will be next
		"84011301000000" // storage 2 has no date
	d := NewDecoder(vienna)
	r := decode(t, d, answerOf(t, 1, records)).readings[0]
	if got := r.Time.String(); got != "2011-08-26T11:11:00+02:00" {
		t.Errorf("the reading's time is %s", got)
	}
	for i, want := range []string{"2014-05-31T00:00:00+02:00", "", "", "2014-05-31T00:00:00+02:00", "", "", "", ""} {
		if got := r.Values[i].Time.String(); got != want {
			t.Errorf("%s: time %q, want %q", r.Values[i].Name, got, want)
		}
	}
	if v := r.Values[5]; v.Name != "date_future" || v.Moment.String() != "2014-12-31T00:00:00+01:00" {
		t.Errorf("next due date: %s %s", v.Name, v.Moment)
	}
}

func TestADateOfNoStorageDatesNoValue(t *testing.T) {
	r := decode(t, NewDecoder(nil), answerOf(t, 1, "026CDF15"+"0413E8030000")).readings[0]
	for i := range r.Values {
		if v := &r.Values[i]; !v.Time.IsZero() {
			t.Errorf("%s is of %s", v.Name, v.Time)
		}
	}
}

func TestClocksAndTheirZone(t *testing.T) {
	vienna, err := time.LoadLocation("Europe/Vienna")
	if err != nil {
		t.Skip(err)
	}
	for _, c := range []struct {
		name   string
		at     time.Time // digits of the meter's clock
		summer bool
		want   string
	}{
		{"winter", time.Date(2024, 1, 15, 12, 0, 0, 0, time.UTC), false, "2024-01-15T12:00:00+01:00"},
		{"summer, the bit not set", time.Date(2024, 7, 15, 12, 0, 0, 0, time.UTC), false, "2024-07-15T12:00:00+02:00"},
		{"summer", time.Date(2024, 7, 15, 12, 0, 0, 0, time.UTC), true, "2024-07-15T12:00:00+02:00"},
		{"the doubled hour, first", time.Date(2024, 10, 27, 2, 30, 0, 0, time.UTC), true, "2024-10-27T02:30:00+02:00"},
		{"the doubled hour, second", time.Date(2024, 10, 27, 2, 30, 0, 0, time.UTC), false, "2024-10-27T02:30:00+01:00"},
		{"the hour that is skipped", time.Date(2024, 3, 31, 2, 30, 0, 0, time.UTC), false, "2024-03-31T02:30:00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := AppendTypeF(nil, c.at)
			if c.summer {
				data[1] |= 0x80
			}
			got, ok := stampOf(data, vienna)
			if !ok || got.String() != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestSecretsNeverLeave(t *testing.T) {
	// FD 16 password, FD 12 access code, FD 19 key, and one with a combinable.
	records := "04FD1644434241" + "0DFD12044B434148" + "07FD198877665544332211" + "04FD966F44434241" + "0413E8030000"
	r := decode(t, NewDecoder(nil), answerOf(t, 1, records)).readings[0]
	if got := names(&r); got != "volume=1.000 status=0" {
		t.Errorf("got %s", got)
	}
}

func TestAnEncryptedAnswerIsNotTakenForRecords(t *testing.T) {
	header := AppendLongHeader(nil, Address{0x78, 0x56, 0x34, 0x12, 0x24, 0x23, 1, 4}, 1, 0, 0x0510)
	for payload, want := range map[string]int{
		"0406E8030000" + "0413E8030000" + "2F2F2F2F":      0, // it could be read, by accident
		"2F2F" + "0406E8030000" + "0413E8030000" + "2F2F": 1,
	} {
		frame := Frame{Kind: Long, C: answerC, A: 1, CI: ciLong, Data: append(append([]byte(nil), header...), unhex(t, payload)...)}
		b, err := frame.AppendTo(nil)
		if err != nil {
			t.Fatal(err)
		}
		all := decode(t, NewDecoder(nil), b)
		if len(all.readings) != want || want == 0 && !errors.Is(&all.lost[0], drivers.ErrAuth) {
			t.Errorf("%s gave %+v", payload, all)
		}
	}
}

func TestAlarmIsAReading(t *testing.T) {
	r := decode(t, NewDecoder(nil), unhex(t, "68040468080171"+"04"+"7E16")).readings[0]
	if got := names(&r); got != "alarm=4" {
		t.Errorf("got %s", got)
	}
}

func TestForeignPayloadsAreTold(t *testing.T) {
	all := decode(t, NewDecoder(nil), unhex(t, "680404680801"+"7C00"+"8516"))
	if len(all.lost) != 1 || drivers.Hint(&all.lost[0]) == "" {
		t.Errorf("DLMS in a frame: %+v", all)
	}
}

// drain passes over what d still has.
func drain(d drivers.Decoder, r *drivers.Reading) {
	var err error
	for !errors.Is(err, drivers.ErrMore) {
		err = d.Next(r)
	}
}

// mc601 is the benchmark's telegram.
func mc601(t testing.TB) []byte {
	t.Helper()
	frame, err := os.ReadFile(shared(t, "bench/inputs/mbus_mc601.bin"))
	if err != nil {
		t.Fatal(err)
	}
	return frame
}

func TestASteadyMeterCostsNoAllocation(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates on its own")
	}
	frame := mc601(t)
	broken := append([]byte(nil), frame...)
	broken[100] ^= 0x10
	parts := append(append(answerOf(t, 1, firstPart), answerOf(t, 2, secondPart)...), answerOf(t, 3, lastPart)...)
	inside := answerOf(t, 1, "0406010000003F")
	for name, stream := range map[string][]byte{
		"good": frame, "damaged": broken, "several telegrams": parts, "a record that breaks": inside,
		"two meters in turn": append(append([]byte(nil), frame...), answerOf(t, 1, lastPart)...),
	} {
		t.Run(name, func(t *testing.T) {
			d := NewDecoder(time.UTC)
			var r drivers.Reading
			run := func() {
				d.Feed(stream)
				drain(d, &r)
			}
			for range 3 {
				run()
			}
			if n := testing.AllocsPerRun(50, run); n != 0 {
				t.Errorf("%g allocations", n)
			}
		})
	}
}

func TestMemoryIsBoundedWhateverMetersInvent(t *testing.T) {
	d := NewDecoder(nil)
	var r drivers.Reading
	for n := range 3 * maxPlans {
		meter := Address{byte(n), byte(n >> 8), 0, 0, 0x24, 0x23, byte(n), 4}
		text := string(appendHex(nil, []byte{byte(n), byte(n >> 8), 0x55}))
		d.Feed(answerOfMeter(t, meter, 1, "0413E8030000"+"05FF"+text[:2]+"00000000"+"017C03"+text+"01"+"0D7803"+text))
		drain(d, &r)
	}
	a := &d.app
	if len(a.planner.known) > maxPlans || len(a.planner.latest) > maxPlans || len(a.texts) > maxTexts ||
		len(a.bytes) > maxTexts || len(a.census.known) > maxMeters {
		t.Errorf("%d plans, %d texts, %d bytes, %d meters", len(a.planner.known), len(a.texts), len(a.bytes), len(a.census.known))
	}
}
