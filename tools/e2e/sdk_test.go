package e2e_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	openaioption "github.com/openai/openai-go/v3/option"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/claviger/claviger/pkg/apikey"
	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	"github.com/claviger/claviger/proto/gen/claviger/metering/v1/meteringv1connect"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/tools/e2e/cluster"
	"github.com/claviger/claviger/tools/seed"
)

// sdkChecks is how many checks the script of the official SDK makes: fewer are no success.
const sdkChecks = 90

// edge is a town as callers of the router meet it: acme has a policy on the platform's Anthropic
// credential, rival has a policy that acme must not see.
type edge struct {
	*town
	client *http.Client
}

func startEdge(t *testing.T) *edge {
	t.Helper()
	w := &edge{town: startTown(t), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	t.Cleanup(w.client.CloseIdleConnections)
	w.plant(t, &seed.Document{
		Organization:        seed.Organization{Slug: "acme"},
		PlatformCredentials: []seed.Credential{{Provider: "anthropic", Label: "house", Secret: secret.New("sk-ant-platform-0123456789")}},
		Policies: []seed.Policy{
			{Name: "claude", Spec: seed.Rule(seed.Platform("anthropic/claude-haiku-4-5"))},
			{Name: "bare", Spec: seed.Rule(seed.Own("anthropic/claude-haiku-4-5"))},
		},
	})
	w.plant(t, &seed.Document{
		Organization: seed.Organization{Slug: "rival"},
		Policies:     []seed.Policy{{Name: "secret-plan", Spec: seed.Rule(seed.Own("openai/gpt-4o-mini"))}},
	})
	for _, key := range w.keys {
		w.await(t, key, "", http.StatusOK, "")
	}
	w.await(t, w.keys["acme"], "policy/claude", http.StatusOK, "")
	return w
}

func (w *edge) plant(t *testing.T, doc *seed.Document) {
	t.Helper()
	doc.Organization.Name = doc.Organization.Slug
	doc.Owner = seed.Owner{Email: ownerOf(doc.Organization.Slug).Email, Password: ownerOf(doc.Organization.Slug).Password}
	if err := w.Seed(t.Context(), doc, func(seed.Change) {}); err != nil {
		t.Fatal(err)
	}
}

// newcomer makes an organization with one OpenAI credential and returns its API key.
func (w *edge) newcomer(t *testing.T, slug, label, providerKey, baseURL string) string {
	t.Helper()
	w.plant(t, &seed.Document{
		Organization: seed.Organization{Slug: slug},
		Credentials:  []seed.Credential{{Provider: "openai", Label: label, Secret: secret.New(providerKey), BaseURL: baseURL}},
		APIKeys:      []seed.APIKey{{Name: "app", WriteTo: slug + ".key"}},
	})
	raw, err := os.ReadFile(filepath.Join(w.dir, slug+".key"))
	if err != nil {
		t.Fatal(err)
	}
	key := strings.TrimSpace(string(raw))
	w.await(t, key, "nobody/known", http.StatusNotFound, "model_not_found") // nothing is sent, but the key is known
	return key
}

// worn is an organization whose credential, "worn out", was good once and now fails every completion.
func (w *edge) worn(t *testing.T, slug string, failure llmtest.Failure) string {
	t.Helper()
	providerKey := "sk-" + slug + "-0123456789abcdef"
	key := w.newcomer(t, slug, "worn out", providerKey, w.provider.OpenAIURL())
	w.provider.Control("", providerKey, -1, llmtest.Script{Error: failure})
	return key
}

// newKey makes an API key of acme.
func (w *edge) newKey(t *testing.T, req *keysv1.CreateApiKeyRequest) (apiKeyID, key string) {
	t.Helper()
	req.IdempotencyKey = req.GetName()
	res, err := keysv1connect.NewApiKeyServiceClient(w.as(w.Transport(), w.tokens[owner])).CreateApiKey(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return res.GetApiKey().GetId(), res.GetSecret()
}

// revoked and expired are API keys of acme that served once.
func (w *edge) revoked(t *testing.T) string {
	t.Helper()
	keyID, key := w.newKey(t, &keysv1.CreateApiKeyRequest{Name: "revoked"})
	w.await(t, key, "openai/gpt-4o-mini", http.StatusOK, "")
	_, err := keysv1connect.NewApiKeyServiceClient(w.as(w.Transport(), w.tokens[owner])).RevokeApiKey(t.Context(), &keysv1.RevokeApiKeyRequest{Id: keyID, IdempotencyKey: "revoke"})
	if err != nil {
		t.Fatal(err)
	}
	w.await(t, key, "openai/gpt-4o-mini", http.StatusUnauthorized, "api_key_revoked")
	return key
}

func (w *edge) expired(t *testing.T) string {
	t.Helper()
	_, key := w.newKey(t, &keysv1.CreateApiKeyRequest{Name: "expired", ExpireTime: timestamppb.New(time.Now().Add(time.Second))})
	w.await(t, key, "openai/gpt-4o-mini", http.StatusUnauthorized, "api_key_expired")
	return key
}

func (w *edge) withoutPolicy(t *testing.T) string {
	t.Helper()
	_, key := w.newKey(t, &keysv1.CreateApiKeyRequest{Name: "without policy"})
	w.await(t, key, "openai/gpt-4o-mini", http.StatusOK, "")
	return key
}

// unknownKey is a key of the right form that nobody has.
func unknownKey() string {
	key, _ := apikey.Generate()
	return key.Reveal()
}

// await completes until the answer is of a status and code: changes reach the router a moment later.
func (w *edge) await(t *testing.T, key, model string, wantStatus int, wantCode string) {
	t.Helper()
	cluster.Eventually(t, 20*time.Second, "the configuration at the router", func() error {
		got := w.post(t, "/v1/chat/completions", key, chatBody(model, "hi"))
		if code := got.failure().Code; got.status != wantStatus || code != wantCode {
			return fmt.Errorf("%d %s, want %d %s", got.status, got.body, wantStatus, wantCode)
		}
		return nil
	})
}

func chatBody(model, prompt string) string {
	b, _ := json.Marshal(map[string]any{"model": model, "messages": []map[string]string{{"role": "user", "content": prompt}}}) //nolint:errchkjson // strings always encode
	return string(b)
}

// reply is what came over plain HTTP.
type reply struct {
	status int
	header http.Header
	body   string
}

// envelope is the error of OpenAI's dialect, with our members.
type envelope struct {
	Message, Type, Blame, Hint string
	Code, Param                string
	RequestID                  string `json:"request_id"`
	Details                    map[string]string
}

func (r reply) failure() envelope {
	var out struct{ Error envelope }
	_ = json.Unmarshal([]byte(r.body), &out) // no envelope is an empty one
	return out.Error
}

func (w *edge) post(t *testing.T, path, key, body string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.BaseURL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	return w.do(t, req)
}

func (w *edge) do(t *testing.T, req *http.Request) reply {
	t.Helper()
	res, err := w.client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL.Path, err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL.Path, err)
	}
	return reply{res.StatusCode, res.Header, string(body)}
}

