package transit_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/transit"
	"github.com/claviger/claviger/pkg/transit/transittest"
)

const canary = "sk-canary-5f1d0c7e9b3a4826"

func bound() transit.Context {
	return transit.Context{
		Environment: transittest.Environment, OrgID: "org_1", CredentialID: "cred_1", Revision: 1,
		Binding: transit.Bind("openai"),
	}
}

func connect(t *testing.T, opts transit.VaultOptions) *transit.Vault {
	t.Helper()
	v, err := transit.NewVault(t.Context(), opts)
	if err != nil {
		t.Fatalf("NewVault: %v", err)
	}
	t.Cleanup(v.Close)
	return v
}

// eventually polls until check is nil.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: still %v", what, err)
		}
	}
}

func sealOnce(t *testing.T, v *transit.Vault) error {
	t.Helper()
	_, err := v.Sealer().Seal(t.Context(), secret.New(canary), bound())
	return err
}

func TestVaultOptionsTellAllProblems(t *testing.T) {
	t.Parallel()
	_, err := transit.NewVault(t.Context(), transit.VaultOptions{Address: "http://vault.example:8200"})
	for _, want := range []string{"loopback only", "role_id and secret_id", "transit key"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewVault(bad options) = %v, want it to say %q", err, want)
		}
	}
	for _, address := range []string{"", "vault:8200", "ftp://127.0.0.1", "https://user:pass@vault", "https://vault?x=1", "unix:///tmp/x"} {
		opts := transit.VaultOptions{Address: address, Token: secret.New("t"), Key: "k"}
		if v, err := transit.NewVault(t.Context(), opts); err == nil {
			v.Close()
			t.Errorf("NewVault(address %q) worked", address)
		}
	}
}

func TestVaultReadyWhenLoggedIn(t *testing.T) {
	t.Parallel()
	v := transittest.Shared(t).Connect(t, transittest.Keys)
	if err := v.Ready(t.Context()); err != nil {
		t.Fatalf("Ready: %v", err)
	}
}

func TestVaultAwayAtStartIsUsedOnceItIsThere(t *testing.T) {
	t.Parallel()
	server := transittest.Shared(t)
	proxy := server.NewProxy(t)
	proxy.Refuse()
	opts := server.Options(t, transittest.Keys)
	opts.Address = proxy.Address
	begun := time.Now()
	v := connect(t, opts)
	if took := time.Since(begun); took > time.Second {
		t.Errorf("NewVault took %s, want it not to wait for Vault", took)
	}
	if err := v.Ready(t.Context()); !errors.Is(err, transit.ErrUnavailable) {
		t.Errorf("Ready = %v, want ErrUnavailable", err)
	}
	if err := sealOnce(t, v); !errors.Is(err, transit.ErrUnavailable) {
		t.Errorf("Seal = %v, want ErrUnavailable", err)
	}
	proxy.Pass()
	eventually(t, "Ready after Vault came", func() error { return v.Ready(t.Context()) })
	if err := sealOnce(t, v); err != nil {
		t.Errorf("Seal after Vault came: %v", err)
	}
}

func TestHangingVaultFailsWithinTheDeadline(t *testing.T) {
	t.Parallel()
	server := transittest.Shared(t)
	proxy := server.NewProxy(t)
	opts := server.Options(t, transittest.Keys)
	opts.Address = proxy.Address
	v := connect(t, opts)
	eventually(t, "Seal", func() error { return sealOnce(t, v) })
	proxy.Hang()
	begun := time.Now()
	err := sealOnce(t, v)
	if took := time.Since(begun); !errors.Is(err, transit.ErrUnavailable) || took > 4*time.Second {
		t.Errorf("Seal = %v after %s, want ErrUnavailable after 2s", err, took)
	}
	if err := v.Ready(t.Context()); !errors.Is(err, transit.ErrUnavailable) {
		t.Errorf("Ready = %v, want ErrUnavailable", err)
	}
	proxy.Pass()
	eventually(t, "Seal after the hang", func() error { return sealOnce(t, v) })
}

