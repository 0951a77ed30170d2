package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	"github.com/claviger/claviger/pkg/llmtest"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/proto/gen/claviger/router/v1/routerv1connect"
)

// private stands in every prompt: no error may tell it.
const private = "the prompt is private 4711"

// noSecrets fails if an answer tells what it must not: keys of providers, of callers, prompts.
func (w *edge) noSecrets(t *testing.T, what, answer string) {
	t.Helper()
	for _, s := range []string{"0123456789abcdef", "sk-ant-platform", "house", private, w.keys["acme"], w.keys["rival"], w.tokens[owner], "goroutine", "/work/", w.provider.URL} {
		if s != "" && strings.Contains(answer, s) {
			t.Errorf("%s: the answer tells %q: %s", what, s, answer)
		}
	}
}

// refusal is what OpenAI's edge has to say.
type refusal struct {
	status int
	code   string
	says   string // in the message
	blame  string
	kind   string            // the envelope's type, if it matters
	param  string            // of the envelope
	hint   string            // a part of it; "-" for none
	facts  map[string]string // among the details
}

func (w *edge) expect(t *testing.T, what string, got reply, want refusal) {
	t.Helper()
	w.noSecrets(t, what, got.body)
	e := got.failure()
	if got.status != want.status || e.Code != want.code || !strings.Contains(e.Message, want.says) || e.Message == "" {
		t.Errorf("%s: %d %s\nwant %d %s, saying %q", what, got.status, got.body, want.status, want.code, want.says)
		return
	}
	if e.Blame != want.blame || e.Type == "" || (want.kind != "" && e.Type != want.kind) || e.Param != want.param {
		t.Errorf("%s: blame %q type %q param %q, want %q %q %q: %s", what, e.Blame, e.Type, e.Param, want.blame, want.kind, want.param, got.body)
	}
	if (e.Hint == "") != (want.hint == "-") || (want.hint != "-" && !strings.Contains(e.Hint, want.hint)) {
		t.Errorf("%s: hint %q, want %q: %s", what, e.Hint, want.hint, got.body)
	}
	if id := got.header.Get("x-request-id"); !strings.HasPrefix(id, "req_") || id != e.RequestID {
		t.Errorf("%s: x-request-id %q, in the envelope %q", what, id, e.RequestID)
	}
	if ct := got.header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("%s: content type %q", what, ct)
	}
	for name, value := range want.facts {
		if e.Details[name] != value {
			t.Errorf("%s: detail %s = %q, want %q: %s", what, name, e.Details[name], value, got.body)
		}
	}
}

