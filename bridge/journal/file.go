package journal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// head begins a remembered file; behind it come the CRC-32C of what follows, in
// hexadecimal, and a line end.
const head = "meter2mqtt 1 "

// Save writes v as JSON to path, as SaveAs does.
func Save(path string, v any) error {
	return SaveAs(path, func(w io.Writer) error { return json.NewEncoder(w).Encode(v) })
}

// SaveAs writes what write does to path, whole or not at all: what was there stays
// until the new content is safe on the disk. write may write in small pieces, so that
// much content need not be in memory at once; it is JSON that Load can read.
func SaveAs(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is none
	if err := errors.Join(fill(f, write), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// fill writes content behind its head. The check is known last and stands first.
func fill(f *os.File, write func(io.Writer) error) error {
	check := crc32.New(castagnoli)
	out := bufio.NewWriterSize(f, 32<<10)
	fmt.Fprintf(out, "%s%08x\n", head, 0)
	if err := errors.Join(write(io.MultiWriter(out, check)), out.Flush()); err != nil {
		return err
	}
	_, err := f.WriteAt(fmt.Appendf(nil, "%08x", check.Sum32()), int64(len(head)))
	return errors.Join(err, f.Sync())
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