// awaitOutcome waits for the usage of a session of acme's, and checks how it ended.
func (w *edge) awaitOutcome(t *testing.T, session string, want eventsv1.Outcome) {
	t.Helper()
	usage := meteringv1connect.NewUsageServiceClient(w.as(w.Transport(), w.tokens[owner]))
	now := time.Now()
	cluster.Eventually(t, 20*time.Second, "usage of session "+session, func() error {
		res, err := usage.ListRequests(t.Context(), &meteringv1.ListRequestsRequest{
			StartTime: timestamppb.New(now.Add(-time.Hour)), EndTime: timestamppb.New(now.Add(time.Hour)), PageSize: 500,
		})
		if err != nil {
			return err
		}
		for _, a := range res.GetAttempts() {
			if a.GetEvent().GetSession() == session {
				if got := a.GetEvent().GetOutcome(); got != want {
					t.Errorf("session %s: outcome %v, want %v", session, got, want)
				}
				if a.GetEvent().GetTokens() == nil {
					t.Errorf("session %s: no tokens", session)
				}
				return nil
			}
		}
		return errors.New("it is not there")
	})
}

func TestOfficialOpenAISDKWorksUnmodified(t *testing.T) {
	t.Parallel()
	folder := nodePackages(t, "sdk")
	w := startEdge(t)
	input, err := json.Marshal(map[string]string{
		"baseURL": w.BaseURL, "key": w.keys["acme"], "keyWithoutPolicy": w.withoutPolicy(t), "unknownKey": unknownKey(),
		"revokedKey": w.revoked(t), "expiredKey": w.expired(t),
		"wornKey": w.worn(t, "worn", llmtest.ErrAuth), "wornKeyStreaming": w.worn(t, "worn-too", llmtest.ErrAuth),
		"emptyKey": w.worn(t, "poor", llmtest.ErrQuota),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	script := exec.CommandContext(ctx, "node", "check.mjs")
	var complaints bytes.Buffer
	script.Dir, script.Stdin, script.Stderr = folder, bytes.NewReader(input), &complaints
	out, err := script.Output()
	if err != nil {
		t.Errorf("node check.mjs: %v\n%s", err, complaints.String())
	}
	names := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		var result struct {
			Check, Why string
			OK         bool
		}
		if err := json.Unmarshal([]byte(line), &result); err != nil {
			t.Fatalf("check.mjs printed %q", line)
		}
		if names[result.Check] {
			t.Errorf("two checks are called %q", result.Check)
		}
		names[result.Check] = true
		if !result.OK {
			t.Errorf("%s: %s", result.Check, result.Why)
		}
	}
	if len(names) != sdkChecks {
		t.Errorf("%d checks were made, want %d", len(names), sdkChecks)
	}
	for _, session := range []string{"abort-passed", "abort-converted", "abort-early-passed", "abort-early-converted"} {
		w.awaitOutcome(t, session, eventsv1.Outcome_OUTCOME_CANCELED)
	}
}

// nodePackages returns a folder with its Node packages in place, as its lock file says.
func nodePackages(t *testing.T, folder string) string {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		t.Fatal("node is missing: the official OpenAI SDK needs Node 20 or newer, see https://nodejs.org")
	}
	lock, err := os.Stat(filepath.Join(folder, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	installed, err := os.Stat(filepath.Join(folder, "node_modules", ".package-lock.json"))
	if err == nil && !installed.ModTime().Before(lock.ModTime()) {
		return folder
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	install.Dir = folder
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm ci in tools/e2e/%s: %v\n%s", folder, err, out)
	}
	return folder
}

func TestOfficialGoSDKWorksUnmodified(t *testing.T) {
	t.Parallel()
	w := startEdge(t)
	client := openai.NewClient(openaioption.WithBaseURL(w.BaseURL+"/v1"), openaioption.WithAPIKey(w.keys["acme"]), openaioption.WithMaxRetries(0))
	params := func(model, prompt string) openai.ChatCompletionNewParams {
		return openai.ChatCompletionNewParams{Model: model, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(prompt)}}
	}
	for _, model := range []string{"openai/gpt-4o-mini", "policy/claude"} {
		got, err := client.Chat.Completions.New(t.Context(), params(model, "script:text=good%20day,in=40,out=7"))
		if err != nil {
			t.Fatalf("%s: %v", model, err)
		}
		if got.Choices[0].Message.Content != "good day" || got.Choices[0].FinishReason != "stop" || got.Usage.TotalTokens != 47 {
			t.Errorf("%s: %s", model, got.RawJSON())
		}
		p := params(model, "script:text=one%20two,tool=look,args=%7B%22q%22%3A%22x%22%7D,calls=2,in=10,out=30")
		p.StreamOptions.IncludeUsage = openai.Bool(true)
		stream, acc := client.Chat.Completions.NewStreaming(t.Context(), p), openai.ChatCompletionAccumulator{}
		for stream.Next() {
			if !acc.AddChunk(stream.Current()) {
				t.Fatalf("%s: chunk does not fit: %s", model, stream.Current().RawJSON())
			}
		}
		if err := stream.Err(); err != nil || acc.Choices[0].Message.Content != "one two" || len(acc.Choices[0].Message.ToolCalls) != 2 || acc.Usage.TotalTokens != 40 {
			t.Errorf("%s: stream = %+v, usage %+v, %v", model, acc.Choices, acc.Usage, err)
		}
		broken := client.Chat.Completions.NewStreaming(t.Context(), params(model, "script:tokens=9,error=server,at=3"))
		for broken.Next() {
		}
		if err := broken.Err(); err == nil || !strings.Contains(err.Error(), "answer_broken_off") {
			t.Errorf("%s: a broken stream ended with %v", model, err)
		}
	}
	if got, err := client.Models.Get(t.Context(), "openai/gpt-4o-mini"); err != nil || got.ID != "openai/gpt-4o-mini" {
		t.Errorf("Models.Get = %v, %v", got, err)
	}
	for prompt, want := range map[string]struct {
		status int
		code   string
	}{
		"script:error=bad_request": {400, "invalid_value"}, "script:error=rate_limit": {429, "rate_limit_exceeded"},
		"script:error=server": {502, "provider_failed"}, "script:error=overloaded": {503, "provider_overloaded"},
	} {
		_, err := client.Chat.Completions.New(t.Context(), params("openai/"+want.code, prompt)) // its own model: failures are remembered
		api, ok := errors.AsType[*openai.Error](err)
		if !ok || api.StatusCode != want.status || api.Code != want.code {
			t.Errorf("%s: %v, want %+v", prompt, err, want)
		}
	}
}

// dial connects a stock grpc-go client to both listeners that speak gRPC.
func (w *edge) dial(t *testing.T) map[string]routerv1.CompletionServiceClient {
	t.Helper()
	out := map[string]routerv1.CompletionServiceClient{}
	for name, address := range w.grpcListeners() {
		cc, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cc.Close() })
		out[name] = routerv1.NewCompletionServiceClient(cc)
	}
	return out
}