func TestCanceledCallerIsToldSo(t *testing.T) {
	t.Parallel()
	server := transittest.Shared(t)
	v := server.Connect(t, transittest.Keys)
	eventually(t, "Seal", func() error { return sealOnce(t, v) })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := v.Sealer().Seal(ctx, secret.New(canary), bound())
	if !errors.Is(err, context.Canceled) || errors.Is(err, transit.ErrUnavailable) {
		t.Errorf("Seal(canceled) = %v, want context.Canceled alone", err)
	}
}

func TestSealedVaultIsToldAndUsedAfterUnsealing(t *testing.T) {
	t.Parallel()
	server := transittest.Start(t)
	v := server.Connect(t, transittest.Keys)
	opener := server.Connect(t, transittest.Router).Opener()
	sealed, err := v.Sealer().Seal(t.Context(), secret.New(canary), bound())
	if err != nil {
		t.Fatal(err)
	}
	opts := server.Options(t, transittest.Keys)
	server.Seal(t)
	late := connect(t, opts) // cannot even log in
	for what, err := range map[string]error{
		"Ready": v.Ready(t.Context()), "Seal": sealOnce(t, v),
		"Ready without login": late.Ready(t.Context()), "Seal without login": sealOnce(t, late),
	} {
		if !errors.Is(err, transit.ErrSealed) {
			t.Errorf("%s = %v, want ErrSealed", what, err)
		}
	}
	for _, r := range transit.OpenBatch(t.Context(), opener, []transit.Item{{Sealed: sealed, Context: bound()}}) {
		if !errors.Is(r.Err, transit.ErrSealed) {
			t.Errorf("OpenBatch = %v, want ErrSealed", r.Err)
		}
	}
	server.Unseal(t)
	eventually(t, "Ready after unsealing", func() error { return errors.Join(v.Ready(t.Context()), late.Ready(t.Context())) })
	if got, err := opener.Open(t.Context(), sealed, bound()); err != nil || !got.Equal(secret.New(canary)) {
		t.Errorf("Open after unsealing: %v", err)
	}
}

// logged counts log messages and keeps everything that was logged.
type logged struct {
	slog.Handler
	mu    sync.Mutex
	text  *bytes.Buffer
	count map[string]int
}

func newLogged() *logged {
	text := &bytes.Buffer{}
	return &logged{Handler: slog.NewTextHandler(text, &slog.HandlerOptions{Level: slog.LevelDebug}), text: text, count: map[string]int{}}
}

func (l *logged) Handle(ctx context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count[r.Message]++
	return l.Handler.Handle(ctx, r)
}

func (l *logged) seen(message string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count[message]
}

func TestSessionOutlivesLeaseAndMaximumLifetime(t *testing.T) {
	t.Parallel()
	server := transittest.Shared(t)
	const role = "claviger-test-short"
	_, err := server.Root(t).Logical().WriteWithContext(t.Context(), "auth/approle/role/"+role, map[string]any{
		"token_policies": "claviger-test-keys-seal", "token_no_default_policy": true, "token_ttl": "3s", "token_max_ttl": "6s",
	})
	if err != nil {
		t.Fatal(err)
	}
	log := newLogged()
	opts := server.Options(t, role)
	opts.Log = slog.New(log)
	v := connect(t, opts)
	calls := 0
	eventually(t, "renewals and a new login", func() error {
		calls++
		if err := sealOnce(t, v); err != nil {
			t.Fatalf("Seal number %d: %v", calls, err)
		}
		if renewed, logins := log.seen("vault token renewed"), log.seen("vault login succeeded"); renewed < 1 || logins < 3 {
			return fmt.Errorf("%d renewals, %d logins, want 1 and 3", renewed, logins)
		}
		return nil
	})
	v.Close()
	if n := log.seen("vault refused the token"); n > 0 {
		t.Errorf("the token ran out %d times before it was replaced", n)
	}
	for _, bad := range []string{opts.SecretID.Reveal(), "hvs."} {
		if strings.Contains(log.text.String(), bad) {
			t.Errorf("the log holds %q", bad)
		}
	}
}

