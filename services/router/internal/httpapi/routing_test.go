package httpapi_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/anthropic"
	"github.com/claviger/claviger/services/router/internal/provider/compat"
	"github.com/claviger/claviger/services/router/internal/provider/openai"
)

// overheard is a provider that keeps what it is sent and refuses it.
type overheard struct {
	mu   sync.Mutex
	sent string
}

func (o *overheard) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	o.sent = string(body)
	o.mu.Unlock()
	return &http.Response{
		StatusCode: 400, Header: http.Header{"Content-Type": {"application/json"}}, Request: req,
		Body: io.NopCloser(strings.NewReader(`{"type":"error","error":{"type":"invalid_request_error","message":"no"}}`)),
	}, nil
}

// asked keeps the requests that are planned.
type asked struct {
	target completion.Target
	last   completion.Request
}

func (a *asked) Plan(_ completion.Caller, req *completion.Request) (completion.Plan, error) {
	a.last = *req
	return completion.Plan{Targets: []completion.Target{a.target}}, nil
}

// The ways to ask, with a place for members at the beginning, in the middle and at the end.
var routed = []struct{ path, provider, body string }{
	{"/v1/chat/completions", "openai", `{ <1>"model" : "x/y", <2> "messages":[ {"role":"user","content":"hi"} ]<3>}`},
	{"/v1/chat/completions", "xai", `{<1>"model":"x/y","stop":[],<2>"messages":[{"role":"user","content":"hi"}]<3>}`},
	{"/v1/chat/completions", "groq", `{<1>"model":"x/y",<2>"messages":[{"role":"user","content":"hi"}]<3>}`},
	{"/v1/responses", "openai", `{<1>"model":"x/y","store":false,<2>"input":"hi"<3>}`},
	{"/v1/messages", "anthropic", `{<1>"model":"x/y","max_tokens":9,<2>"messages":[{"role":"user","content":"hi"}]<3>}`},
	{"/v1/messages/count_tokens", "anthropic", `{<1>"model":"x/y",<2>"messages":[{"role":"user","content":"hi"}]<3>}`},
	{"/v1/embeddings", "openai", `{<1>"model":"x/y",<2>"input":"hi"<3>}`},
	{"/v1/images/generations", "openai", `{<1>"model":"x/y",<2>"prompt":"hi"<3>}`},
}

// TestRoutingFieldsDoNotReachProviders has them at every place of a body, one and several together, in every
// dialect: the planner is asked for them, and every other byte passes as it came.
func TestRoutingFieldsDoNotReachProviders(t *testing.T) {
	t.Parallel()
	const (
		models   = `"models":["c/d","policy/e"]`
		provider = `"provider":{"order":["azure"],"only":["openai","azure"],"ignore":["groq"],"sort":"price","allow_fallbacks":false,"require_parameters":true,"max_price":{"prompt":"0.15","completion":1}}`
		route    = `"route":"fallback"`
		ours     = `"claviger":{"session":"s"}`
	)
	prompt, output := int64(150_000_000), int64(1_000_000_000)
	want := completion.Routing{
		Models: []string{"c/d", "policy/e"}, Order: []string{"azure"}, Only: []string{"openai", "azure"}, Ignore: []string{"groq"}, Sort: "price",
		NoFallbacks: true, RequireParameters: true, MaxInput: &prompt, MaxOutput: &output,
	}
	up := &overheard{}
	providers := map[string]completion.Provider{"openai": openai.New(up), "anthropic": anthropic.New(up)}
	for _, v := range compat.Vendors() {
		providers[v.Facts.Slug] = compat.New(up, v)
	}
	r, plans := &rig{}, &asked{}
	r.Planner = plans
	server := httptest.NewServer(r.handler(t, providers, map[string]string{}))
	defer server.Close()
	send := func(path, body string) string {
		got := ask(t, server, http.MethodPost, path, body, nil)
		up.mu.Lock()
		defer up.mu.Unlock()
		if sent := up.sent; sent != "" {
			up.sent = ""
			return sent
		}
		t.Fatalf("%s: nothing was sent for %s: %s", path, body, got.body)
		return ""
	}
	for _, c := range routed {
		plans.target = target(c.provider, "m")
		plain := strings.NewReplacer("<1>", "", "<2>", "", "<3>", "").Replace(c.body)
		without := send(c.path, plain)
		for _, at := range [][3]string{
			{models + "," + provider + "," + route + "," + ours + ",", "", ""},
			{"", models + "," + provider + "," + route + "," + ours + ",", ""},
			{"", "", "," + models + "," + provider + "," + route + "," + ours},
			{models + ",", provider + "," + ours + ",", "," + route},
			{provider + ",", route + ",", "," + ours + "," + models},
		} {
			got := send(c.path, strings.NewReplacer("<1>", at[0], "<2>", at[1], "<3>", at[2]).Replace(c.body))
			if got != without {
				t.Errorf("%s to %s: sent\n%s\nwant\n%s", c.path, c.provider, got, without)
			}
			if diff := cmp.Diff(want, plans.last.Routing); diff != "" || plans.last.Model != "x/y" || plans.last.Session != "s" {
				t.Errorf("%s: asked for %q (-want +got):\n%s", c.path, plans.last.Model, diff)
			}
		}
		// With white space around them, which may stay: the members that stay are what they were.
		got := send(c.path, strings.NewReplacer("<1>", "\n\t"+models+" ,\n", "<2>", " "+route+" , "+provider+",\n", "<3>", " , "+ours+"\n").Replace(c.body))
		if !json.Valid([]byte(got)) || strings.Join(strings.Fields(got), "") != strings.Join(strings.Fields(without), "") {
			t.Errorf("%s to %s: sent\n%s\nwant\n%s", c.path, c.provider, got, without)
		}
	}
}

// TestRoutingThatCannotBeIsRefusedInTheCallersDialect names the field, before anybody is asked.
func TestRoutingThatCannotBeIsRefusedInTheCallersDialect(t *testing.T) {
	t.Parallel()
	up := &overheard{}
	r := &rig{Planner: &asked{}}
	server := httptest.NewServer(r.handler(t, map[string]completion.Provider{"openai": openai.New(up)}, nil))
	defer server.Close()
	for _, c := range routed {
		body := strings.NewReplacer("<1>", "", "<2>", `"provider":{"only":["openai","together"]},`, "<3>", "").Replace(c.body)
		got := ask(t, server, http.MethodPost, c.path, body, nil)
		var told struct {
			Type  string
			Error struct{ Type, Param, Message string }
		}
		if err := json.Unmarshal([]byte(got.body), &told); err != nil {
			t.Fatalf("%s: %v in %s", c.path, err, got.body)
		}
		named := told.Error.Param == "provider.only[1]"
		if told.Type == "error" { // Anthropic's errors have no such member
			named = strings.Contains(told.Error.Message, "provider.only[1]")
		}
		if got.status != 400 || told.Error.Type != "invalid_request_error" || !named || !strings.Contains(told.Error.Message, "together") {
			t.Errorf("%s: %d %s", c.path, got.status, got.body)
		}
	}
	if up.sent != "" {
		t.Error("a provider was asked all the same")
	}
}