func (w *edge) grpcListeners() map[string]string {
	return map[string]string{"grpc-go": w.GRPCAddress, "net/http": strings.TrimPrefix(w.BaseURL, "http://")}
}

func bearer(ctx context.Context, key string) context.Context {
	if key == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key)
}

func typed(model, prompt string) *routerv1.CompletionInput {
	return &routerv1.CompletionInput{Model: model, Messages: []*routerv1.Message{{
		Role: routerv1.MessageRole_MESSAGE_ROLE_USER, Parts: []*routerv1.Part{{Content: &routerv1.Part_Text{Text: prompt}}},
	}}}
}

// pieces reads a stream to its end, and checks the order of its events.
func pieces(stream grpc.ServerStreamingClient[routerv1.StreamCompletionResponse]) (text string, finished *routerv1.Finished, err error) {
	for n := 0; ; n++ {
		msg, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF) && finished == nil:
			return text, nil, errors.New("the stream ended well without a finished event")
		case errors.Is(err, io.EOF):
			return text, finished, nil
		case err != nil:
			return text, finished, err
		case finished != nil:
			return text, finished, errors.New("an event after finished")
		case (n == 0) != (msg.GetStarted() != nil):
			return text, finished, fmt.Errorf("event %d is %T", n, msg.GetEvent())
		}
		text += msg.GetText()
		finished = msg.GetFinished()
	}
}

