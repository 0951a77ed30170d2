// Package transit seals and opens provider credentials.
//
// Sealing and opening are two interfaces, because no service may have both: keys seals, routers
// open. The ciphertext is bound to a typed Context; opening it under any other context fails, so a
// row that was copied to another organization, credential or host is useless.
package transit

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/secret"
)

// Sealer encrypts. It has no counterpart that decrypts.
type Sealer interface {
	// Seal returns the sealed form of plaintext, which only opens under the same Context.
	Seal(ctx context.Context, plaintext secret.Text, bound Context) (sealed string, err error)
}

// Opener decrypts.
type Opener interface {
	// Open returns the plaintext of sealed. The error is ErrForeign if bound is not the context that
	// it was sealed under.
	Open(ctx context.Context, sealed string, bound Context) (secret.Text, error)
}

// The errors of both interfaces.
var (
	// ErrForeign means that the sealed text belongs to another context, or was changed.
	ErrForeign = fault.New(fault.Internal, "CREDENTIAL_FOREIGN", "the sealed credential does not belong to this organization, revision or endpoint")
	// ErrSealed means that Vault is sealed.
	ErrSealed = fault.New(fault.Unavailable, "VAULT_SEALED", "the credential vault is sealed").Hinting("an operator has to unseal Vault; nothing else is affected")
	// ErrUnavailable means that Vault does not answer.
	ErrUnavailable = fault.New(fault.Unavailable, "VAULT_UNAVAILABLE", "the credential vault does not answer").Hinting("try again; if it lasts, an operator has to look at Vault")
	// ErrDenied means that our token may not do this.
	ErrDenied = fault.New(fault.Internal, "VAULT_DENIED", "the credential vault refused this service").Hinting("an operator has to check the Vault policies keys-seal and router-open")
)

// Context is what a ciphertext is bound to.
type Context struct {
	Environment  string
	OrgID        string
	CredentialID string
	// Revision counts the secrets that the credential has had, from 1.
	Revision int
	// Binding is the result of Bind.
	Binding string
}

// Bind condenses where a secret may be sent: the provider and the origins and regions that the
// tenant supplied, none for providers with fixed hosts. Routers recompute it from what they dial.
func Bind(provider string, places ...string) string {
	places = slices.Clone(places)
	places = slices.DeleteFunc(places, func(p string) bool { return p == "" })
	slices.Sort(places)
	sum := sha256.New()
	for _, part := range append([]string{provider}, places...) {
		sum.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		sum.Write([]byte(part))
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// Bytes is the canonical, length-prefixed form that is bound.
func (c Context) Bytes() []byte {
	var out []byte
	revision := binary.BigEndian.AppendUint64(nil, uint64(c.Revision))
	for _, part := range [][]byte{[]byte("claviger-v1"), []byte(c.Environment), []byte(c.OrgID), []byte(c.CredentialID), revision, []byte(c.Binding)} {
		out = binary.BigEndian.AppendUint32(out, uint32(len(part)))
		out = append(out, part...)
	}
	return out
}
