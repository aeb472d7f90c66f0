package p1

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/decodertest"
)

func TestFramer(t *testing.T) {
	good := dsmr5
	lf := strings.ReplaceAll(dsmr5, "\r", "")
	tests := []struct {
		name   string
		check  string // of the configuration; "": auto
		stream string
		want   int      // readings
		lost   []string // fields
		cause  error    // of the first loss
	}{
		{name: "a telegram", stream: good, want: 1},
		{name: "two telegrams", stream: good + good, want: 2},
		{name: "two without the line end between them", stream: strings.TrimSpace(good) + good, want: 2},
		{name: "the line end is missing at the end of input", stream: strings.TrimSpace(good), want: 1},
		{name: "CRC in small letters", stream: good[:len(good)-6] + strings.ToLower(good[len(good)-6:]), want: 1},
		{name: "line feeds without carriage returns", stream: lf + lf, want: 2},
		{name: "some carriage returns lost are damage", stream: strings.Replace(good, "\r", "", 1), lost: []string{"CRC"}, cause: drivers.ErrChecksum},
		{name: "CRC without its leading zeros", stream: shortCRC(), want: 1},
		{name: "CRC without its leading zeros, and the next telegram at once", stream: strings.TrimSpace(shortCRC()) + good, want: 2},
		{name: "CRC of three digits and a letter", stream: good[:len(good)-6] + "123Z\r\n", lost: []string{"CRC"}, cause: drivers.ErrSyntax},
		{name: "CRC of fewer digits that does not fit", stream: good[:len(good)-4] + "\r\n", lost: []string{"CRC"}, cause: drivers.ErrChecksum},
		{name: "CRC that is no number", stream: good[:len(good)-6] + "ZZZZ\r\n", lost: []string{"CRC"}, cause: drivers.ErrSyntax},
		{name: "CRC with high bytes", stream: good[:len(good)-6] + "\xff\xfe12\r\n", lost: []string{"CRC"}, cause: drivers.ErrSyntax},
		{name: "no CRC from a meter that never sent one", stream: dsmr2, want: 1},
		{name: "no line end behind the end mark", stream: strings.TrimSpace(dsmr2), want: 1},
		{name: "no CRC after one was seen", stream: good + dsmr2, want: 1, lost: []string{"CRC"}, cause: drivers.ErrShort},
		{name: "no CRC after one was seen, where that is configured", check: checkNone, stream: good + dsmr2, want: 2},
		{name: "no CRC where one is demanded", check: checkCRC, stream: dsmr2, lost: []string{"CRC"}, cause: drivers.ErrShort},
		{name: "a CRC that does not fit is refused in every mode", check: checkNone, stream: good[:len(good)-6] + "0001\r\n", lost: []string{"CRC"}, cause: drivers.ErrChecksum},
		{name: "no end line", stream: dsmr2[:len(dsmr2)-3], lost: []string{"end line"}, cause: drivers.ErrShort},
		{name: "no end line, where there is no check", check: checkNone, stream: dsmr2[:len(dsmr2)-3], want: 1},
		{name: "no end line from a meter that sends them", check: checkNone, stream: dsmr2 + dsmr2[:len(dsmr2)-3], want: 1, lost: []string{"end line"}, cause: drivers.ErrShort},
		{name: "cut, then a new telegram", stream: good[:200] + "\r\n" + good, want: 1, lost: []string{"end line"}, cause: drivers.ErrShort},
		{name: "cut in a line, then a new telegram", stream: good[:200] + good, want: 1, lost: []string{"CRC"}, cause: drivers.ErrChecksum},
		{name: "cut right behind the end mark", stream: good[:len(good)-6] + good, want: 1, lost: []string{"CRC"}, cause: drivers.ErrSyntax},
		{name: "begins in the middle", stream: good[300:] + good, want: 1},
		{name: "slash and bang in a text", stream: sealed("/TST5\n\n0-0:96.13.0(HELLO! 1/2)\n!"), want: 1},
		{name: "a bang that begins a line ends the telegram", stream: crlfed("/TST5\n\n1-0:1.8.0(1*kWh)\n!x\n"), lost: []string{"CRC"}, cause: drivers.ErrSyntax},
		{name: "noise alone", stream: "\x00\xff(/!\r\n!12\r\n"},
		{name: "identification without a data line", stream: crlfed("/TST5\n\n!\n"), lost: []string{"data line"}, cause: drivers.ErrSyntax},
		{name: "identification without a data line, with a CRC", stream: sealed("/TST5\n\n!"), lost: []string{"data line"}, cause: drivers.ErrSyntax},
		{name: "a blank and a tilde without a CRC", stream: crlfed("/TST5\n\n0-0:96.13.0(a ~)\n!\n"), want: 1},
		{name: "the first high byte without a CRC", stream: crlfed("/TST5\n\n1-0:1.8.0(1\x80)\n!\n"), lost: []string{"data line"}, cause: drivers.ErrSyntax},
		{name: "high bytes without a CRC", stream: crlfed("/TST5\n\n1-0:1.8.0(1\xb2*kWh)\n!\n"), lost: []string{"data line"}, cause: drivers.ErrSyntax},
		{name: "an open bracket without a CRC", stream: crlfed("/TST5\n\n1-0:1.8.0(1\n!\n"), lost: []string{"data line"}, cause: drivers.ErrSyntax},
		{name: "words behind a bracket without a CRC", stream: crlfed("/TST5\n\n1-0:1.8.0(1)x\n!\n"), lost: []string{"data line"}, cause: drivers.ErrSyntax},
		{name: "an endless line", stream: "/" + strings.Repeat("A", 70000), lost: []string{"data line"}, cause: drivers.ErrLong},
		{name: "an endless telegram", stream: "/TST5\r\n\r\n" + strings.Repeat("1-0:1.8.0(1*kWh)\r\n", 2000), lost: []string{"data line"}, cause: drivers.ErrLong},
		{name: "an endless telegram, then a good one", stream: "/TST5\r\n\r\n" + strings.Repeat("1-0:1.8.0(1*kWh)\r\n", 2000) + good, want: 1, lost: []string{"data line"}, cause: drivers.ErrLong},
		{name: "a line of 9 kB within a telegram", stream: sealed("/TST5\n\n0-0:96.13.0(" + strings.Repeat("4", 9000) + ")\n!"), lost: []string{"data line"}, cause: drivers.ErrLong},
		{name: "a ciphered telegram", stream: cipheredFrame, lost: []string{"ciphered telegram"}, cause: drivers.ErrAuth},
		{name: "ciphered telegrams among plain ones", stream: good + cipheredFrame + cipheredFrame + good, want: 2, lost: []string{"ciphered telegram", "ciphered telegram"}, cause: drivers.ErrAuth},
		{name: "a ciphered telegram that was cut", stream: cipheredFrame[:15], lost: []string{"ciphered telegram"}, cause: drivers.ErrShort},
		{name: "7E1 on an 8N1 line", stream: shiftedTelegram(), lost: []string{"parity"}, cause: drivers.ErrSyntax},
		{name: "7E1 on an 8N1 line, again and again", stream: strings.Repeat(shiftedTelegram(), 2), lost: []string{"parity", "parity"}, cause: drivers.ErrSyntax},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			check := tc.check
			if check == "" {
				check = checkAuto
			}
			got, lost := decodeAll(t, check, []byte(tc.stream))
			var fields []string
			for _, e := range lost {
				fields = append(fields, e.Field)
			}
			if len(got) != tc.want || !cmp.Equal(fields, tc.lost) {
				t.Fatalf("%d readings, lost %v (%v); want %d, %v", len(got), fields, lost, tc.want, tc.lost)
			}
			if len(lost) > 0 && !errors.Is(lost[0], tc.cause) {
				t.Errorf("lost for %v, want %v", lost[0], tc.cause)
			}
		})
	}
}