func TestAStockGRPCClientWorksOnBothListeners(t *testing.T) {
	t.Parallel()
	w := startEdge(t)
	for name, client := range w.dial(t) {
		ctx := bearer(t.Context(), w.keys["acme"])
		for _, model := range []string{"openai/gpt-4o-mini", "policy/claude", ""} {
			var header metadata.MD
			res, err := client.Complete(ctx, &routerv1.CompleteRequest{Input: typed(model, "script:text=good%20day,in=40,out=7")}, grpc.Header(&header))
			if err != nil {
				t.Fatalf("%s: Complete(%q): %v", name, model, err)
			}
			tokens := res.GetUsage().GetTokens()
			if res.GetMessage().GetParts()[0].GetText() != "good day" || res.GetFinishReason() != routerv1.FinishReason_FINISH_REASON_STOP ||
				tokens.GetInputTotal() != 40 || tokens.GetOutputTotal() != 7 || res.GetUsage().GetSource() != eventsv1.UsageSource_USAGE_SOURCE_PROVIDER_FINAL {
				t.Errorf("%s: Complete(%q): finish %v, usage %v", name, model, res.GetFinishReason(), tokens)
			}
			if got := header.Get("x-request-id"); len(got) != 1 || got[0] != res.GetRequestId() {
				t.Errorf("%s: x-request-id = %v, in the answer %q", name, got, res.GetRequestId())
			}
			stream, err := client.StreamCompletion(ctx, &routerv1.StreamCompletionRequest{Input: typed(model, "script:text=one%20two%20three,in=10,out=5")})
			if err != nil {
				t.Fatal(err)
			}
			text, finished, err := pieces(stream)
			if err != nil || text != "one two three" || finished.GetUsage().GetTokens().GetOutputTotal() != 5 {
				t.Errorf("%s: StreamCompletion(%q) = %q, %v, %v", name, model, text, finished.GetUsage(), err)
			}
		}
		models, err := client.ListModels(ctx, &routerv1.ListModelsRequest{})
		if err != nil || !slices.ContainsFunc(models.GetModels(), func(m *routerv1.Model) bool { return m.GetId() == "policy/claude" }) {
			t.Errorf("%s: ListModels = %v, %v", name, models, err)
		}
		w.stockErrors(t, name, client)
		w.stockEnds(t, name, client)
	}
}

