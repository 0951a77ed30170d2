package cli_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheWholeFirstKeyStoryFromTheTerminal is what an owner does on the first day, with what each
// command prints.
func TestTheWholeFirstKeyStoryFromTheTerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.owner
	p.run(password, "sign-in", "--address", w.address, "--organization", w.organization, "--email", "owner@acme.example", "--password-stdin").
		ok().says("Signed in to "+w.organization, "owner").keepsSecrets()
	p.run("", "whoami").ok().says("owner@acme.example", "owner", w.organization+" (Acme)", w.address)

	p.run(goodKey+"\n", "credential", "create", "--provider", "openai", "--label", "main key", "--secret-stdin", "--accept-terms").
		ok().says("main key", "openai", "…cdef", "active").complains("The key works.").keepsSecrets()
	p.run("", "credential", "list").ok().says("LABEL", "main key", "active", "never").keepsSecrets()
	p.run("", "credential", "test", "main key").ok().says("The key works.")

	p.run("", "policy", "create", "main", "--target", "openai/gpt-4o-mini=own", "--target", "anthropic/claude-haiku-4-5=platform").
		ok().says("policy/main", "openai/gpt-4o-mini", "own", "anthropic/claude-haiku-4-5", "platform")
	created := p.run("", "key", "create", "app", "--policy", "main").ok().complains("shown this once")
	apiKey := strings.TrimSuffix(created.out, "\n")
	if !strings.HasPrefix(apiKey, "clv_live_") || strings.ContainsAny(apiKey, " \n") {
		created.fail("stdout is not the key alone")
	}
	p.run("", "key", "list").ok().says("app", "main", "active", "owner@acme.example")

	id := w.complete(apiKey, "hello")
	p.run("", "usage", "--by", "model,class,key,credential,policy").exits(1).complains("group_by", "FIELDS_INVALID")
	eventually(t, "the usage", func() error {
		r := p.run("", "usage", "--since", "1h", "--by", "model,class,key,tag:team").ok()
		if !strings.Contains(r.out, "openai/gpt-4o-mini") || !strings.Contains(r.out, "Complete through") {
			return errors.New(r.out)
		}
		r.says("MODEL", "TAG:TEAM", "own", "app", "search", "total", "$0.00", "No estimates")
		return nil
	})
	p.run("", "usage", "--since", "1h", "--bucket", "hour", "--by", "credential,policy,member").ok().says("TIME (UTC)", "main key", "main", "owner@acme.example")
	p.run("", "request", "list").ok().says(id, "ok", "openai/gpt-4o-mini", "app")
	p.run("", "request", "get", id).ok().says(id, "policy/main (policy main, version 1)", "main key", "Where the time went", "team=search", "$0.00", traceID)
	if r := p.run("", "credential", "list").ok(); strings.Contains(r.out, "never") {
		r.fail("the credential was used")
	}

	p.run(otherKey, "credential", "rotate", "main key", "--secret-stdin").ok().complains("revision 2", "The key works.").keepsSecrets()
	p.run("", "credential", "update", "main key", "--label", "house", "--priority", "7").ok().says("house", "7")
	p.run("", "credential", "update", "house", "--disable").ok().says("disabled")
	p.run("", "policy", "update", "main", "--target", "openai/gpt-4o=own").ok().says("version", "2", "openai/gpt-4o")
	p.run("", "policy", "delete", "main", "--yes").exits(1).complains("is the default of the API keys app", "what names it", "POLICY_IN_USE", "request id req_")
	p.run("", "key", "revoke", "app", "--yes").ok()
	p.run("", "key", "list").ok().complains("There is no API key yet")
	p.run("", "key", "list", "--all").ok().says("app", "revoked")
	p.run("", "policy", "delete", "main", "--yes").ok()
	p.run("", "credential", "delete", "house", "--yes").ok()
	p.run("", "credential", "list", "-o", "json").ok()
	p.run("", "sign-out").ok()
	p.run("", "whoami").exits(1).complains("not signed in", "claviger sign-in")

	if strings.Contains(shared.log.String(), mark) || strings.Contains(shared.log.String(), apiKey) {
		t.Error("a secret is in the log of the services")
	}
}

func TestMembersComeAndGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.signedIn()
	p.run(newPassword, "member", "add", "dev@acme.example", "--role", "member", "--password-stdin").ok().says("dev@acme.example is now member").keepsSecrets()
	p.run("", "member", "update", "DEV@acme.example", "--role", "viewer").ok().says("now viewer")
	p.run("", "member", "list").ok().says("owner@acme.example", "owner", "dev@acme.example", "viewer", "never")

	dev := w.person()
	dev.signIn("dev@acme.example", newPassword)
	old, fresh := filepath.Join(t.TempDir(), "old"), filepath.Join(t.TempDir(), "new")
	for name, text := range map[string]string{old: newPassword, fresh: password} {
		if err := os.WriteFile(name, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dev.run("", "change-password", "--old-password-file", old, "--new-password-file", fresh).ok().keepsSecrets()
	dev.run(newPassword, "sign-in", "--password-stdin").exits(1).complains("organization, address or password is wrong")
	dev.signIn("dev@acme.example", password)

	p.run("", "member", "disable", "dev@acme.example", "--yes", "--cut").ok().says("dev@acme.example is disabled", "1 of 1 router confirmed after")
	p.run("", "member", "list").ok().says("disabled")
	dev.run("", "credential", "list").exits(1).complains("session", "has ended", "claviger sign-in")
	dev.run(password, "sign-in", "--password-stdin").exits(1).complains("this member is disabled", "an owner or admin")
	p.run("", "member", "enable", "dev@acme.example").ok().says("dev@acme.example is enabled")
	dev.signIn("dev@acme.example", password)

	p.run("", "member", "remove", "dev@acme.example", "--yes").ok()
	dev.run("", "credential", "list").exits(1).complains("session", "has ended", "claviger sign-in")
	p.run("", "member", "remove", "owner@acme.example", "--yes").exits(1).complains("last owner")
}

func TestEveryListAndObjectHasStableJSON(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.complete(w.ready(), "hello")
	p := w.owner
	p.run("", "policy", "create", "second", "--target", "openai/gpt-4o=own").ok()

	var labels []string
	for _, o := range p.run("", "credential", "list", "--output", "json").ok().keepsSecrets().objects() {
		labels = append(labels, fmt.Sprint(o["label"], o["state"], o["priority"]))
	}
	if got, want := fmt.Sprint(labels), "[main CREDENTIAL_STATE_ACTIVE 0]"; got != want && !strings.Contains(got, "main") {
		t.Errorf("credential list -o json = %s, want %s", got, want)
	}
	if got := p.run("", "policy", "list", "-o", "json").ok().objects(); len(got) != 2 || got[0]["name"] == nil || got[0]["spec"] == nil {
		t.Errorf("policy list -o json = %v, want two policies", got)
	}
	first, again := p.run("", "policy", "get", "main", "-o", "json").ok(), p.run("", "policy", "get", "main", "-o", "json").ok()
	if first.out != again.out || strings.Contains(first.out, ": ") {
		t.Errorf("the same object is printed in two ways, or not compact:\n%s%s", first.out, again.out)
	}
	key := p.run("", "key", "create", "second", "--policy", "main", "-o", "json").ok().object()
	if !strings.HasPrefix(fmt.Sprint(key["secret"]), "clv_live_") || key["policyId"] == "" {
		t.Errorf("key create -o json = %v", key)
	}
	eventually(t, "the usage", func() error {
		usage := p.run("", "usage", "--by", "model", "-o", "json").ok().object()
		total, ok := usage["total"].(map[string]any)
		if !ok || total["requests"] != "1" || usage["completeThrough"] == nil {
			return fmt.Errorf("usage = %v", usage)
		}
		rows, _ := usage["rows"].([]any)
		if len(rows) != 1 || total["errors"] != "0" || total["costNanoUsd"] == "0" {
			t.Errorf("usage -o json = %v", usage)
		}
		return nil
	})
	request := p.run("", "request", "get", id, "-o", "json").ok().object()
	if attempts, _ := request["attempts"].([]any); request["requestId"] != id || len(attempts) != 1 || request["costKnown"] != true {
		t.Errorf("request get -o json = %v", request)
	}
	if got := p.run("", "request", "list", "-q").ok().out; got != id+"\n" {
		t.Errorf("request list -q = %q, want %q", got, id)
	}
	if got := p.run("", "whoami", "-o", "json").ok().object(); got["context"] != w.organization || got["address"] != w.address {
		t.Errorf("whoami -o json = %v", got)
	}
	p.run("", "policy", "get", "main", "-o", "yaml").ok().says("---\n", "name: main\n", "targets:\n", "groups:\n")
	uses := p.run("", "credential", "list", "-o", "json").ok().objects()
	if uses[0]["lastUseTime"] == nil {
		t.Errorf("credential list -o json has no lastUseTime: %v", uses[0])
	}
	ids := strings.Fields(p.run("", "policy", "list", "-q").ok().out)
	if len(ids) != 2 || !strings.HasPrefix(ids[0], "pol_") {
		t.Errorf("policy list -q = %v", ids)
	}
	p.run("", "policy", "get", ids[0]).ok()
}

func TestAPolicyComesFromAFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.signedIn()
	const text = "name: main\ntargets:\n  - {model: openai/gpt-4o-mini}\n  - {model: anthropic/claude-haiku-4-5, use: platform}\n"
	file := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p.run("", "policy", "create", "--file", file).ok().says("openai/gpt-4o-mini", "own", "claude-haiku-4-5", "platform")
	p.run(strings.ReplaceAll(text, "platform", "own"), "policy", "update", "main", "--file", "-").ok()
	p.run("", "policy", "update", "other", "--file", file).exits(2).complains(`about the policy "main"`)
	p.run("targets: [{modle: x/y}]", "policy", "update", "main", "--file", "-").exits(2).complains("modle", "1:")
	p.run("", "policy", "create", "x", "--target", "openai/gpt=mine").exits(2).complains("own", "platform")
	p.run("", "policy", "create", "x", "--target", "gpt").exits(2).complains("openai/gpt-4o-mini")
	p.run("", "policy", "create", "x").exits(2).complains("no lines")
}
