package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
)

// head begins a remembered file; behind it come the CRC-32C of what follows, in
// hexadecimal, and a line end.
const head = "meter2mqtt 1 "

// Save writes v as JSON to path, whole or not at all: what was there stays until
// the new content is safe on the disk.
func Save(path string, v any) error {
	content, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is none
	_, err = fmt.Fprintf(f, "%s%08x\n%s", head, crc32.Checksum(content, castagnoli), content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// Load reads what Save wrote into v. A file that is not there leaves v as it is.
// A damaged one does too: it is put aside under another name, and the error says
// so.
func Load(path string, v any) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	content, ok := verify(b)
	if ok && json.Unmarshal(content, v) == nil {
		return nil
	}
	if err := os.Rename(path, path+aside); err != nil {
		return fmt.Errorf("%s is damaged and cannot be put aside: %w", path, err)
	}
	return fmt.Errorf("%s was damaged; it is kept as %s", path, path+aside)
}

// verify is the content of a file whose check holds.
func verify(b []byte) ([]byte, bool) {
	line, content, ok := bytes.Cut(b, []byte("\n"))
	if !ok || !bytes.HasPrefix(line, []byte(head)) {
		return nil, false
	}
	want := fmt.Sprintf("%08x", crc32.Checksum(content, castagnoli))
	return content, string(line[len(head):]) == want
}
