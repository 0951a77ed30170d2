package seed_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectinprocess"
	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/egress"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/sqldb"
	"github.com/claviger/claviger/pkg/transit"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	"github.com/claviger/claviger/services/keys"
	"github.com/claviger/claviger/tools/seed"
)

// installation is a real control plane on SQLite with a local keyset, and a data folder to seed.
type installation struct {
	t  *testing.T
	in seed.Installation
}

func newInstallation(t *testing.T) *installation {
	t.Helper()
	dir := t.TempDir()
	db, err := sqldb.Open(t.Context(), "sqlite:"+filepath.Join(dir, "keys.db"), 0)
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	keyset, err := transit.OpenKeyset(filepath.Join(dir, "keyset"), true)
	must(t, err)
	guard, err := egress.New(egress.Options{Allow: []string{"127.0.0.1:9001", "127.0.0.1:9002"}})
	must(t, err)
	_, key, err := ed25519.GenerateKey(nil)
	must(t, err)
	pepper := secret.New(strings.Repeat("p", 32))
	app, err := keys.New(t.Context(), keys.Deps{
		DB: db, Sealer: keyset.Sealer(), Guard: guard, ConfigKey: key, TokenKey: key, Environment: "test",
		Pepper: func(context.Context) (secret.Text, error) { return pepper, nil },
		Log:    slog.New(slog.DiscardHandler), Now: time.Now,
	})
	must(t, err)
	operator := seed.Login{Email: "operator@example.com", Password: secret.New("operator password")}
	must(t, app.BootstrapOperator(t.Context(), operator.Email, operator.Password))
	return &installation{t: t, in: seed.Installation{
		Keys: connectinprocess.New(app.Public()), Operator: operator, Dir: dir, FingerprintKey: []byte("a key of sixteen bytes or more"),
	}}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// apply seeds text and returns one word and name per object.
func (i *installation) apply(text string) []string {
	i.t.Helper()
	lines, err := i.tryApply(text)
	must(i.t, err)
	return lines
}

func (i *installation) tryApply(text string) ([]string, error) {
	i.t.Helper()
	doc, _, err := seed.Parse("seed.yaml", []byte(text), lookup)
	must(i.t, err)
	var lines []string
	err = seed.Apply(i.t.Context(), i.in, doc, func(c seed.Change) {
		lines = append(lines, strings.Join(strings.Fields(c.String()), " "))
	})
	return lines, err
}

func (i *installation) read(name string) string {
	i.t.Helper()
	text, err := os.ReadFile(filepath.Join(i.in.Dir, name))
	must(i.t, err)
	return string(text)
}

func (i *installation) credential(label string) *keysv1.Credential {
	i.t.Helper()
	answer, err := keysv1connect.NewSessionServiceClient(connect.NewClient(i.in.Keys)).SignIn(i.t.Context(), &keysv1.SignInRequest{
		Organization: "acme", Email: "owner@acme.example", Password: "correct horse battery",
	})
	must(i.t, err)
	client := keysv1connect.NewCredentialServiceClient(connect.NewClient(i.in.Keys, seed.Bearer(secret.New(answer.GetAccessToken()))))
	list, err := client.ListCredentials(i.t.Context(), &keysv1.ListCredentialsRequest{})
	must(i.t, err)
	for _, c := range list.GetCredentials() {
		if c.GetLabel() == label {
			return c
		}
	}
	i.t.Fatalf("there is no credential %q", label)
	return nil
}

func TestSeedingTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	want := []string{
		"created organization acme (owner owner@acme.example)",
		"created platform credential anthropic/house",
		"created credential openai/main",
		"created policy main",
		"created API key app (written to app.key)",
	}
	if diff := cmp.Diff(want, i.apply(good)); diff != "" {
		t.Fatalf("first time (-want +got):\n%s", diff)
	}
	key := i.read("app.key")
	if !strings.HasPrefix(key, "clv_live_") || strings.Count(key, "\n") != 1 {
		t.Errorf("app.key holds no API key on a line of its own")
	}
	info, err := os.Stat(filepath.Join(i.in.Dir, "app.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("app.key has mode %v, %v, want 0600", info.Mode(), err)
	}
	revision := i.credential("main").GetRevision()

	want = []string{
		"unchanged organization acme",
		"unchanged platform credential anthropic/house",
		"unchanged credential openai/main",
		"unchanged policy main",
		"unchanged API key app",
	}
	if diff := cmp.Diff(want, i.apply(good)); diff != "" {
		t.Fatalf("second time (-want +got):\n%s", diff)
	}
	if i.read("app.key") != key {
		t.Error("the API key was replaced")
	}
	if got := i.credential("main").GetRevision(); got != revision {
		t.Errorf("revision = %d, want %d: an unchanged secret was rotated", got, revision)
	}
}

func TestOnlyWhatChangedInTheFileIsUpdated(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.apply(good)
	first := i.credential("main")
	for _, step := range []struct {
		name, from, to, want string
		rotated              bool
	}{
		{"priority", "priority: 1", "priority: 2", "updated credential openai/main (priority)", false},
		{"targets", "use: own}, {", "use: own}, {model: openai/gpt-4.1, use: own}, {", "updated policy main (version 2)", false},
		{"secret with the same end", "{env: UPSTREAM_KEY}", `{value: "sk-another-9abcdef"}`, "updated credential openai/main (secret)", true},
		{"endpoint", "127.0.0.1:9001", "127.0.0.1:9002", "updated credential openai/main (base_url, secret)", true},
	} {
		text := strings.Replace(good, step.from, step.to, 1)
		before := i.credential("main")
		lines := i.apply(text)
		var changed []string
		for _, line := range lines {
			if !strings.HasPrefix(line, "unchanged") {
				changed = append(changed, line)
			}
		}
		if diff := cmp.Diff([]string{step.want}, changed); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
		after := i.credential("main")
		if rotated := after.GetRevision() != before.GetRevision(); rotated != step.rotated {
			t.Errorf("%s: rotated = %v, want %v", step.name, rotated, step.rotated)
		}
		if after.GetState() == keysv1.CredentialState_CREDENTIAL_STATE_NO_SECRET || after.GetId() != first.GetId() {
			t.Errorf("%s: the credential has no secret or is another one", step.name)
		}
		for _, line := range i.apply(text) {
			if !strings.HasPrefix(line, "unchanged") {
				t.Errorf("%s, again: %s", step.name, line)
			}
		}
		i.apply(good)
	}
}

func TestALostStateFileRotatesOnlyWhatEndsOtherwise(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.apply(good)
	must(t, os.Remove(filepath.Join(i.in.Dir, "seed-state.json")))
	for _, line := range i.apply(good) {
		if !strings.HasPrefix(line, "unchanged") {
			t.Errorf("the same file: %s", line)
		}
	}
	must(t, os.Remove(filepath.Join(i.in.Dir, "seed-state.json")))
	lines := i.apply(strings.Replace(good, "{env: UPSTREAM_KEY}", `{value: "sk-another-one-012345"}`, 1))
	if want := "updated credential openai/main (secret)"; !strings.Contains(strings.Join(lines, "\n"), want) {
		t.Errorf("another secret: %q is not in %v", want, lines)
	}
}

func TestTheStateFileHoldsNoSecret(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.apply(good)
	state := i.read("seed-state.json")
	for _, plain := range []string{canary, "sk-ant-house", "horse", strings.TrimSpace(i.read("app.key"))} {
		if strings.Contains(state, plain) {
			t.Errorf("the state file holds %q", plain)
		}
	}
	info, err := os.Stat(filepath.Join(i.in.Dir, "seed-state.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the state file has mode %v, %v, want 0600", info.Mode(), err)
	}
}

func TestAnAPIKeyNeverReplacesAnotherFileOrLeavesTheFolder(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	if _, err := i.tryApply(strings.Replace(good, "write_to: app.key", "write_to: keyset", 1)); err == nil || !strings.Contains(err.Error(), "left alone") {
		t.Errorf("write_to an existing file = %v, want it left alone", err)
	}
	outside := t.TempDir()
	must(t, os.Symlink(outside, filepath.Join(i.in.Dir, "way-out")))
	if _, err := i.tryApply(strings.Replace(good, "write_to: app.key", "write_to: way-out/app.key", 1)); err == nil {
		t.Error("write_to through a symbolic link out of the folder succeeded")
	}
	if _, err := os.Stat(filepath.Join(outside, "app.key")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a key was written outside: %v", err)
	}
	// Nothing was made by the failures, so the right place works.
	if lines := i.apply(strings.Replace(good, "write_to: app.key", "write_to: keys/app.key", 1)); !strings.Contains(lines[4], "created API key app") {
		t.Errorf("after the failures: %v", lines)
	}
}

func TestAKeyWhoseFileIsGoneIsReportedAndNotReplaced(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.apply(good)
	must(t, os.Remove(filepath.Join(i.in.Dir, "app.key")))
	lines := i.apply(good)
	if !strings.Contains(lines[4], "unchanged API key app (app.key is gone") {
		t.Errorf("got %q", lines[4])
	}
}

func TestAWrongOwnerPasswordSaysSo(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.apply(good)
	_, err := i.tryApply(strings.Replace(good, "{env: OWNER_PASSWORD}", `{value: "another password"}`, 1))
	if err == nil || !strings.Contains(err.Error(), "sign in as owner of acme") {
		t.Errorf("Apply = %v", err)
	}
}

// TestObjectsThatNameEachOtherAreSeeded applies a file whose objects name each other in circles, and then
// changes of each kind of them.
func TestObjectsThatNameEachOtherAreSeeded(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	want := []string{
		"created organization acme (owner owner@acme.example)",
		"created group research",
		"created API key batch (written to batch.key)",
		"created credential openai/main",
		"created policy spare",
		"created policy main",
		"created API key app (written to app.key)",
		"updated approved models acme",
		"updated preferences acme",
	}
	if diff := cmp.Diff(want, i.apply(full)); diff != "" {
		t.Fatalf("first time (-want +got):\n%s", diff)
	}
	for _, line := range i.apply(full) {
		if !strings.HasPrefix(line, "unchanged") {
			t.Errorf("second time: %s", line)
		}
	}
	c := i.credential("main")
	if c.GetWeight() != 3 || len(c.GetScope().GetApiKeyIds()) != 1 || len(c.GetScope().GetGroupIds()) != 1 || c.GetExpireTime().AsTime().Year() != 2027 {
		t.Errorf("the credential is %v", c)
	}
	for from, step := range map[string]struct{ to, want string }{
		"enforce: true, approved_models":                                 {"enforce: false, approved_models", "updated group research"},
		"{model: policy/spare}":                                          {"{model: policy/spare}, {model: openai/gpt-4.1}", "updated policy main (version 2)"},
		"group: research, provenance: full, write_to":                    {"provenance: none, write_to", "updated API key app"},
		"policy: spare, enforce: true, write_to: batch":                  {"policy: main, write_to: batch", "updated API key batch"},
		`approved_models: ["openai/*", "anthropic/*"]` + "\npreferences": {`approved_models: ["*"]` + "\npreferences", "updated approved models acme"},
		"order: [openai, anthropic]":                                     {"order: [anthropic]", "updated preferences acme"},
		"weight: 3, expires: 2027-12-31, scope":                          {"weight: 2, scope", "updated credential openai/main (weight, expires)"},
	} {
		if !strings.Contains(full, from) {
			t.Fatalf("the file has no %q", from)
		}
		text := strings.Replace(full, from, step.to, 1)
		var changed []string
		for _, line := range i.apply(text) {
			if !strings.HasPrefix(line, "unchanged") {
				changed = append(changed, line)
			}
		}
		if diff := cmp.Diff([]string{step.want}, changed); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.to, diff)
		}
		for _, line := range i.apply(text) {
			if !strings.HasPrefix(line, "unchanged") {
				t.Errorf("%s, again: %s", step.to, line)
			}
		}
		i.apply(full)
	}
}
