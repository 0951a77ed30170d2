package follow

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/encoding/protodelim"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
)

const (
	batchesFile = "config.bin"
	gravesFile  = "config-removed.json"
	// maxRecord bounds one signed piece; keys cuts them at 1 MiB.
	maxRecord = 8 << 20
)

// disk keeps the signed batches that make up the view: the last whole configuration and what came
// after it. They are verified again when they are read.
type disk struct {
	dir string
	log *os.File // the open end of batchesFile
}

func openDisk(dir string) (*disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	return &disk{dir: dir}, nil
}

func (d *disk) path(name string) string { return filepath.Join(d.dir, name) }

// read hands over the stored batches in order, up to the first that is torn or that take refuses, and
// cuts off what is behind it.
func (d *disk) read(take func(*keysv1.SignedConfig) error) error {
	f, err := os.OpenFile(d.path(batchesFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open stored configuration: %w", err)
	}
	reader := &countingReader{r: bufio.NewReader(f)}
	good := int64(0)
	for {
		var signed keysv1.SignedConfig
		err := protodelim.UnmarshalOptions{MaxSize: maxRecord}.UnmarshalFrom(reader, &signed)
		if err == nil {
			err = take(&signed)
		}
		if err != nil {
			break
		}
		good = reader.n
	}
	if err := errors.Join(f.Truncate(good), seekEnd(f)); err != nil {
		return errors.Join(fmt.Errorf("cut stored configuration: %w", err), f.Close())
	}
	d.log = f
	return nil
}

func seekEnd(f *os.File) error {
	_, err := f.Seek(0, io.SeekEnd)
	return err
}

// countingReader knows how far it was read.
type countingReader struct {
	r *bufio.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *countingReader) ReadByte() (byte, error) {
	b, err := c.r.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}

// appendDelta adds a delta behind what is stored.
func (d *disk) appendDelta(parts []*keysv1.SignedConfig) error {
	end, err := d.log.Seek(0, io.SeekCurrent)
	if err != nil {
		return fmt.Errorf("store configuration: %w", err)
	}
	if err := write(d.log, parts); err != nil {
		// Half a record would hide all that follows it.
		return errors.Join(fmt.Errorf("store configuration: %w", err), d.log.Truncate(end), seekEnd(d.log))
	}
	return nil
}

// replace stores a whole configuration in place of all that is stored.
func (d *disk) replace(parts []*keysv1.SignedConfig) error {
	f, err := d.swap(batchesFile, func(f *os.File) error { return write(f, parts) })
	if err != nil {
		return fmt.Errorf("store configuration: %w", err)
	}
	old := d.log
	d.log = f
	if old != nil {
		return old.Close()
	}
	return nil
}

func write(f *os.File, parts []*keysv1.SignedConfig) error {
	w := bufio.NewWriter(f)
	for _, p := range parts {
		if _, err := protodelim.MarshalTo(w, p); err != nil {
			return err
		}
	}
	return errors.Join(w.Flush(), f.Sync())
}

// swap writes a file beside the old one and puts it in its place: after a crash there is the old or the
// new one. It returns the open file.
func (d *disk) swap(name string, fill func(*os.File) error) (*os.File, error) {
	f, err := os.OpenFile(d.path(name+".new"), os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := fill(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := os.Rename(f.Name(), d.path(name)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	dir, err := os.Open(d.dir)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// saveGraves stores what is removed.
func (d *disk) saveGraves(g graves) error {
	text, err := json.Marshal(g)
	if err != nil {
		return fmt.Errorf("encode removed objects: %w", err)
	}
	f, err := d.swap(gravesFile, func(f *os.File) error {
		_, err := f.Write(text)
		return errors.Join(err, f.Sync())
	})
	if err != nil {
		return fmt.Errorf("store removed objects: %w", err)
	}
	return f.Close()
}

// loadGraves reads what is removed. A damaged file is as good as none.
func (d *disk) loadGraves() (graves, error) {
	var g graves
	text, err := os.ReadFile(d.path(gravesFile))
	if errors.Is(err, fs.ErrNotExist) {
		return g, nil
	}
	if err != nil {
		return g, fmt.Errorf("read removed objects: %w", err)
	}
	if err := json.Unmarshal(text, &g); err != nil {
		return graves{}, fmt.Errorf("read removed objects: %w", err)
	}
	return g, nil
}

func (d *disk) close() error {
	if d.log == nil {
		return nil
	}
	return d.log.Close()
}
