package transit

import (
	"context"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/secret"
)

// MaxPlaintext is the largest secret that can be sealed, in bytes.
const MaxPlaintext = 64 << 10

var (
	// ErrSize means that there is nothing to seal, or too much.
	ErrSize = fault.New(fault.Invalid, "CREDENTIAL_SIZE", "a credential has 1 to 65536 bytes")
	// ErrContext means that a Context lacks a part. Sealing under it would bind less than it says.
	ErrContext = fault.New(fault.Internal, "CREDENTIAL_CONTEXT_INCOMPLETE", "the credential cannot be bound to its place")
)

// Rewrapper moves sealed texts to the newest version of the key without showing the plaintext. It
// is a second ability of the Sealers of this package.
type Rewrapper interface {
	// Rewrap returns sealed under the newest version of the key and the same Context.
	Rewrap(ctx context.Context, sealed string, bound Context) (string, error)
}

// BatchOpener opens many texts in few calls. It is a second ability of the Openers of this package;
// use OpenBatch, which also works without it.
type BatchOpener interface {
	// OpenBatch returns one Result per Item, in the same order.
	OpenBatch(ctx context.Context, items []Item) []Result
}

// Item is one sealed text and the Context that it was sealed under.
type Item struct {
	Sealed  string
	Context Context
}

// Result is what became of one Item: a plaintext or an error.
type Result struct {
	Plaintext secret.Text
	Err       error
}

// OpenBatch opens items with o, in few calls if it can. A bad item spoils only its own Result.
func OpenBatch(ctx context.Context, o Opener, items []Item) []Result {
	if b, ok := o.(BatchOpener); ok {
		return b.OpenBatch(ctx, items)
	}
	return openEach(ctx, o, items)
}

func openEach(ctx context.Context, o Opener, items []Item) []Result {
	results := make([]Result, len(items))
	for i, item := range items {
		results[i].Plaintext, results[i].Err = o.Open(ctx, item.Sealed, item.Context)
	}
	return results
}

// complete refuses a Context with an empty part.
func (c Context) complete() error {
	if c.Environment == "" || c.OrgID == "" || c.CredentialID == "" || c.Revision < 1 || c.Binding == "" {
		return ErrContext
	}
	return nil
}

func sealable(plaintext secret.Text, bound Context) error {
	if plaintext.Empty() || plaintext.Len() > MaxPlaintext {
		return ErrSize
	}
	return bound.complete()
}
