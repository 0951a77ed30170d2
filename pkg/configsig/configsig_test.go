package configsig_test

import (
	"crypto/ed25519"
	"testing"

	"github.com/claviger/claviger/pkg/configsig"
)

func TestSignatureHoldsForThePayloadAndTheKeyOnly(t *testing.T) {
	t.Parallel()
	pub, key, _ := ed25519.GenerateKey(nil)
	other, _, _ := ed25519.GenerateKey(nil)
	sig := configsig.Sign(key, []byte("payload"))
	if !configsig.Verify(pub, []byte("payload"), sig) {
		t.Fatal("a good signature does not verify")
	}
	if configsig.Verify(pub, []byte("payloae"), sig) || configsig.Verify(other, []byte("payload"), sig) ||
		configsig.Verify(nil, []byte("payload"), sig) || configsig.Verify(pub, []byte("payload"), ed25519.Sign(key, []byte("payload"))) {
		t.Fatal("a wrong payload, key or domain verifies")
	}
}
