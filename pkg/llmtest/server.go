package llmtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// form is one of the wire formats.
type form int

const (
	openAI form = iota
	anthropic
	other // what call.native says
)

// maxBody bounds what a call may send, as the real providers do.
const maxBody = 64 << 20

// Provider is the scripted provider, an http.Handler. Make one with NewProvider.
type Provider struct {
	models   map[form][]string
	scripts  map[string]Script // by model
	fallback Script
	capture  bool
	now      func() time.Time
	ledger   ledger
	jobs     jobs
	requests atomic.Int64
	closing  chan struct{}
	once     sync.Once
	tokens   vertexTokens

	mu       sync.Mutex
	keys     map[string]map[string]bool // accepted, by provider; nil map of a provider accepts all
	queue    []queued
	captured []Request
}

// Request is a generation call as it came in.
type Request struct {
	Path   string
	Header http.Header
	Body   []byte
}

// queued is a script that the next fitting calls play.
type queued struct {
	model, key string // empty fits all
	times      int    // negative is for ever
	script     Script
}

// Option changes a Provider.
type Option func(*Provider) error

// WithKeys makes a provider ("openai", "anthropic" or another first path element) accept these
// keys only. A provider without this option accepts every key that does not hold "invalid".
func WithKeys(provider string, keys ...string) Option {
	return func(p *Provider) error { p.SetKeys(provider, keys...); return nil }
}

// WithScript gives the script for a model.
func WithScript(model string, s Script) Option {
	return func(p *Provider) error { p.scripts[model] = s; return nil }
}

// WithDefault gives the script of all calls that have no other.
func WithDefault(s Script) Option {
	return func(p *Provider) error { p.fallback = s; return nil }
}

// WithLedgerFile appends the ledger to a file.
func WithLedgerFile(path string) Option {
	return func(p *Provider) error { return p.ledger.open(path) }
}

// WithLedgerLimit keeps the last n to 2n calls in memory only.
func WithLedgerLimit(n int) Option {
	return func(p *Provider) error { p.ledger.limit = n; return nil }
}

// WithCapture keeps the requests for Requests.
func WithCapture() Option {
	return func(p *Provider) error { p.capture = true; return nil }
}

// NewProvider returns a handler that answers as both providers.
func NewProvider(options ...Option) (*Provider, error) {
	p := &Provider{
		models: map[form][]string{
			openAI:    {"gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-5.4-mini", "gpt-6-luna", "gpt-6-sol"},
			anthropic: {"claude-haiku-4-5", "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"},
		},
		scripts: map[string]Script{},
		keys:    map[string]map[string]bool{},
		now:     time.Now,
		closing: make(chan struct{}),
	}
	for _, option := range options {
		if err := option(p); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// SetKeys replaces the keys that a provider accepts.
func (p *Provider) SetKeys(provider string, keys ...string) {
	accepted := make(map[string]bool, len(keys))
	for _, key := range keys {
		accepted[key] = true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys[provider] = accepted
}

// Control makes the next calls that fit play a script: those of a model and of a key, where empty
// stands for any, so many times (negative: until Reset). Of several that fit, the first one is
// played until it is used up.
func (p *Provider) Control(model, key string, times int, s Script) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = append(p.queue, queued{model: model, key: key, times: times, script: s})
}

// Queue makes the next calls play these scripts, one each.
func (p *Provider) Queue(scripts ...Script) {
	for _, s := range scripts {
		p.Control("", "", 1, s)
	}
}

// Reset forgets what Control and Queue were given.
func (p *Provider) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = nil
}

// Ledger returns the generation calls so far, in the order of their start.
func (p *Provider) Ledger() []Entry { return p.ledger.all() }

// Requests returns the generation calls as they came, if WithCapture was given.
func (p *Provider) Requests() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.captured)
}

// Close ends calls that hang and closes the ledger's file. Its error is the first failed write.
func (p *Provider) Close() error {
	p.once.Do(func() { close(p.closing) })
	return p.ledger.close()
}

// ServeHTTP answers as the provider that the path names.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if serveVendor(p, w, r) || serveAzure(p, w, r) {
		return
	}
	provider, path := split(r.URL.Path)
	switch path {
	case "/v1/chat/completions":
		p.generate(w, r, openAI, provider)
	case "/v1/messages":
		p.generate(w, r, anthropic, provider)
	case "/v1/messages/count_tokens":
		p.count(w, r, provider)
	case "/v1/models":
		p.list(w, r, provider)
	case "/ledger":
		writeJSON(w, http.StatusOK, p.Ledger())
	case "/script":
		p.control(w, r)
	default:
		for _, serves := range natives {
			if serves(p, w, r) {
				return
			}
		}
		writeJSON(w, http.StatusNotFound, map[string]any{"error": map[string]any{
			"message": fmt.Sprintf("Invalid URL (%s %s)", r.Method, r.URL.Path),
			"type":    "invalid_request_error", "param": nil, "code": nil,
		}})
	}
}

// split takes the provider's name off a path.
func split(path string) (provider, rest string) {
	if i := strings.Index(path, "/v1/"); i > 0 {
		provider, _, _ = strings.Cut(strings.Trim(path[:i], "/"), "/")
		return provider, path[i:]
	}
	return "", path
}

