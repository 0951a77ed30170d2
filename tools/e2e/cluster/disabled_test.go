package cluster_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/claviger/claviger/pkg/secret"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	optionsv1 "github.com/claviger/claviger/proto/gen/claviger/options/v1"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/tools/e2e/cluster"
	"github.com/claviger/claviger/tools/seed"
)

// endless is a prompt whose answer takes minutes.
const endless = "script:tokens=60000,delay=10ms Hello"

// person is a member with API keys of their own.
type person struct {
	id    string
	login seed.Login
	keys  []secret.Text
	ids   []string // of the API keys
}

// newPerson adds a member who makes API keys.
func (p *pair) newPerson(t *testing.T, org *cluster.Organization, name string, keys int) *person {
	t.Helper()
	who := &person{login: seed.Login{Email: name + "@" + org.Slug + ".example", Password: secret.New(rand.Text())}}
	made, err := keysv1connect.NewMemberServiceClient(org.Session.Keys).CreateMember(t.Context(), &keysv1.CreateMemberRequest{
		Email: who.login.Email, Role: optionsv1.Role_ROLE_MEMBER, Password: who.login.Password.Reveal(), IdempotencyKey: rand.Text(),
	})
	must(t, err)
	who.id = made.GetMember().GetId()
	own := keysv1connect.NewApiKeyServiceClient(p.SignIn(org.Slug, who.login).Keys)
	for i := range keys {
		key, err := own.CreateApiKey(t.Context(), &keysv1.CreateApiKeyRequest{Name: fmt.Sprint(name, " ", i), IdempotencyKey: rand.Text()})
		must(t, err)
		who.keys, who.ids = append(who.keys, secret.New(key.GetSecret())), append(who.ids, key.GetApiKey().GetId())
	}
	for _, router := range p.Routers {
		for _, key := range who.keys {
			cluster.Eventually(t, 30*time.Second, router.Name+" answers "+name, func() error {
				if got := p.chat(t, router, key, "openai/gpt-4o-mini"); got.status != 200 {
					return errors.New(got.body)
				}
				return nil
			})
		}
	}
	return who
}

// running is an answer that a caller is being given.
type running struct {
	what, requestID string
	// rest gives all that comes until it ends, and how the transport says that it did.
	rest func() (string, error)
	// broken says whether what came ends with an error of its dialect, and looks nowhere like a whole answer.
	broken func(text string, err error) bool
}

// dialects are the streams over HTTP: where they are asked for, and what only a whole one holds.
var dialects = map[string]struct{ path, body, fails, whole string }{
	"chat":      {"/v1/chat/completions", `"messages":[{"role":"user","content":%q}]`, `data: {"error":{`, "[DONE]"},
	"messages":  {"/v1/messages", `"max_tokens":64000,"messages":[{"role":"user","content":%q}]`, "event: error\ndata: {\"type\":\"error\",\"error\":{", "message_stop"},
	"responses": {"/v1/responses", `"input":%q`, "event: error\ndata: {\"type\":\"error\",", "response.completed"},
}

// start begins an answer in each dialect at a router, and returns once each has content.
func (p *pair) start(t *testing.T, router *cluster.Service, key func(n int) secret.Text) (out []running) {
	t.Helper()
	for name, d := range dialects {
		res := p.begin(t, router, d.path, key(len(out)), `{"model":"openai/gpt-4o-mini","stream":true,`+fmt.Sprintf(d.body, endless)+`}`)
		if res.status != 200 { // which comes with the first content
			text, _ := io.ReadAll(res.body)
			t.Fatalf("%s at %s: %s", name, router.Name, text)
		}
		out = append(out, running{
			what: name + " at " + router.Name, requestID: res.header.Get("x-request-id"),
			rest: func() (string, error) { text, err := io.ReadAll(res.body); return string(text), err },
			broken: func(text string, err error) bool {
				last := text[strings.LastIndex(strings.TrimSuffix(text, "\n\n"), "\n\n")+2:]
				return err == nil && strings.HasPrefix(last, d.fails) && !strings.Contains(text, d.whole)
			},
		})
	}
	ctx, client := dial(t, router, key(len(out)))
	stream, err := client.StreamCompletion(ctx, &routerv1.StreamCompletionRequest{Input: saying("openai/gpt-4o-mini", endless)})
	must(t, err)
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	header, err := stream.Header()
	must(t, err)
	return append(out, running{
		what: "typed at " + router.Name, requestID: strings.Join(header.Get("x-request-id"), ""),
		rest: func() (string, error) {
			for {
				if _, err := stream.Recv(); err != nil {
					return err.Error(), err
				}
			}
		},
		broken: func(_ string, err error) bool { return status.Code(err) == codes.PermissionDenied },
	})
}

