package llmtest

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Vertex AI's paths:
//
//	POST {base}/token                                                   a signed assertion for an access token
//	POST {base}/v1/projects/{p}/locations/{l}/publishers/google/models/{m}:{method}
//	POST {base}/v1/projects/{p}/locations/{l}/publishers/anthropic/models/{m}:rawPredict, :streamRawPredict
//	POST {base}/v1/projects/{p}/locations/{l}/endpoints/openapi/chat/completions
//	POST {base}/v1/publishers/google/models/{m}:{method}                with an API key, in express mode
//	GET  {base}/v1beta1/publishers/google/models
//
// Assertions are signed with VertexKey; an access token stands for the private_key_id, or for
// the key that VertexAccount wrote into it: that is what the ledger calls the key, and where a script can stand.
type vertexPlace struct{ project, location string }

// VertexURL is the base address of Vertex's paths, as adapters are given it.
func (s *Server) VertexURL() string { return s.URL + "/vertex" }

// vertexKey is made once: it takes a while.
var vertexKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err) // the system has no randomness
	}
	return key
})

// VertexKey is the private key of every service account, PEM and PKCS#8.
func VertexKey() string {
	der, err := x509.MarshalPKCS8PrivateKey(vertexKey())
	if err != nil {
		panic(err) // of its own key
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// keyID is what the id of a private key begins with that stands for a key, in hexadecimal digits: ids of
// private keys have no room for scripts.
const keyID = "key-"

// VertexAccount is the JSON of a service account whose tokens stand for the key.
func VertexAccount(key string) string {
	b, err := json.Marshal(map[string]any{ //nolint:gosec // a key of this process alone
		"type": "service_account", "project_id": "acme-prod", "private_key_id": keyID + hex.EncodeToString([]byte(key)), "private_key": VertexKey(),
		"client_email": "router@acme-prod.iam.gserviceaccount.com", "client_id": "1", "token_uri": "https://oauth2.googleapis.com/token",
		"universe_domain": "googleapis.com",
	})
	if err != nil {
		panic(err) // strings always encode
	}
	return string(b)
}

// vertexTokens are what access tokens stand for.
type vertexTokens struct {
	mu     sync.Mutex
	keys   map[string]string
	issued int
}

// VertexTokens is how many access tokens were issued.
func (p *Provider) VertexTokens() int {
	t := &p.tokens
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.issued
}

// RevokeVertexTokens makes all access tokens so far invalid.
func (p *Provider) RevokeVertexTokens() {
	t := &p.tokens
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keys = nil
}

// serveVertex answers Vertex's paths.
func serveVertex(p *Provider, w http.ResponseWriter, r *http.Request) bool {
	path := r.URL.Path
	if provider, found := strings.CutSuffix(path, "/token"); found && !strings.Contains(provider, "/v1") {
		p.vertexToken(w, r)
		return true
	}
	at := strings.Index(path, "/v1")
	if at < 0 {
		return false
	}
	provider, rest := strings.Trim(path[:at], "/"), path[at:]
	_, rest, _ = strings.Cut(rest[1:], "/") // the version
	place, rest, found := vertexPath(rest)
	if !found {
		return false
	}
	g := &gemini{vertex: &place, token: p.vertexBearer(r)}
	switch {
	case rest == "publishers/google/models" || rest == "publishers/google/models/":
		p.vertexList(w, r, g, provider)
	case rest == "endpoints/openapi/chat/completions":
		p.vertexOpen(w, r, g, provider)
	case strings.HasPrefix(rest, "publishers/google/models/"):
		g.model, g.method, _ = strings.Cut(strings.TrimPrefix(rest, "publishers/google/models/"), ":")
		p.geminiCall(w, r, g, provider)
	case strings.HasPrefix(rest, "publishers/anthropic/models/"):
		g.model, g.method, _ = strings.Cut(strings.TrimPrefix(rest, "publishers/anthropic/models/"), ":")
		p.vertexClaude(w, r, g, provider)
	default:
		return false
	}
	return true
}

// vertexPath takes project and location off a path; express mode has none.
func vertexPath(path string) (place vertexPlace, rest string, found bool) {
	if strings.HasPrefix(path, "publishers/") {
		return place, path, true
	}
	parts := strings.SplitN(path, "/", 5)
	if len(parts) < 5 || parts[0] != "projects" || parts[2] != "locations" {
		return place, "", false
	}
	return vertexPlace{project: parts[1], location: parts[3]}, parts[4], true
}

// vertexBearer is what the bearer of a call stands for.
func (p *Provider) vertexBearer(r *http.Request) string {
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return ""
	}
	t := &p.tokens
	t.mu.Lock()
	defer t.mu.Unlock()
	if key, known := t.keys[bearer]; known {
		return key
	}
	return "invalid-access-token"
}

// vertexToken serves the token endpoint.
func (p *Provider) vertexToken(w http.ResponseWriter, r *http.Request) {
	refuse := func(code, description string) {
		writeJSON(w, http.StatusBadRequest, map[string]any{"error": code, "error_description": description})
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		return
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || r.Method != http.MethodPost || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		refuse("invalid_request", "Bad Request")
		return
	}
	if form.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		refuse("unsupported_grant_type", "Invalid grant_type: "+form.Get("grant_type"))
		return
	}
	key, problem := readAssertion(form.Get("assertion"), p.now())
	if problem != "" {
		refuse("invalid_grant", problem)
		return
	}
	if !p.accepts("vertex", key) {
		refuse("invalid_grant", "Invalid JWT Signature.")
		return
	}
	t := &p.tokens
	t.mu.Lock()
	t.issued++
	token := fmt.Sprintf("ya29.token-%d-%s", t.issued, HashKey(key))
	if t.keys == nil {
		t.keys = map[string]string{}
	}
	t.keys[token] = key
	t.mu.Unlock()
	writeJSON(w, http.StatusOK, map[string]any{"access_token": token, "expires_in": 3599, "token_type": "Bearer"})
}

