package obis

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestParseReadsEverySpelling(t *testing.T) {
	for text, want := range map[string]Code{
		"1-0:1.8.0":       {1, 0, 1, 8, 0, 255},
		"1-0:1.8.0*255":   {1, 0, 1, 8, 0, 255},
		"1-0:1.8.0*12":    {1, 0, 1, 8, 0, 12},
		"1-0:1.8.0&12":    {1, 0, 1, 8, 0, 12},
		"7-0:3.1.0*1":     {7, 0, 3, 1, 0, 1},
		"0-0:0.0.0":       {0, 0, 0, 0, 0, 255},
		"1.8.0":           {1, 0, 1, 8, 0, 255},
		"16.7":            {1, 0, 16, 7, 0, 255},
		"1.8.0*12":        {1, 0, 1, 8, 0, 12},
		"C.1.0":           {0, 0, 96, 1, 0, 255},
		"96.1.0":          {0, 0, 96, 1, 0, 255},
		"F.F":             {0, 0, 97, 97, 0, 255},
		"P.01":            {1, 0, 99, 1, 0, 255},
		"L.1":             {1, 0, 98, 1, 0, 255},
		"1-0:C.1.9*255":   {1, 0, 96, 1, 9, 255},
		"0-0:F.F.0*255":   {0, 0, 97, 97, 0, 255},
		"255-255:255.0.0": {255, 255, 255, 0, 0, 255},
		"001-000:001.8.0": {1, 0, 1, 8, 0, 255},
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("%s: %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestParseRefusesWhatIsNoCode(t *testing.T) {
	for _, text := range []string{
		"", "1", "1.", "1-0:1", "1-0:1.8.0*", "1-0:1.8.0*256", "256-0:1.8.0", "1-0:1.8.0x", " 1.8.0", "1.8.0 ",
		"1-0:72:32.0", "1-0:4:24.7.0", "1-:1.8.0", "1-0:1..0", "0001.8.0", "c.1.0", "1-0.1.8.0", "1:1.8.0", "-0:1.8.0", "0-0:0.0.0*0",
	} {
		if got, err := Parse(text); !errors.Is(err, ErrCode) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func TestScanFillsWithTheDefaultsOfTheMeter(t *testing.T) {
	c, ok := Scan("3.0.0", Defaults{A: 7, B: 2})
	if want := (Code{7, 2, 3, 0, 0, 255}); !ok || c != want {
		t.Errorf("got %v, want %v", c, want)
	}
	// C and F belong to no medium, but to the channel.
	c, ok = Scan("F.F", Defaults{A: 7, B: 2})
	if want := (Code{0, 2, 97, 97, 0, 255}); !ok || c != want {
		t.Errorf("got %v, want %v", c, want)
	}
}

func TestScanAllocatesNothing(t *testing.T) {
	text := []byte("1-0:1.8.1*255")
	ok := true
	if n := testing.AllocsPerRun(100, func() {
		_, good := Scan(text, Electricity)
		ok = ok && good
	}); n != 0 || !ok {
		t.Errorf("%v allocations, %v", n, ok)
	}
}

func TestMustParsePanicsOnANonsenseConstant(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	MustParse("nonsense")
}

func TestCodesAreTextInJSON(t *testing.T) {
	for text, c := range map[string]Code{
		`"1-0:1.8.0"`:   New(1, 0, 1, 8, 0),
		`"7-0:3.1.0*1"`: {7, 0, 3, 1, 0, 1},
	} {
		b, err := json.Marshal(c)
		if err != nil || string(b) != text {
			t.Errorf("%s, %v, want %s", b, err, text)
		}
		var back Code
		if err := json.Unmarshal(b, &back); err != nil || back != c {
			t.Errorf("%v, %v, want %v", back, err, c)
		}
	}
	if b, err := json.Marshal(Code{}); err != nil || string(b) != `""` {
		t.Errorf("no code: %s, %v", b, err)
	}
	var c Code
	if err := json.Unmarshal([]byte(`"x"`), &c); !errors.Is(err, ErrCode) {
		t.Errorf("got %v", err)
	}
	if !(Code{}).IsZero() || New(0, 0, 0, 0, 0).IsZero() {
		t.Error("the zero code and 0-0:0.0.0 are mixed up")
	}
}

func TestReducedCodesExpandAsTheCorpusSays(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(shared(t, "corpus"), "iec62056-21", "obis-expansion.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file any
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	checked := 0
	eachObject(file, func(o map[string]any) {
		id, isText := o["id"].(string)
		want, known := o["obis"]
		if !isText || !known {
			return
		}
		checked++
		got, ok := Scan(id, Electricity)
		if want == nil {
			return // not OBIS, whatever it looks like
		}
		if code, _ := Parse(want.(string)); !ok || got != code {
			t.Errorf("%s: %v, %v, want %v", id, got, ok, want)
		}
	})
	if checked == 0 {
		t.Error("nothing to check")
	}
}

func eachObject(v any, do func(map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		do(v)
		for _, inner := range v {
			eachObject(inner, do)
		}
	case []any:
		for _, inner := range v {
			eachObject(inner, do)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"1-0:1.8.0*255", "C.1.0", "F.F", "1.8.0&12", "0-1:24.2.1", "1-0:72:32.0", "999.1.1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse(text)
		scanned, ok := Scan([]byte(text), Electricity)
		if ok != (err == nil) || c != scanned {
			t.Fatalf("Parse says %v, %v; Scan says %v, %v", c, err, scanned, ok)
		}
		if err != nil {
			return
		}
		if again, err := Parse(c.String()); err != nil || again != c {
			t.Fatalf("%q is %v, prints as %s, which is %v, %v", text, [6]byte(c), c, [6]byte(again), err)
		}
		if e := Lookup(c); !e.Known() && e != (Entry{}) {
			t.Fatalf("%s is unknown and yet %+v", c, e)
		}
	})
}