// whoIsDisabledIsRefused: all API keys of a member who is disabled are refused by every router that the receipt
// counts, running answers end with an error inside and are counted once, and other members notice nothing. Enabled,
// the keys serve again; removed, they never do. The same in short for one API key that is revoked.
func whoIsDisabledIsRefused(t *testing.T, p *pair, org *cluster.Organization) {
	members := keysv1connect.NewMemberServiceClient(org.Session.Keys)
	suspect, colleague := p.newPerson(t, org, "suspect", 2), p.newPerson(t, org, "colleague", 1)
	var cut []running
	var others []*listener
	for _, router := range p.Routers {
		cut = append(cut, p.start(t, router, func(n int) secret.Text { return suspect.keys[n%2] })...)
		res := p.begin(t, router, "/v1/chat/completions", colleague.keys[0], `{"model":"openai/gpt-4o-mini","stream":true,`+fmt.Sprintf(dialects["chat"].body, endless)+`}`)
		others = append(others, listen(res.body))
	}
	set := func(disabled bool) *keysv1.Receipt {
		t.Helper()
		now, err := members.GetMember(t.Context(), &keysv1.GetMemberRequest{Id: suspect.id})
		must(t, err)
		changed, err := members.UpdateMember(t.Context(), &keysv1.UpdateMemberRequest{
			Id: suspect.id, Disabled: &disabled, CutStreams: disabled, Etag: now.GetMember().GetEtag(), IdempotencyKey: rand.Text(),
		})
		must(t, err)
		confirmed(t, changed.GetReceipt(), 2)
		return changed.GetReceipt()
	}
	refused := func(who *person, code, says string) {
		t.Helper()
		for _, router := range p.Routers {
			for i, key := range who.keys {
				got := p.chat(t, router, key, "openai/gpt-4o-mini")
				if told, message := got.failure(); got.status != 401 || told != code || !strings.Contains(message, says) {
					t.Errorf("%s has confirmed and says %d %s to API key %d, want %s", router.Name, got.status, got.body, i, code)
				}
				if err := ask(t.Context(), router, key); status.Code(err) != codes.Unauthenticated {
					t.Errorf("%s has confirmed and says %v over gRPC", router.Name, err)
				}
			}
		}
	}
	serves := func(whose string, keys ...secret.Text) {
		t.Helper()
		for _, router := range p.Routers {
			for _, key := range keys {
				if got := p.chat(t, router, key, "openai/gpt-4o-mini"); got.status != 200 {
					t.Errorf("%s says %s to %s API key", router.Name, got.body, whose)
				}
			}
		}
	}

	if r := set(true); r.GetStreamsCut() != int32(len(cut)) || r.GetElapsed().AsDuration() <= 0 {
		t.Fatalf("the receipt tells of %d answers that were ended after %s, want %d and how long it took", r.GetStreamsCut(), r.GetElapsed().AsDuration(), len(cut))
	}
	refused(suspect, "api_key_suspended", "the member who owns the API key is disabled")
	serves("the colleague's", colleague.keys...)
	serves("the owner's", org.APIKey)
	for _, r := range cut {
		if text, err := r.rest(); !r.broken(text, err) || !strings.Contains(text, "the API key was switched off") {
			t.Errorf("%s ends with %q, %v, want an error of its dialect that says why", r.what, text[max(0, len(text)-300):], err)
		}
		if e := attempts(t, org, r.requestID, 1)[0]; e.GetOutcome() != eventsv1.Outcome_OUTCOME_BROKEN || e.GetTokens().GetOutputTotal() == 0 {
			t.Errorf("%s is counted as %v with %v, want a broken answer and what came of it", r.what, e.GetOutcome(), e.GetTokens())
		}
	}
	for i, other := range others {
		heard := other.bytes.Load()
		cluster.Eventually(t, 30*time.Second, "the colleague's answer at "+p.Routers[i].Name+" goes on", func() error {
			if n := other.bytes.Load(); n < heard+4<<10 {
				return fmt.Errorf("%d bytes came since", n-heard)
			}
			return nil
		})
		if text := other.text(); strings.Contains(text, `"error"`) {
			t.Errorf("the colleague's answer at %s has an error inside: %s", p.Routers[i].Name, text)
		}
	}

	set(false)
	serves("the suspect's", suspect.keys...)
	left, err := members.DeleteMember(t.Context(), &keysv1.DeleteMemberRequest{Id: suspect.id, IdempotencyKey: rand.Text()})
	must(t, err)
	confirmed(t, left.GetReceipt(), 2)
	refused(suspect, "api_key_revoked", "revoked")

	revoked, err := keysv1connect.NewApiKeyServiceClient(org.Session.Keys).RevokeApiKey(t.Context(), &keysv1.RevokeApiKeyRequest{
		Id: colleague.ids[0], CutStreams: true, IdempotencyKey: rand.Text(),
	})
	must(t, err)
	confirmed(t, revoked.GetReceipt(), 2)
	if n := revoked.GetReceipt().GetStreamsCut(); n != int32(len(others)) {
		t.Fatalf("the receipt tells of %d answers that were ended with one API key, want %d", n, len(others))
	}
	for i, other := range others {
		<-other.ended
		if text := other.text(); strings.Count(text, dialects["chat"].fails) != 1 || strings.Contains(text, dialects["chat"].whole) {
			t.Errorf("the answer to a revoked API key at %s ends with %q", p.Routers[i].Name, text[max(0, len(text)-300):])
		}
	}
	refused(colleague, "api_key_revoked", "revoked")
	serves("the owner's", org.APIKey)
}

// listener reads an answer as it comes.
type listener struct {
	bytes atomic.Int64
	ended chan struct{} // closed when nothing comes any more
	mu    sync.Mutex
	heard bytes.Buffer
}

// listen reads until the answer ends, or its body is closed.
func listen(answer io.Reader) *listener {
	l := &listener{ended: make(chan struct{})}
	go func() {
		defer close(l.ended)
		_, _ = io.Copy(l, answer)
	}()
	return l
}

func (l *listener) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes.Add(int64(len(p)))
	return l.heard.Write(p)
}

func (l *listener) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heard.String()
}
