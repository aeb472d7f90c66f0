package mqttlink

import (
	"slices"
	"testing"
)

func TestWhatIsHeldBackComesFirst(t *testing.T) {
	var d door
	var came []int
	say := func(n int) func() { return func() { came = append(came, n) } }
	d.pass(say(1))
	d.shut()
	d.pass(func() { came = append(came, 2); d.pass(say(4)) })
	d.pass(say(3))
	if !slices.Equal(came, []int{1}) {
		t.Errorf("through a shut door came %v", came)
	}
	d.open()
	d.pass(say(5))
	if want := []int{1, 2, 3, 4, 5}; !slices.Equal(came, want) {
		t.Errorf("came %v, want %v", came, want)
	}
}

func TestAFloodIsHeldBackUpToABound(t *testing.T) {
	var d door
	d.shut()
	for range maxHeld {
		d.pass(func() { t.Error("came through a shut door") })
	}
	came := false
	d.pass(func() { came = true })
	if !came {
		t.Error("one too many was held back")
	}
	d.shut()
	d.open()
}
