package seed

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/claviger/claviger/pkg/secret"
)

const (
	stateFile = "seed-state.json"
	// keyPrefix begins every API key of ours.
	keyPrefix = "clv_live_"
)

// state is what seeding remembers in the data folder. All files are reached through an os.Root, so
// neither ".." nor a symbolic link leads out of it.
type state struct {
	root *os.Root
	key  []byte
	data stateData
}

type stateData struct {
	Version     int              `json:"version"`
	Credentials map[string]entry `json:"credentials"`
}

// entry is what the file said of a credential when it was last applied.
type entry struct {
	// Secret is a keyed fingerprint.
	Secret  string `json:"secret"`
	BaseURL string `json:"base_url,omitempty"`
}

func openState(dir string, key []byte) (*state, error) {
	if len(key) < 16 {
		return nil, errors.New("the fingerprint key is too short")
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	s := &state{root: root, key: key, data: stateData{Version: 1, Credentials: map[string]entry{}}}
	text, err := root.ReadFile(stateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &s.data)
	}
	if err == nil && s.data.Version != 1 {
		err = fmt.Errorf("version %d is not known", s.data.Version)
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("read %s: %w", stateFile, err)
	}
	if s.data.Credentials == nil {
		s.data.Credentials = map[string]entry{}
	}
	return s, nil
}

func (s *state) close() { _ = s.root.Close() } // nothing is written through it

func entryName(org string, c Credential) string { return org + "/" + c.Provider + "/" + c.Label }

func (s *state) fingerprint(org string, c Credential) string {
	mac := hmac.New(sha256.New, s.key)
	for _, part := range []string{org, c.Provider, c.Label, c.Secret.Reveal()} {
		fmt.Fprintf(mac, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(mac.Sum(nil))
}

func (s *state) credential(org string, c Credential) (entry, bool) {
	e, ok := s.data.Credentials[entryName(org, c)]
	return e, ok
}

// remember saves at once what the file says of c: what was done to the installation must not be
// forgotten by a later error.
func (s *state) remember(org string, c Credential) error {
	name, e := entryName(org, c), entry{Secret: s.fingerprint(org, c), BaseURL: c.BaseURL}
	if s.data.Credentials[name] == e {
		return nil
	}
	s.data.Credentials[name] = e
	text, err := json.MarshalIndent(s.data, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", stateFile, err)
	}
	file, err := s.create(stateFile)
	if err != nil {
		return err
	}
	return file.write(append(text, '\n'))
}

func (s *state) exists(name string) bool {
	_, err := s.root.Stat(name)
	return err == nil
}

// pending is a file that is not in its place yet.
type pending struct {
	root *os.Root
	file *os.File
	temp string
	name string
}

// create begins a file that replaces name when it is written.
func (s *state) create(name string) (*pending, error) {
	name = path.Clean(filepath.ToSlash(name))
	if dir := path.Dir(name); dir != "." {
		if err := s.root.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	temp := name + ".new"
	if err := s.root.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	file, err := s.root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &pending{root: s.root, file: file, temp: temp, name: name}, nil
}

// reserve makes sure that an API key can be written to name. A file that is there is replaced only if
// it holds an API key, which then is one that was revoked.
func (s *state) reserve(name string) (*pending, error) {
	text, err := s.root.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case !strings.HasPrefix(string(text), keyPrefix):
		return nil, fmt.Errorf("%s exists and is not an API key: it is left alone, choose another write_to", name)
	}
	return s.create(name)
}

// keep writes an API key and puts the file in its place.
func (p *pending) keep(key secret.Text) error { return p.write([]byte(key.Reveal() + "\n")) }

func (p *pending) write(text []byte) error {
	_, err := p.file.Write(text)
	if err == nil {
		err = p.file.Sync()
	}
	if err = errors.Join(err, p.file.Close()); err != nil {
		return errors.Join(err, p.root.Remove(p.temp))
	}
	return p.root.Rename(p.temp, p.name)
}

func (p *pending) discard() error { return errors.Join(p.file.Close(), p.root.Remove(p.temp)) }
