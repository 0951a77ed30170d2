package cli_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	"github.com/claviger/claviger/tools/seed"
)

func TestWhatTheServerRefusesIsSaidInPlainWords(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.signedIn()
	p.run(newPassword, "member", "add", "viewer@acme.example", "--role", "viewer", "--password-stdin").ok()
	viewer := w.person()
	viewer.signIn("viewer@acme.example", newPassword)

	t.Run("wrong role", func(t *testing.T) {
		viewer.run(goodKey, "credential", "create", "--provider", "openai", "--label", "x", "--secret-stdin", "--accept-terms").
			exits(1).complains("this needs the role owner; yours is viewer", "whoami", "ROLE_NOT_ALLOWED", "request id req_").keepsSecrets()
		problem := viewer.run("", "policy", "create", "x", "--target", "openai/gpt-4o=own", "-o", "json").exits(1).problem()
		if problem.Code != "ROLE_NOT_ALLOWED" || problem.Hint == "" || !strings.HasPrefix(problem.RequestID, "req_") || problem.Blame != "caller" {
			t.Errorf("the JSON of the error is %+v", problem)
		}
	})
	t.Run("wrong password", func(t *testing.T) {
		stranger := w.person()
		stranger.run("no password SECRETMARK", "sign-in", "--address", w.address, "--organization", w.organization, "--email", "owner@acme.example", "--password-stdin").
			exits(1).complains("organization, address or password is wrong", "SIGN_IN_FAILED", "request id").keepsSecrets()
		if _, err := os.Stat(stranger.config); err == nil {
			t.Error("a failed sign-in left a file")
		}
	})
	t.Run("broken field rules", func(t *testing.T) {
		problem := p.run("", "policy", "create", "Not A Name", "--target", "openai/gpt-4o=own", "-o", "json").exits(1).problem()
		if problem.Code != "FIELDS_INVALID" || len(problem.Fields) != 1 || problem.Fields[0].Field != "name" {
			t.Errorf("the JSON of the error is %+v", problem)
		}
	})
	t.Run("no such thing", func(t *testing.T) {
		p.run("", "policy", "create", "main", "--target", "openai/gpt-4o=own").ok()
		p.run("", "policy", "get", "mian").exits(1).complains(`no policy "mian"`, `did you mean "main"?`)
		p.run("", "request", "get", "req_none").exits(1).complains("request not found")
		p.run("", "key", "create", "k", "--policy", "nothing-like-it").exits(1).complains("claviger policy list")
	})
	t.Run("a key that the provider refuses", func(t *testing.T) {
		p.run(badKey, "credential", "create", "--provider", "openai", "--label", "bad", "--secret-stdin", "--accept-terms").
			ok().complains("warning: openai refuses the key").says("rejected").keepsSecrets()
		p.run("", "credential", "test", "bad").exits(1).complains("openai refuses the key", "REJECTED")
	})
}

func TestAnEndedSessionIsToldFromAWrongAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.signedIn()
	token := readConfig(t, p.config).Contexts[0].SessionToken
	other := w.person() // the same session, elsewhere
	copyFile(t, p.config, other.config)
	other.run("", "sign-out").ok()
	problem := p.run("", "credential", "list", "-o", "json").exits(1).problem()
	if problem.Code != "SESSION_ENDED" || !strings.Contains(problem.Hint, "claviger sign-in") {
		t.Errorf("the error of an ended session is %+v", problem)
	}
	p.run("", "sign-out").ok() // twice is no mistake
	if text, err := os.ReadFile(p.config); err != nil || strings.Contains(string(text), token) {
		t.Errorf("the session token is still in the file after signing out (%v)", err)
	}

	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	stranger := w.person()
	stranger.run(password, "sign-in", "--address", closed.URL, "--organization", "acme", "--email", "owner@acme.example", "--password-stdin").
		exits(1).complains("cannot reach "+closed.URL, "connection refused")
	page := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "<html>hello") }))
	defer page.Close()
	stranger.run(password, "sign-in", "--address", page.URL, "--organization", "acme", "--email", "owner@acme.example", "--password-stdin").
		exits(1).complains("answers, but not as Claviger does")
	moved := httptest.NewServer(http.RedirectHandler("https://elsewhere.example/", http.StatusPermanentRedirect))
	defer moved.Close()
	stranger.run(password, "sign-in", "--address", moved.URL, "--organization", "acme", "--email", "owner@acme.example", "--password-stdin").
		exits(1).complains("not as Claviger does").keepsSecrets()
}

func TestAConflictSaysWhatChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.signedIn()
	p.run(goodKey, "credential", "create", "--provider", "openai", "--label", "main", "--secret-stdin", "--accept-terms", "--no-test").ok()
	p.run("", "policy", "create", "main", "--target", "openai/gpt-4o-mini=own").ok()
	owner := w.ownerSession()
	var once atomic.Bool
	_, address := w.between(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		ctx := context.WithoutCancel(r.Context())
		switch {
		case strings.HasSuffix(r.URL.Path, "/UpdateCredential") && once.CompareAndSwap(false, true):
			client := keysv1connect.NewCredentialServiceClient(owner)
			list, err := client.ListCredentials(ctx, &keysv1.ListCredentialsRequest{})
			if err != nil {
				t.Error(err)
				return false
			}
			label, priority := "taken", int32(9)
			_, err = client.UpdateCredential(ctx, &keysv1.UpdateCredentialRequest{
				Id: list.GetCredentials()[0].GetId(), Etag: list.GetCredentials()[0].GetEtag(), Label: &label, Priority: &priority, IdempotencyKey: rand.Text(),
			})
			if err != nil {
				t.Error(err)
			}
		case strings.HasSuffix(r.URL.Path, "/UpdatePolicy"):
			client := keysv1connect.NewPolicyServiceClient(owner)
			list, err := client.ListPolicies(ctx, &keysv1.ListPoliciesRequest{})
			if err != nil {
				t.Error(err)
				return false
			}
			_, err = client.UpdatePolicy(ctx, &keysv1.UpdatePolicyRequest{
				Id: list.GetPolicies()[0].GetId(), Etag: list.GetPolicies()[0].GetEtag(), IdempotencyKey: rand.Text(),
				Publish: true, Spec: seed.Rule(&keysv1.Target{Model: "openai/gpt-4o", Use: list.GetPolicies()[0].GetSpec().GetGroups()[0].GetTargets()[0].GetUse()}),
			})
			if err != nil {
				t.Error(err)
			}
		}
		return false
	})
	p.run(password, "sign-in", "--address", address, "--organization", w.organization, "--email", "owner@acme.example", "--password-stdin", "--context", "slow").ok()
	p.run("", "credential", "update", "main", "--label", "mine").exits(1).
		complains("changed by somebody else", "nothing was written", `label was "main", is "taken"`, "priority was 0, is 9", "ETAG_MISMATCH")
	p.run("", "credential", "get", "taken").ok()
	p.run("", "policy", "update", "main", "--target", "openai/o3=own").exits(1).
		complains("line 1 was openai/gpt-4o-mini=own, is openai/gpt-4o=own")
}