// shortCRC is a telegram whose CRC begins with 0, which its meter does not print.
func shortCRC() string {
	for i := 0; ; i++ {
		s := sealed("/TST5\n\n0-0:96.13.0(" + strings.Repeat("x", i) + ")\n!")
		end := strings.LastIndexByte(s, '!')
		if s[end+1] == '0' {
			return s[:end+1] + s[end+2:]
		}
	}
}

func TestGapLosesWhatIsUnfinished(t *testing.T) {
	d, err := newDecoder(&Config{Check: checkAuto}, drivers.Zones{})
	if err != nil {
		t.Fatal(err)
	}
	d.Feed([]byte(dsmr5[:400]))
	d.Gap()
	d.Feed([]byte(dsmr5[400:] + dsmr5))
	d.Gap()
	got, lost := decodertest.Drain(t, d)
	if len(got) != 1 || len(lost) != 1 || lost[0].Length != 400 {
		t.Errorf("%d readings, lost %v; want one, and 400 bytes lost", len(got), lost)
	}
}

func TestHintsTellWhatToChange(t *testing.T) {
	for stream, want := range map[string]string{
		shiftedTelegram(): "mode=7E1",
		cipheredFrame:     "encrypt",
		dsmr5 + dsmr2:     `check = "none"`,
	} {
		_, lost := decodeAll(t, checkAuto, []byte(stream))
		if len(lost) != 1 || !strings.Contains(drivers.Hint(lost[0]), want) {
			t.Errorf("lost %v, hint %q; want a hint with %q", lost, drivers.Hint(lost[0]), want)
		}
	}
}

