// Package configsig signs and verifies the configuration that keys sends to the other services.
package configsig

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
)

// domain keeps these signatures from being taken for any other of the same key.
const domain = "claviger-config-v1\x00"

// Sign returns the signature of an encoded batch.
func Sign(key ed25519.PrivateKey, payload []byte) []byte {
	return ed25519.Sign(key, append([]byte(domain), payload...))
}

// Verify reports whether sig is key's signature of payload.
func Verify(key ed25519.PublicKey, payload, sig []byte) bool {
	return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, append([]byte(domain), payload...), sig)
}

// KeyID names a key: the first 16 hex digits of the hash of its public half.
func KeyID(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:8])
}