func TestCallsAreRepeatedWhileTheInstallationIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var creates, lists atomic.Int32
	_, address := w.between(func(rw http.ResponseWriter, r *http.Request, pass http.Handler) bool {
		switch {
		case strings.HasSuffix(r.URL.Path, "/CreateApiKey") && creates.Add(1) == 1: // done, and the answer lost
			pass.ServeHTTP(httptest.NewRecorder(), r)
			hangUp(t, rw)
			return true
		case strings.HasSuffix(r.URL.Path, "/CreatePolicy") && r.Header.Get("X-Seen") == "" && lists.Add(1) <= 2:
			pass.ServeHTTP(httptest.NewRecorder(), r)
			hangUp(t, rw)
			return true
		}
		return false
	})
	p := w.owner
	p.run(password, "sign-in", "--address", address, "--organization", w.organization, "--email", "owner@acme.example", "--password-stdin").ok()
	p.run("", "policy", "create", "main", "--target", "openai/gpt-4o=own").ok() // made by the first try, answered by the third
	if n := len(p.run("", "policy", "list", "-q").ok().out); n == 0 || strings.Count(p.run("", "policy", "list", "-q").out, "\n") != 1 {
		t.Error("the policy was not made exactly once")
	}
	created := p.run("", "key", "create", "app", "--policy", "main").ok()
	if !strings.HasPrefix(created.out, "clv_live_") {
		created.fail("no key")
	}
	all := p.run("", "key", "list", "--all", "-o", "json").ok().objects()
	alive := 0
	for _, k := range all {
		if k["revokeTime"] == nil {
			alive++
		}
	}
	if len(all) != 2 || alive != 1 {
		t.Errorf("there are %d keys, %d of them alive, want the lost one revoked and one alive", len(all), alive)
	}
}

// hangUp ends a connection without an answer.
func hangUp(t *testing.T, rw http.ResponseWriter) {
	t.Helper()
	conn, _, err := http.NewResponseController(rw).Hijack()
	if err != nil {
		t.Errorf("hijack: %v", err)
		return
	}
	_ = conn.Close()
}

func TestSecretsAreNotTakenFromTheCommandLine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.signedIn()
	for _, args := range [][]string{
		{"credential", "create", "--provider", "openai", "--label", "x", "--secret", goodKey, "--accept-terms"},
		{"credential", "create", "--provider", "openai", "--label", "x", "--secret=" + goodKey},
		{"credential", "create", "--provider", "openai", "--label", "x", goodKey},
		{"credential", "rotate", "main", goodKey},
		{"credential", "rotate", "main", "--secret=" + goodKey},
		{"sign-in", "--password", password},
		{"sign-in", "--password=" + password},
		{"sign-in", "--organization", "acme", password},
		{"member", "add", "a@acme.example", "--role", "member", "--password", password},
		{"credential", "stage", "main", goodKey},
		{"credential", "stage", "main", "--secret=" + goodKey},
		{"explain", "policy/main", "--key", "clv_live_SECRETMARK0123456789"},
		{"explain", "clv_live_SECRETMARK0123456789"},
	} {
		p.run("", args...).exits(2).complains("not taken from the command line", "replace it").keepsSecrets()
	}
	for _, args := range [][]string{
		{"key", "create", "app", "--secret=" + goodKey},
		{"key", "create", "app", goodKey},
		{"credential", "list", goodKey},
		{"credential", "create", "--provider", "openai", "--label", "x", "--secrt=" + goodKey},
	} {
		p.run("", args...).exits(2).keepsSecrets()
	}
	problem := p.run("", "credential", "rotate", "main", goodKey, "-o", "json").exits(2).keepsSecrets().problem()
	if problem.Code != "USAGE" {
		t.Errorf("the JSON of the error is %+v", problem)
	}
}

func TestSecretsComeFromStandardInputOrAFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.signedIn()
	create := []string{"credential", "create", "--provider", "openai", "--accept-terms", "--no-test", "--label"}
	p.run("", append(create, "a")...).exits(2).complains("nobody is there to ask", "--secret-stdin or --secret-file")
	p.run("\n", append(create, "a", "--secret-stdin")...).exits(2).complains("is empty")
	p.run(strings.Repeat("x", 70<<10), append(create, "a", "--secret-stdin")...).exits(2).complains("too long")
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(goodKey+"\r\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	p.run("", append(create, "b", "--secret-file", file)...).ok().complains("warning: others on this machine can read").keepsSecrets()
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := p.run("", append(create, "c", "--secret-file", file)...).ok().keepsSecrets(); strings.Contains(r.err, "warning") {
		r.fail("a private file is warned about")
	}
	p.run("", append(create, "d", "--secret-file", filepath.Join(t.TempDir(), "none"))...).exits(2).complains("no such file")
	p.run("", append(create, "e", "--secret-file", file, "--secret-stdin")...).exits(2)
	p.run(goodKey, "credential", "create", "--provider", "openai", "--label", "f", "--secret-stdin").exits(2).complains("terms are not accepted", "--accept-terms").keepsSecrets()
}

