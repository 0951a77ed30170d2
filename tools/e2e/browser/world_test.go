package browser_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"golang.org/x/sync/errgroup"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	optionsv1 "github.com/claviger/claviger/proto/gen/claviger/options/v1"
	"github.com/claviger/claviger/tools/e2e/cluster"
	"github.com/claviger/claviger/tools/seed"
	"github.com/claviger/claviger/tools/suite"
)

const (
	// providerKey is a key of OpenAI that the scripted provider takes.
	providerKey = "sk-browser-canary-0123456789abcdefwxyz"
	// Of keys and requests busy has more than a list shows at once; some are enough to look at.
	manyKeys     = 130
	manyRequests = 230
	some         = 24
	xss          = `<img src=x onerror="globalThis.__xss=1">`
)

// person can sign in.
type person struct {
	Organization string `json:"organization"`
	Email        string `json:"email"`
	Password     string `json:"password"`
}

// world is a suite with organizations in it: acme in daily use, busy with long lists, fresh before its
// first key, forms for keys of every form, desk whose rules and keys change, studio with pictures and videos, hostile with names that would like to be scripts.
type world struct {
	baseURL  string
	provider *llmtest.Server
	people   map[string]person // by organization and role: "acme owner"
	apiKeys  map[string]string // by organization
	install  seed.Installation
}

func start(t *testing.T) *world {
	t.Helper()
	w := &world{provider: llmtest.New(t), people: map[string]person{}, apiKeys: map[string]string{}}
	dir := t.TempDir()
	address := strings.TrimPrefix(w.provider.URL, "http://")
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), cluster.Binary(t), "dev", "--listen", "127.0.0.1:0", "--data", dir,
		"--provider-url", "openai="+w.provider.OpenAIURL(), "--provider-url", "anthropic="+w.provider.AnthropicURL(),
		"--provider-url", "bedrock="+w.provider.URL, "--provider-url", "vertex="+w.provider.URL,
		"--provider-url", "fal="+w.provider.FalURL(), "--provider-url", "pollo="+w.provider.PolloURL(), "--egress-allow", address,
		"--log-level", "warn")
	cluster.EndsWithParent(cmd)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	w.baseURL = run(t, cmd)
	password, err := os.ReadFile(filepath.Join(dir, "keys", "operator.password"))
	if err != nil {
		t.Fatal(err)
	}
	w.install = seed.Installation{
		Keys: connecthttp.NewTransport(http.DefaultClient, w.baseURL), Dir: dir, FingerprintKey: []byte("a fingerprint key for the tests only"),
		Operator: seed.Login{Email: suite.OperatorEmail, Password: secret.New(strings.TrimSpace(string(password)))},
	}
	var filling errgroup.Group
	for _, fill := range []func(*testing.T) error{w.fillAcme, w.fillBusy, w.fillFresh, w.fillForms, w.fillStudio, w.fillDesk, w.fillHostile} {
		filling.Go(func() error { return fill(t) })
	}
	if err := filling.Wait(); err != nil {
		t.Fatal(err)
	}
	return w
}

// listening is where the suite says that the admin is.
var listening = regexp.MustCompile(`http://127\.0\.0\.1:\d+`)

// run starts the suite, and returns its address once it is ready.
func run(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var reading sync.WaitGroup
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		reading.Wait()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the suite ended with %v", err)
		}
		if t.Failed() {
			t.Logf("the suite's log:\n%s", log.String())
		}
	})
	for lines.Scan() {
		if address := listening.FindString(lines.Text()); address != "" {
			reading.Go(func() {
				for lines.Scan() { // so that it never waits for a reader
				}
			})
			return address
		}
	}
	t.Fatalf("the suite did not say where it listens:\n%s", log.String())
	return ""
}

