package transit

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/claviger/claviger/pkg/secret"
)

// keysetForm begins every text that a Keyset has sealed.
const keysetForm = "tink:v1:"

// Keyset seals and opens with keys in a local file, in clear. It is for claviger dev only: whoever
// can read the file can open every credential, and one process has both abilities. A production
// installation uses Vault.
type Keyset struct{ primitive tink.AEAD }

// OpenKeyset reads the keyset at path, which must have mode 0600. If create is set and there is
// none, it makes one with a new AES-256-GCM key.
func OpenKeyset(path string, create bool) (*Keyset, error) {
	content, err := privateFile(path, create, newKeyset)
	if err != nil {
		return nil, fmt.Errorf("keyset: %w", err)
	}
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(content)))
	if err != nil { // the parser's error may quote the key
		return nil, fmt.Errorf("keyset: %s is not a Tink keyset", path)
	}
	primitive, err := aead.New(handle)
	if err != nil {
		return nil, fmt.Errorf("keyset: %s cannot be used for AEAD: %w", path, err)
	}
	return &Keyset{primitive: primitive}, nil
}

func newKeyset() ([]byte, error) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&out))
	return out.Bytes(), err
}

// Sealer returns the ability to seal, and to rewrap (Rewrapper), and no other.
func (k *Keyset) Sealer() Sealer { return &keysetSealer{primitive: k.primitive} }

// Opener returns the ability to open (and, for symmetry with Vault's, BatchOpener), and no other.
func (k *Keyset) Opener() Opener { return &keysetOpener{primitive: k.primitive} }

type keysetSealer struct{ primitive tink.AEAD }

var _ interface {
	Sealer
	Rewrapper
} = (*keysetSealer)(nil)

// Seal encrypts with the primary key; the Context is the associated data.
func (s *keysetSealer) Seal(_ context.Context, plaintext secret.Text, bound Context) (string, error) {
	if err := sealable(plaintext, bound); err != nil {
		return "", err
	}
	ciphertext, err := s.primitive.Encrypt([]byte(plaintext.Reveal()), bound.Bytes())
	if err != nil {
		return "", fmt.Errorf("keyset encrypt: %w", err)
	}
	return keysetForm + base64.StdEncoding.EncodeToString(ciphertext), nil
}

// Rewrap opens sealed and seals it with the primary key.
func (s *keysetSealer) Rewrap(ctx context.Context, sealed string, bound Context) (string, error) {
	plaintext, err := decrypt(s.primitive, sealed, bound)
	if err != nil {
		return "", err
	}
	return s.Seal(ctx, plaintext, bound)
}

type keysetOpener struct{ primitive tink.AEAD }

var _ interface {
	Opener
	BatchOpener
} = (*keysetOpener)(nil)

// Open decrypts with whichever key of the set sealed it.
func (o *keysetOpener) Open(_ context.Context, sealed string, bound Context) (secret.Text, error) {
	return decrypt(o.primitive, sealed, bound)
}

// OpenBatch opens one after the other: there is no call to save.
func (o *keysetOpener) OpenBatch(ctx context.Context, items []Item) []Result {
	return openEach(ctx, o, items)
}

func decrypt(primitive tink.AEAD, sealed string, bound Context) (secret.Text, error) {
	if err := bound.complete(); err != nil {
		return secret.Text{}, err
	}
	encoded, ok := strings.CutPrefix(sealed, keysetForm)
	if !ok {
		return secret.Text{}, ErrForeign.Because(errOtherForm)
	}
	// Strict, so that two texts never mean the same ciphertext.
	ciphertext, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return secret.Text{}, ErrForeign.Because(errors.New("the sealed text is not base64"))
	}
	plaintext, err := primitive.Decrypt(ciphertext, bound.Bytes())
	if err != nil {
		return secret.Text{}, ErrForeign.Because(err)
	}
	return secret.New(string(plaintext)), nil
}