func TestRevokedTokenIsReplacedWithinTheCall(t *testing.T) {
	t.Parallel()
	server := transittest.Start(t)
	v := server.Connect(t, transittest.Keys)
	if err := sealOnce(t, v); err != nil {
		t.Fatal(err)
	}
	_, err := server.Root(t).Logical().WriteWithContext(t.Context(), "sys/leases/revoke-prefix/auth/approle/login", nil)
	if err != nil {
		t.Fatal(err)
	}
	var failed atomic.Int32
	var calls sync.WaitGroup
	for range 20 {
		calls.Go(func() {
			if err := sealOnce(t, v); err != nil {
				failed.Add(1)
				t.Errorf("Seal with a revoked token: %v", err)
			}
		})
	}
	calls.Wait()
}

func TestWrongLoginIsDenied(t *testing.T) {
	t.Parallel()
	opts := transittest.Shared(t).Options(t, transittest.Keys)
	opts.SecretID = secret.New("5f1d0c7e-canary-9b3a-4826-000000000000")
	v := connect(t, opts)
	err := v.Ready(t.Context())
	if !errors.Is(err, transit.ErrDenied) || strings.Contains(err.Error(), "canary") {
		t.Errorf("Ready with a wrong secret id = %v, want ErrDenied without it", err)
	}
	if again := sealOnce(t, v); !errors.Is(again, transit.ErrDenied) {
		t.Errorf("Seal with a wrong secret id = %v, want ErrDenied", again)
	}
}

func TestRotatedKeyOpensOldTextsUntilTheMinimumIsRaised(t *testing.T) {
	t.Parallel()
	server := transittest.Start(t)
	sealer, opener := server.Connect(t, transittest.Keys).Sealer(), server.Connect(t, transittest.Router).Opener()
	old, err := sealer.Seal(t.Context(), secret.New(canary), bound())
	if err != nil {
		t.Fatal(err)
	}
	job := server.TokenClient(t, transittest.Rotation)
	if _, err := job.Logical().WriteWithContext(t.Context(), "transit/keys/"+transittest.Key+"/rotate", nil); err != nil {
		t.Fatalf("rotate: %v", err)
	}
	rewrapper, ok := sealer.(transit.Rewrapper)
	if !ok {
		t.Fatalf("%T cannot rewrap", sealer)
	}
	again, err := rewrapper.Rewrap(t.Context(), old, bound())
	if err != nil || !strings.HasPrefix(again, "vault:v2:") {
		t.Fatalf("Rewrap = version 2: %t, %v", strings.HasPrefix(again, "vault:v2:"), err)
	}
	if _, err := opener.Open(t.Context(), old, bound()); err != nil {
		t.Errorf("Open(old) before the minimum is raised: %v", err)
	}
	_, err = job.Logical().WriteWithContext(t.Context(), "transit/keys/"+transittest.Key+"/config", map[string]any{"min_decryption_version": 2})
	if err != nil {
		t.Fatalf("raise the minimum: %v", err)
	}
	if _, err := opener.Open(t.Context(), old, bound()); !errors.Is(err, transit.ErrForeign) || !strings.Contains(err.Error(), "too old") {
		t.Errorf("Open(old) = %v, want ErrForeign that says too old", err)
	}
	if got, err := opener.Open(t.Context(), again, bound()); err != nil || !got.Equal(secret.New(canary)) {
		t.Errorf("Open(rewrapped): %v", err)
	}
}

func TestReadPepperReturnsTheDecodedBytes(t *testing.T) {
	t.Parallel()
	server := transittest.Shared(t)
	for _, role := range []transittest.Role{transittest.Keys, transittest.Router} {
		got, err := server.Connect(t, role).ReadPepper(t.Context(), transittest.PepperPath)
		if err != nil || got.Len() != 32 || !got.Equal(server.Pepper) {
			t.Errorf("ReadPepper as %s = %d bytes, %v", role, got.Len(), err)
		}
	}
	_, err := server.Connect(t, transittest.Metering).ReadPepper(t.Context(), transittest.PepperPath)
	if !errors.Is(err, transit.ErrDenied) {
		t.Errorf("ReadPepper as metering = %v, want ErrDenied", err)
	}
}