// found makes an organization with an owner.
func (w *world) found(t *testing.T, doc *seed.Document) (*connect.Client, error) {
	t.Helper()
	slug := doc.Organization.Slug
	owner := person{Organization: slug, Email: "owner@" + slug + ".example", Password: "a password for the owner"}
	w.know(owner, "owner")
	doc.Owner = seed.Owner{Email: owner.Email, Password: secret.New(owner.Password)}
	install := w.install
	install.Dir = filepath.Join(w.install.Dir, "seed-"+slug)
	if err := os.Mkdir(install.Dir, 0o700); err != nil {
		return nil, err
	}
	if err := seed.Apply(t.Context(), install, doc, func(seed.Change) {}); err != nil {
		return nil, fmt.Errorf("seed %s: %w", slug, err)
	}
	if len(doc.APIKeys) > 0 {
		key, err := os.ReadFile(filepath.Join(install.Dir, doc.APIKeys[0].WriteTo))
		if err != nil {
			return nil, err
		}
		mu.Lock()
		w.apiKeys[slug] = strings.TrimSpace(string(key))
		mu.Unlock()
	}
	session, err := keysv1connect.NewSessionServiceClient(connect.NewClient(w.install.Keys)).SignIn(t.Context(), &keysv1.SignInRequest{
		Organization: slug, Email: owner.Email, Password: owner.Password,
	})
	if err != nil {
		return nil, err
	}
	return connect.NewClient(w.install.Keys, seed.Bearer(secret.New(session.GetAccessToken()))), nil
}

// mu guards the maps of world while it is filled.
var mu sync.Mutex

func (w *world) know(p person, role string) {
	mu.Lock()
	defer mu.Unlock()
	w.people[p.Organization+" "+role] = p
}

func (w *world) fillFresh(t *testing.T) error {
	_, err := w.found(t, &seed.Document{Organization: seed.Organization{Slug: "fresh", Name: "Fresh"}})
	return err
}

// fillForms makes an organization that brings keys of every form.
func (w *world) fillForms(t *testing.T) error {
	_, err := w.found(t, &seed.Document{Organization: seed.Organization{Slug: "forms", Name: "Forms"}})
	return err
}

// fillAcme makes an organization in daily use.
func (w *world) fillAcme(t *testing.T) error {
	client, err := w.found(t, &seed.Document{
		Organization:        seed.Organization{Slug: "acme", Name: "Acme"},
		PlatformCredentials: []seed.Credential{{Provider: "anthropic", Label: "house", Secret: secret.New("sk-ant-platform-0123456789")}},
		Credentials: []seed.Credential{
			{Provider: "openai", Label: "Team key", Secret: secret.New("sk-acme-0123456789abcdef"), Priority: 1},
			{Provider: "anthropic", Label: "Research", Secret: secret.New("sk-ant-invalid-0123456789"), Priority: 1},
		},
		Policies: []seed.Policy{
			{Name: "main", Spec: seed.Rule(seed.Own("openai/gpt-4o-mini"), seed.Platform("anthropic/claude-haiku-4-5"))},
			{Name: "careful", Spec: seed.Rule(seed.Platform("anthropic/claude-haiku-4-5"))},
		},
		APIKeys: []seed.APIKey{{Name: "shop assistant", Policy: "main", WriteTo: "app.key"}},
	})
	if err != nil {
		return err
	}
	if err := w.staff(t, client, "acme"); err != nil {
		return err
	}
	credentials := keysv1connect.NewCredentialServiceClient(client)
	list, err := credentials.ListCredentials(t.Context(), &keysv1.ListCredentialsRequest{})
	if err != nil {
		return err
	}
	for _, c := range list.GetCredentials() {
		if _, err := credentials.TestCredential(t.Context(), &keysv1.TestCredentialRequest{Id: c.GetId()}); err != nil {
			return err
		}
	}
	if err := w.await(t, "acme"); err != nil {
		return err
	}
	for i := range some {
		body := completion{Model: "policy/main", Prompt: "script:tokens=12,in=40,out=12 hello", Tags: map[string]string{"team": []string{"search", "support"}[i%2]}}
		switch i % 8 {
		case 3:
			body.Prompt = "script:error=bad_request"
		case 5:
			body.Model = "policy/careful"
		case 7: // the first line fails, the second serves
			w.provider.Control("gpt-4o-mini", "sk-acme-0123456789abcdef", 1, llmtest.Script{Error: llmtest.ErrServer})
		}
		if _, err := w.complete(t.Context(), "acme", body); err != nil {
			return err
		}
	}
	return nil
}

// staff gives an organization a member of each role besides its owner.
func (w *world) staff(t *testing.T, client *connect.Client, slug string) error {
	members := keysv1connect.NewMemberServiceClient(client)
	for role, value := range map[string]optionsv1.Role{"admin": optionsv1.Role_ROLE_ADMIN, "member": optionsv1.Role_ROLE_MEMBER, "viewer": optionsv1.Role_ROLE_VIEWER} {
		p := person{Organization: slug, Email: role + "@" + slug + ".example", Password: "a password of the " + role}
		w.know(p, role)
		if _, err := members.CreateMember(t.Context(), &keysv1.CreateMemberRequest{Email: p.Email, Role: value, Password: p.Password, IdempotencyKey: role}); err != nil {
			return err
		}
	}
	return nil
}

