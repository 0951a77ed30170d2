package cli_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

type config struct {
	Current  string
	Contexts []struct {
		Name, Address, Organization string
		SessionToken                string `json:"session_token"`
	}
}

func readConfig(t *testing.T, path string) (c config) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(to), 0o700)
	}
	if err == nil {
		err = os.WriteFile(to, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheSessionIsForItsOwnerAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.signedIn()
	for name, want := range map[string]os.FileMode{p.config: 0o600, filepath.Dir(p.config): 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, %v, want %v", filepath.Base(name), info.Mode().Perm(), err, want)
		}
	}
	token := readConfig(t, p.config).Contexts[0].SessionToken
	if token == "" {
		t.Fatal("there is no session token in the file")
	}
	for _, args := range [][]string{{"whoami"}, {"context", "list"}, {"whoami", "-o", "json"}, {"context", "list", "-o", "json"}} {
		if r := p.run("", args...).ok(); strings.Contains(r.out+r.err, token) {
			r.fail("the session token was printed")
		}
	}
	if strings.Contains(shared.log.String(), token) {
		t.Error("the session token is in the log of the services")
	}
	for _, mode := range []os.FileMode{0o644, 0o640, 0o604} {
		if err := os.Chmod(p.config, mode); err != nil {
			t.Fatal(err)
		}
		p.run("", "whoami").exits(1).complains("others can read it", "chmod 600")
		p.run(password, "sign-in", "--password-stdin").exits(1).complains("others can read it")
	}
	if err := os.Chmod(p.config, 0o600); err != nil {
		t.Fatal(err)
	}
	p.run("", "whoami").ok()
	if err := os.WriteFile(p.config, []byte(`{"version": 1, "contexts": [{"session_token": "`+mark+`"`), 0o600); err != nil {
		t.Fatal(err)
	}
	p.run("", "whoami").exits(1).complains("not a configuration").keepsSecrets()
}

func TestTheConfigFolderIsTheUsers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.owner
	home := t.TempDir()
	for _, c := range []struct {
		env  map[string]string
		want string
	}{
		{map[string]string{"HOME": home}, filepath.Join(home, ".config", "claviger", "config.json")},
		{map[string]string{"HOME": home, "XDG_CONFIG_HOME": filepath.Join(home, "xdg")}, filepath.Join(home, "xdg", "claviger", "config.json")},
	} {
		p.env = c.env
		p.signIn("owner@acme.example", password)
		if info, err := os.Stat(c.want); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v", c.want, err)
		}
	}
	p.env = nil
	p.run("", "whoami").exits(1).complains("HOME is not set")
}

func TestContextsSwitchBetweenInstallations(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.signedIn()
	p.run(password, "sign-in", "--context", "second", "--organization", w.organization, "--email", "owner@acme.example", "--password-stdin").ok().says("Context: second", w.address)
	p.run("", "context", "list").ok().says("second", w.organization, "signed in", "*")
	if got := readConfig(t, p.config); got.Current != "second" || len(got.Contexts) != 2 {
		t.Fatalf("the file holds %d contexts, current %q", len(got.Contexts), got.Current)
	}
	p.run("", "context", "use", w.organization).ok()
	p.run("", "whoami", "-o", "json").ok().says(`"context":"` + w.organization + `"`)
	p.run("", "whoami", "--context", "second", "-o", "json").ok().says(`"context":"second"`)
	p.env["CLAVIGER_CONTEXT"] = "second"
	p.run("", "whoami", "-o", "json").ok().says(`"context":"second"`)
	delete(p.env, "CLAVIGER_CONTEXT")
	p.run("", "context", "use", "third").exits(2).complains(`no context "third"`, "second")

	token := readConfig(t, p.config).Contexts
	p.run("", "context", "remove", "second").ok()
	if got := readConfig(t, p.config); got.Current != w.organization || len(got.Contexts) != 1 {
		t.Errorf("after the removal the file holds %d contexts, current %q", len(got.Contexts), got.Current)
	}
	stale := w.person() // the removed session has ended at the installation, too
	if err := os.MkdirAll(filepath.Dir(stale.config), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range token {
		if c.Name != "second" {
			continue
		}
		text := fmt.Sprintf(`{"version":1,"current":"x","contexts":[{"name":"x","address":%q,"organization":"x","email":"x","session_token":%q}]}`, c.Address, c.SessionToken)
		if err := os.WriteFile(stale.config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stale.run("", "whoami").exits(1).complains("SESSION_ENDED")

	p.run(password, "sign-in", "--password-stdin").ok() // again where one is
	p.run("", "context", "remove", w.organization).ok()
	p.run("", "context", "list").ok().complains("no context yet")
}

func TestCommandsAtTheSameTimeLoseNoContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			w.owner.run(password, "sign-in", "--address", w.address, "--organization", w.organization, "--email", "owner@acme.example", "--password-stdin", "--context", fmt.Sprint("c", i)).ok()
		})
	}
	all.Wait()
	if got := readConfig(t, w.owner.config); len(got.Contexts) != 4 {
		t.Errorf("%d contexts of 4 are left", len(got.Contexts))
	}
}