func (w *edge) stockErrors(t *testing.T, name string, client routerv1.CompletionServiceClient) {
	t.Helper()
	for _, c := range []struct {
		key, model, prompt string
		code               codes.Code
		reason             string
	}{
		{"", "openai/gpt-4o-mini", "hi", codes.Unauthenticated, "API_KEY_MISSING"},
		{unknownKey(), "openai/gpt-4o-mini", "hi", codes.Unauthenticated, "API_KEY_INVALID"},
		{w.keys["acme"], "gpt-4o-mini", "hi", codes.NotFound, "MODEL_NOT_FOUND"},
		{w.keys["acme"], "openai/gpt-4o-mini", "", codes.InvalidArgument, "INPUT_INVALID"},
		{w.keys["acme"], "openai/limited-", "script:error=rate_limit,retry=1500ms", codes.ResourceExhausted, "PROVIDER_RATE_LIMITED"},
		{w.keys["acme"], "openai/mistaken-", "script:error=bad_request", codes.InvalidArgument, "PROVIDER_REFUSED_REQUEST"},
		{w.keys["acme"], "openai/overloaded-", "script:error=overloaded", codes.Unavailable, "PROVIDER_OVERLOADED"},
	} {
		ask := func(method string) *routerv1.CompletionInput {
			model := c.model
			if strings.HasSuffix(model, "-") { // of its own: the router remembers failures of a credential by model
				model += strings.ToLower(strings.ReplaceAll(name, "/", "-") + "-" + method)
			}
			input := typed(model, c.prompt)
			if c.prompt == "" {
				input.Messages[0].Parts = nil
			}
			return input
		}
		_, err := client.Complete(bearer(t.Context(), c.key), &routerv1.CompleteRequest{Input: ask("Complete")})
		stream, streamErr := client.StreamCompletion(bearer(t.Context(), c.key), &routerv1.StreamCompletionRequest{Input: ask("StreamCompletion")})
		if streamErr == nil {
			_, _, streamErr = pieces(stream)
		}
		for method, err := range map[string]error{"Complete": err, "StreamCompletion": streamErr} {
			info, retry := detailsOf(err)
			if status.Code(err) != c.code || info.GetReason() != c.reason || info.GetDomain() != "claviger" || info.GetMetadata()["blame"] == "" {
				t.Errorf("%s: %s(%s): %v, info %v; want %v %s", name, method, c.prompt, err, info, c.code, c.reason)
			}
			// The router waits up to a tenth longer than it is asked to, and says how long it does.
			if wait := retry.GetRetryDelay().AsDuration(); c.reason == "PROVIDER_RATE_LIMITED" && (wait <= 1400*time.Millisecond || wait > 1650*time.Millisecond) {
				t.Errorf("%s: %s: retry after %v, want 1.5s", name, method, retry)
			}
		}
	}
}

func detailsOf(err error) (info *errdetails.ErrorInfo, retry *errdetails.RetryInfo) {
	for _, d := range status.Convert(err).Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			info = d
		case *errdetails.RetryInfo:
			retry = d
		}
	}
	return info, retry
}

