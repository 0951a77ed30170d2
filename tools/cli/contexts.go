package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/claviger/claviger/pkg/secret"
)

// place is a context: an organization of an installation, and the session there.
type place struct {
	Name         string
	Address      string
	Organization string
	Email        string
	// Insecure says that plain http to another machine was asked for.
	Insecure bool
	// Session is the session token; empty after signing out.
	Session secret.Text
}

// contexts are what the file holds.
type contexts struct {
	Current string
	Places  []place
}

func (c *contexts) find(name string) (place, bool) {
	i := slices.IndexFunc(c.Places, func(p place) bool { return p.Name == name })
	if i < 0 {
		return place{}, false
	}
	return c.Places[i], true
}

// put adds p or replaces the context of its name.
func (c *contexts) put(p place) {
	c.remove(p.Name)
	c.Places = append(c.Places, p)
	slices.SortFunc(c.Places, func(a, b place) int { return cmp.Compare(a.Name, b.Name) })
}

func (c *contexts) remove(name string) {
	c.Places = slices.DeleteFunc(c.Places, func(p place) bool { return p.Name == name })
}

func (c *contexts) names() []string {
	names := make([]string, len(c.Places))
	for i, p := range c.Places {
		names[i] = p.Name
	}
	return names
}

// contextFile keeps contexts in a file that only its owner can read.
type contextFile struct{ path string }

// contextFile is where the contexts are: CLAVIGER_CONFIG, or config.json in the user's config folder.
func (s Streams) contextFile() (contextFile, error) {
	if path := s.env("CLAVIGER_CONFIG"); path != "" {
		return contextFile{path}, nil
	}
	if dir := s.env("XDG_CONFIG_HOME"); filepath.IsAbs(dir) { // the specification ignores relative ones
		return contextFile{filepath.Join(dir, "claviger", "config.json")}, nil
	}
	if home := s.env("HOME"); home != "" {
		return contextFile{filepath.Join(home, ".config", "claviger", "config.json")}, nil
	}
	return contextFile{}, &failure{code: "NO_CONFIG_FOLDER", message: "there is no place for the session: HOME is not set", hint: "set CLAVIGER_CONFIG to the path of a file"}
}

// The form of the file.
type (
	fileForm struct {
		Version  int         `json:"version"`
		Current  string      `json:"current,omitempty"`
		Contexts []placeForm `json:"contexts"`
	}
	placeForm struct {
		Name         string `json:"name"`
		Address      string `json:"address"`
		Organization string `json:"organization"`
		Email        string `json:"email"`
		Insecure     bool   `json:"insecure,omitempty"`
		SessionToken string `json:"session_token,omitempty"`
	}
)

// load reads the file. One that does not exist holds nothing; one that others can read is refused.
func (f contextFile) load() (*contexts, error) {
	info, err := os.Stat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &contexts{}, nil
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, &failure{code: "CONFIG_UNUSABLE", message: f.path + " is not a file"}
	case info.Mode().Perm()&0o077 != 0:
		return nil, &failure{
			code:    "CONFIG_READABLE_BY_OTHERS",
			message: fmt.Sprintf("%s holds session tokens, and others can read it (mode %04o)", f.path, info.Mode().Perm()),
			hint:    fmt.Sprintf("run 'chmod 600 %s'; if others use this machine, sign out and in again, too", f.path),
		}
	}
	text, err := os.ReadFile(f.path)
	if err != nil {
		return nil, err
	}
	var form fileForm
	if err := json.Unmarshal(text, &form); err != nil || form.Version != 1 { // the parser's error may quote a token
		return nil, &failure{code: "CONFIG_UNUSABLE", message: f.path + " is not a configuration that this version knows", hint: "move it away and sign in again"}
	}
	all := &contexts{Current: form.Current}
	for _, p := range form.Contexts {
		all.Places = append(all.Places, place{
			Name: p.Name, Address: p.Address, Organization: p.Organization, Email: p.Email, Insecure: p.Insecure,
			Session: secret.New(p.SessionToken),
		})
	}
	return all, nil
}

// update changes what the file holds. Commands that run at the same time wait for each other.
func (f contextFile) update(change func(*contexts) error) error {
	if real, err := filepath.EvalSymlinks(f.path); err == nil { // a link stays one
		f.path = real
	}
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return err
	}
	unlock, err := lock(f.path + ".lock")
	if err != nil {
		return err
	}
	defer unlock()
	all, err := f.load()
	if err != nil {
		return err
	}
	if err := change(all); err != nil {
		return err
	}
	return f.save(all)
}

func (f contextFile) save(all *contexts) error {
	form := fileForm{Version: 1, Current: all.Current, Contexts: []placeForm{}}
	for _, p := range all.Places {
		form.Contexts = append(form.Contexts, placeForm{
			Name: p.Name, Address: p.Address, Organization: p.Organization, Email: p.Email, Insecure: p.Insecure,
			SessionToken: p.Session.Reveal(),
		})
	}
	text, err := json.MarshalIndent(form, "", "  ")
	if err != nil {
		return err
	}
	return writePrivate(f.path, append(text, '\n'))
}

// writePrivate puts a file of mode 0600 in its place, whole and durable.
func writePrivate(path string, content []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}

// lock waits until this process alone holds the file at path.
func lock(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), file.Close())
	}
	return func() { file.Close() }, nil
}
