package drivers

import (
	"errors"
	"fmt"
	"testing"
)

func TestFrameErrorSaysWhereAndWhy(t *testing.T) {
	for want, e := range map[string]FrameError{
		"CRC at byte 71: checksum does not fit: got 0x3a, want 0xbb3d": {Field: "CRC", Offset: 71, Got: 0x3A, Want: 0xBB3D, Err: ErrChecksum},
		"A-field at byte 0: ended too early":                           {Field: "A-field", Err: ErrShort, Got: 1, Want: 2},
		"tag at byte 9: no key: key or password does not fit":          {Field: "tag", Offset: 9, Err: fmt.Errorf("no key: %w", ErrAuth)},
	} {
		if got := e.Error(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestAFrameErrorIsKeptByItsClone(t *testing.T) {
	reused := &FrameError{Field: "CRC", Err: ErrChecksum}
	kept := reused.Clone()
	*reused = FrameError{Field: "L-field", Err: ErrShort}
	if !errors.Is(kept, ErrChecksum) || kept.Field != "CRC" {
		t.Errorf("it became %v", kept)
	}
}

func TestHintIsTheFirstRemedy(t *testing.T) {
	cause := errors.New("cause")
	near := WithHint(cause, "near")
	frame := &FrameError{Err: ErrAuth, Hint: "frame"}
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"none":                       {cause, ""},
		"no error":                   {nil, ""},
		"its own":                    {near, "near"},
		"of what it wraps":           {fmt.Errorf("meter main: %w", near), "near"},
		"the outer before the inner": {WithHint(fmt.Errorf("meter main: %w", near), "far"), "far"},
		"of a frame":                 {fmt.Errorf("meter main: %w", frame), "frame"},
		"of a frame without":         {&FrameError{Err: ErrAuth}, ""},
		"the wrapper's over a frame": {WithHint(frame, "far"), "far"},
	} {
		if got := Hint(c.err); got != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if near.Error() != "cause" || !errors.Is(near, cause) {
		t.Errorf("a hint changed the error: %v", near)
	}
}
