package httpapi_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"

	"github.com/claviger/claviger/pkg/llmtest"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/openai"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// TestErrorsNameCredentialsAsFarAsTheAPIKeyMaySee, at every face: whole answers and streams of each dialect, and the
// typed API. Both lines of a policy fail, before the answer begins and in the midst of it.
func TestErrorsNameCredentialsAsFarAsTheAPIKeyMaySee(t *testing.T) {
	t.Parallel()
	upstream := llmtest.New(t)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	r := &rig{heard: make(chan struct{}, 100)}
	of := func(name string, line int) completion.Target {
		tg := target("openai", name)
		tg.Class, tg.Line, tg.PolicyID, tg.PolicyName, tg.Rule = usage.Own, line, "pol_1", "mainline", &completion.Rule{}
		tg.Credential = &completion.Credential{ID: "cred_" + name, Label: "label-" + name, Provider: "openai"}
		return tg
	}
	r.Planner = configured{7, nil, []completion.Target{of("first", 0), of("second", 1)}}
	service := completion.New(completion.Options{
		Planner: r, Keyring: r, Recorder: r, Evidence: r, Providers: map[string]completion.Provider{"openai": openai.New(transport)},
		BaseURLs: map[string]string{"openai": upstream.OpenAIURL()}, Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	handler := r.handlerOf(t, service)
	levels := map[string]completion.Provenance{"clv-none": completion.ProvenanceNone, "clv-1": completion.ProvenanceBasic, "clv-full": completion.ProvenanceFull}
	check := func(face, key, shown string) {
		t.Helper()
		if !strings.Contains(shown, "provider") {
			t.Errorf("%s for %s says nothing of what happened: %s", face, key, shown)
		}
		for _, name := range []string{"label-", "credential_class", "openai", "mainline"} {
			if told := strings.Contains(shown, name); told != (key != "clv-none") {
				t.Errorf("%s for %s: that it tells %s is %v: %s", face, key, name, told, shown)
			}
		}
	}
	scripts := map[string]llmtest.Script{
		"refused": {Error: llmtest.ErrAuth}, "overloaded": {Error: llmtest.ErrOverloaded}, "limited": {Error: llmtest.ErrRateLimit},
		"broken off": {Tokens: 5, CutChunks: 2},
	}
	for name, script := range scripts {
		for key, level := range levels {
			for _, d := range []struct{ path, body string }{
				{"/v1/chat/completions", `{"model":"x","stream":STREAM,"messages":[{"role":"user","content":"SCRIPT hi"}]}`},
				{"/v1/responses", `{"model":"x","stream":STREAM,"input":"SCRIPT hi"}`},
				{"/v1/messages", `{"model":"x","stream":STREAM,"max_tokens":99,"messages":[{"role":"user","content":"SCRIPT hi"}]}`},
			} {
				for _, stream := range []string{"false", "true"} {
					if name == "broken off" && stream == "false" {
						continue
					}
					req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, d.path, strings.NewReader(body(d.body, "x", stream, script)))
					req.Header.Set("X-Api-Key", key)
					w := httptest.NewRecorder()
					handler.ServeHTTP(w, req)
					answer := w.Body.String()
					if i := strings.LastIndex(answer, "error"); name == "broken off" {
						answer = answer[max(0, i-200):] // what came before names the model, as every answer does
						if at := strings.LastIndex(answer, "data: "); at > 0 {
							answer = answer[at:]
						}
					}
					check(name+" at "+d.path+", stream "+stream, key, answer)
				}
			}
			in := &routerv1.CompletionInput{Model: "x", Messages: []*routerv1.Message{{
				Role: routerv1.MessageRole_MESSAGE_ROLE_USER, Parts: []*routerv1.Part{{Content: &routerv1.Part_Text{Text: script.String() + " hi"}}},
			}}}
			client := typedAt(t, service, level)
			if name != "broken off" {
				_, err := client.Complete(t.Context(), &routerv1.CompleteRequest{Input: in})
				check(name+" typed", key, wholly(t, err))
			}
			stream, err := client.StreamCompletion(t.Context(), &routerv1.StreamCompletionRequest{Input: in})
			for err == nil {
				_, err = stream.Receive()
			}
			check(name+" typed and streamed", key, wholly(t, err))
		}
	}
}

// wholly is all that an error tells a client.
func wholly(t *testing.T, err error) string {
	t.Helper()
	ce, ok := errors.AsType[*connect.Error](err)
	if !ok {
		t.Fatalf("error = %v, want one of the service", err)
	}
	out := ce.Error()
	for _, d := range ce.Details() {
		msg, err := connectproto.UnmarshalErrorDetail(d)
		if err != nil {
			t.Fatal(err)
		}
		out += fmt.Sprint(" ", msg)
	}
	return out
}
