package capture

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// sentences is a decoder of telegrams that end with a full stop; one that ends
// with a question mark is damaged.
type sentences struct {
	fed, left []byte
	gaps      int
	lost      drivers.FrameError
}

func (s *sentences) Feed(p []byte) {
	s.fed = append(s.fed, p...)
	s.left = append(s.left, p...)
}

func (s *sentences) Gap() { s.gaps++ }

func (s *sentences) Next(r *drivers.Reading) error {
	end := bytes.IndexAny(s.left, ".?")
	switch {
	case end >= 0 && s.left[end] == '.':
		r.Reset()
		r.Meter.ID = string(s.left[:end])
		s.left = s.left[end+1:]
		return nil
	case end >= 0:
		return s.lose(end+1, drivers.ErrChecksum)
	case s.gaps > 0 && len(s.left) > 0:
		return s.lose(len(s.left), drivers.ErrShort)
	}
	return drivers.ErrMore
}

func (s *sentences) lose(n int, err error) error {
	s.lost = drivers.FrameError{Field: "sentence", Offset: n, Length: n, Err: err}
	s.left = s.left[n:]
	return &s.lost
}

// decode tells what came out of an input, a word a telegram.
func decode(in io.Reader) (said []string, err error) {
	err = Decode(in, &sentences{}, Sink{
		Reading: func(r *drivers.Reading) error {
			said = append(said, r.Meter.ID)
			return nil
		},
		Refused: func(e *drivers.FrameError) { said = append(said, e.Err.Error()) },
	})
	return said, err
}

