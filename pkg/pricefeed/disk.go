package pricefeed

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/claviger/claviger/pkg/pricing"
)

// maxFile bounds what is read back: a book of 50,000 versions is some 20 MiB.
const maxFile = 64 << 20

// kept is a book as it lies on disk. Its etag is a checksum.
type kept struct {
	Etag   string
	Prices []pricing.Price
}

// load reads the last book; nil is that there is none.
func load(path string) (*pricing.Table, string, error) {
	if path == "" {
		return nil, "", nil
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("read price book: %w", err)
	}
	if info.Size() > maxFile {
		return nil, "", fmt.Errorf("%w: %d bytes on disk", errRefused, info.Size())
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, "", fmt.Errorf("read price book: %w", err)
	}
	var k kept
	if err := json.Unmarshal(raw, &k); err != nil {
		return nil, "", fmt.Errorf("%w: %w", errRefused, err)
	}
	table := pricing.NewTable(k.Prices)
	if err := checked(table, k.Etag); err != nil {
		return nil, "", err
	}
	return table, k.Etag, nil
}

// save puts a book in the place of the last one: to a new file first, so that a crash leaves one or the other.
func save(path string, table *pricing.Table, etag string) error {
	raw, err := json.Marshal(kept{Etag: etag, Prices: table.Rows()})
	if err != nil {
		return fmt.Errorf("encode price book: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("write price book: %w", err)
	}
	file, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write price book: %w", err)
	}
	_, err = file.Write(raw)
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("write price book: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("sync the folder of the price book: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}
