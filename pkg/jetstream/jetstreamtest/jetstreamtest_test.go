package jetstreamtest_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/jetstream/jetstreamtest"
)

// victim makes this test binary start a server and wait to be killed.
const victim = "CLAVIGER_TEST_JETSTREAM_VICTIM"

func TestServerProcessEndsWithTheTestProcessEvenWhenItIsKilled(t *testing.T) {
	if os.Getenv(victim) != "" {
		fmt.Println("\nurl " + jetstreamtest.StartProcess(t).URL()) //nolint:forbidigo // to the parent
		<-t.Context().Done()
		return
	}
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), victim+"=1", "TMPDIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address := ""
	for lines := bufio.NewScanner(out); address == "" && lines.Scan(); {
		address, _ = strings.CutPrefix(lines.Text(), "url nats://")
		if address == lines.Text() {
			address = ""
		}
	}
	if !listens(t, address) {
		t.Fatalf("the victim's server does not listen on %q", address)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()                                                                                             // it was killed
	for deadline := time.Now().Add(20 * time.Second); listens(t, address); time.Sleep(10 * time.Millisecond) { //nolint:forbidigo // waits for another process
		if time.Now().After(deadline) {
			t.Fatal("the server still listens after 20 s")
		}
	}
}

func listens(t *testing.T, address string) bool {
	t.Helper()
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

func TestServerProcessKeepsItsAddressOverStopAndKill(t *testing.T) {
	t.Parallel()
	server := jetstreamtest.StartProcess(t)
	url := server.URL()
	nc, _ := server.Connect()
	for _, end := range []func(){server.Stop, server.Kill} {
		end()
		if listens(t, strings.TrimPrefix(url, "nats://")) {
			t.Fatal("a server that ended listens")
		}
		server.Start()
		if server.URL() != url || !nc.IsConnected() {
			t.Fatalf("after a start: url %q, connected %v, want %q and connected", server.URL(), nc.IsConnected(), url)
		}
	}
}