func TestOpenAIsEdgeNamesWhatIsWrongWithABody(t *testing.T) {
	t.Parallel()
	w := startEdge(t)
	message := `{"role":"user","content":"` + private + `"}`
	with := func(fields string) string {
		return `{"model":"openai/gpt-4o-mini","messages":[` + message + `]` + fields + `}`
	}
	malformed := func(says string) refusal {
		return refusal{400, "malformed_json", says, "caller", "invalid_request_error", "", "JSON object", nil}
	}
	field := func(param, says string) refusal {
		return refusal{400, "invalid_field", says, "caller", "invalid_request_error", param, "-", nil}
	}
	for _, c := range []struct {
		name, body string
		want       refusal
	}{
		{"nothing", "", malformed("at byte 0 (line 1, column 1)")},
		{"blanks", " \n ", malformed("at byte 3 (line 2, column 2)")},
		{"a list", "[]", malformed("at byte 0 (line 1, column 1)")},
		{"null", "null", malformed("at byte 0")},
		{"a text", `"` + private + `"`, malformed("at byte 0")},
		{"no quotes", "{\n  model: 1}", malformed("at byte 4 (line 2, column 3)")},
		{"a comma too many", "{\"model\":\"a\",\n}", malformed("at byte 14 (line 2, column 1)")},
		{"cut off", `{"model":"openai/gpt-4o-mini","messages":[` + message, malformed(fmt.Sprintf("byte %d ", 42+len(message)))},
		{"two objects", with("") + with(""), malformed("something follows the object")},
		{"a broken value", "{\"a\":\ntru}", malformed("(line 2, column ")},
		{"not UTF-8", "{\"model\":\"\xff\"}", malformed("not valid UTF-8")},
		{"a byte order mark", "\xef\xbb\xbf" + with(""), malformed("at byte 0")},
		{"a control character", "{\"model\":\"\x00\"}", malformed("byte ")},
		{"a form", "model=a&messages=b", malformed("at byte 0")},
		{"two models", with(`,"model":"openai/gpt-4.1"`), field("model", "twice")},
		{"two models, one in disguise", with(`,"mod\u0065l":"openai/gpt-4.1"`), field("model", "twice")},
		{"two lists of messages", with(`,"messages":[` + message + `]`), field("messages", "twice")},
		{"two streams", with(`,"stream":true,"stream":false`), field("stream", "twice")},
		{"no messages", `{"model":"openai/gpt-4o-mini"}`, field("messages", "messages is required")},
		{"null messages", `{"model":"openai/gpt-4o-mini","messages":null}`, field("messages", "must be an array")},
		{"empty messages", `{"model":"openai/gpt-4o-mini","messages":[]}`, field("messages", "must not be empty")},
		{"a text as messages", `{"model":"openai/gpt-4o-mini","messages":"` + private + `"}`, field("messages", "must be an array")},
		{"an object as messages", `{"model":"openai/gpt-4o-mini","messages":` + message + `}`, field("messages", "must be an array")},
		{"a number as model", `{"model":5,"messages":[` + message + `]}`, field("model", "must be a string")},
		{"a long model", `{"model":"openai/` + strings.Repeat("x", 300) + `","messages":[` + message + `]}`, field("model", "too long")},
		{"a text as stream", with(`,"stream":"yes"`), field("stream", "true or false")},
		{"a number as stream options", with(`,"stream":true,"stream_options":5`), field("stream_options", "an object")},
		{"a number as include_usage", with(`,"stream":true,"stream_options":{"include_usage":1}`), field("stream_options.include_usage", "true or false")},
		{"a number as user", with(`,"user":5`), field("user", "a string")},
		{"a list as metadata", with(`,"metadata":[]`), field("metadata", "object of strings")},
		{"a number in metadata", with(`,"metadata":{"a":1}`), field("metadata.a", "a string")},
		{"a long value in metadata", with(`,"metadata":{"a":"` + strings.Repeat("x", 257) + `"}`), field("metadata.a", "256 bytes")},
		{"an unknown field of ours", with(`,"claviger":{"colour":"red"}`), field("claviger.colour", "not known")},
		{"not convertible", `{"model":"policy/claude","n":2,"messages":[` + message + `]}`, refusal{400, "not_convertible", "n cannot be carried", "caller", "invalid_request_error", "n", "leave it out", nil}},
		{"a message that is a number, converted", `{"model":"policy/claude","messages":[5]}`, field("messages[0]", "")},
		{"an unknown role, converted", `{"model":"policy/claude","messages":[{"role":"ghost","content":"x"}]}`, field("messages[0].role", "")},
	} {
		w.expect(t, c.name, w.post(t, "/v1/chat/completions", w.keys["acme"], c.body), c.want)
	}
	// The content type does not matter, as long as the body is what it has to be.
	for _, contentType := range []string{"", "text/plain", "application/json; charset=utf-8", "application/x-www-form-urlencoded"} {
		req := w.request(t, http.MethodPost, "/v1/chat/completions", with(""), map[string]string{"Authorization": "Bearer " + w.keys["acme"], "Content-Type": contentType})
		if got := w.do(t, req); got.status != http.StatusOK {
			t.Errorf("content type %q: %d %s", contentType, got.status, got.body)
		}
	}
	if got := w.post(t, "/v1/chat/completions", w.keys["acme"], with(`,"temperature":3,"unknown_field":{"x":[1,2]}`)); got.status != http.StatusOK {
		t.Errorf("a field that only the provider knows: %d %s", got.status, got.body)
	}
}

