package transittest_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/claviger/claviger/pkg/porttest"
	"github.com/claviger/claviger/pkg/transit/transittest"
)

type ready struct{ Addr, Token, Unseal, Version string }

// launch runs vaultd with args and returns its process and what it printed.
func launch(t *testing.T, args ...string) (*exec.Cmd, io.Closer, ready) {
	t.Helper()
	path, err := transittest.Binary()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), path, args...)
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	var r ready
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil || json.Unmarshal(line, &r) != nil {
		t.Fatalf("vaultd %q printed %d bytes, %v", args, len(line), err)
	}
	return command, stdin, r
}

// ends fails unless the process ends well, and soon.
func ends(t *testing.T, command *exec.Cmd) {
	t.Helper()
	late := time.AfterFunc(30*time.Second, func() { _ = command.Process.Kill() })
	defer late.Stop()
	if err := command.Wait(); err != nil {
		t.Errorf("vaultd ended with %v", err)
	}
}

func TestVaultdListensWhereToldAndEndsWithItsInput(t *testing.T) {
	t.Parallel()
	address, err := porttest.Address()
	if err != nil {
		t.Fatal(err)
	}
	command, stdin, got := launch(t, "-listen", address)
	if got.Addr != "http://"+address || got.Token == "" || got.Unseal == "" || got.Version == "" {
		t.Errorf("vaultd -listen %s says addr %q; token, unseal key or version empty: %t", address, got.Addr, got.Token == "" || got.Unseal == "" || got.Version == "")
	}
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	ends(t, command)
}

func TestVaultdEndsOnSignal(t *testing.T) {
	t.Parallel()
	command, stdin, _ := launch(t)
	defer func() { _ = stdin.Close() }()
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ends(t, command)
}

func TestVaultdRefusesOtherThanLoopback(t *testing.T) {
	t.Parallel()
	path, err := transittest.Binary()
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"0.0.0.0:0", "localhost:0", ":0", "[::]:0"} {
		command := exec.CommandContext(t.Context(), path, "-listen", address)
		out, err := command.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "loopback") {
			t.Errorf("vaultd -listen %s: %v, %q, want a refusal that says loopback", address, err, out)
		}
	}
}

func TestVaultdStartsSealedWhenToldAndOpensWithThePrintedKey(t *testing.T) {
	t.Parallel()
	command, stdin, got := launch(t, "-unseal=false")
	client, err := api.NewClient(&api.Config{Address: got.Addr, HttpClient: &http.Client{Transport: &http.Transport{}}})
	if err != nil {
		t.Fatal(err)
	}
	client.SetToken(got.Token)
	for round := range 3 { // sealed from the start, then sealed by call
		status, err := client.Sys().SealStatusWithContext(t.Context())
		if err != nil || !status.Sealed {
			t.Fatalf("round %d: status %+v, %v, want sealed", round, status, err)
		}
		if status, err = client.Sys().UnsealWithContext(t.Context(), got.Unseal); err != nil || status.Sealed {
			t.Fatalf("round %d: unseal: %+v, %v", round, status, err)
		}
		if _, err := client.Sys().ListMountsWithContext(t.Context()); err != nil {
			t.Fatalf("round %d: mounts after unsealing: %v", round, err)
		}
		if err := client.Sys().SealWithContext(t.Context()); err != nil {
			t.Fatalf("round %d: seal: %v", round, err)
		}
	}
	_ = stdin.Close()
	ends(t, command)
}

func TestSharedVaultIsOne(t *testing.T) {
	t.Parallel()
	if a, b := transittest.Shared(t), transittest.Shared(t); a != b {
		t.Errorf("Shared started two: %s, %s", a.Address, b.Address)
	}
}
