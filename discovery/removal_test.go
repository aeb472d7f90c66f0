package discovery

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRemovalLeavesThePlatformOfWhatGoes(t *testing.T) {
	previous := []byte(`{"device":{},"components":{"a":{"platform":"sensor","name":"A"},"b":{"platform":"event","name":"B"}}}`)
	next := []byte(`{"device":{"name":"x"},"components":{"a":{"platform":"sensor","name":"A2"}}}`)
	got := Removal(previous, next)
	var decoded map[string]any
	if err := json.Unmarshal(got, &decoded); err != nil {
		t.Fatalf("%s: %v", got, err)
	}
	want := map[string]any{
		"device": map[string]any{"name": "x"},
		"components": map[string]any{
			"a": map[string]any{"platform": "sensor", "name": "A2"},
			"b": map[string]any{"platform": "event"},
		},
	}
	if diff := cmp.Diff(want, decoded); diff != "" {
		t.Error(diff)
	}
}

func TestRemovalOfNothingIsNothing(t *testing.T) {
	one := []byte(`{"components":{"a":{"platform":"sensor"}}}`)
	for _, c := range []struct{ name, previous, next string }{
		{"the same", string(one), string(one)},
		{"more than before", `{"components":{}}`, string(one)},
		{"nothing before", ``, string(one)},
		{"garbage before", `{"components":7}`, string(one)},
		{"what is half removed already", `{"components":{"b":{}}}`, string(one)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Removal([]byte(c.previous), []byte(c.next)); got != nil {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestAnOutlineRemovesWhatItsPayloadDoes(t *testing.T) {
	previous := []byte(`{"device":{"name":"x"},"components":{"a":{"platform":"sensor","name":"A"},"b":{"platform":"event","name":"B"}}}`)
	next := []byte(`{"device":{"name":"x"},"components":{"a":{"platform":"sensor","name":"A2"}}}`)
	if diff := cmp.Diff(string(Removal(previous, next)), string(Removal(Outline(previous), next))); diff != "" {
		t.Error(diff)
	}
	if bytes.Equal(Outline(previous), Outline(bytes.Replace(previous, []byte(`"A"`), []byte(`"C"`), 1))) {
		t.Error("payloads that differ have the same outline")
	}
	if !bytes.Equal(Outline(previous), Outline(previous)) {
		t.Error("the same payload has two outlines")
	}
}