func TestWhatCannotBeUndoneNeedsAWord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ready()
	p := w.owner
	for _, args := range [][]string{
		{"credential", "delete", "main"},
		{"policy", "delete", "main"},
		{"key", "revoke", "app"},
		{"member", "remove", "owner@acme.example"},
		{"member", "disable", "owner@acme.example"},
		{"credential", "update", "main", "--base-url", "https://example.com/v1"},
	} {
		p.run("y\n", args...).exits(2).complains("nobody is there to ask", "--yes")
	}
	p.run("", "credential", "get", "main").ok()
	p.run("", "key", "create", "x", "--quiet").exits(2).complains("lose the key")
}

func TestTheKeyFileIsPrivateAndReplacesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.signedIn()
	dir := t.TempDir()
	file := filepath.Join(dir, "app.key")
	r := p.run("", "key", "create", "app", "--expires", "90d", "--write-to", file).ok().says("written to")
	text, err := os.ReadFile(file)
	if err != nil || !strings.HasPrefix(string(text), "clv_live_") {
		t.Fatalf("the file holds %d bytes, %v", len(text), err)
	}
	if strings.Contains(r.out+r.err, strings.TrimSpace(string(text))) {
		t.Error("the key was printed, too")
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode = %v, %v, want 0600", info.Mode(), err)
	}
	p.run("", "key", "create", "second", "--write-to", file).exits(2).complains("left alone")
	p.run("", "key", "create", "app", "--write-to", filepath.Join(dir, "other.key")).exits(1).complains("API_KEY_EXISTS")
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("a refused command left files: %v, %v", left, err)
	}
	p.run("", "key", "list").ok().says("expires in 90 days")
	if len(p.run("", "key", "list", "-o", "json").ok().objects()) != 1 {
		t.Error("a refused command made a key")
	}
}

func TestTheCommandLineIsCheckedBeforeAnythingHappens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.owner
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"credential", "list"}, 1, "you are not signed in"},
		{[]string{"credential", "list", "--context", "none"}, 2, `no context "none"`},
		{[]string{"credential", "lst"}, 2, "list"},
		{[]string{"credential", "update", "x"}, 2, "nothing to change"},
		{[]string{"sign-in", "--address", "http://claviger.example.com"}, 2, "use https"},
		{[]string{"sign-in", "--address", "ftp://x"}, 2, "the address must be one like"},
		{[]string{"sign-in", "--address", "https://user:pw@x"}, 2, "without user"},
		{[]string{"sign-in", "--organization", "acme"}, 2, "--email is missing"},
		{[]string{"usage", "--output", "xml"}, 2, "table"},
		{[]string{"member", "add", "a@acme.example", "--role", "boss"}, 2, "owner"},
	} {
		p.run("", c.args...).exits(c.code).complains(c.want)
	}
	if problem := p.run("", "credential", "lst", "--output=json").exits(2).problem(); problem.Code != "USAGE" {
		t.Errorf("the JSON of a mistake is %+v", problem)
	}
	w.signedIn()
	for _, args := range [][]string{
		{"usage", "--since", "yesterday"},
		{"usage", "--by", "colour"},
		{"usage", "--since", "1h", "--until", "2h"},
		{"request", "list", "--tag", "team"},
		{"tail", "--limit", "-1"},
	} {
		p.run("", args...).exits(2)
	}
}

