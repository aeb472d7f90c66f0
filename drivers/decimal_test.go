package drivers

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"
)

func TestParseDecimal(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"leading zeros go, decimals stay", "00012.300", "12.300"},
		{"a whole number", "42", "42"},
		{"zero keeps its decimals", "0000000.000", "0.000"},
		{"a plus sign goes", "+00026", "26"},
		{"a minus sign stays", "-000.125", "-0.125"},
		{"zero has no sign", "-0.0", "0.0"},
		{"no digit before the point", ".5", "0.5"},
		{"no digit behind the point", "5.", "5"},
		{"more decimals than digits", "0.00000001", "0.00000001"},
		{"19 digits", "1234567890.123456789", "1234567890.123456789"},
		{"22 digits, as a gas converter sends them", "12345678901234.00000001", "12345678901234.00000001"},
		{"22 digits with leading zeros", "0000001234567890123456789012", "1234567890123456789012"},
		{"38 digits", strings.Repeat("9", 38), strings.Repeat("9", 38)},
		{"zeros inside", "1000000000000000000000", "1000000000000000000000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := ParseDecimal(c.in)
			if err != nil {
				t.Fatal(err)
			}
			if got := d.String(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestParseDecimalRefusesWhatItCannotKeep(t *testing.T) {
	for _, in := range []string{
		"", "-", "+", ".", "1.2.3", "1e3", " 1", "1 ", "0x10", "1,5", "NaN", "--1", "1-",
		strings.Repeat("9", 39), "0." + strings.Repeat("0", 70) + "1",
	} {
		if d, err := ParseDecimal(in); !errors.Is(err, ErrDigits) {
			t.Errorf("%q: got %s, %v", in, d, err)
		}
	}
}

func FuzzParseDecimal(f *testing.F) {
	for _, s := range []string{"00012.300", "-0.5", "99999999999999999999999999999999999999", ".", "1e5", "5."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDecimal(s)
		if err != nil {
			return
		}
		want, ok := new(big.Rat).SetString(s)
		if !ok {
			t.Fatalf("%q was taken, but is no number", s)
		}
		got, ok := new(big.Rat).SetString(d.String())
		if !ok || got.Cmp(want) != 0 {
			t.Fatalf("%q became %s", s, d)
		}
		if !json.Valid(d.AppendTo(nil)) {
			t.Fatalf("%s is no JSON number", d)
		}
		again, err := ParseDecimal(d.String())
		if err != nil || !again.Equal(d) {
			t.Fatalf("%s does not read back: %s, %v", d, again, err)
		}
	})
}

func TestShiftMovesThePointAndNoDigit(t *testing.T) {
	for _, c := range []struct {
		in   string
		by   int
		want string
	}{
		{"0.242", 3, "242"},
		{"999.9", 3, "999900"},
		{"0.000", 3, "0"},
		{"0.0", 5, "0"},
		{"1234", -3, "1.234"},
		{"1", -5, "0.00001"},
		{"12345678901234.00000001", 3, "12345678901234000.00001"},
	} {
		d, err := ParseDecimal(c.in)
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.Shift(c.by)
		if err != nil {
			t.Fatal(err)
		}
		if got.String() != c.want {
			t.Errorf("%s by %d: got %s, want %s", c.in, c.by, got, c.want)
		}
	}
}

func TestShiftRefusesAbsurdScales(t *testing.T) {
	for _, by := range []int{65, -65, 1 << 40, -1 << 40} {
		if d, err := NewDecimal(1, 0).Shift(by); !errors.Is(err, ErrDigits) {
			t.Errorf("by %d: got %s, %v", by, d, err)
		}
	}
}

func TestScaledUintHoldsTheUpperHalfOf64Bits(t *testing.T) {
	d, err := ScaledUint(18446744073709551615, -3)
	if err != nil || d.String() != "18446744073709551.615" {
		t.Errorf("got %s, %v", d, err)
	}
}

func TestSetScaledIsScaledInPlace(t *testing.T) {
	v := Value{Number: NewDecimal(-12, 3)}
	for _, c := range []struct {
		coefficient int64
		exponent    int
	}{{0, 0}, {-1, -3}, {math.MaxInt64, 64}, {math.MinInt64, -64}, {15, 2}} {
		want, err := Scaled(c.coefficient, c.exponent)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.SetScaled(c.coefficient, c.exponent); err != nil || !v.Number.Equal(want) || v.Number.String() != want.String() {
			t.Errorf("%d × 10^%d: got %s, %v, want %s", c.coefficient, c.exponent, v.Number, err, want)
		}
	}
	if err := v.SetScaled(1, 65); !errors.Is(err, ErrDigits) || v.Number.String() != "1500" {
		t.Errorf("beyond the exponent: got %s, %v", v.Number, err)
	}
}

func TestArithmeticIsExactOrRefused(t *testing.T) {
	parse := func(s string) Decimal {
		d, err := ParseDecimal(s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	sum, err := parse("0.1").Add(parse("0.2"))
	if err != nil || sum.String() != "0.3" {
		t.Errorf("0.1 + 0.2: %s, %v", sum, err)
	}
	diff, err := parse("5686.900").Sub(parse("5686.9"))
	if err != nil || diff.String() != "0.000" {
		t.Errorf("difference: %s, %v", diff, err)
	}
	product, err := parse("00123.456").Mul(parse("1.5"))
	if err != nil || product.String() != "185.1840" {
		t.Errorf("product: %s, %v", product, err)
	}
	nines := parse(strings.Repeat("9", 38))
	if d, err := nines.Add(parse("1")); !errors.Is(err, ErrDigits) {
		t.Errorf("39 digits were taken: %s", d)
	}
	if d, err := nines.Mul(nines); !errors.Is(err, ErrDigits) {
		t.Errorf("76 digits were taken: %s", d)
	}
}

func TestDecimalCompares(t *testing.T) {
	a, b := NewDecimal(1230, -2), NewDecimal(123, -1)
	if a.Cmp(b) != 0 || a.Equal(b) {
		t.Errorf("12.30 and 12.3: the same number with other decimals: Cmp %d, Equal %t", a.Cmp(b), a.Equal(b))
	}
	if NewDecimal(-1, 0).Cmp(NewDecimal(1, -9)) >= 0 || NewDecimal(-1, 0).Sign() != -1 {
		t.Error("a negative number is less than a small one")
	}
}

func TestDecimalJSONIsANumber(t *testing.T) {
	var d Decimal
	if err := json.Unmarshal([]byte("12345678901234567890.10"), &d); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(map[string]Decimal{"v": d})
	if err != nil || string(b) != `{"v":12345678901234567890.10}` {
		t.Errorf("got %s, %v", b, err)
	}
	if err := json.Unmarshal([]byte(`"1"`), &d); err == nil {
		t.Error("a text was taken for a number")
	}
}

func TestDecimalAllocatesNothing(t *testing.T) {
	digits := []byte("0012345.678")
	buf := make([]byte, 0, 64)
	n := testing.AllocsPerRun(100, func() {
		d, err := ParseDecimal(digits)
		if err != nil {
			t.Fatal(err)
		}
		d, _ = d.Shift(3)
		buf = d.AppendTo(buf[:0])
	})
	if n != 0 {
		t.Errorf("%g allocations", n)
	}
	long := []byte("12345678901234.00000001")
	if n := testing.AllocsPerRun(100, func() { _, _ = ParseDecimal(long) }); n != 0 {
		t.Errorf("22 digits: %g allocations", n)
	}
}

func TestDecimalsAndFloatOfADecimal(t *testing.T) {
	for _, c := range []struct {
		d        Decimal
		decimals int
		float    float64
	}{
		{Decimal{}, 0, 0},
		{NewDecimal(-12500, -3), 3, -12.5},
		{NewDecimal(5, 3), 0, 5000},
	} {
		if c.d.Decimals() != c.decimals || c.d.Float64() != c.float {
			t.Errorf("%s: %d decimals, %g", c.d, c.d.Decimals(), c.d.Float64())
		}
	}
}
