package transit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxPrivateFile bounds what is read: a keyset of many keys is some kilobytes.
const maxPrivateFile = 1 << 20

// privateFile returns the content of a file that only its owner can read. If create is set and it
// does not exist, fresh makes its content. Of two processes that create it at once, one wins and
// both get the winner's.
func privateFile(path string, create bool, fresh func() ([]byte, error)) ([]byte, error) {
	content, err := readPrivate(path)
	if !create || !errors.Is(err, fs.ErrNotExist) {
		return content, err
	}
	if content, err = fresh(); err != nil {
		return nil, err
	}
	if err := writePrivate(path, content); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return readPrivate(path)
}

func readPrivate(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		return nil, fmt.Errorf("%s has mode %#o, which lets others at it: set it to 0600 and replace what it held", path, mode)
	}
	if info.Size() > maxPrivateFile {
		return nil, fmt.Errorf("%s is too large", path)
	}
	return io.ReadAll(io.LimitReader(file, maxPrivateFile))
}

// writePrivate makes the file whole and durable, or not at all: what is sealed with a key that a
// crash has lost never opens again. The error is fs.ErrExist if it exists.
func writePrivate(path string, content []byte) error {
	dir := filepath.Dir(path)
	file, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	_, err = file.Write(content)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Link(file.Name(), path); err != nil { // unlike a rename, it never replaces
		return err
	}
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