func TestChecksumErrorTellsBothNumbers(t *testing.T) {
	_, lost := decodeAll(t, checkAuto, []byte(dsmr5[:len(dsmr5)-6]+"0001\r\n"))
	if len(lost) != 1 || lost[0].Got != 1 || lost[0].Want == 1 || lost[0].Offset != len(dsmr5)-6 {
		t.Errorf("lost %+v", lost)
	}
}

// Where a loss is, is told from its own beginning.
func TestALossIsTheSameWhateverCameBefore(t *testing.T) {
	for name, stream := range map[string]string{
		"cut, then another":             dsmr5[:400] + "\r\n" + dsmr5,
		"cut at the end":                dsmr5[:400],
		"7E1":                           shiftedTelegram(),
		"a line that is too long":       sealed("/TST5\n\n0-0:96.13.0(" + strings.Repeat("4", 9000) + ")\n!"),
		"a CRC that does not fit":       dsmr5[:len(dsmr5)-6] + "0001\r\n",
		"a CRC that is no number":       dsmr5[:len(dsmr5)-6] + "ZZZZ\r\n",
		"a CRC that is missing":         dsmr5[:len(dsmr5)-6] + "\r\n",
		"a ciphered telegram":           cipheredFrame,
		"an open bracket without a CRC": crlfed("/TST5\n\n1-0:1.8.0(1\n!\n"),
		"an identification and no line": sealed("/TST5\n\n!"),
	} {
		check := checkCRC
		if name == "an open bracket without a CRC" {
			check = checkNone
		}
		_, want := decodeAll(t, check, []byte(stream))
		for _, before := range []string{"noise\r\n", dsmr5, "/\r\n"} {
			_, got := decodeAll(t, check, []byte(before+stream))
			if len(want) != 1 || len(got) == 0 {
				t.Errorf("%s: %d losses, and %d behind %.5q", name, len(want), len(got), before)
				continue
			}
			if w, g := want[0], got[len(got)-1]; g.Field != w.Field || g.Offset != w.Offset || g.Length != w.Length {
				t.Errorf("%s: lost %v (%d bytes), behind %.5q %v (%d bytes)", name, w, w.Length, before, g, g.Length)
			}
		}
	}
}

func TestWhatIsTooLongIsLostWhereItPassesItsBound(t *testing.T) {
	const head = "/TST5\r\n\r\n"
	for name, c := range map[string]struct {
		stream string
		want   int
	}{
		"a line":     {sealed("/TST5\n\n0-0:96.13.0(" + strings.Repeat("4", maxLine+100) + ")\n!"), len(head) + maxLine},
		"a telegram": {sealed("/TST5\n\n" + strings.Repeat("1-0:1.8.0(1*kWh)\n", 1000) + "!"), maxTelegram},
	} {
		_, lost := decodeAll(t, checkAuto, []byte(c.stream))
		if len(lost) != 1 || !errors.Is(lost[0], drivers.ErrLong) || lost[0].Offset != c.want || lost[0].Length != c.want {
			t.Errorf("%s: lost %+v, want it at byte %d", name, lost, c.want)
		}
	}
}

// In the middle of a line only a whole identification with an empty line behind it is
// the start of a telegram.
func TestATelegramMayBeginWithinALine(t *testing.T) {
	for ident, want := range map[string]int{
		"/ISk5\x02MIE5T-200": 1, "/TST5 SIM~": 1, "/TST5\x7f": 0, "/TST5\x1f": 0,
		"/" + strings.Repeat("A", maxIdent-2): 1, "/" + strings.Repeat("A", maxIdent-1): 0, // with its CR
	} {
		got, lost := decodeAll(t, checkAuto, []byte("noise"+sealed(ident+"\n\n1-0:1.8.0(1*kWh)\n!")))
		if len(got) != want {
			t.Errorf("%.20q: %d readings, lost %v; want %d", ident, len(got), lost, want)
		}
	}
}
