package offline

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/claviger/claviger/pkg/secret"
)

// magic begins the file and names its form.
const magic = "claviger-offline-v1\n"

var errNotOurs = errors.New("the file was changed, or belongs to another router or key")

// file is one AES-256-GCM text: magic, a random nonce, the sealed content. Magic, environment and router
// are authenticated with it.
type file struct {
	path  string
	aead  cipher.AEAD
	bound []byte
}

// content is what the file holds.
type content struct {
	pepper   secret.Text
	pepperAt time.Time
	open     map[Key]kept
}

// document is content as JSON. It is plain text, in memory alone.
type document struct {
	Pepper   []byte    `json:"pepper"`
	PepperAt time.Time `json:"pepper_at"`
	Open     []entry   `json:"open"`
}

type entry struct {
	Key    []byte    `json:"key"`
	Secret []byte    `json:"secret"`
	At     time.Time `json:"at"`
}

func newFile(path string, key secret.Text, environment, router string) (file, error) {
	block, err := aes.NewCipher([]byte(key.Reveal()))
	if err != nil {
		return file{}, fmt.Errorf("offline key: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return file{}, fmt.Errorf("offline key: %w", err)
	}
	return file{path: path, aead: aead, bound: []byte(magic + environment + "\x00" + router)}, nil
}

// load reads the file; none is empty content.
func (f file) load() (content, error) {
	raw, err := os.ReadFile(f.path)
	if errors.Is(err, os.ErrNotExist) {
		return content{}, nil
	}
	if err != nil {
		return content{}, fmt.Errorf("read kept credentials: %w", err)
	}
	return f.open(raw)
}

func (f file) open(raw []byte) (content, error) {
	sealed, ok := strings.CutPrefix(string(raw), magic)
	if !ok || len(sealed) < f.aead.NonceSize() {
		return content{}, errNotOurs
	}
	nonce, sealed := sealed[:f.aead.NonceSize()], sealed[f.aead.NonceSize():]
	plain, err := f.aead.Open(nil, []byte(nonce), []byte(sealed), f.bound)
	if err != nil {
		return content{}, errNotOurs
	}
	defer clear(plain)
	var d document
	if err := json.Unmarshal(plain, &d); err != nil {
		return content{}, errNotOurs
	}
	out := content{pepper: secret.New(string(d.Pepper)), pepperAt: d.PepperAt, open: make(map[Key]kept, len(d.Open))}
	for _, e := range d.Open {
		if len(e.Key) == len(Key{}) {
			out.open[Key(e.Key)] = kept{secret: secret.New(string(e.Secret)), at: e.At}
		}
	}
	return out, nil
}

// save writes a new file and puts it in the old one's place, so that a crash leaves one or the other.
func (f file) save(c content) error {
	plain, err := encode(c)
	if err != nil {
		return err
	}
	nonce := make([]byte, f.aead.NonceSize())
	_, _ = rand.Read(nonce) // it never fails
	sealed := f.aead.Seal(append([]byte(magic), nonce...), nonce, plain, f.bound)
	clear(plain)
	next, err := os.CreateTemp(filepath.Dir(f.path), filepath.Base(f.path)+".*")
	if err != nil {
		return fmt.Errorf("write kept credentials: %w", err)
	}
	defer func() { _ = os.Remove(next.Name()) }() // gone if it was renamed
	_, err = next.Write(sealed)
	if err = errors.Join(err, next.Sync(), next.Close()); err == nil {
		err = os.Rename(next.Name(), f.path)
	}
	if err != nil {
		return fmt.Errorf("write kept credentials: %w", err)
	}
	dir, err := os.Open(filepath.Dir(f.path))
	if err != nil {
		return fmt.Errorf("sync folder of kept credentials: %w", err)
	}
	defer func() { _ = dir.Close() }()
	return dir.Sync()
}

// encode writes the plain text that save seals.
func encode(c content) ([]byte, error) {
	d := document{Pepper: []byte(c.pepper.Reveal()), PepperAt: c.pepperAt, Open: make([]entry, 0, len(c.open))}
	for key, k := range c.open {
		d.Open = append(d.Open, entry{key[:], []byte(k.secret.Reveal()), k.at})
	}
	plain, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encode kept credentials: %w", err)
	}
	return plain, nil
}