// newCall reads the headers of a call and sets those that every answer has.
func (p *Provider) newCall(w http.ResponseWriter, r *http.Request, f form, provider string) *call {
	if provider == "" {
		provider = [...]string{"openai", "anthropic"}[f]
	}
	key, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case f == anthropic && !ok:
		key = r.Header.Get("X-Api-Key")
	case provider == "azure" && !ok:
		key = r.Header.Get("Api-Key")
	}
	c := &call{p: p, w: w, r: r, form: f, key: key, begun: p.now(), number: p.requests.Add(1)}
	c.entry = Entry{
		Provider: provider, KeyHash: HashKey(key), Begun: c.begun,
		ClientRequestID: r.Header.Get("X-Client-Request-Id"),
		RequestID:       c.id("req_"),
	}
	c.commonHeaders()
	return c
}

// admit checks method, key and version.
func (c *call) admit(method string) *wire {
	switch {
	case c.r.Method != method:
		return &wire{status: http.StatusMethodNotAllowed, kind: "invalid_request_error", message: "Not allowed to " + c.r.Method}
	case !c.p.accepts(c.entry.Provider, c.key):
		return c.reject()
	case c.native != nil:
		return c.native.admit(c)
	case c.form == anthropic:
		return c.version()
	}
	return nil
}

// accepts looks at the key without its script.
func (p *Provider) accepts(provider, key string) bool {
	key, _, _ = splitScript(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	if accepted, given := p.keys[provider]; given {
		return accepted[key]
	}
	return key != "" && !strings.Contains(key, "invalid")
}

// reject is the answer to a key that is missing or wrong.
func (c *call) reject() *wire {
	c.script = Script{Error: ErrAuth}
	w := c.failure()
	if c.key == "" && c.form == openAI {
		w.message = "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
		w.code = ""
	}
	return &w
}

// find chooses the script of a call.
func (p *Provider) find(c *call, lastMessage string) (Script, error) {
	if s, ok := p.fromQueue(c); ok {
		return s, nil
	}
	if _, text, ok := splitScript(c.key); ok {
		return ParseScript(text)
	}
	if text := c.r.Header.Get("X-Llmtest-Script"); text != "" {
		return ParseScript(text)
	}
	if strings.HasPrefix(lastMessage, prefix) {
		_, text, _ := splitScript(lastMessage)
		return ParseScript(text)
	}
	if base, text, ok := splitScript(c.model); ok {
		if base != "" {
			c.model = base
		}
		return ParseScript(text)
	}
	if s, ok := p.scripts[c.model]; ok {
		return s, nil
	}
	return p.fallback, nil
}

func (p *Provider) fromQueue(c *call) (Script, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.queue {
		q := &p.queue[i]
		if (q.model != "" && q.model != c.model) || (q.key != "" && q.key != c.key) {
			continue
		}
		s := q.script
		if q.times--; q.times == 0 {
			p.queue = slices.Delete(p.queue, i, i+1)
		}
		return s, true
	}
	return Script{}, false
}

// control serves /script.
func (p *Provider) control(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodDelete:
		p.Reset()
	case http.MethodPut, http.MethodPost:
		text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s, err := ParseScript(strings.TrimSpace(string(text)))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		times := 1
		if given := r.URL.Query().Get("times"); given != "" {
			if times, err = strconv.Atoi(given); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
		}
		p.Control(r.URL.Query().Get("model"), r.URL.Query().Get("key"), times, s)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// list serves /v1/models in the form that the caller's headers ask for. A script in the key can
// make it fail.
func (p *Provider) list(w http.ResponseWriter, r *http.Request, provider string) {
	f := openAI
	if r.Header.Get("Anthropic-Version") != "" || r.Header.Get("X-Api-Key") != "" || provider == "anthropic" {
		f = anthropic
	}
	c := p.newCall(w, r, f, provider)
	if problem := c.admit(http.MethodGet); problem != nil {
		c.refuse(*problem)
		return
	}
	if _, text, ok := splitScript(c.key); ok && !c.playList(text) {
		return
	}
	if f == openAI {
		data := []any{}
		for _, id := range p.models[f] {
			data = append(data, map[string]any{
				"id": id, "object": "model", "created": 1790000000, "owned_by": "system", "shutdown_date": nil,
			})
		}
		writeJSON(w, http.StatusOK, map[string]any{"object": "list", "data": data})
		return
	}
	data := []any{}
	for _, id := range p.models[f] {
		data = append(data, map[string]any{
			"type": "model", "id": id, "display_name": id, "created_at": "2026-09-23T00:00:00Z",
			"lifecycle": "active", "max_input_tokens": 1_000_000, "max_tokens": 128_000,
		})
	}
	models := p.models[f]
	writeJSON(w, http.StatusOK, map[string]any{
		"data": data, "has_more": false, "first_id": models[0], "last_id": models[len(models)-1],
	})
}

// playList plays a key's script on the list of models. It is false if that was the answer.
func (c *call) playList(text string) bool {
	s, err := ParseScript(text)
	if err != nil {
		c.refuse(wire{status: 400, kind: "invalid_request_error", message: err.Error()})
		return false
	}
	c.script = s
	if s.Hang {
		c.hang()
		return false
	}
	// Without money a provider still lists its models.
	if s.Error != "" && s.Error != ErrQuota && s.Error != ErrBilling && s.Error != ErrSpendLimit {
		c.refuse(c.failure())
		return false
	}
	return true
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // the client may be gone
}
