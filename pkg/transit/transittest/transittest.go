// Package transittest starts a real Vault for tests and checks that every Sealer and Opener keeps
// the same promises.
//
// The server is tools/vaultd. It is set up by the very commands of deploy/vault/README.md with the
// very policies beside it, so that tests run with the rights that production has, and the page
// cannot rot.
package transittest

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/transit"
)

// What the set-up makes.
const (
	// Environment is the name of the installation.
	Environment = "test"
	// Mount is where the transit engine is.
	Mount = "transit"
	// Key is the derived key.
	Key = "claviger-test"
	// PepperPath is where the pepper is, as transit.Vault.ReadPepper wants it.
	PepperPath = "secret/data/claviger/api-key-pepper"
)

// patience bounds what should take well under a second, on a machine that is busy with other tests.
const patience = 60 * time.Second

// Role is one of the AppRoles.
type Role string

// The roles. Metering has a login here, so that a test can show how little it may do; in production
// it has none.
const (
	Keys     Role = "claviger-test-keys"
	Router   Role = "claviger-test-router"
	Metering Role = "claviger-test-metering"
	Rotation Role = "claviger-test-rotation"
)

// Vault is a running, unsealed Vault core with its storage in memory.
type Vault struct {
	// Address is "http://127.0.0.1:<port>".
	Address string
	// RootToken may do everything.
	RootToken string
	// Pepper is what is stored at PepperPath.
	Pepper secret.Text

	unsealKey string
	process   *exec.Cmd
	stdin     io.Closer
	stopped   sync.Once
}

// Start starts a Vault for one test, which may seal or stop it.
func Start(t testing.TB) *Vault {
	t.Helper()
	v, err := start()
	if err != nil {
		t.Fatalf("start vault: %v", err)
	}
	t.Cleanup(v.stop)
	return v
}

var shared = sync.OnceValues(start)

// Shared returns the one Vault of this test process, which no test may seal or stop. It ends with
// the process, whose end closes its standard input.
func Shared(t testing.TB) *Vault {
	t.Helper()
	v, err := shared()
	if err != nil {
		t.Fatalf("start vault: %v", err)
	}
	return v
}

func start() (*Vault, error) {
	binary, err := Binary()
	if err != nil {
		return nil, err
	}
	root, err := repository()
	if err != nil {
		return nil, err
	}
	v := &Vault{process: exec.Command(binary)} //nolint:gosec,noctx // our own binary; it ends with its standard input
	if err := v.launch(); err != nil {
		return nil, err
	}
	if err := v.setUp(filepath.Join(root, "deploy", "vault")); err != nil {
		v.stop()
		return nil, fmt.Errorf("set up: %w", err)
	}
	return v, nil
}

// Binary returns where vaultd is: CLAVIGER_VAULTD, else .bin/vaultd beside go.work.
func Binary() (string, error) {
	binary := os.Getenv("CLAVIGER_VAULTD")
	if binary == "" {
		root, err := repository()
		if err != nil {
			return "", err
		}
		binary = filepath.Join(root, ".bin", "vaultd")
	}
	if _, err := os.Stat(binary); err != nil { //nolint:gosec // who runs the tests names it
		return "", fmt.Errorf("%w: run make tools, or set CLAVIGER_VAULTD to a build of tools/vaultd", err)
	}
	return binary, nil
}

// repository is the folder of go.work, above the test's.
func repository() (string, error) {
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		if _, missing := os.Stat(filepath.Join(dir, "go.work")); missing == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			err = errors.New("no go.work above the test's folder")
		}
	}
	return "", err
}

// launch starts the process and reads the line that it prints when it is ready.
func (v *Vault) launch() error {
	stdin, err := v.process.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := v.process.StdoutPipe()
	if err != nil {
		return err
	}
	if err := v.process.Start(); err != nil {
		return err
	}
	v.stdin = stdin
	late := time.AfterFunc(patience, func() { _ = v.process.Process.Kill() })
	defer late.Stop()
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	var ready struct{ Addr, Token, Unseal string }
	if err == nil {
		err = json.Unmarshal(line, &ready)
	}
	if err != nil {
		v.stop()
		return fmt.Errorf("vaultd did not get ready: %w", err)
	}
	v.Address, v.RootToken, v.unsealKey = ready.Addr, ready.Token, ready.Unseal
	return nil
}

// Root returns a client that may do everything.
func (v *Vault) Root(t testing.TB) *api.Client {
	t.Helper()
	client, err := v.root()
	if err != nil {
		t.Fatalf("vault client: %v", err)
	}
	return client
}

