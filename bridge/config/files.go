package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// The largest files that are read.
const (
	maxDocument = 1 << 20
	maxSecret   = 64 << 10
	maxPEM      = 4 << 20 // a bundle of all the world's CAs has a tenth of it
)

// Path is the path of a file that a key names; "" is none.
type Path string

// readLimited is a whole file. Its errors name no path: the mistake that they
// end up in does, or its key.
func readLimited(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fileError(err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fileError(err)
	}
	if int64(len(content)) > limit {
		return nil, errWanted("is it the right file?", "larger than %d bytes", limit)
	}
	return content, nil
}

var errNoFile = errors.New("there is no such file")

func fileError(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errWanted("check the path; in a container, also what is mounted there", "%w", errNoFile)
	case errors.Is(err, fs.ErrPermission):
		return errWanted("let the user that runs meter2mqtt read it", "no permission to read the file")
	case errors.Is(err, syscall.EISDIR):
		return errWanted("name a file inside of it", "this is a folder, not a file")
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	return fmt.Errorf("the file cannot be read: %w", err)
}

// readNamed is readLimited for a file that a key names.
func readNamed(path Path, limit int64) ([]byte, error) {
	content, err := readLimited(string(path), limit)
	if err != nil {
		return nil, errWanted(drivers.Hint(err), "%s: %w", path, err)
	}
	return content, nil
}

// readSecret is the content of a secret's file without the line ends that
// editors leave behind it.
func readSecret(path Path) (string, error) {
	content, err := readNamed(path, maxSecret)
	if err != nil {
		return "", err
	}
	secret := strings.TrimRight(string(content), "\r\n")
	if secret == "" {
		return "", errWanted("write the secret into it, on one line", "%s: the file is empty", path)
	}
	return secret, nil
}