// fillDesk makes an organization whose policies and credentials change while it works.
func (w *world) fillDesk(t *testing.T) error {
	client, err := w.found(t, &seed.Document{
		Organization: seed.Organization{Slug: "desk", Name: "Desk"},
		Credentials: []seed.Credential{
			{Provider: "openai", Label: "Team key", Secret: secret.New("sk-desk-0123456789abcdef"), Priority: 1},
			{Provider: "openai", Label: "Spare", Secret: secret.New("sk-desk-spare-0123456789"), Priority: 2},
		},
		Policies: []seed.Policy{{Name: "main", Spec: seed.Rule(seed.Own("openai/gpt-4o-mini"))}},
		APIKeys:  []seed.APIKey{{Name: "desk app", Policy: "main", WriteTo: "app.key"}},
	})
	if err != nil {
		return err
	}
	if err := w.staff(t, client, "desk"); err != nil {
		return err
	}
	return w.await(t, "desk")
}

// fillStudio makes an organization that makes pictures and videos, which are not billed by tokens.
func (w *world) fillStudio(t *testing.T) error {
	_, err := w.found(t, &seed.Document{
		Organization: seed.Organization{Slug: "studio", Name: "Studio"},
		Credentials: []seed.Credential{
			{Provider: "fal", Label: "Pictures", Secret: secret.New("id-studio:0123456789abcdef"), Priority: 1},
			{Provider: "pollo", Label: "Films", Secret: secret.New("pollo_studio_0123456789abcdef"), Priority: 1},
		},
		Policies: []seed.Policy{{Name: "main", Spec: seed.Rule(seed.Own("fal/fal-ai/flux/dev"), seed.Own("pollo/kling-ai/kling-v1-5"))}},
		APIKeys:  []seed.APIKey{{Name: "app", Policy: "main", WriteTo: "app.key"}},
	})
	if err != nil {
		return err
	}
	draw := map[string]any{"model": "fal/fal-ai/flux/dev", "prompt": "script:polls=1 a key", "n": 2, "size": "1024x1024"}
	cluster.Eventually(t, 30*time.Second, "two pictures", func() error {
		status, answer, err := w.call(t.Context(), "studio", http.MethodPost, "/v1/images/generations", draw, nil)
		if err == nil && status != http.StatusOK {
			return fmt.Errorf("status %d: %s", status, answer)
		}
		return err
	})
	film := map[string]any{"model": "pollo/kling-ai/kling-v1-5", "prompt": "script:polls=1 waves", "seconds": "10"}
	var job struct{ ID, Status string }
	ask := func(method, path string, body any) error {
		status, answer, err := w.call(t.Context(), "studio", method, path, body, nil)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("%s %s: status %d: %s", method, path, status, answer)
		}
		if err != nil {
			return err
		}
		return json.Unmarshal(answer, &job)
	}
	if err := ask(http.MethodPost, "/v1/videos", film); err != nil {
		return err
	}
	cluster.Eventually(t, 30*time.Second, "the end of a video", func() error {
		if err := ask(http.MethodGet, "/v1/videos/"+job.ID, nil); err != nil {
			return err
		}
		if job.Status != "completed" {
			return fmt.Errorf("it is %s", job.Status)
		}
		return nil
	})
	return nil
}

// fillBusy makes an organization with lists that are longer than a page.
func (w *world) fillBusy(t *testing.T) error {
	client, err := w.found(t, &seed.Document{
		Organization: seed.Organization{Slug: "busy", Name: "Busy"},
		Credentials:  []seed.Credential{{Provider: "openai", Label: "Team key", Secret: secret.New("sk-busy-0123456789abcdef"), Priority: 1}},
		Policies:     []seed.Policy{{Name: "main", Spec: seed.Rule(seed.Own("openai/gpt-4o-mini"))}},
		APIKeys:      []seed.APIKey{{Name: "app", Policy: "main", WriteTo: "app.key"}},
	})
	if err != nil {
		return err
	}
	apiKeys := keysv1connect.NewApiKeyServiceClient(client)
	for i := range manyKeys {
		name := fmt.Sprintf("service %03d", i)
		if _, err := apiKeys.CreateApiKey(t.Context(), &keysv1.CreateApiKeyRequest{Name: name, IdempotencyKey: name}); err != nil {
			return err
		}
	}
	if err := w.await(t, "busy"); err != nil {
		return err
	}
	var calls errgroup.Group
	calls.SetLimit(8)
	for i := range manyRequests {
		calls.Go(func() error {
			_, err := w.complete(t.Context(), "busy", completion{Model: "policy/main", Prompt: "hello", Tags: map[string]string{"run": fmt.Sprintf("%03d", i)}})
			return err
		})
	}
	return calls.Wait()
}

