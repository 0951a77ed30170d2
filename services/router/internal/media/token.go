package media

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/claviger/claviger/pkg/secret"
)

const (
	// tokenPrefix is what OpenAI's ids of videos begin with, too.
	tokenPrefix = "video_"
	// maxToken bounds a token: with an address around it, it has to fit into the first line of a request.
	maxToken = 6 << 10
	// maxLabels bounds what of a caller's own goes into a token.
	maxLabels = 2 << 10
	// tokenVersion is the first byte of a token, and sealed with it.
	tokenVersion = 1
)

// encoding is strict, so that each job has one token.
var encoding = base64.RawURLEncoding.Strict()

// sealer seals records into tokens and opens them.
type sealer struct{ aead cipher.AEAD }

// newSealer derives the key that all routers of an installation share from the pepper that they read
// anyway. Who knows the pepper could also check API keys; it seals nothing that is worth more.
func newSealer(pepper secret.Text, environment string) (*sealer, error) {
	key, err := hkdf.Key(sha256.New, []byte(pepper.Reveal()), nil, "claviger media job token/"+environment, 32)
	if err != nil {
		return nil, fmt.Errorf("derive the key of job tokens: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("derive the key of job tokens: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("derive the key of job tokens: %w", err)
	}
	return &sealer{aead}, nil
}

// seal makes a token of r.
func (s *sealer) seal(r *record) string {
	plain := compact(r)
	sealed := make([]byte, 1+s.aead.NonceSize(), 1+s.aead.NonceSize()+len(plain)+s.aead.Overhead())
	sealed[0] = tokenVersion
	nonce := sealed[1:]
	_, _ = rand.Read(nonce)                                                                     // never fails, as documented
	return tokenPrefix + encoding.EncodeToString(s.aead.Seal(sealed, nonce, plain, sealed[:1])) //nolint:gosec // the nonce is random
}

// open reads a token. Whatever is wrong with it, it is not one of ours.
func (s *sealer) open(token string) (*record, error) {
	text, ok := strings.CutPrefix(token, tokenPrefix)
	if !ok || len(token) > maxToken {
		return nil, ErrNotFound
	}
	sealed, err := encoding.DecodeString(text)
	head := 1 + s.aead.NonceSize()
	if err != nil || len(sealed) < head || sealed[0] != tokenVersion {
		return nil, ErrNotFound
	}
	plain, err := s.aead.Open(nil, sealed[1:head], sealed[head:], sealed[:1])
	if err != nil {
		return nil, ErrNotFound
	}
	return parse(plain)
}

// compact encodes r. A record holds texts and numbers only, which always encode.
func compact(r *record) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil { //nolint:gosec // the credential's id, no secret
		panic(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// parse reads what compact wrote.
func parse(plain []byte) (*record, error) {
	r := &record{}
	if err := json.Unmarshal(plain, r); err != nil || r.Attempt == "" || r.Org == "" || r.Provider == "" || r.JobID == "" {
		return nil, ErrNotFound
	}
	return r, nil
}
