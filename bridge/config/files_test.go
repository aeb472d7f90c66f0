package config

import (
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

func TestFileErrorsAreToldApart(t *testing.T) {
	for _, test := range []struct {
		err          syscall.Errno
		says, remedy string
	}{
		{syscall.ENOENT, "there is no such file", "check the path"},
		{syscall.EACCES, "no permission to read the file", "let the user that runs meter2mqtt read it"},
		{syscall.EISDIR, "a folder, not a file", "name a file inside of it"},
		{syscall.EIO, "the file cannot be read: input/output error", ""},
	} {
		got := fileError(&fs.PathError{Op: "open", Path: "/x", Err: test.err})
		if !strings.Contains(got.Error(), test.says) || !strings.Contains(drivers.Hint(got), test.remedy) {
			t.Errorf("%v: got %q with hint %q, want %q with hint %q", test.err, got, drivers.Hint(got), test.says, test.remedy)
		}
	}
}