func (v *Vault) root() (*api.Client, error) {
	client, err := api.NewClient(&api.Config{Address: v.Address, Timeout: patience})
	if err != nil {
		return nil, err
	}
	client.SetToken(v.RootToken)
	return client, nil
}

// Login returns what a process with that role logs in with. Each call makes a new secret id.
func (v *Vault) Login(t testing.TB, role Role) (roleID string, secretID secret.Text) {
	t.Helper()
	client := v.Root(t)
	got, err := client.Logical().ReadWithContext(t.Context(), "auth/approle/role/"+string(role)+"/role-id")
	if err != nil || got == nil {
		t.Fatalf("read role id of %s: %v, %v", role, got, err)
	}
	roleID, _ = got.Data["role_id"].(string)
	got, err = client.Logical().WriteWithContext(t.Context(), "auth/approle/role/"+string(role)+"/secret-id", nil)
	if err != nil || got == nil {
		t.Fatalf("make secret id of %s: %v", role, err)
	}
	plain, _ := got.Data["secret_id"].(string)
	return roleID, secret.New(plain)
}

// Options returns what transit.NewVault needs for that role.
func (v *Vault) Options(t testing.TB, role Role) transit.VaultOptions {
	t.Helper()
	roleID, secretID := v.Login(t, role)
	return transit.VaultOptions{Address: v.Address, RoleID: roleID, SecretID: secretID, Mount: Mount, Key: Key}
}

// Connect returns our client, logged in with that role until the test ends.
func (v *Vault) Connect(t testing.TB, role Role) *transit.Vault {
	t.Helper()
	client, err := transit.NewVault(t.Context(), v.Options(t, role))
	if err != nil {
		t.Fatalf("transit.NewVault(%s): %v", role, err)
	}
	t.Cleanup(client.Close)
	return client
}

// TokenClient returns a plain client with a token of that role, for what our client does not do.
func (v *Vault) TokenClient(t testing.TB, role Role) *api.Client {
	t.Helper()
	roleID, secretID := v.Login(t, role)
	client := v.Root(t)
	client.ClearToken()
	got, err := client.Logical().WriteWithContext(t.Context(), "auth/approle/login", map[string]any{
		"role_id": roleID, "secret_id": secretID.Reveal(),
	})
	if err != nil {
		t.Fatalf("log in as %s: %v", role, err)
	}
	client.SetToken(got.Auth.ClientToken)
	return client
}

// Seal seals it: every call is then answered with 503.
func (v *Vault) Seal(t testing.TB) {
	t.Helper()
	if err := v.Root(t).Sys().SealWithContext(t.Context()); err != nil {
		t.Fatalf("seal: %v", err)
	}
}

// Unseal undoes Seal. What was stored, tokens too, is there again.
func (v *Vault) Unseal(t testing.TB) {
	t.Helper()
	status, err := v.Root(t).Sys().UnsealWithContext(t.Context(), v.unsealKey)
	if err != nil || status.Sealed {
		t.Fatalf("unseal: %+v, %v", status, err)
	}
}

// Stop ends the process. Its port refuses connections from then on.
func (v *Vault) Stop(t testing.TB) {
	t.Helper()
	v.stop()
}

func (v *Vault) stop() {
	v.stopped.Do(func() {
		if v.stdin != nil {
			_ = v.stdin.Close()
		}
		late := time.AfterFunc(patience, func() { _ = v.process.Process.Kill() })
		defer late.Stop()
		_ = v.process.Wait()
	})
}

// setUp follows the page of deploy/vault and adds the roles that only tests have.
func (v *Vault) setUp(folder string) error {
	client, err := v.root()
	if err != nil {
		return err
	}
	commands, err := readCommands(folder)
	if err != nil {
		return err
	}
	for _, c := range commands {
		if err := c.run(client, folder); err != nil {
			return fmt.Errorf("%s/README.md: %s: %w", folder, c.line, err)
		}
		if encoded, ok := c.fields["pepper"].(string); ok {
			plain, err := base64.StdEncoding.DecodeString(encoded)
			if err != nil {
				return err
			}
			v.Pepper = secret.New(string(plain))
		}
	}
	for role, policy := range map[Role]string{Metering: "", Rotation: "claviger-test-key-rotate"} {
		_, err := client.Logical().Write("auth/approle/role/"+string(role), map[string]any{
			"token_policies": policy, "token_no_default_policy": true, "token_ttl": "20m",
		})
		if err != nil {
			return err
		}
	}
	return nil
}
