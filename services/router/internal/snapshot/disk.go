package snapshot

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
)

// maxDeltas is how many changes are appended to a whole configuration before a new whole one is
// asked for, so that a start does not replay a long history.
const maxDeltas = 2000

const maxPiece = 16 << 20

// disk keeps the signed pieces as they came: a whole configuration and the changes since, each
// with its length before it. Nothing in them is plain text of a secret, and every signature is
// checked again when they are read.
type disk struct {
	path   string
	file   *os.File // the current file, for appending
	deltas int
}

// load calls visit for every piece of the last configuration; a torn end is cut off. No file is no error.
func (d *disk) load(visit func(*keysv1.SignedConfig) error) error {
	f, err := os.OpenFile(d.path, os.O_RDWR, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open configuration: %w", err)
	}
	defer func() { _ = f.Close() }()
	r := bufio.NewReaderSize(f, 1<<20)
	var good int64
	for {
		piece, n, err := readPiece(r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			if err := f.Truncate(good); err != nil {
				return fmt.Errorf("cut configuration: %w", err)
			}
			return nil
		}
		if err := visit(piece); err != nil {
			return err
		}
		good += n
	}
}

func readPiece(r io.Reader) (*keysv1.SignedConfig, int64, error) {
	var head [4]byte
	if n, err := io.ReadFull(r, head[:]); err != nil {
		if n == 0 {
			return nil, 0, io.EOF
		}
		return nil, 0, io.ErrUnexpectedEOF
	}
	size := binary.LittleEndian.Uint32(head[:])
	if size > maxPiece {
		return nil, 0, fmt.Errorf("configuration: a piece of %d bytes", size)
	}
	raw := make([]byte, size)
	if _, err := io.ReadFull(r, raw); err != nil {
		return nil, 0, io.ErrUnexpectedEOF
	}
	piece := &keysv1.SignedConfig{}
	if err := proto.Unmarshal(raw, piece); err != nil {
		return nil, 0, fmt.Errorf("decode configuration: %w", err)
	}
	return piece, int64(4 + len(raw)), nil
}

// replace writes a whole configuration in place of the last one: to a new file first, so that a
// crash leaves one or the other.
func (d *disk) replace(pieces []*keysv1.SignedConfig) error {
	next := d.path + ".new"
	f, err := os.OpenFile(next, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	for _, p := range pieces {
		if err == nil {
			err = writePiece(f, p)
		}
	}
	if err = errors.Join(err, f.Sync()); err == nil {
		err = os.Rename(next, d.path)
	}
	if err != nil {
		return fmt.Errorf("write configuration: %w", errors.Join(err, f.Close()))
	}
	if d.file != nil {
		_ = d.file.Close() // replaced
	}
	d.file, d.deltas = f, 0
	dir, err := os.Open(filepath.Dir(d.path))
	if err != nil {
		return fmt.Errorf("sync configuration folder: %w", err)
	}
	defer func() { _ = dir.Close() }()
	return dir.Sync()
}

// add appends a change. full says that a whole configuration should be asked for.
func (d *disk) add(piece *keysv1.SignedConfig) (full bool, err error) {
	if d.file == nil {
		f, err := os.OpenFile(d.path, os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return true, fmt.Errorf("append configuration: %w", err)
		}
		d.file = f
	}
	if err := errors.Join(writePiece(d.file, piece), d.file.Sync()); err != nil {
		return true, fmt.Errorf("append configuration: %w", err)
	}
	d.deltas++
	return d.deltas > maxDeltas, nil
}

func writePiece(w io.Writer, p *keysv1.SignedConfig) error {
	raw, err := proto.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode configuration: %w", err)
	}
	_, err = w.Write(append(binary.LittleEndian.AppendUint32(nil, uint32(len(raw))), raw...))
	return err
}

func (d *disk) close() {
	if d.file != nil {
		_ = d.file.Close() // synced with every write
	}
}
