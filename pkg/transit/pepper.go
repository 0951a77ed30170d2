package transit

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/secret"
)

// minPepper is the length of the shortest pepper, in bytes.
const minPepper = 32

// ErrPepper means that the pepper of API keys is missing or too weak.
var ErrPepper = fault.New(fault.Internal, "PEPPER_UNUSABLE", "the pepper of API keys is missing or not usable").
	Hinting(`an operator has to store at least 32 random bytes as base64 in the field "pepper"`)

// ReadPepper returns the decoded pepper of API keys from KV version 2. Path is the one of the HTTP
// API, such as "secret/data/claviger/api-key-pepper".
func (v *Vault) ReadPepper(ctx context.Context, path string) (secret.Text, error) {
	var encoded string
	err := v.call(ctx, opPepper, func(ctx context.Context) error {
		answer, err := v.client.Logical().ReadWithContext(ctx, strings.Trim(path, "/"))
		if err != nil {
			return err
		}
		if answer == nil {
			return ErrPepper.Because(errors.New("there is nothing at its path in vault"))
		}
		fields, _ := answer.Data["data"].(map[string]any)
		encoded, _ = fields["pepper"].(string)
		return nil
	})
	if err != nil {
		return secret.Text{}, err
	}
	return decodePepper(encoded)
}

// LocalPepper returns the pepper of API keys from a file with mode 0600, which it makes with a
// random one if create is set and there is none. It is for claviger dev.
func LocalPepper(path string, create bool) (secret.Text, error) {
	encoded, err := privateFile(path, create, random)
	if err != nil {
		return secret.Text{}, fmt.Errorf("pepper: %w", err)
	}
	return decodePepper(strings.TrimSpace(string(encoded)))
}

// KeySize is the length of a local key, in bytes.
const KeySize = 32

// LocalKey returns a key of KeySize bytes from a file with mode 0600 that holds it in base64. It makes
// the file with a random key if there is none.
func LocalKey(path string) (secret.Text, error) {
	encoded, err := privateFile(path, true, random)
	if err != nil {
		return secret.Text{}, fmt.Errorf("local key: %w", err)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(encoded)))
	if err != nil || len(key) != KeySize { // the error would say where it is broken, nothing more, but stays out
		return secret.Text{}, fmt.Errorf("local key: %s does not hold %d bytes in base64", path, KeySize)
	}
	return secret.New(string(key)), nil
}

// random is the content of a fresh private file: random bytes in base64.
func random() ([]byte, error) {
	fresh := make([]byte, KeySize)
	_, err := rand.Read(fresh)
	return []byte(base64.StdEncoding.EncodeToString(fresh) + "\n"), err
}

func decodePepper(encoded string) (secret.Text, error) {
	plain, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil { // the error would say where it is broken, nothing more, but stays out all the same
		return secret.Text{}, ErrPepper.Because(errors.New("it is not base64"))
	}
	if len(plain) < minPepper {
		return secret.Text{}, ErrPepper.Because(fmt.Errorf("it has %d bytes, at least %d are needed", len(plain), minPepper))
	}
	return secret.New(string(plain)), nil
}
