package sqltest_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/sqldb/sqltest"
)

// victim makes this test binary start servers and wait to be killed.
const victim = "CLAVIGER_SQLTEST_VICTIM"

func TestServersEndWithTheTestProcessEvenWhenItIsKilled(t *testing.T) {
	if os.Getenv(victim) != "" {
		url := sqltest.Postgres(t)
		server := sqltest.Server(t)
		fmt.Println("\nurls " + url + " " + server.URL()) //nolint:forbidigo // to the parent
		<-t.Context().Done()
		return
	}
	t.Parallel()
	temp := t.TempDir()
	for _, dir := range []string{filepath.Dir(temp), temp} { // like /tmp: the server runs as another user
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), victim+"=1", "TMPDIR="+temp)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var urls []string
	for lines := bufio.NewScanner(out); len(urls) == 0 && lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) == 3 && fields[0] == "urls" {
			urls = fields[1:]
		}
	}
	if len(urls) == 0 {
		t.Fatalf("the victim did not start its servers: %v", cmd.Wait())
	}
	for _, url := range urls {
		if err := sqltest.Open(t, url).Ping(t.Context()); err != nil {
			t.Fatalf("the victim's server does not answer: %v", err)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()                                                                          // it was killed
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) { //nolint:forbidigo // waits for other processes
		left, err := filepath.Glob(filepath.Join(temp, "claviger-postgres-*"))
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("left after 30 s: %v", left)
		}
	}
	// The second is its own server; the first may be one that others use too.
	if err := sqltest.Open(t, urls[1]).Ping(t.Context()); err == nil {
		t.Error("the victim's server still answers")
	}
}

func TestAnAdministratorsURLIsUsedWhenThereIsOne(t *testing.T) {
	server := sqltest.Server(t)
	t.Setenv(sqltest.AdminURL, server.URL())
	var own string
	t.Run("user", func(t *testing.T) {
		own = sqltest.Postgres(t)
		if err := sqltest.Open(t, own).Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	want, _, _ := strings.Cut(server.URL(), "/test")
	if !strings.HasPrefix(own, want) || own == server.URL() {
		t.Fatalf("url = %q, want a database of its own on %q", own, want)
	}
	if err := sqltest.Open(t, own).Ping(t.Context()); err == nil {
		t.Fatal("the database is still there after the test")
	}
}

func TestServerKeepsItsAddressAndDataOverStopAndKill(t *testing.T) {
	t.Parallel()
	server := sqltest.Server(t)
	url := server.URL()
	db := sqltest.Open(t, url)
	for _, end := range []func(){server.Stop, server.Kill, server.Kill} {
		end()
		if err := db.Ping(t.Context()); err == nil {
			t.Fatal("a server that ended answers")
		}
		server.Start()
		if err := db.Ping(t.Context()); err != nil {
			t.Fatalf("a server that started again does not answer: %v", err)
		}
	}
	if got := server.URL(); got != url {
		t.Fatalf("URL = %q, want %q as before", got, url)
	}
}
