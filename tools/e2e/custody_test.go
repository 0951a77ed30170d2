package e2e_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	_ "github.com/jackc/pgx/v5/stdlib" // the attacker's own way into the database

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/intercept"
	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	"github.com/claviger/claviger/tools/e2e/cluster"
	"github.com/claviger/claviger/tools/seed"
)

// TestNoSecretAndNoPromptIsWrittenAnywhere runs requests that succeed, fail, break and crash with
// canaries for the credential, the API key and the prompt, and then looks for them in every file that
// any part of the installation has written: logs, journals, snapshots, NATS, both databases.
func TestNoSecretAndNoPromptIsWrittenAnywhere(t *testing.T) {
	const canary = "sk-canaryCREDENTIAL-7f3a9b2c1d"
	const azureKey = "canaryAZURE-9d8c7b6a5f4e" // a secret inside a secret that is JSON
	const prompt = "canaryPROMPT-5e1f0c8d7a"
	const reply = "canaryREPLY-2b4d6f8a0c"
	w := newWorld(t, cluster.Options{})
	w.Provider.SetKeys("openai", ownKey, canary)
	login := seed.Login{Email: "owner@canary.example", Password: secret.New("canaryPASSWORD of the owner")}
	key := w.seed("canary", login, canary)
	cluster.Eventually(t, 20*time.Second, "the canary's first completion", func() error {
		_, err := w.complete(t.Context(), 0, call{key: key, prompt: prompt})
		return err
	})
	scripts := []string{
		"", "script:text=" + reply, "script:error=auth,echo", "script:error=bad_request,echo", "script:error=server,echo", "script:at=3,error=server,echo",
		"script:cutat=3", "script:nousage", "script:tokens=50,delay=1ms",
	}
	for _, script := range scripts {
		for _, stream := range []bool{false, true} {
			out, _ := w.complete(t.Context(), 0, call{key: key, stream: stream, script: script, prompt: prompt}) // failures are wanted here
			if strings.Contains(out.text, canary) || strings.Contains(out.text, key) {
				t.Errorf("script %q: the answer holds a secret: %.300s", script, out.text)
			}
		}
	}
	_, _ = w.complete(t.Context(), 0, call{key: key[:len(key)-1] + "x", prompt: prompt}) // a key with a typing error
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	_, _ = w.complete(ctx, 0, call{key: key, stream: true, script: "script:tokens=500,delay=5ms", prompt: prompt}) // a caller who leaves
	cancel()
	session := w.SignIn("canary", login)
	credentials := keysv1connect.NewCredentialServiceClient(session.Keys)
	listed, err := credentials.ListCredentials(t.Context(), &keysv1.ListCredentialsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := credentials.TestCredential(t.Context(), &keysv1.TestCredentialRequest{Id: listed.GetCredentials()[0].GetId()}); err != nil {
		t.Errorf("TestCredential = %v", err)
	}
	for label, list := range map[string]string{
		"ours":    `[{"model_slug":"openai/gpt-4o","endpoint_url":"` + w.Provider.URL + `/azure","api_key":"` + azureKey + `","model_id":"d"}]`,
		"inside":  `[{"model_slug":"openai/gpt-4o","endpoint_url":"https://169.254.169.254","api_key":"` + azureKey + `","model_id":"d"}]`,
		"unknown": `[{"model_slug":"openai/gpt-4o","` + azureKey + `":"` + azureKey + `","model_id":"` + azureKey + `"}]`,
		"broken":  `[{"api_key":"` + azureKey,
	} {
		made, err := credentials.CreateCredential(t.Context(), &keysv1.CreateCredentialRequest{Provider: "azure", Label: label, Secret: list, AcceptTerms: true, IdempotencyKey: label})
		if (err == nil) != (label == "ours") {
			t.Errorf("CreateCredential(%s) = %v", label, err)
		}
		if err != nil {
			if strings.Contains(err.Error(), azureKey) {
				t.Errorf("the refusal of %s quotes the secret: %v", label, err)
			}
			continue
		}
		if _, err := credentials.TestCredential(t.Context(), &keysv1.TestCredentialRequest{Id: made.GetCredential().GetId()}); err != nil {
			t.Errorf("TestCredential(%s) = %v", label, err)
		}
	}
	w.Routers[0].Kill()
	w.Routers[0].Start()
	w.attempts("canary", login)

	folders := []string{filepath.Dir(t.TempDir()), dataDirectory(t, w.KeysDB.URL()), dataDirectory(t, w.MeteringDB.URL())}
	for _, s := range append([]*cluster.Service{w.Keys, w.Metering}, w.Routers...) {
		s.Stop()
	}
	w.NATS.Stop()
	w.KeysDB.Stop() // flushes everything to disk
	w.MeteringDB.Stop()
	_, body, _ := strings.Cut(strings.TrimPrefix(key, "clv_live_"), "_")
	found, files, size := 0, 0, int64(0)
	for what, plain := range map[string]string{"credential": canary, "secret of Azure": azureKey, "API key": body, "prompt": prompt, "answer": reply, "password": login.Password.Reveal(), "access token": session.AccessToken.Reveal()} {
		for form, needle := range forms(plain) {
			for _, folder := range folders {
				n, total := search(t, folder, needle, func(path string) {
					found++
					t.Errorf("the %s (%s) stands in %s", what, form, path)
				})
				files, size = max(files, n), max(size, total)
			}
		}
	}
	t.Logf("looked through up to %d files and %d MiB a folder, found %d", files, size>>20, found)
	if files < 20 {
		t.Errorf("only %d files were looked through: the search looks in the wrong place", files)
	}
}

// forms are the ways in which a text may stand in a file.
func forms(plain string) map[string][]byte {
	return map[string][]byte{
		"plain": []byte(plain), "hex": []byte(hex.EncodeToString([]byte(plain))),
		// Base64 of the middle, whatever it begins with.
		"base64": []byte(base64.StdEncoding.EncodeToString([]byte(plain))[:len(plain)/3*4]),
	}
}

// search calls hit for each file below folder that holds needle.
func search(t *testing.T, folder string, needle []byte, hit func(path string)) (files int, size int64) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		files++
		size += int64(len(raw))
		if bytes.Contains(raw, needle) {
			hit(path)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("search %s: %v", folder, err)
	}
	return files, size
}