func (w *edge) request(t *testing.T, method, path, body string, headers map[string]string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, w.BaseURL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range headers {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	return req
}

// badKeys are API keys that must not open anything, by the reason that the caller is told.
func (w *edge) badKeys(t *testing.T) map[string]struct{ key, reason string } {
	t.Helper()
	good := w.keys["acme"]
	last := "0"
	if strings.HasSuffix(good, last) {
		last = "1"
	}
	return map[string]struct{ key, reason string }{
		"missing":         {"", "API_KEY_MISSING"},
		"garbage":         {"garbage", "API_KEY_INVALID"},
		"a provider's":    {"sk-proj-abc", "API_KEY_INVALID"},
		"the prefix":      {"clv_live_", "API_KEY_INVALID"},
		"cut":             {good[:len(good)-1], "API_KEY_INVALID"},
		"bad checksum":    {good[:len(good)-1] + last, "API_KEY_INVALID"},
		"in upper case":   {strings.ToUpper(good), "API_KEY_INVALID"},
		"unknown":         {unknownKey(), "API_KEY_INVALID"},
		"very long":       {strings.Repeat("x", 8000), "API_KEY_INVALID"},
		"a session token": {w.tokens[owner], "API_KEY_INVALID"},
		"revoked":         {w.revoked(t), "API_KEY_REVOKED"},
		"expired":         {w.expired(t), "API_KEY_EXPIRED"},
	}
}

func TestOpenAIsEdgeSaysWhoMayNotEnter(t *testing.T) {
	t.Parallel()
	w := startEdge(t)
	says := map[string]refusal{
		"API_KEY_MISSING": {401, "api_key_missing", "no API key", "caller", "authentication_error", "", "Authorization: Bearer", nil},
		"API_KEY_INVALID": {401, "api_key_invalid", "not valid", "caller", "authentication_error", "", "whole key", nil},
		"API_KEY_REVOKED": {401, "api_key_revoked", "was revoked", "caller", "authentication_error", "", "create a new one", map[string]string{"api_key": "revoked"}},
		"API_KEY_EXPIRED": {401, "api_key_expired", "has expired", "caller", "authentication_error", "", "create a new one", map[string]string{"api_key": "expired"}},
	}
	bad := w.badKeys(t)
	for name, c := range bad {
		w.expect(t, name, w.post(t, "/v1/chat/completions", c.key, chatBody("openai/gpt-4o-mini", private)), says[c.reason])
		w.expect(t, name+", with a body that is nothing", w.post(t, "/v1/chat/completions", c.key, "{"), says[c.reason])
		for _, path := range []string{"/v1/models", "/v1/models/policy/main"} {
			req := w.request(t, http.MethodGet, path, "", map[string]string{"x-api-key": c.key})
			w.expect(t, name+" at "+path, w.do(t, req), says[c.reason])
		}
	}
	for _, value := range []string{"Basic " + w.keys["acme"], w.keys["acme"], "Bearer", "Bearer "} {
		req := w.request(t, http.MethodPost, "/v1/chat/completions", chatBody("", private), map[string]string{"Authorization": value})
		w.expect(t, "another form of Authorization", w.do(t, req), says["API_KEY_MISSING"])
	}
	good := w.request(t, http.MethodPost, "/v1/chat/completions", chatBody("", private), map[string]string{"Authorization": "bearer  " + w.keys["acme"]})
	if got := w.do(t, good); got.status != http.StatusOK {
		t.Errorf("a scheme in lower case: %d %s", got.status, got.body)
	}
	if calls := len(w.provider.Ledger()); calls == 0 {
		t.Error("the provider saw no call at all")
	}
	before := len(w.provider.Ledger())
	for _, c := range bad {
		w.post(t, "/v1/chat/completions", c.key, chatBody("openai/gpt-4o-mini", private))
	}
	if after := len(w.provider.Ledger()); after != before {
		t.Errorf("%d calls of refused callers reached the provider", after-before)
	}
}

func TestOpenAIsEdgeNamesWhatIsNotThere(t *testing.T) {
	t.Parallel()
	w := startEdge(t)
	withoutPolicy := w.withoutPolicy(t)
	acme, rival := w.keys["acme"], w.keys["rival"]
	none := func(code, says, hint string) refusal {
		return refusal{404, code, says, "caller", "invalid_request_error", "model", hint, nil}
	}
	for _, c := range []struct {
		name, key, model string
		want             refusal
	}{
		{"unknown provider", acme, "nobody/x", none("model_not_found", `no provider "nobody"`, "provider/model")},
		{"bare model", acme, "gpt-4o-mini", none("model_not_found", `"gpt-4o-mini"`, `"openai/gpt-4o-mini"`)},
		{"no name", acme, "openai/", none("model_not_found", `"openai/"`, "")},
		{"no provider", acme, "/gpt", none("model_not_found", `"/gpt"`, "")},
		{"unknown policy", acme, "policy/none", none("policy_not_found", `"none"`, "/v1/models")},
		{"empty policy", acme, "policy/", none("policy_not_found", "", "/v1/models")},
		{"another organization's policy", acme, "policy/secret-plan", none("policy_not_found", `no policy "secret-plan"`, "/v1/models")},
		{"our policy, with another's key", rival, "policy/claude", none("policy_not_found", `no policy "claude"`, "/v1/models")},
		{"no model and no default", withoutPolicy, "", refusal{400, "model_required", "names no model", "caller", "invalid_request_error", "model", "policy/<name>", nil}},
		{"model unknown to the provider", acme, "openai/script:error=model", none("model_not_found", "does not exist", "/v1/models")},
		{"no credential", acme, "anthropic/claude-haiku-4-5", refusal{422, "no_usable_credential", "there is no own credential for anthropic", "caller", "precondition_error", "", "an owner", nil}},
		{"no credential for a policy", acme, "policy/bare", refusal{422, "no_usable_credential", "there is no own credential for anthropic", "caller", "precondition_error", "", "an owner", nil}},
	} {
		w.expect(t, c.name, w.post(t, "/v1/chat/completions", c.key, chatBody(c.model, private)), c.want)
	}
	for _, model := range []string{"openai/none", "policy/secret-plan", "x"} {
		req := w.request(t, http.MethodGet, "/v1/models/"+model, "", map[string]string{"Authorization": "Bearer " + acme})
		w.expect(t, "GET "+model, w.do(t, req), none("model_not_found", model, "/v1/models"))
	}
	for _, path := range []string{"/v1/audio/speech", "/v1/rerank", "/v1/completions", "/v1/files", "/v1/chat/completions/abc", "/v1/"} {
		w.expect(t, path, w.post(t, path, acme, `{"model":"openai/gpt-4o-mini","input":"`+private+`"}`),
			refusal{404, "route_not_supported", "not supported", "caller", "invalid_request_error", "", "/v1/chat/completions", map[string]string{"path": path}})
	}
	wrong := refusal{405, "method_not_supported", "the method", "caller", "invalid_request_error", "", "Allow", nil}
	for path, method := range map[string]string{"/v1/chat/completions": http.MethodGet, "/v1/models": http.MethodPost, "/v1/models/openai/gpt-4o-mini": http.MethodDelete} {
		got := w.do(t, w.request(t, method, path, "", map[string]string{"Authorization": "Bearer " + acme}))
		w.expect(t, method+" "+path, got, wrong)
		if got.header.Get("Allow") == "" {
			t.Errorf("%s %s: no Allow header", method, path)
		}
	}
	for _, encoding := range []string{"gzip", "br", "zstd"} {
		req := w.request(t, http.MethodPost, "/v1/chat/completions", chatBody("", private), map[string]string{"Authorization": "Bearer " + acme, "Content-Encoding": encoding})
		w.expect(t, encoding, w.do(t, req), refusal{415, "content_encoding_not_supported", "must not be compressed", "caller", "invalid_request_error", "", "Content-Encoding", map[string]string{"content_encoding": encoding}})
	}
}

// ofProvider says what callers get of a provider's failure, by dialect.
type ofProvider struct {
	script string
	edge   refusal
	code   connect.Code
	reason string
}

// repeats reports whether the same credential may be asked again for such a failure.
func (p ofProvider) repeats() bool {
	return slices.Contains([]string{"PROVIDER_TIMED_OUT", "PROVIDER_FAILED", "PROVIDER_OVERLOADED", "PROVIDER_UNREACHABLE"}, p.reason)
}

// callsOf is how often a model was asked of the provider.
func (w *edge) callsOf(model string) (n int) {
	for _, e := range w.provider.Ledger() {
		if e.Model == model {
			n++
		}
	}
	return n
}

// providersFailures are the failures of an OpenAI credential, label "main" but for those that say otherwise.
func providersFailures() []ofProvider {
	callers := func(code, says, param, hint string) refusal {
		return refusal{400, code, says, "caller", "invalid_request_error", param, hint, nil}
	}
	theirs := func(status int, code, says, hint string) refusal {
		return refusal{status, code, says, "provider", "provider_error", "", hint, map[string]string{"provider": "openai", "credential": "main", "credential_class": "own"}}
	}
	limited := theirs(429, "rate_limit_exceeded", "openai limits the rate of this credential", "later")
	limited.kind = "rate_limit_error"
	tooLarge := callers("context_length_exceeded", "413", "", "send less")
	tooLarge.status = 413
	return []ofProvider{
		{"error=bad_request", callers("invalid_value", "Invalid 'temperature'", "temperature", "mend the request"), connect.CodeInvalidArgument, "PROVIDER_REFUSED_REQUEST"},
		{"error=unsupported", callers("unsupported_parameter", "Unsupported parameter", "max_tokens", "choose another model"), connect.CodeInvalidArgument, "UNSUPPORTED_BY_MODEL"},
		{"error=context_length", callers("context_length_exceeded", "maximum context length", "messages", "longer context"), connect.CodeInvalidArgument, "REQUEST_TOO_LARGE"},
		{"error=too_large", tooLarge, connect.CodeInvalidArgument, "REQUEST_TOO_LARGE"},
		{"error=content", callers("content_policy_violation", "safety system", "", "change the content"), connect.CodeInvalidArgument, "CONTENT_REFUSED"},
		{"error=model", refusal{404, "model_not_found", "openai does not have this model", "caller", "invalid_request_error", "model", "/v1/models", nil}, connect.CodeNotFound, "MODEL_NOT_FOUND"},
		{"error=scopes", theirs(502, "credential_limited", "Missing scopes", "an owner"), connect.CodeFailedPrecondition, "CREDENTIAL_LIMITED"},
		{"error=forbidden", theirs(502, "credential_limited", "Country", "an owner"), connect.CodeFailedPrecondition, "CREDENTIAL_LIMITED"},
		{"error=ip", theirs(502, "credential_limited", "allow-list", "an owner"), connect.CodeFailedPrecondition, "CREDENTIAL_LIMITED"},
		{"error=rate_limit", limited, connect.CodeResourceExhausted, "PROVIDER_RATE_LIMITED"},
		{"error=slow_down", limited, connect.CodeResourceExhausted, "PROVIDER_RATE_LIMITED"},
		{"error=timeout", theirs(504, "provider_timed_out", "openai did not answer in time", "try again"), connect.CodeDeadlineExceeded, "PROVIDER_TIMED_OUT"},
		{"error=server", theirs(502, "provider_failed", "openai failed", "try again"), connect.CodeUnavailable, "PROVIDER_FAILED"},
		{"error=gateway", theirs(502, "provider_failed", "502 Bad Gateway", "try again"), connect.CodeUnavailable, "PROVIDER_FAILED"},
		{"error=overloaded", theirs(503, "provider_overloaded", "openai is overloaded", "try again"), connect.CodeUnavailable, "PROVIDER_OVERLOADED"},
		{"cut=1,reset", theirs(502, "provider_unreachable", "openai cannot be reached", "try again"), connect.CodeUnavailable, "PROVIDER_UNREACHABLE"},
	}
}

func TestOpenAIsEdgeTellsTheFailuresOfProvidersApart(t *testing.T) {
	t.Parallel()
	w := startEdge(t)
	ask := func(t *testing.T, key, model, script string, stream bool) reply {
		t.Helper()
		body := chatBody(model, "script:"+script+",echo,retry=1500ms "+private)
		if stream {
			body = strings.Replace(body, "{", `{"stream":true,`, 1)
		}
		return w.post(t, "/v1/chat/completions", key, body)
	}
	for i, c := range providersFailures() {
		for _, stream := range []bool{false, true} {
			// Side by side, since some of them are tried again after a pause; each with a model of its own, since the
			// router remembers failures of a credential by model.
			t.Run(fmt.Sprintf("%s, stream %v", c.script, stream), func(t *testing.T) {
				t.Parallel()
				model := fmt.Sprintf("case-%d-%v", i, stream)
				got := ask(t, w.keys["acme"], "openai/"+model, c.script, stream)
				want := c.edge
				if want.facts != nil {
					want.facts = maps.Clone(want.facts)
					want.facts["model"] = "openai/" + model
				}
				w.expect(t, "first", got, want)
				calls := w.callsOf(model)
				if again := c.repeats(); calls < 1 || calls > 3 || calls > 1 && !again {
					t.Errorf("the provider was called %d times; may it be asked again: %v", calls, again)
				}
				if want.status != http.StatusTooManyRequests {
					return
				}
				if after := got.header.Get("Retry-After"); after != "2" {
					t.Errorf("retry-after %q, want 2", after)
				}
				// It cools down: the provider is left alone, and the caller told for how long.
				got = ask(t, w.keys["acme"], "openai/"+model, c.script, stream)
				w.expect(t, "while it cools down", got, refusal{429, "all_cooling_down", `credential "main"`, "provider", "rate_limit_error", "", "try again later", nil})
				if after := got.header.Get("Retry-After"); after != "1" && after != "2" {
					t.Errorf("retry-after %q while it cools down, want what is left of 1.5s", after)
				}
				if more := w.callsOf(model); more != calls {
					t.Errorf("the provider was called %d times while it cools down", more-calls)
				}
			})
		}
	}
	platform := refusal{502, "provider_failed", "anthropic failed", "provider", "provider_error", "", "try again", map[string]string{"policy": "claude", "credential_class": "platform", "credential": ""}}
	for _, stream := range []bool{false, true} {
		w.expect(t, "a platform credential", ask(t, w.keys["acme"], "policy/claude", "error=server", stream), platform)
	}
	rejected := refusal{502, "credential_rejected", "openai rejected the credential", "provider", "provider_error", "", "rotate the credential", map[string]string{"credential": "worn out", "provider": "openai", "credential_class": "own"}}
	empty := refusal{429, "insufficient_quota", "money or quota is used up", "provider", "insufficient_quota", "", "account at the provider", map[string]string{"credential": "worn out"}}
	for slug, c := range map[string]struct {
		failure llmtest.Failure
		first   refusal
		then    string
	}{
		"worn": {llmtest.ErrAuth, rejected, "rejected"}, "poor": {llmtest.ErrQuota, empty, "quota"}, "spent": {llmtest.ErrSpendLimit, empty, "quota"},
	} {
		key := w.worn(t, slug, c.failure)
		got := ask(t, key, "openai/gpt-4o-mini", "echo", false)
		w.expect(t, slug, got, c.first)
		if got.header.Get("X-Should-Retry") != "false" {
			t.Errorf("%s: SDKs are not told to leave it", slug)
		}
		// From now on it is out, and the reason is told without asking the provider.
		again := refusal{422, "no_usable_credential", `credential "worn out"`, "caller", "precondition_error", "", "an owner", nil}
		w.expect(t, slug+", again", ask(t, key, "openai/gpt-4o-mini", "echo", true), again)
	}
}

func TestTheTypedAPITellsTheSameErrorsOnEveryListener(t *testing.T) {
	t.Parallel()
	w := startEdge(t)
	bad := w.badKeys(t)
	withoutPolicy := w.withoutPolicy(t)
	for name, transport := range w.listeners(t) {
		w.typedFields(t, name, transport)
		for what, c := range bad {
			w.typedError(t, name+", API key "+what, transport, c.key, typed("openai/gpt-4o-mini", private), connect.CodeUnauthenticated, c.reason, "caller", "")
		}
		for what, c := range map[string]struct {
			key, model   string
			code         connect.Code
			reason, says string
		}{
			"unknown provider":                {w.keys["acme"], "nobody/x", connect.CodeNotFound, "MODEL_NOT_FOUND", `no provider "nobody"`},
			"bare model":                      {w.keys["acme"], "gpt-4o-mini", connect.CodeNotFound, "MODEL_NOT_FOUND", `"openai/gpt-4o-mini"`},
			"unknown policy":                  {w.keys["acme"], "policy/none", connect.CodeNotFound, "POLICY_NOT_FOUND", `"none"`},
			"another organization's policy":   {w.keys["acme"], "policy/secret-plan", connect.CodeNotFound, "POLICY_NOT_FOUND", `"secret-plan"`},
			"our policy, with another's key":  {w.keys["rival"], "policy/claude", connect.CodeNotFound, "POLICY_NOT_FOUND", `"claude"`},
			"no model and no default":         {withoutPolicy, "", connect.CodeInvalidArgument, "MODEL_REQUIRED", "names no model"},
			"no credential":                   {w.keys["acme"], "anthropic/claude-haiku-4-5", connect.CodeFailedPrecondition, "NO_USABLE_CREDENTIAL", "no own credential for anthropic"},
			"no credential of a policy lines": {w.keys["acme"], "policy/bare", connect.CodeFailedPrecondition, "NO_USABLE_CREDENTIAL", "no own credential for anthropic"},
		} {
			w.typedError(t, name+", "+what, transport, c.key, typed(c.model, private), c.code, c.reason, "caller", c.says)
		}
		for i, c := range providersFailures() {
			// The same as at the other edge: side by side, each with a model of its own.
			for way, ask := range map[string]asking{"in one piece": w.typedComplete, "streaming": w.typedStream} {
				t.Run(fmt.Sprintf("%s, %s, %s", name, c.script, way), func(t *testing.T) {
					t.Parallel()
					model := fmt.Sprintf("openai/%s-%d-%s", name, i, way[:2])
					facts := ask(t, c.script, transport, w.keys["acme"], typed(model, "script:"+c.script+",echo "+private), c.code, c.reason, c.edge.blame, "")
					if facts["model"] != model || facts["credential"] != "main" || facts["provider"] != "openai" {
						t.Errorf("facts %v", facts)
					}
				})
			}
		}
		slug := "typed-" + name
		key := w.worn(t, slug, llmtest.ErrAuth)
		_, err := routerv1connect.NewCompletionServiceClient(w.as(transport, key)).Complete(t.Context(), &routerv1.CompleteRequest{Input: typed("openai/gpt-4o-mini", private)})
		info := w.checkTyped(t, name+", credential rejected", err, connect.CodeFailedPrecondition, "CREDENTIAL_REJECTED", "provider", "openai rejected the credential")
		if info["credential"] != "worn out" {
			t.Errorf("%s: a rejected credential is not named: %v", name, info)
		}
	}
}

// typedFields breaks the rules of fields, one at a time.
func (w *edge) typedFields(t *testing.T, name string, transport connect.Transport) {
	t.Helper()
	many := func(n int) map[string]string {
		out := map[string]string{}
		for i := range n {
			out[fmt.Sprint(i)] = "x"
		}
		return out
	}
	user := routerv1.MessageRole_MESSAGE_ROLE_USER
	image := func(i *routerv1.Image) []*routerv1.Part {
		return []*routerv1.Part{{Content: &routerv1.Part_Image{Image: i}}}
	}
	for field, change := range map[string]func(*routerv1.CompletionInput){
		"input.messages":                     func(in *routerv1.CompletionInput) { in.Messages = nil },
		"input.model":                        func(in *routerv1.CompletionInput) { in.Model = strings.Repeat("x", 257) },
		"input.messages[0].role":             func(in *routerv1.CompletionInput) { in.Messages[0].Role = 99 },
		"input.messages[0].parts[0]":         func(in *routerv1.CompletionInput) { in.Messages[0].Parts[0] = &routerv1.Part{} },
		"input.temperature":                  func(in *routerv1.CompletionInput) { in.Temperature = new(3.0) },
		"input.top_p":                        func(in *routerv1.CompletionInput) { in.TopP = new(-1.0) },
		"input.max_output_tokens":            func(in *routerv1.CompletionInput) { in.MaxOutputTokens = new(int64(0)) },
		"input.stop":                         func(in *routerv1.CompletionInput) { in.Stop = []string{"a", "b", "c", "d", "e"} },
		"input.reasoning_effort":             func(in *routerv1.CompletionInput) { in.ReasoningEffort = new("huge") },
		"input.tags":                         func(in *routerv1.CompletionInput) { in.Tags = many(17) },
		`input.tags["` + tooLongTag() + `"]`: func(in *routerv1.CompletionInput) { in.Tags = map[string]string{tooLongTag(): "x"} },
		"input.session":                      func(in *routerv1.CompletionInput) { in.Session = strings.Repeat("x", 257) },
		"input.tools[0].name":                func(in *routerv1.CompletionInput) { in.Tools = []*routerv1.Tool{{Name: "a b"}} },
	} {
		in := typed("openai/gpt-4o-mini", private)
		change(in)
		w.typedError(t, name+", "+field, transport, w.keys["acme"], in, connect.CodeInvalidArgument, "FIELDS_INVALID", "caller", field)
	}
	w.typedError(t, name+", no input", transport, w.keys["acme"], nil, connect.CodeInvalidArgument, "FIELDS_INVALID", "caller", "input")
	for says, change := range map[string]func(*routerv1.CompletionInput){
		"messages[0]: tool_call_id goes with": func(in *routerv1.CompletionInput) { in.Messages[0].ToolCallId = "call_1" },
		"messages[0]: tool_calls go with": func(in *routerv1.CompletionInput) {
			in.Messages[0].ToolCalls = []*routerv1.ToolCall{{Id: "a", Name: "a"}}
		},
		"messages[1]: a message needs parts":                 func(in *routerv1.CompletionInput) { in.Messages = append(in.Messages, &routerv1.Message{Role: user}) },
		"messages[0]: parts[0]: an image needs either a url": func(in *routerv1.CompletionInput) { in.Messages[0].Parts = image(&routerv1.Image{}) },
		"tool_choice: a name goes with": func(in *routerv1.CompletionInput) {
			in.ToolChoice = &routerv1.ToolChoice{Mode: routerv1.ToolChoice_MODE_NAMED}
		},
		"response_format: schema_json goes with": func(in *routerv1.CompletionInput) {
			in.ResponseFormat = &routerv1.ResponseFormat{Kind: routerv1.ResponseFormat_KIND_JSON_SCHEMA}
		},
	} {
		in := typed("openai/gpt-4o-mini", private)
		change(in)
		w.typedError(t, name+", "+says, transport, w.keys["acme"], in, connect.CodeInvalidArgument, "INPUT_INVALID", "caller", says)
	}
}

func tooLongTag() string { return strings.Repeat("k", 65) }

// asking asks one way and checks the error. It returns the facts of the error.
type asking func(t *testing.T, what string, transport connect.Transport, key string, in *routerv1.CompletionInput, code connect.Code, reason, blame, says string) map[string]string

// typedError asks both ways.
func (w *edge) typedError(t *testing.T, what string, transport connect.Transport, key string, in *routerv1.CompletionInput, code connect.Code, reason, blame, says string) {
	t.Helper()
	w.typedComplete(t, what, transport, key, in, code, reason, blame, says)
	w.typedStream(t, what+", streaming", transport, key, in, code, reason, blame, says)
}

// bearing is the context of a call with an API key, if there is one.
func bearing(t *testing.T, key string) (context.Context, *connect.CallInfo) {
	t.Helper()
	ctx, info := connect.NewClientContext(t.Context())
	if key != "" {
		info.RequestHeader().Set("Authorization", "Bearer "+key)
	}
	return ctx, info
}

func (w *edge) typedComplete(t *testing.T, what string, transport connect.Transport, key string, in *routerv1.CompletionInput, code connect.Code, reason, blame, says string) map[string]string {
	t.Helper()
	ctx, info := bearing(t, key)
	_, err := routerv1connect.NewCompletionServiceClient(connect.NewClient(transport)).Complete(ctx, &routerv1.CompleteRequest{Input: in})
	if id := info.ResponseHeader().Get("x-request-id") + info.ResponseTrailer().Get("x-request-id"); !strings.HasPrefix(id, "req_") {
		t.Errorf("%s: x-request-id %q", what, id)
	}
	return w.checkTyped(t, what, err, code, reason, blame, says)
}

func (w *edge) typedStream(t *testing.T, what string, transport connect.Transport, key string, in *routerv1.CompletionInput, code connect.Code, reason, blame, says string) map[string]string {
	t.Helper()
	ctx, _ := bearing(t, key)
	stream, err := routerv1connect.NewCompletionServiceClient(connect.NewClient(transport)).StreamCompletion(ctx, &routerv1.StreamCompletionRequest{Input: in})
	if err == nil {
		_, err = stream.Receive()
		if errors.Is(err, io.EOF) {
			err = errors.New("the stream ended well")
		}
		_ = stream.Close()
	}
	return w.checkTyped(t, what, err, code, reason, blame, says)
}

func (w *edge) checkTyped(t *testing.T, what string, err error, code connect.Code, reason, blame, says string) map[string]string {
	t.Helper()
	ce, ok := errors.AsType[*connect.Error](err)
	if !ok {
		t.Errorf("%s: %v, want %v %s", what, err, code, reason)
		return nil
	}
	info, bad := &errdetails.ErrorInfo{}, &errdetails.BadRequest{}
	for _, d := range ce.Details() {
		msg, err := connectproto.UnmarshalErrorDetail(d)
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		switch m := msg.(type) {
		case *errdetails.ErrorInfo:
			info = m
		case *errdetails.BadRequest:
			bad = m
		}
	}
	facts := info.GetMetadata()
	w.noSecrets(t, what, ce.Message()+fmt.Sprint(slices.Sorted(maps.Values(facts))))
	if ce.Code() != code || info.GetReason() != reason || info.GetDomain() != "claviger" || facts["blame"] != blame || !strings.Contains(ce.Message(), says) {
		t.Errorf("%s: %v %s blame %q: %s\nwant %v %s blame %q saying %q", what, ce.Code(), info.GetReason(), facts["blame"], ce.Message(), code, reason, blame, says)
	}
	if reason == "FIELDS_INVALID" && len(bad.GetFieldViolations()) == 0 {
		t.Errorf("%s: no field is named in the details", what)
	}
	return facts
}

// TestTheTypedAPIRefusesWhatIsNoCall speaks to the paths of the typed API as a mistaken client does.
func TestTheTypedAPIRefusesWhatIsNoCall(t *testing.T) {
	t.Parallel()
	w := startEdge(t)
	const complete = "/claviger.router.v1.CompletionService/Complete"
	bearer := "Bearer " + w.keys["acme"]
	for name, c := range map[string]struct {
		method, path, contentType, authorization, body string
		status                                         int
		says                                           string
	}{
		"malformed JSON":            {http.MethodPost, complete, "application/json", bearer, `{"input":`, 400, "invalid_argument"},
		"an empty body":             {http.MethodPost, complete, "application/json", bearer, "", 400, "invalid_argument"},
		"an unknown field":          {http.MethodPost, complete, "application/json", bearer, `{"inputs":{}}`, 400, "invalid_argument"},
		"malformed, without a key":  {http.MethodPost, complete, "application/json", "", `{"input":`, 401, "API key"},
		"a broken message":          {http.MethodPost, complete, "application/proto", bearer, "\xff\xff\xff", 400, "invalid_argument"},
		"text":                      {http.MethodPost, complete, "text/plain", bearer, "{}", 415, ""},
		"a form":                    {http.MethodPost, complete, "application/x-www-form-urlencoded", bearer, "a=b", 415, ""},
		"GET":                       {http.MethodGet, complete, "", bearer, "", 405, ""},
		"PUT":                       {http.MethodPut, complete, "application/json", bearer, "{}", 405, ""},
		"a method nobody has":       {http.MethodPost, "/claviger.router.v1.CompletionService/Nothing", "application/json", bearer, "{}", 501, "unimplemented"},
		"an internal method":        {http.MethodPost, "/claviger.keys.v1.ConfigService/WatchConfig", "application/connect+json", bearer, "{}", 404, ""},
		"a key where no key serves": {http.MethodPost, "/claviger.keys.v1.PolicyService/ListPolicies", "application/json", bearer, "{}", 401, ""},
	} {
		got := w.do(t, w.request(t, c.method, c.path, c.body, map[string]string{"Content-Type": c.contentType, "Authorization": c.authorization}))
		w.noSecrets(t, name, got.body)
		if got.status != c.status || !strings.Contains(got.body, c.says) {
			t.Errorf("%s: %d %s, want %d with %q", name, got.status, got.body, c.status, c.says)
		}
	}
}