// stockEnds checks how streams end that do not end well.
func (w *edge) stockEnds(t *testing.T, name string, client routerv1.CompletionServiceClient) {
	t.Helper()
	stream, err := client.StreamCompletion(bearer(t.Context(), w.keys["acme"]), &routerv1.StreamCompletionRequest{Input: typed("policy/claude", "script:tokens=9,cutat=3")})
	if err != nil {
		t.Fatal(err)
	}
	text, finished, err := pieces(stream)
	if info, _ := detailsOf(err); status.Code(err) != codes.Unavailable || info.GetReason() != "ANSWER_BROKEN_OFF" || text == "" || finished != nil {
		t.Errorf("%s: a cut stream = %q, %v, %v", name, text, finished, err)
	}
	ctx, cancel := context.WithCancel(bearer(t.Context(), w.keys["acme"]))
	defer cancel()
	input := typed("openai/gpt-4o-mini", "script:tokens=3000,delay=10ms")
	input.Session = "cancel-" + name
	if stream, err = client.StreamCompletion(ctx, &routerv1.StreamCompletionRequest{Input: input}); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if _, err := stream.Recv(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	cancel()
	if _, err := stream.Recv(); status.Code(err) != codes.Canceled {
		t.Errorf("%s: after cancel = %v", name, err)
	}
	w.awaitOutcome(t, input.GetSession(), eventsv1.Outcome_OUTCOME_CANCELED)

	ctx, cancel = context.WithTimeout(bearer(t.Context(), w.keys["acme"]), 200*time.Millisecond)
	defer cancel()
	input = typed("openai/gpt-4o-mini", "script:hang")
	input.Session = "deadline-" + name
	if _, err := client.Complete(ctx, &routerv1.CompleteRequest{Input: input}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("%s: after the deadline = %v", name, err)
	}
	w.awaitOutcome(t, input.GetSession(), eventsv1.Outcome_OUTCOME_CANCELED)
}

// grpcurlBinary is CLAVIGER_GRPCURL, or what `make tools` built.
func grpcurlBinary(t *testing.T) string {
	t.Helper()
	path := os.Getenv("CLAVIGER_GRPCURL")
	if path == "" {
		path = filepath.Join("..", "..", ".bin", "grpcurl")
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("grpcurl is missing (%v): run `make tools`", err)
	}
	return path
}

func TestGrpcurlWorksWithReflectionOnBothListeners(t *testing.T) {
	t.Parallel()
	binary := grpcurlBinary(t)
	w := startEdge(t)
	for name, address := range w.grpcListeners() {
		run := func(args ...string) string {
			out, err := exec.CommandContext(t.Context(), binary, append([]string{"-plaintext", "-max-time", "20"}, args...)...).CombinedOutput()
			if err != nil {
				return fmt.Sprintf("%v: %s", err, out)
			}
			return string(out)
		}
		expect := func(what, got string, want ...string) {
			for _, s := range want {
				if !strings.Contains(got, s) {
					t.Errorf("%s: %s does not hold %q: %s", name, what, s, got)
				}
			}
		}
		const service = "claviger.router.v1.CompletionService"
		listed := run(address, "list")
		expect("list", listed, service)
		if strings.Contains(listed, "ConfigService") {
			t.Errorf("%s: the internal service is listed: %s", name, listed)
		}
		expect("list of methods", run(address, "list", service), service+".Complete", service+".StreamCompletion", service+".ListModels")
		expect("describe", run(address, "describe", "claviger.router.v1.CompletionInput"), "message CompletionInput", "repeated .claviger.router.v1.Message messages = 2")
		authorization := "authorization: Bearer " + w.keys["acme"]
		input := `{"input": {"model": "openai/gpt-4o-mini", "messages": [{"role": "MESSAGE_ROLE_USER", "parts": [{"text": "script:text=good%20day,in=40"}]}]}}`
		expect("Complete", run("-H", authorization, "-d", input, address, service+"/Complete"), "good day", "FINISH_REASON_STOP", `"inputTotal": "40"`)
		expect("StreamCompletion", run("-H", authorization, "-d", input, address, service+"/StreamCompletion"), `"started"`, `"text": "good "`, `"text": "day"`, `"finished"`)
		expect("without a key", run("-d", input, address, service+"/Complete"), "Unauthenticated", "API_KEY_MISSING")
		expect("health", run("-d", `{"service": "`+service+`"}`, address, "grpc.health.v1.Health/Check"), "SERVING")
	}
}

// frame is the envelope of a message in Connect's and gRPC-Web's streams.
func frame(flags byte, message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(message))), message...)
}