func open(t *testing.T, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func dataDirectory(t *testing.T, url string) string {
	t.Helper()
	var dir string
	if err := open(t, url).QueryRowContext(t.Context(), "SHOW data_directory").Scan(&dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestARowMovedToAnotherOrganizationDoesNotOpen is an attacker who can write the database of keys:
// the sealed secret of one organization is put into another's row. No call is made with it.
func TestARowMovedToAnotherOrganizationDoesNotOpen(t *testing.T) {
	const thiefKey = "sk-thief-0123456789abcdef"
	w := newWorld(t, cluster.Options{})
	w.Provider.SetKeys("openai", ownKey, thiefKey)
	thief := seed.Login{Email: "owner@thief.example", Password: secret.New("a password for the thief")}
	key := w.seed("thief", thief, thiefKey)
	before := len(w.Provider.Ledger())
	db := open(t, w.KeysDB.URL())
	moved, err := db.ExecContext(t.Context(), `
		UPDATE credential SET sealed = (
			SELECT c.sealed FROM credential c JOIN organization o ON o.id = c.org_id WHERE o.slug = 'acme')
		WHERE org_id = (SELECT id FROM organization WHERE slug = 'thief')`)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := moved.RowsAffected(); n != 1 || err != nil {
		t.Fatalf("moved %d rows, %v", n, err)
	}
	session := w.SignIn("thief", thief) // any change brings the row to the routers
	credentials := keysv1connect.NewCredentialServiceClient(session.Keys)
	listed, err := credentials.ListCredentials(t.Context(), &keysv1.ListCredentialsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	label := "renamed"
	c := listed.GetCredentials()[0]
	if _, err := credentials.UpdateCredential(t.Context(), &keysv1.UpdateCredentialRequest{Id: c.GetId(), Label: &label, Etag: c.GetEtag(), IdempotencyKey: "move"}); err != nil {
		t.Fatal(err)
	}
	cluster.Eventually(t, 20*time.Second, "the moved row refused by the router", func() error {
		_, err := w.complete(t.Context(), 0, call{key: key})
		refused, ok := errors.AsType[*httpError](err)
		if !ok || !strings.Contains(strings.ToLower(refused.body), "credential_not_opened") || !strings.Contains(refused.body, "renamed") {
			return fmt.Errorf("answer: %w", err)
		}
		return nil
	})
	victim := llmtest.HashKey(ownKey)
	for _, e := range w.Provider.Ledger()[before:] {
		if e.KeyHash == victim {
			t.Error("the thief's request reached the provider with the victim's key")
		}
	}
	if _, err := w.complete(t.Context(), 0, call{}); err != nil {
		t.Errorf("the victim's own request = %v", err)
	}
}

// TestASealedVaultIsAClearErrorForWhatNeedsItAndNothingElse seals the real Vault.
func TestASealedVaultIsAClearErrorForWhatNeedsItAndNothingElse(t *testing.T) {
	w := newWorld(t, cluster.Options{})
	session := w.SignIn("acme", w.owner)
	credentials := keysv1connect.NewCredentialServiceClient(session.Keys)
	create := func() error {
		_, err := credentials.CreateCredential(t.Context(), &keysv1.CreateCredentialRequest{
			Provider: "openai", Label: "second", Secret: "sk-second-0123456789", BaseUrl: w.Provider.OpenAIURL(), AcceptTerms: true, IdempotencyKey: "second",
		})
		return err
	}
	w.Vault.Seal(t)
	err := create()
	if f, ok := fault.Of(intercept.FromConnect(err)); connect.CodeOf(err) != connect.CodeUnavailable || !ok || f.Reason() != "VAULT_SEALED" {
		t.Errorf("CreateCredential with a sealed Vault = %v, want unavailable and VAULT_SEALED", err)
	}
	if _, err := credentials.ListCredentials(t.Context(), &keysv1.ListCredentialsRequest{}); err != nil {
		t.Errorf("ListCredentials = %v", err)
	}
	if _, err := keysv1connect.NewPolicyServiceClient(session.Keys).ListPolicies(t.Context(), &keysv1.ListPoliciesRequest{}); err != nil {
		t.Errorf("ListPolicies = %v", err)
	}
	w.SignIn("acme", w.owner)
	if _, err := w.complete(t.Context(), 0, call{stream: true}); err != nil {
		t.Errorf("a completion = %v", err)
	}
	if err := w.Keys.Ready(); err != nil {
		t.Errorf("keys is not ready: %v", err)
	}
	w.Routers[0].Stop() // a router that starts now cannot open anything, and says so
	w.Routers[0].Launch()
	cluster.Eventually(t, 20*time.Second, "the router's answer", func() error {
		_, err := w.complete(t.Context(), 0, call{})
		refused, ok := errors.AsType[*httpError](err)
		if !ok || refused.status != 503 || !strings.Contains(refused.body, "vault") {
			return fmt.Errorf("answer: %w", err)
		}
		return nil
	})
	w.Vault.Unseal(t)
	w.Routers[0].AwaitReady()
	cluster.Eventually(t, 30*time.Second, "service after unsealing", func() error {
		_, err := w.complete(t.Context(), 0, call{})
		return errors.Join(err, create())
	})
}
