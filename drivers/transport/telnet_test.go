package transport

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// telnetText is what a stream says: its data as it is, commands in brackets.
func telnetText(chunks ...[]byte) string {
	var d telnetDecoder
	var b strings.Builder
	for _, p := range chunks {
		d.decode(p,
			func(data []byte) { b.WriteString(strings.NewReplacer("\\", `\\`, "[", `\[`).Replace(string(data))) },
			func(c telnetCommand) { fmt.Fprintf(&b, "[%d %d %x]", c.verb, c.option, c.value) })
	}
	return b.String()
}

func TestTelnetDecoder(t *testing.T) {
	for name, c := range map[string]struct{ stream, want string }{
		"data passes as it is":                        {"/XXX5\r\n\r\x00", "/XXX5\r\n\r\x00"},
		"a doubled IAC is one byte":                   {"a\xff\xffb\xff\xff\xff\xff", "a\xffb\xff\xff"},
		"a negotiation is a command":                  {"a\xff\xfb\x00b\xff\xfe\x2c", "a[251 0 ]b[254 44 ]"},
		"a sub-negotiation has a value":               {"a\xff\xfa\x2c\x65\x00\x00\x25\x80\xff\xf0b", "a[250 44 6500002580]b"},
		"a doubled IAC in there is one byte":          {"\xff\xfa\x2c\x65\x00\x00\x00\xff\xff\xff\xf0b", "[250 44 65000000ff]b"},
		"an empty sub-negotiation is nothing":         {"a\xff\xfa\xff\xf0b", "ab"},
		"commands without an option are skipped":      {"a\xff\xf1b\xff\xf9c\xff\xf2d", "abcd"},
		"a command breaks a sub-negotiation off":      {"\xff\xfa\x2c\x65\xff\xfb\x00b", "[251 0 ]b"},
		"another one may begin there":                 {"\xff\xfa\x2c\x65\xff\xfa\x2c\x66\x08\xff\xf0b", "[250 44 6608]b"},
		"one that is too long is skipped":             {"\xff\xfa" + strings.Repeat("x", 257) + "\xff\xf0b", "b"},
		"the longest one is not":                      {"\xff\xfa,d" + strings.Repeat("x", 254) + "\xff\xf0b", "[250 44 64" + strings.Repeat("78", 254) + "]b"},
		"what has only begun is nothing yet":          {"a\xff\xfa\x2c\x65", "a"},
		"an option may have the number of an IAC":     {"\xff\xfb\xffb", "[251 255 ]b"},
		"the end of a sub-negotiation alone is no do": {"a\xff\xf0b", "ab"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := telnetText([]byte(c.stream)); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestTelnetOptions(t *testing.T) {
	const all = "\xff\xfb\x2c\xff\xfb\x00\xff\xfb\x03\xff\xfd\x00\xff\xfd\x03"
	for name, c := range map[string]struct {
		heard, answer string
		settled       bool
		refusal       string
	}{
		"what was asked for and granted is not answered": {heard: "\xff\xfd\x2c\xff\xfd\x00\xff\xfb\x00\xff\xfd\x03\xff\xfb\x03", settled: true},
		"nor is what is granted twice":                   {heard: "\xff\xfd\x2c\xff\xfd\x2c\xff\xfd\x00\xff\xfb\x00\xff\xfb\x00", settled: true},
		"one direction of binary is not enough":          {heard: "\xff\xfd\x2c\xff\xfd\x00"},
		"what nobody wants is refused":                   {heard: "\xff\xfb\x01\xff\xfd\x18", answer: "\xff\xfe\x01\xff\xfc\x18"},
		"what it need not do is no news":                 {heard: "\xff\xfe\x01\xff\xfc\x18"},
		"its own COM-PORT-OPTION is welcome, once":       {heard: "\xff\xfb\x2c\xff\xfb\x2c", answer: "\xff\xfd\x2c"},
		"go-ahead is its own business":                   {heard: "\xff\xfd\x2c\xff\xfd\x00\xff\xfb\x00\xff\xfe\x03\xff\xfc\x03", settled: true},
		"COM-PORT-OPTION refused":                        {heard: "\xff\xfe\x2c", refusal: "refuses to be set"},
		"binary from us refused":                         {heard: "\xff\xfe\x00", refusal: "refuses binary"},
		"binary to us refused":                           {heard: "\xff\xfc\x00", refusal: "refuses binary"},
		"COM-PORT-OPTION taken back":                     {heard: "\xff\xfd\x2c\xff\xfe\x2c", answer: "\xff\xfc\x2c", refusal: "refuses to be set"},
	} {
		t.Run(name, func(t *testing.T) {
			var o telnetOptions
			if diff := cmp.Diff(all, string(o.ask())); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
			var d telnetDecoder
			var answer []byte
			d.decode([]byte(c.heard), func([]byte) {}, func(c telnetCommand) { answer = o.hear(answer, c) })
			if string(answer) != c.answer || o.settled() != c.settled {
				t.Errorf("answers %q, settled %t, want %q, %t", answer, o.settled(), c.answer, c.settled)
			}
			if err := o.refusal(); (err == nil) != (c.refusal == "") || err != nil && !strings.Contains(err.Error(), c.refusal) {
				t.Errorf("refusal %v, want %q", err, c.refusal)
			}
		})
	}
}

// A peer that speaks first has answered already, and will not again.
func TestTelnetOptionsAskForNothingTwice(t *testing.T) {
	var o telnetOptions
	var answer []byte
	for _, c := range []telnetCommand{
		{verb: telnetDo, option: optionComPort}, {verb: telnetWill, option: optionBinary}, {verb: telnetDo, option: optionBinary},
	} {
		answer = o.hear(answer, c)
	}
	if got, want := string(answer), "\xff\xfb\x2c\xff\xfd\x00\xff\xfb\x00"; got != want {
		t.Errorf("answers %q, want %q", got, want)
	}
	if got, want := string(o.ask()), "\xff\xfb\x03\xff\xfd\x03"; got != want || !o.settled() {
		t.Errorf("asks %q, want %q; settled %t", got, want, o.settled())
	}
}

// Whatever two sides have begun to say, they come to an end.
func TestTelnetOptionsDoNotCircle(t *testing.T) {
	var a, b telnetOptions
	words := a.ask()
	words = append(words, telnetIAC, telnetWill, 1, telnetIAC, telnetDo, 24)
	for turn := range 10 {
		if len(words) == 0 {
			return
		}
		hearer := &b
		if turn%2 == 1 {
			hearer = &a
		}
		var d telnetDecoder
		var answer []byte
		d.decode(words, func([]byte) {}, func(c telnetCommand) { answer = hearer.hear(answer, c) })
		words = answer
	}
	t.Errorf("still talking: %x", words)
}

func FuzzTelnet(f *testing.F) {
	f.Add([]byte("a\xff\xffb\xff\xfb\x00\xff\xfa\x2c\x65\x00\x00\x25\x80\xff\xf0"), uint16(5))
	f.Add([]byte("\xff\xfa\x2c\xff\xff\xff\xfa\xff\xf0"), uint16(3))
	f.Fuzz(func(t *testing.T, stream []byte, cut uint16) {
		at := int(cut) % (len(stream) + 1)
		whole := telnetText(stream)
		if got := telnetText(stream[:at], stream[at:]); got != whole {
			t.Fatalf("cut at %d: %q, not %q", at, got, whole)
		}
		if got := telnetText(bytes.SplitAfter(stream, []byte{telnetIAC})...); got != whole {
			t.Fatalf("cut behind each IAC: %q, not %q", got, whole)
		}
		var d telnetDecoder
		var back []byte
		d.decode(appendEscaped(nil, stream),
			func(data []byte) { back = append(back, data...) },
			func(c telnetCommand) { t.Fatalf("data became a command: %v", c) })
		if !bytes.Equal(back, stream) || d.state != telnetData {
			t.Fatalf("%x came back as %x", stream, back)
		}
		d.decode(stream, func([]byte) {}, func(telnetCommand) {})
		if len(d.sub) > maxSubnegotiation {
			t.Fatalf("%d bytes are kept", len(d.sub))
		}
		value := stream[:min(len(stream), maxSubnegotiation-1)]
		if got, want := telnetText(appendComPort(nil, value...)), fmt.Sprintf("[250 44 %x]", value); got != want {
			t.Fatalf("sub-negotiation %q, want %q", got, want)
		}
	})
}