func TestHelpShowsGroupsAndExamples(t *testing.T) {
	t.Parallel()
	w := &world{t: t}
	p := w.person()
	p.run("").ok().says("Sign in:", "Manage an organization:", "See what happens:", "credential", "tail", "completion")
	for _, args := range []string{
		"sign-in", "sign-out", "whoami", "change-password", "context list", "context use", "context remove",
		"credential list", "credential get", "credential create", "credential update", "credential rotate", "credential test", "credential delete",
		"credential stage", "credential share", "credential promote", "credential discard", "credential headroom",
		"policy list", "policy get", "policy create", "policy update", "policy delete", "policy check", "policy publish", "policy discard",
		"policy versions", "policy diff", "policy rollback", "group list", "group get", "group create", "group update", "group delete",
		"routing get", "routing update", "model list", "model approve", "model withdraw", "drill start", "drill list", "drill show", "drill stop", "explain",
		"key list", "key create", "key update", "key revoke",
		"member list", "member add", "member update", "member disable", "member enable", "member remove", "usage", "request list", "request get", "tail",
	} {
		p.run("", append(strings.Fields(args), "--help")...).ok().says("Examples:", "    claviger "+strings.Fields(args)[0])
	}
	for line := range strings.SplitSeq(p.run("", "credential", "--help").ok().out, "\n") {
		if len(line) > 110 {
			t.Errorf("a line of the help is %d characters long: %s", len(line), line)
		}
	}
	if r := p.run("", "credential", "create", "--help").ok(); strings.Contains(r.out, "--secret=") {
		r.fail("the flag that is refused is offered")
	}
}

func TestAnAccessTokenThatDiedEarlyIsRenewedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	detail, err := proto.Marshal(&errdetails.ErrorInfo{Reason: "TOKEN_EXPIRED", Domain: "claviger"})
	if err != nil {
		t.Fatal(err)
	}
	var expired, renewals atomic.Int32
	expired.Store(1)
	_, address := w.between(func(rw http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if strings.HasSuffix(r.URL.Path, "/RefreshSession") {
			renewals.Add(1)
		}
		if !strings.HasSuffix(r.URL.Path, "/GetSession") || expired.Add(-1) < 0 {
			return false
		}
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(rw, `{"code":"unauthenticated","message":"the access token has expired","details":[{"type":"google.rpc.ErrorInfo","value":%q}]}`,
			base64.RawStdEncoding.EncodeToString(detail))
		return true
	})
	p := w.owner
	p.run(password, "sign-in", "--address", address, "--organization", w.organization, "--email", "owner@acme.example", "--password-stdin").ok()
	p.run("", "whoami").ok()
	if got := renewals.Load(); got != 2 {
		t.Errorf("the access token was fetched %d times, want 2", got)
	}
	expired.Store(2)
	p.run("", "whoami").exits(1).complains("has ended", "sign in again")
}

func TestCompletingIsSilentAndQuickWhateverIsWrong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	silent, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0") // accepts, and never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	p := w.signedIn()
	p.run("", "__complete", "zsh", "claviger", "credential", "get", "").ok()
	text, err := os.ReadFile(p.config)
	if err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]string{
		"nobody answers":   strings.ReplaceAll(string(text), w.address, "http://"+silent.Addr().String()),
		"not signed in":    `{"version":1,"contexts":[]}`,
		"an ended session": strings.ReplaceAll(string(text), readConfig(t, p.config).Contexts[0].SessionToken, "clv_none"),
		"a broken file":    "{",
	} {
		if err := os.WriteFile(p.config, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, words := range [][]string{{"credential", "get", ""}, {"key", "revoke", ""}, {"policy", "get", "--context", "x", ""}, {"member", "remove", ""}} {
			begun := time.Now()
			r := p.run("", append([]string{"__complete", "zsh", "claviger"}, words...)...).ok()
			if r.out+r.err != "" || time.Since(begun) > 5*time.Second {
				r.fail("%s: completing took %s and printed something, or was slow", name, time.Since(begun))
			}
		}
	}
	for _, args := range [][]string{{}, {"bash"}, {"bash", "claviger"}, {"bash", "claviger 'x", " :="}, {"tcsh", "x"}, {"zsh", "claviger", "keys", ""}} {
		p.run("", append([]string{"__complete"}, args...)...).ok()
	}
}
