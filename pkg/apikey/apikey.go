// Package apikey makes, reads and hashes the keys that clients present to the router.
//
// A key is clv_live_<public id: 10>_<secret: 43><checksum: 6>, all base62. The checksum refuses
// typing errors and inventions without a look-up; the secret has 256 bits of randomness, so that a
// fast keyed hash is enough at rest.
package apikey

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"hash/crc32"
	"strings"

	"github.com/claviger/claviger/pkg/secret"
)

const (
	prefix    = "clv_live_"
	alphabet  = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	idLen     = 10
	secretLen = 43
	crcLen    = 6
	keyLen    = len(prefix) + idLen + 1 + secretLen + crcLen
)

// Generate returns a fresh key and the public id inside it.
func Generate() (key secret.Text, publicID string) {
	publicID = random(idLen)
	body := prefix + publicID + "_" + random(secretLen)
	return secret.New(body + checksum(body)), publicID
}

// Display returns what may be shown of a key.
func Display(publicID string) string { return prefix + publicID }

// Parse returns the public id of a well-formed key. It allocates nothing.
func Parse(key string) (publicID string, ok bool) {
	if len(key) != keyLen || !strings.HasPrefix(key, prefix) || key[len(prefix)+idLen] != '_' {
		return "", false
	}
	body, sum := key[:keyLen-crcLen], key[keyLen-crcLen:]
	var want [crcLen]byte
	putChecksum(&want, body)
	if string(want[:]) != sum {
		return "", false
	}
	return key[len(prefix) : len(prefix)+idLen], true
}

// Hash returns the 32 bytes that stand for key at rest. The pepper is in no database.
func Hash(pepper secret.Text, key string) []byte {
	mac := hmac.New(sha256.New, []byte(pepper.Reveal()))
	mac.Write([]byte(key))
	return mac.Sum(nil)
}

func random(n int) string {
	out := make([]byte, 0, n)
	buf := make([]byte, n+n/2)
	for len(out) < n {
		_, _ = rand.Read(buf) // never fails, as documented
		for _, b := range buf {
			if b < 248 && len(out) < n { // 248 = 4 × 62: no character is likelier than another
				out = append(out, alphabet[b%62])
			}
		}
	}
	return string(out)
}

func checksum(body string) string {
	var sum [crcLen]byte
	putChecksum(&sum, body)
	return string(sum[:])
}

func putChecksum(dst *[crcLen]byte, body string) {
	v := uint32(0xffffffff)
	for i := range len(body) {
		v = crc32.IEEETable[byte(v)^body[i]] ^ v>>8
	}
	v = ^v
	for i := crcLen - 1; i >= 0; i-- {
		dst[i] = alphabet[v%62]
		v /= 62
	}
}
