package media

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	fileSuffix = ".job"
	// maxFile bounds what is read of a file: a record is far smaller.
	maxFile = 64 << 10
)

// spool keeps the records of open jobs on disk, a file each.
type spool struct{ dir string }

func openSpool(dir string) (*spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open job folder: %w", err)
	}
	return &spool{dir}, nil
}

// keep writes a record so that it survives a power cut: whole, or not at all.
func (s *spool) keep(r *record) error {
	path := filepath.Join(s.dir, r.fileName())
	f, err := os.CreateTemp(s.dir, "new-*")
	if err != nil {
		return fmt.Errorf("keep job: %w", err)
	}
	_, err = f.Write(compact(r))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("keep job: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return s.sync()
}

func (s *spool) sync() error {
	d, err := os.Open(s.dir)
	if err != nil {
		return fmt.Errorf("sync job folder: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync job folder: %w", err)
	}
	return nil
}

// forget removes a record. One that comes back is asked for once more, which changes nothing.
func (s *spool) forget(r *record) error {
	if err := os.Remove(filepath.Join(s.dir, r.fileName())); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("forget job: %w", err)
	}
	return nil
}

// load reads what an earlier process left. Files that are no records are told of and left alone; halves of
// files that were being written are removed.
func (s *spool) load(told func(name string, err error)) ([]*record, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("read job folder: %w", err)
	}
	var out []*record
	for _, entry := range entries {
		path := filepath.Join(s.dir, entry.Name())
		switch {
		case strings.HasPrefix(entry.Name(), "new-"):
			if err := os.Remove(path); err != nil {
				told(entry.Name(), err)
			}
		case strings.HasSuffix(entry.Name(), fileSuffix):
			r, err := read(path)
			if err != nil {
				told(entry.Name(), err)
				continue
			}
			out = append(out, r)
		}
	}
	return out, nil
}

func read(path string) (*record, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read job: %w", err)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("read job: a file of %d bytes", info.Size())
	}
	plain, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read job: %w", err)
	}
	return parse(plain)
}