func TestWeakOrMissingPepperIsRefused(t *testing.T) {
	t.Parallel()
	server := transittest.Shared(t)
	root := connect(t, transit.VaultOptions{Address: server.Address, Token: secret.New(server.RootToken), Key: transittest.Key})
	for name, fields := range map[string]map[string]any{
		"short":      {"pepper": base64.StdEncoding.EncodeToString([]byte("thirty-one bytes are not enough"))},
		"not-base64": {"pepper": "?canary?canary?canary?canary?canary?canary?canary?"},
		"wrong-name": {"peper": "x"},
		"number":     {"pepper": 17},
	} {
		if _, err := server.Root(t).Logical().WriteWithContext(t.Context(), "secret/data/"+name, map[string]any{"data": fields}); err != nil {
			t.Fatal(err)
		}
		_, err := root.ReadPepper(t.Context(), "secret/data/"+name)
		if !errors.Is(err, transit.ErrPepper) || strings.Contains(err.Error(), "canary") {
			t.Errorf("ReadPepper(%s) = %v, want ErrPepper without it", name, err)
		}
	}
	if _, err := root.ReadPepper(t.Context(), "secret/data/nothing"); !errors.Is(err, transit.ErrPepper) {
		t.Errorf("ReadPepper(nothing there) = %v, want ErrPepper", err)
	}
}

func TestVaultIgnoresTheEnvironment(t *testing.T) {
	trapped := make(chan string, 100)
	trap := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { trapped <- r.Method }))
	defer trap.Close()
	headers := make(chan http.Header, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		headers <- r.Header
		_, _ = w.Write([]byte(`{"auth":{"client_token":"hvs.ours","lease_duration":0},"data":{"ciphertext":"vault:v1:AAAA"}}`))
	}))
	defer server.Close()
	for name, value := range map[string]string{
		"VAULT_ADDR": trap.URL, "VAULT_TOKEN": "hvs.elsewhere", "VAULT_NAMESPACE": "elsewhere", "VAULT_HEADERS": `{"X-Else":"elsewhere"}`,
		"VAULT_PROXY_ADDR": trap.URL, "VAULT_HTTP_PROXY": trap.URL, "HTTP_PROXY": trap.URL, "http_proxy": trap.URL,
		"HTTPS_PROXY": trap.URL, "ALL_PROXY": trap.URL, "VAULT_SKIP_VERIFY": "true", "VAULT_MAX_RETRIES": "9",
	} {
		t.Setenv(name, value)
	}
	opts := transit.VaultOptions{Address: server.URL, RoleID: "r", SecretID: secret.New("s"), Key: "k"}
	if err := sealOnce(t, connect(t, opts)); err != nil {
		t.Errorf("Seal: %v", err)
	}
	if len(trapped) > 0 {
		t.Errorf("%d calls went where the environment said", len(trapped))
	}
	if len(headers) != 2 {
		t.Errorf("%d calls, want a login and a seal", len(headers))
	}
	for len(headers) > 0 {
		for name, values := range <-headers {
			if strings.Contains(strings.Join(values, ""), "elsewhere") {
				t.Errorf("header %s is from the environment: %q", name, values)
			}
		}
	}
}

