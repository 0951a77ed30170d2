package suite

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/claviger/claviger/pkg/secret"
)

// privateFile returns what is in a file of mode 0600 and makes it from fresh if there is none.
func privateFile(path string, fresh func() ([]byte, error)) ([]byte, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		content, err := fresh()
		if err != nil {
			return nil, err
		}
		return content, writePrivate(path, content)
	case err != nil:
		return nil, err
	case info.Mode() != 0o600:
		return nil, fmt.Errorf("%s is not a regular file with mode 0600: others may have read it, replace what it holds", path)
	}
	return os.ReadFile(path)
}

// writePrivate puts a new file in its place whole and durable.
func writePrivate(path string, content []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return os.Rename(file.Name(), path)
}

// signingKey is the Ed25519 key at path, as PEM. It is made once.
func signingKey(path string) (ed25519.PrivateKey, error) {
	text, err := privateFile(path, func() ([]byte, error) {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
	})
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM block", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok { // the parser's error may quote the key
		return nil, fmt.Errorf("%s holds no Ed25519 key", path)
	}
	return key, nil
}

// randomText is a random word at path that is made once, such as a password.
func randomText(path string) (secret.Text, error) {
	text, err := privateFile(path, func() ([]byte, error) { return []byte(rand.Text() + "\n"), nil })
	return secret.New(strings.TrimSpace(string(text))), err
}
