package dlms

import (
	"encoding/binary"
	"time"
)

// DateTime is a date-time of the Blue Book ed. 13, 4.1.6.1, as the meter wrote
// it:
//
//	year(2) month day weekday hour minute second hundredths deviation(2) status
//
// FF, FFFF for the year, means not given.
type DateTime struct {
	Year                 uint16
	Month, Day           byte
	Hour, Minute, Second byte
	Hundredths           byte
	Deviation            int16 // minutes from local time to UTC, so +02:00 is -120; NoDeviation: not given
	Status               byte
}

// NoDeviation is a deviation that is not given.
const NoDeviation = -0x8000

// Bits of the clock status. StatusUnknown stands for the whole byte.
const (
	StatusInvalid  = 0x01
	StatusDoubtful = 0x02
	StatusOther    = 0x04 // another clock base
	StatusBad      = 0x08 // the status itself is invalid
	StatusSummer   = 0x80 // daylight saving is in the digits
	StatusUnknown  = 0xFF
)

const notGiven = 0xFF

// ParseDateTime reads 12 bytes; false: another length.
func ParseDateTime(b []byte) (DateTime, bool) {
	if len(b) != 12 {
		return DateTime{}, false
	}
	return DateTime{
		Year: binary.BigEndian.Uint16(b), Month: b[2], Day: b[3],
		Hour: b[5], Minute: b[6], Second: b[7], Hundredths: b[8],
		Deviation: int16(binary.BigEndian.Uint16(b[9:])), Status: b[11],
	}, true
}

// Digits are what the clock showed, as if it were UTC. false: a field is not
// given, or no such day or hour exists. Seconds and hundredths that are not given
// count as zero.
func (d DateTime) Digits() (time.Time, bool) {
	second, hundredths := d.Second, d.Hundredths
	if second == notGiven {
		second = 0
	}
	if hundredths == notGiven {
		hundredths = 0
	}
	if d.Year < 1970 || d.Year > 2199 || d.Month < 1 || d.Month > 12 || d.Day < 1 || d.Hour > 23 || d.Minute > 59 || second > 59 || hundredths > 99 {
		return time.Time{}, false
	}
	t := time.Date(int(d.Year), time.Month(d.Month), int(d.Day), int(d.Hour), int(d.Minute), int(second), int(hundredths)*1e7, time.UTC)
	return t, t.Day() == int(d.Day)
}

// Summer says that the digits are daylight saving time, as far as the meter says.
func (d DateTime) Summer() bool { return d.Status != StatusUnknown && d.Status&StatusSummer != 0 }

// Doubtful says that the meter itself does not trust its clock.
func (d DateTime) Doubtful() bool {
	return d.Status != StatusUnknown && d.Status&(StatusInvalid|StatusDoubtful|StatusOther|StatusBad) != 0
}

// AppendTo appends the 12 bytes; the weekday is told by the date.
func (d DateTime) AppendTo(b []byte) []byte {
	weekday := byte(notGiven)
	if t, ok := d.Digits(); ok {
		weekday = byte((t.Weekday()+6)%7) + 1
	}
	b = binary.BigEndian.AppendUint16(b, d.Year)
	b = append(b, d.Month, d.Day, weekday, d.Hour, d.Minute, d.Second, d.Hundredths)
	b = binary.BigEndian.AppendUint16(b, uint16(d.Deviation))
	return append(b, d.Status)
}