// TestAnswersOfABrokenVaultAreMapped uses a server that says what the real one cannot be made to say.
func TestAnswersOfABrokenVaultAreMapped(t *testing.T) {
	t.Parallel()
	leak := `{"data":{"batch_results":[{"plaintext":"` + base64.StdEncoding.EncodeToString([]byte(canary)) + `"}]},"errors":["` + canary + `"]}`
	for name, c := range map[string]struct {
		status int
		body   string
		want   error
	}{
		"rate limited":        {429, `{"errors":["request path quota"]}`, transit.ErrUnavailable},
		"internal":            {500, `{"errors":["1 error occurred:\n\t* internal error ` + canary + `\n\n"]}`, transit.ErrUnavailable},
		"gateway":             {502, canary, transit.ErrUnavailable},
		"sealed":              {503, `{"errors":["Vault is sealed"]}`, transit.ErrSealed},
		"away":                {503, `{"errors":[]}`, transit.ErrUnavailable},
		"no such mount":       {404, `{"errors":["no handler for route \"transit/decrypt/x\". route entry not found."]}`, transit.ErrDenied},
		"no such key":         {400, `{"errors":["encryption key not found"]}`, transit.ErrDenied},
		"bad request, leaky":  {400, leak, transit.ErrDenied},
		"moved":               {307, "", transit.ErrUnavailable},
		"not JSON":            {200, "<html>" + canary, transit.ErrUnavailable},
		"other fields":        {200, `{"data":{"canary":"` + canary + `"}}`, transit.ErrUnavailable},
		"plaintext no base64": {200, `{"data":{"plaintext":"?` + canary + `"}}`, transit.ErrUnavailable},
		"nothing":             {204, "", transit.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var elsewhere atomic.Bool
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/elsewhere") {
					elsewhere.Store(true)
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			}))
			t.Cleanup(server.Close)
			v := connect(t, transit.VaultOptions{Address: server.URL, Token: secret.New("hvs.x"), Key: "k"})
			got, err := v.Opener().Open(t.Context(), "vault:v1:AAAA", bound())
			if !errors.Is(err, c.want) || !got.Empty() {
				t.Errorf("Open = %d bytes, %v, want %v", got.Len(), err, c.want)
			}
			if strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "c2stY2FuYXJ5") {
				t.Errorf("Open = %v, which holds what the server said", err)
			}
			if elsewhere.Load() {
				t.Error("a redirect was followed")
			}
		})
	}
}

func TestBatchWithTooFewResultsFailsWhole(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"data":{"batch_results":[{"plaintext":"` + base64.StdEncoding.EncodeToString([]byte(canary)) + `"}]}}`))
	}))
	t.Cleanup(server.Close)
	v := connect(t, transit.VaultOptions{Address: server.URL, Token: secret.New("hvs.x"), Key: "k"})
	item := transit.Item{Sealed: "vault:v1:AAAA", Context: bound()}
	for i, r := range transit.OpenBatch(t.Context(), v.Opener(), []transit.Item{item, item}) {
		if !errors.Is(r.Err, transit.ErrUnavailable) || !r.Plaintext.Empty() || strings.Contains(r.Err.Error(), canary) {
			t.Errorf("result %d = %d bytes, %v, want ErrUnavailable", i, r.Plaintext.Len(), r.Err)
		}
	}
}

func TestVaultOverTLSNeedsTheAuthority(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Vault-Token") != "hvs.x" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = w.Write([]byte(`{"data":{"ciphertext":"vault:v1:AAAA"}}`))
	}))
	t.Cleanup(server.Close)
	opts := transit.VaultOptions{Address: server.URL, Token: secret.New("hvs.x"), Key: "k"}
	err := sealOnce(t, connect(t, opts))
	if !errors.Is(err, transit.ErrUnavailable) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("Seal without the authority = %v, want ErrUnavailable that tells of the certificate", err)
	}
	opts.CAFile = writeAuthority(t, server)
	if err := sealOnce(t, connect(t, opts)); err != nil {
		t.Errorf("Seal with the authority: %v", err)
	}
	opts.CAFile = os.DevNull
	if _, err := transit.NewVault(t.Context(), opts); err == nil {
		t.Error("NewVault with an empty authority file worked")
	}
}

func TestFaultsSayWhatToDo(t *testing.T) {
	t.Parallel()
	for _, err := range []*fault.Error{
		transit.ErrForeign, transit.ErrSealed, transit.ErrUnavailable, transit.ErrDenied, transit.ErrPepper, transit.ErrSize, transit.ErrContext,
	} {
		if err.Message() == "" || err.Reason() != strings.ToUpper(err.Reason()) {
			t.Errorf("%q, %q", err.Reason(), err.Message())
		}
	}
}
