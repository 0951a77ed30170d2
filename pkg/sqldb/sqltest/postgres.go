package sqltest

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/porttest"
)

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 30 * time.Second
	startTries   = 20
	pollEvery    = 20 * time.Millisecond
)

// supervise runs the server in the arguments after the first, which is its folder. The server ends
// and the folder goes when our end of standard input closes, which also happens when the test
// process panics or is killed. A word on standard input means that the server is being ended
// otherwise and its folder stays.
const supervise = `
dir=$1; shift
"$@" </dev/null >>"$dir/log" 2>&1 & pid=$!
echo $pid
if read -r word; then wait $pid; exit 0; fi
kill -QUIT $pid; wait $pid; rm -rf "$dir"
`

// PostgresServer is a Postgres server of a test's own, whose data outlives its process.
type PostgresServer struct {
	tb       testing.TB
	dir      string
	bin      string // folder of the binaries
	password string
	port     int
	durable  bool

	mu         sync.Mutex
	supervisor *exec.Cmd      // nil while the server is down
	lifeline   io.WriteCloser // the supervisor's standard input
	pid        int            // the server's
	answered   bool
}

// Server starts a Postgres server that syncs to disk as in production, for tests that stop, kill and
// start it. It is removed when the test ends.
func Server(tb testing.TB) *PostgresServer {
	tb.Helper()
	s, err := newServer(true)
	if err != nil {
		tb.Fatalf("start postgres: %v", err)
	}
	s.tb = tb
	tb.Cleanup(func() {
		s.end(syscall.SIGQUIT)
		_ = os.RemoveAll(s.dir)
	})
	s.Start()
	if err := adminExec(tb.Context(), s.adminURL(), "CREATE DATABASE test"); err != nil {
		tb.Fatalf("create database: %v", err)
	}
	return s
}

// URL returns the url of the server's database. It stays the same over stops and starts.
func (s *PostgresServer) URL() string { return s.databaseURL("test") }

// Start starts the server after Stop or Kill and returns when it answers.
func (s *PostgresServer) Start() {
	s.tb.Helper()
	if err := s.start(); err != nil {
		s.tb.Fatalf("start postgres: %v", err)
	}
}

// Stop shuts the server down in order, breaking connections, and returns when it has ended.
func (s *PostgresServer) Stop() { s.end(syscall.SIGINT) }

// Kill kills the server and all its processes at once, as a crash would.
func (s *PostgresServer) Kill() { s.end(syscall.SIGKILL) }

func (s *PostgresServer) adminURL() string { return s.databaseURL("postgres") }

func (s *PostgresServer) databaseURL(name string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword("postgres", s.password),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)), Path: "/" + name, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// newServer makes the data of a server and does not start it.
func newServer(durable bool) (s *PostgresServer, err error) {
	s = &PostgresServer{password: rand.Text(), durable: durable}
	if s.bin, err = binaries(); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp("", "claviger-postgres-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(s.dir)
		}
	}()
	passwordFile := filepath.Join(s.dir, "password")
	if err := os.WriteFile(passwordFile, []byte(s.password), 0o600); err != nil {
		return nil, err
	}
	if owner, err := serverOwner(); err != nil {
		return nil, err
	} else if owner != nil {
		for _, path := range []string{s.dir, passwordFile} {
			if err := os.Chown(path, int(owner.Uid), int(owner.Gid)); err != nil {
				return nil, err
			}
		}
	}
	initdb, err := s.command(filepath.Join(s.bin, "initdb"), "-D", s.data(), "-U", "postgres", "-E", "UTF8",
		"--locale=C", "--no-sync", "--auth=password", "--pwfile="+passwordFile)
	if err != nil {
		return nil, err
	}
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return s, nil
}

func (s *PostgresServer) data() string { return filepath.Join(s.dir, "data") }

// command runs a program as the owner of the data, apart from the terminal's interrupt.
func (s *PostgresServer) command(name string, args ...string) (*exec.Cmd, error) {
	owner, err := serverOwner()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.Background(), name, args...) //nolint:gosec // the machine's Postgres; its life is bound to its standard input
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: owner}
	return cmd, nil
}

func (s *PostgresServer) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.supervisor != nil {
		return errors.New("it runs already")
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	var err error
	for range startTries {
		if !s.answered { // once it has answered its address stays
			if s.port, err = porttest.Free(); err != nil {
				return err
			}
		}
		if err = s.launch(); err != nil {
			return err
		}
		if err = s.waitReady(ctx); err == nil {
			s.answered = true
			return nil
		}
		s.endLocked(syscall.SIGQUIT)
		// Somebody else took the port, or a process of the killed server is not quite gone.
		if !errors.Is(err, errEarlyEnd) {
			return err
		}
		time.Sleep(5 * pollEvery) //nolint:forbidigo // waits for another process
	}
	return err
}

func (s *PostgresServer) launch() error {
	sync := "on"
	if !s.durable {
		sync = "off"
	}
	_ = os.Remove(filepath.Join(s.dir, "log"))
	cmd, err := s.command("/bin/sh", "-c", supervise, "sh", s.dir, filepath.Join(s.bin, "postgres"), "-D", s.data(),
		"-p", strconv.Itoa(s.port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
		"-c", "max_connections=200", "-c", "shared_buffers=32MB", "-c", "fsync="+sync,
		"-c", "synchronous_commit="+sync, "-c", "full_page_writes="+sync)
	if err != nil {
		return err
	}
	lifeline, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.supervisor, s.lifeline = cmd, lifeline
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	s.pid, err = strconv.Atoi(strings.TrimSpace(line))
	return err
}

var errEarlyEnd = errors.New("the server ended early")

func (s *PostgresServer) waitReady(ctx context.Context) error {
	for {
		err := adminExec(ctx, s.adminURL(), "SELECT 1")
		if err == nil {
			return nil
		}
		log, _ := os.ReadFile(filepath.Join(s.dir, "log")) // not there yet: nothing to see
		if strings.Contains(string(log), "FATAL:  could not") || strings.Contains(string(log), "database system is shut down") ||
			strings.Contains(string(log), "pre-existing shared memory") || strings.Contains(string(log), "lock file") {
			return fmt.Errorf("%w:\n%s", errEarlyEnd, log)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w\n%s", err, log)
		case <-time.After(pollEvery):
		}
	}
}

func (s *PostgresServer) end(signal syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked(signal)
}

// endLocked sends the signal, returns when the server has ended, and keeps its folder.
func (s *PostgresServer) endLocked(signal syscall.Signal) {
	if s.supervisor == nil {
		return
	}
	if s.pid != 0 {
		// The supervisor has not waited for it yet, so the number is still the server's.
		var helpers []int
		if signal == syscall.SIGKILL {
			helpers = childrenOf(s.pid)
		}
		_ = syscall.Kill(s.pid, signal)
		for _, pid := range helpers {
			_ = syscall.Kill(pid, signal)
		}
	}
	_, _ = io.WriteString(s.lifeline, "keep\n") // a supervisor that is gone has nothing to keep
	insist := time.AfterFunc(stopTimeout, func() {
		if s.pid != 0 {
			_ = syscall.Kill(s.pid, syscall.SIGKILL)
		}
	})
	_ = s.supervisor.Wait() // its status is the server's, which was told to end
	insist.Stop()
	_ = s.lifeline.Close()
	s.supervisor, s.lifeline, s.pid = nil, nil, 0
}