// frames takes a body apart, into messages and what ends the stream.
func frames(t *testing.T, body string, endFlag byte) (messages [][]byte, end string) {
	t.Helper()
	for rest := []byte(body); len(rest) > 0; {
		if len(rest) < 5 || len(rest)-5 < int(binary.BigEndian.Uint32(rest[1:])) {
			t.Fatalf("the stream ends inside a frame: %q", rest)
		}
		n := 5 + int(binary.BigEndian.Uint32(rest[1:]))
		if rest[0]&endFlag != 0 {
			if n != len(rest) {
				t.Fatalf("something follows the end of the stream")
			}
			return messages, string(rest[5:n])
		}
		messages, rest = append(messages, rest[5:n]), rest[n:]
	}
	t.Fatal("the stream has no end")
	return nil, ""
}

// TestStreamsAreReadableWithoutAnyLibrary speaks Connect and gRPC-Web as a browser or curl would.
func TestStreamsAreReadableWithoutAnyLibrary(t *testing.T) {
	t.Parallel()
	w := startEdge(t)
	call := func(method, contentType string, body []byte) reply {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.BaseURL+"/claviger.router.v1.CompletionService/"+method, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", contentType)
		req.Header.Set("Authorization", "Bearer "+w.keys["acme"])
		return w.do(t, req)
	}
	asJSON := func(model, script string) []byte {
		return fmt.Appendf(nil, `{"input":{"model":%q,"messages":[{"role":"MESSAGE_ROLE_USER","parts":[{"text":%q}]}]}}`, model, script)
	}
	whole := call("Complete", "application/json", asJSON(direct, "script:text=good%20day"))
	if whole.status != http.StatusOK || !strings.Contains(whole.body, `"good day"`) {
		t.Errorf("Complete over Connect = %d %s", whole.status, whole.body)
	}
	refused := call("Complete", "application/json", asJSON("openai/limited", "script:error=rate_limit"))
	if refused.status != http.StatusTooManyRequests || !strings.Contains(refused.body, `"code":"resource_exhausted"`) || !strings.Contains(refused.body, "google.rpc.ErrorInfo") {
		t.Errorf("an error over Connect = %d %s", refused.status, refused.body)
	}
	for script, want := range map[string]struct{ text, end string }{
		"script:text=one%20two%20three": {"one two three", `{"metadata":{"X-Claviger-Class":["own"],"X-Claviger-Model":["openai/gpt-4o-mini"]}}`}, "script:tokens=9,cutat=3": {"", `"code":"unavailable"`},
	} {
		got := call("StreamCompletion", "application/connect+json", frame(0, asJSON(direct, script)))
		messages, end := frames(t, got.body, 2)
		text := ""
		for _, m := range messages {
			var event struct{ Text string }
			if err := json.Unmarshal(m, &event); err != nil {
				t.Fatalf("%s is no JSON: %v", m, err)
			}
			text += event.Text
		}
		if got.status != http.StatusOK || !strings.Contains(end, want.end) || (want.text != "" && text != want.text) {
			t.Errorf("Connect: %s = %d, %q, end %s", script, got.status, text, end)
		}
	}
	for script, want := range map[string]struct{ text, end string }{
		"script:text=one%20two%20three": {"one two three", "grpc-status: 0"}, "script:tokens=9,cutat=3": {"", "grpc-status: 14"},
	} {
		in, err := proto.Marshal(&routerv1.StreamCompletionRequest{Input: typed("policy/claude", script)})
		if err != nil {
			t.Fatal(err)
		}
		got := call("StreamCompletion", "application/grpc-web+proto", frame(0, in))
		messages, end := frames(t, got.body, 0x80)
		text := ""
		for _, m := range messages {
			var event routerv1.StreamCompletionResponse
			if err := proto.Unmarshal(m, &event); err != nil {
				t.Fatal(err)
			}
			text += event.GetText()
		}
		if got.status != http.StatusOK || !strings.Contains(strings.ToLower(end), want.end) || (want.text != "" && text != want.text) {
			t.Errorf("gRPC-Web: %s = %d, %q, end %q", script, got.status, text, end)
		}
	}
}