// fillHostile makes an organization in which every text that somebody may choose is a script.
func (w *world) fillHostile(t *testing.T) error {
	client, err := w.found(t, &seed.Document{
		Organization: seed.Organization{Slug: "hostile", Name: "Hostile " + xss},
		Credentials:  []seed.Credential{{Provider: "openai", Label: xss, Secret: secret.New("sk-hostile-0123456789abcdef"), Priority: 1}},
		Policies:     []seed.Policy{{Name: "main", Spec: seed.Rule(seed.Own("openai/gpt-4o-mini"))}},
		APIKeys:      []seed.APIKey{{Name: "javascript:globalThis.__xss=1//" + xss, Policy: "main", WriteTo: "app.key"}},
	})
	if err != nil {
		return err
	}
	apiKeys := keysv1connect.NewApiKeyServiceClient(client)
	for _, name := range []string{`{{constructor.constructor("globalThis.__xss=1")()}}`, "${globalThis.__xss=1}", `"><svg onload=globalThis.__xss=1>`, "$t(common.close)"} {
		if _, err := apiKeys.CreateApiKey(t.Context(), &keysv1.CreateApiKeyRequest{Name: name, IdempotencyKey: name[:8]}); err != nil {
			return err
		}
	}
	_, err = keysv1connect.NewMemberServiceClient(client).CreateMember(t.Context(), &keysv1.CreateMemberRequest{
		Email: `"<img/src=x/onerror=globalThis.__xss=1>"@hostile.example`, Role: optionsv1.Role_ROLE_VIEWER, Password: "a password of the viewer", IdempotencyKey: "viewer",
	})
	// The contract takes no such address, so there is nothing to show. Were it to change, the pages are checked.
	if err != nil && connect.CodeOf(err) != connect.CodeInvalidArgument {
		return err
	}
	if err := w.await(t, "hostile"); err != nil {
		return err
	}
	for _, body := range []completion{
		{Model: "openai/gpt-4o-mini", Prompt: "hello", Tags: map[string]string{xss: xss, "team": "javascript:globalThis.__xss=1"}, Session: xss, User: xss},
		{Model: "openai/" + xss, Prompt: "hello"},
		{Model: "openai/gpt-4o-mini", Prompt: "script:error=bad_request,message=%3Cimg%20src%3Dx%20onerror%3DglobalThis.__xss%3D1%3E"},
	} {
		if _, err := w.complete(t.Context(), "hostile", body); err != nil {
			return err
		}
	}
	return nil
}

// completion is one to ask for.
type completion struct {
	Model, Prompt, Session, User string
	Tags                         map[string]string
}

// await waits until routers know the API key of an organization.
func (w *world) await(t *testing.T, organization string) error {
	t.Helper()
	cluster.Eventually(t, 20*time.Second, "the API key at the router", func() error {
		status, err := w.complete(t.Context(), organization, completion{Model: "policy/main", Prompt: "hello"})
		if err == nil && status != http.StatusOK {
			return fmt.Errorf("status %d", status)
		}
		return err
	})
	return nil
}

// complete asks for a completion. A refusal is an answer, too.
func (w *world) complete(ctx context.Context, organization string, c completion) (status int, err error) {
	body := map[string]any{
		"model": c.Model, "stream": true, "messages": []map[string]string{{"role": "user", "content": c.Prompt}}, "metadata": c.Tags, "user": c.User,
	}
	header := map[string]string{}
	if c.Session != "" {
		header["X-Claviger-Session"] = c.Session
	}
	status, _, err = w.call(ctx, organization, http.MethodPost, "/v1/chat/completions", body, header)
	return status, err
}

// call asks a router with an organization's API key.
func (w *world) call(ctx context.Context, organization, method, path string, body any, header map[string]string) (status int, answer []byte, err error) {
	mu.Lock()
	key := w.apiKeys[organization]
	mu.Unlock()
	text, err := json.Marshal(body)
	if err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, w.baseURL+path, bytes.NewReader(text))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	for name, value := range header {
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err = io.ReadAll(res.Body)
	return res.StatusCode, answer, err
}
