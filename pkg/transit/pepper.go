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
	encoded, err := privateFile(path, create, func() ([]byte, error) {
		fresh := make([]byte, minPepper)
		_, err := rand.Read(fresh)
		return []byte(base64.StdEncoding.EncodeToString(fresh) + "\n"), err
	})
	if err != nil {
		return secret.Text{}, fmt.Errorf("pepper: %w", err)
	}
	return decodePepper(strings.TrimSpace(string(encoded)))
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
