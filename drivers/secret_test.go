package drivers

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestSecretIsRevealedOnlyByReveal(t *testing.T) {
	const word = "open sesame"
	s := NewSecret(word)
	if s.Reveal() != word || s.IsZero() {
		t.Fatalf("Reveal() = %q, IsZero() = %t", s.Reveal(), s.IsZero())
	}
	hidden := struct{ unexported Secret }{s}
	asJSON, err := json.Marshal(map[string]any{"a": s, "b": &s})
	if err != nil {
		t.Fatal(err)
	}
	shown := []string{string(asJSON), s.String(), s.GoString(), fmt.Errorf("login: %v", s).Error()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		shown = append(shown, fmt.Sprintf(verb, s), fmt.Sprintf(verb, &s), fmt.Sprintf(verb, hidden), fmt.Sprintf(verb, &hidden))
	}
	for _, text := range shown {
		if strings.Contains(text, word) || strings.Contains(text, fmt.Sprintf("%x", word)) {
			t.Errorf("the secret shows in %q", text)
		}
	}
}

func TestZeroSecretIsNone(t *testing.T) {
	for _, s := range []Secret{{}, NewSecret("")} {
		if !s.IsZero() || s.Reveal() != "" || s.String() != "" {
			t.Errorf("a secret of no text: IsZero() = %t, String() = %q", s.IsZero(), s)
		}
	}
}