func TestDecodeTellsWhatAnInputIs(t *testing.T) {
	want := []string{"good", "dear", drivers.ErrChecksum.Error(), "more", drivers.ErrShort.Error()}
	const text = "good.dear.bad?more.less"
	for name, in := range map[string]string{
		"raw bytes":               text,
		"hexadecimal on one line": hex.EncodeToString([]byte(text)),
		"capital digits":          strings.ToUpper(hex.EncodeToString([]byte(text))),
		"hexadecimal on lines that cut telegrams": "67 6f 6f\r\n64 2e 64\r\n\r\n65 61 72 2e\n" +
			"  0x62, 0x61, 0X64, 0x3f\n6d:6f:72:65:2e\n\t6c657373",
		"a recording": `{"t":0,"dir":"rx","hex":"676f6f642e64"}` + "\n" +
			`{"t":0.5,"dir":"tx","hex":"6e6f742e"}` + "\n\n" +
			`{"t":1,"dir":"rx","hex":"6561722e6261643f"}` + "\n" +
			`{"t":2,"dir":"rx","hex":"6d6f72652e6c657373"}` + "\n",
	} {
		for cut, reader := range map[string]io.Reader{
			"whole":       strings.NewReader(in),
			"byte a time": iotest.OneByteReader(strings.NewReader(in)),
		} {
			t.Run(name+", "+cut, func(t *testing.T) {
				got, err := decode(reader)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func TestAnEmptyInputEndsWithAGap(t *testing.T) {
	d := &sentences{}
	err := Decode(strings.NewReader(""), d, Sink{})
	if err != nil || d.gaps != 1 || len(d.fed) != 0 {
		t.Errorf("%v, %d gaps, fed %q", err, d.gaps, d.fed)
	}
}

func TestDecodeNamesTheLineThatIsWrong(t *testing.T) {
	const good = "67 6f 6f 64 2e 64 65 61 72 2e\n"
	for name, c := range map[string]struct{ in, want string }{
		"an odd number of digits": {good + "\n62 6\n", "line 3: 3 digits, an odd number: not hexadecimal"},
		"no digit":                {strings.Repeat(good, 60) + "62 oh", "line 61: column 4: 'o': not hexadecimal"},
		"an x out of place":       {"67 6f 6f 64 2e\nx 62 61 64", "line 2: column 1: 'x': not hexadecimal"},
		"a line without end":      {good + strings.Repeat("62", maxLine), "line 2: " + bufio.ErrTooLong.Error()},
		"a recording that breaks": {`{"t":0,"dir":"rx","hex":"2e"}` + "\nend", "line 2: no JSON object"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := decode(strings.NewReader(c.in))
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("%v; want %s", err, c.want)
			}
			if len(got) == 0 {
				t.Error("the telegrams before it are lost")
			}
		})
	}
}

func TestDecodeEndsWithWhatTheInputOrTheSinkSays(t *testing.T) {
	broken := errors.New("broken")
	for name, in := range map[string]string{
		"at once":        "",
		"raw bytes":      "good.dear.and so on",
		"hexadecimal":    "67 6f 6f 64 2e 64 65 61 72 2e",
		"in a recording": `{"t":0,"dir":"rx","hex":"2e"}` + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			in := io.MultiReader(strings.NewReader(in), iotest.ErrReader(broken))
			if _, err := decode(in); !errors.Is(err, broken) {
				t.Errorf("got %v", err)
			}
		})
	}
	full := func(*drivers.Reading) error { return broken }
	for _, in := range []string{"good.dear.", "67 6f 6f 64 2e", `{"t":0,"dir":"rx","hex":"2e"}`} {
		if err := Decode(strings.NewReader(in), &sentences{}, Sink{Reading: full}); !errors.Is(err, broken) {
			t.Errorf("%s: got %v", in, err)
		}
	}
}

func TestAPipeThatStaysOpenGivesItsReadingsAtOnce(t *testing.T) {
	for name, pieces := range map[string][]string{
		"raw bytes":   {"a first sentence.", "short."},
		"hexadecimal": {"61 20 66 69 72 73 74 2e\n", "73 2e\n"},
		"a recording": {`{"t":0,"dir":"rx","hex":"6120662e"}` + "\n", `{"t":1,"dir":"rx","hex":"2e"}` + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // where a reading that never comes is a deadlock
				in, out := io.Pipe()
				said, done := make(chan string), make(chan error)
				go func() {
					done <- Decode(in, &sentences{}, Sink{Reading: func(r *drivers.Reading) error {
						said <- r.Meter.ID
						return nil
					}})
				}()
				for _, p := range pieces {
					if _, err := io.WriteString(out, p); err != nil {
						t.Fatal(err)
					}
					<-said
				}
				out.Close()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// FuzzDecodeInput holds that no input makes Decode panic, that bytes which are
// neither hexadecimal nor a recording reach the decoder as they are, and that
// their hexadecimal text does too.
func FuzzDecodeInput(f *testing.F) {
	for _, seed := range []string{
		"", "good.bad?", "67 6f 6f 64 2e\n0x62", "0x", "0x0", "67 6", " \n\t",
		`{"t":0,"dir":"rx","hex":"2e"}`, `{"t":0,"dir":"tx","hex":"2e"}` + "\n{", "\x68\x03\x03\x68\x08\x01\x72\x7b\x16",
	} {
		f.Add([]byte(seed))
	}
	none := Sink{Reading: func(*drivers.Reading) error { return nil }, Refused: func(*drivers.FrameError) {}}
	f.Fuzz(func(t *testing.T, in []byte) {
		d := &sentences{}
		err := Decode(bytes.NewReader(in), d, none)
		head := in[:min(len(in), sample)]
		if !isRecording(head) && !looksHex(head) && (err != nil || d.gaps != 1 || !bytes.Equal(d.fed, in)) {
			t.Errorf("raw: %v, %d gaps, fed %q", err, d.gaps, d.fed)
		}
		if len(in) == 0 || 2*len(in) > maxLine/2 {
			return
		}
		d = &sentences{}
		err = Decode(strings.NewReader(hex.EncodeToString(in)), d, none)
		if err != nil || d.gaps != 1 || !bytes.Equal(d.fed, in) {
			t.Errorf("as hexadecimal: %v, %d gaps, fed %q", err, d.gaps, d.fed)
		}
	})
}