// readAssertion checks a signed assertion as Google does, and returns its key's id.
func readAssertion(assertion string, now time.Time) (kid, problem string) {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return "", "Bad Request"
	}
	var header struct{ Alg, Typ, Kid string }
	var claims struct {
		Iss, Scope, Aud string
		Iat, Exp        int64
	}
	for i, into := range []any{&header, &claims} {
		b, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(b, into) != nil {
			return "", "Bad Request"
		}
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	switch {
	case err != nil || header.Alg != "RS256" || rsa.VerifyPKCS1v15(&vertexKey().PublicKey, crypto.SHA256, digest[:], signature) != nil:
		return "", "Invalid JWT Signature."
	case !strings.HasSuffix(claims.Iss, ".gserviceaccount.com"):
		return "", "Invalid grant: account not found"
	case claims.Scope != "https://www.googleapis.com/auth/cloud-platform":
		return "", "Invalid OAuth scope or ID token audience provided."
	case !strings.HasSuffix(claims.Aud, "/token"):
		return "", "Invalid JWT: Failed audience check."
	case claims.Exp <= claims.Iat || claims.Exp-claims.Iat > 3600 || now.Unix()-claims.Iat > 600 || claims.Iat-now.Unix() > 600:
		return "", "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim."
	}
	if digits, ok := strings.CutPrefix(header.Kid, keyID); ok {
		if key, err := hex.DecodeString(digits); err == nil {
			return string(key), ""
		}
	}
	return header.Kid, ""
}

// vertexList serves the list of publisher models.
func (p *Provider) vertexList(w http.ResponseWriter, r *http.Request, g *gemini, provider string) {
	c := p.newNative(w, r, g, provider)
	if problem := c.admit(http.MethodGet); problem != nil {
		c.refuse(*problem)
		return
	}
	if _, text, ok := splitScript(c.key); ok && !c.playList(text) {
		return
	}
	models := []any{}
	for _, name := range geminiModels {
		models = append(models, map[string]any{"name": "publishers/google/models/" + name, "versionId": "default", "launchStage": "GA"})
	}
	writeJSON(w, http.StatusOK, map[string]any{"publisherModels": models})
}

// vertexRefused answers a call that does not get to another form, and is false for all others.
func (p *Provider) vertexRefused(w http.ResponseWriter, r *http.Request, g *gemini, provider string) bool {
	c := p.newNative(w, r, g, provider)
	problem := c.admit(http.MethodPost)
	if problem == nil {
		return false
	}
	c.refuse(*problem)
	return true
}

// vertexClaude hands a call to the Anthropic form: the model is in the path, and the version in the body.
func (p *Provider) vertexClaude(w http.ResponseWriter, r *http.Request, g *gemini, provider string) {
	if p.vertexRefused(w, r, g, provider) {
		return
	}
	refuse := func(message string) {
		writeJSON(w, 400, map[string]any{"type": "error", "error": map[string]any{"type": "invalid_request_error", "message": message}})
	}
	var fields map[string]json.RawMessage
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return
	}
	if err := json.Unmarshal(raw, &fields); err != nil {
		refuse("The request body is not valid JSON: " + err.Error())
		return
	}
	var version string
	var stream bool
	_ = json.Unmarshal(fields["anthropic_version"], &version) // what it is not is refused below
	_ = json.Unmarshal(fields["stream"], &stream)             // absent is false
	count := g.model == "count-tokens"
	switch {
	case version != "vertex-2023-10-16" && version != "2026-10-21":
		refuse("anthropic_version: Field required")
		return
	case fields["model"] != nil && !count:
		refuse("model: Extra inputs are not permitted")
		return
	case fields["model"] == nil && count:
		refuse("model: Field required")
		return
	case stream != (g.method == "streamRawPredict"):
		refuse("stream: must be the same as the method's")
		return
	}
	delete(fields, "anthropic_version")
	path := "/v1/messages"
	if count {
		path += "/count_tokens"
	} else {
		fields["model"] = json.RawMessage(quote(g.model))
	}
	if raw, err = json.Marshal(fields); err != nil {
		refuse(err.Error())
		return
	}
	forwarded := p.forwarded(r, g, path, raw)
	forwarded.Header.Set("Anthropic-Version", "2023-06-01")
	if count {
		p.count(w, forwarded, provider)
		return
	}
	p.generate(w, forwarded, anthropic, provider)
}

// vertexOpen hands a call to the OpenAI form.
func (p *Provider) vertexOpen(w http.ResponseWriter, r *http.Request, g *gemini, provider string) {
	if p.vertexRefused(w, r, g, provider) {
		return
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return
	}
	p.generate(w, p.forwarded(r, g, "/v1/chat/completions", raw), openAI, provider)
}

// forwarded is a call as another form reads it, with the key that its bearer stands for.
func (p *Provider) forwarded(r *http.Request, g *gemini, path string, body []byte) *http.Request {
	out := r.Clone(r.Context())
	out.URL.Path = path
	out.Header.Set("Authorization", "Bearer "+g.key(r))
	out.Body = io.NopCloser(bytes.NewReader(body))
	out.ContentLength = int64(len(body))
	return out
}
