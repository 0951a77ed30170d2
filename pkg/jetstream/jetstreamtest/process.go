package jetstreamtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"

	"github.com/claviger/claviger/pkg/jetstream"
	"github.com/claviger/claviger/pkg/porttest"
)

const (
	natsd     = "github.com/claviger/claviger/pkg/jetstream/jetstreamtest/natsd"
	stopAfter = 20 * time.Second

	startTries = 3
	backWithin = 20 * time.Second
	pollEvery  = 20 * time.Millisecond
)

// Process is a server in a process of its own. Its address and its streams outlive the process.
type Process struct {
	tb   testing.TB
	dir  string
	port int

	mu       sync.Mutex
	cmd      *exec.Cmd      // nil while it is down
	lifeline io.WriteCloser // the server ends when this closes, so also when the test process dies
	conns    []*nats.Conn
}

// StartProcess starts a server in a process of its own, removed when the test ends.
func StartProcess(tb testing.TB) *Process {
	tb.Helper()
	bin, err := binary()
	if err != nil {
		tb.Fatalf("build the nats server: %v", err)
	}
	p := &Process{tb: tb, dir: tb.TempDir()}
	tb.Cleanup(p.Kill)
	for range startTries { // somebody else may take a port between the look and the start
		if p.port, err = porttest.Free(); err == nil {
			err = p.launch(bin)
		}
		if err == nil {
			return p
		}
	}
	tb.Fatalf("start the nats server: %v", err)
	return nil
}

// URL returns the address, also while the server is down.
func (p *Process) URL() string { return "nats://127.0.0.1:" + strconv.Itoa(p.port) }

// Connect opens another connection, closed when the test ends. Start waits until it is back.
func (p *Process) Connect() (*nats.Conn, js.JetStream) {
	p.tb.Helper()
	nc, stream, err := jetstream.Connect(p.tb.Context(), jetstream.Options{URL: p.URL(), Name: p.tb.Name()})
	if err != nil {
		p.tb.Fatalf("jetstream.Connect: %v", err)
	}
	p.tb.Cleanup(nc.Close)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = append(p.conns, nc)
	return nc, stream
}

// Start starts the server after Stop or Kill and returns when it answers.
func (p *Process) Start() {
	p.tb.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		p.tb.Fatal("the nats server runs already")
	}
	bin, err := binary()
	if err != nil {
		p.tb.Fatalf("build the nats server: %v", err)
	}
	if err := p.launch(bin); err != nil {
		p.tb.Fatalf("start the nats server: %v", err)
	}
	deadline := time.Now().Add(backWithin)
	for _, nc := range p.conns {
		for !nc.IsConnected() && !nc.IsClosed() {
			if time.Now().After(deadline) {
				p.tb.Fatalf("a connection is not back %v after the nats server started: %v", backWithin, nc.LastError())
			}
			_ = nc.ForceReconnect() // does not wait for its next try; closed meanwhile is fine too
			time.Sleep(pollEvery)   //nolint:forbidigo // waits for another process
		}
	}
}

func (p *Process) launch(bin string) error {
	cmd := exec.CommandContext(context.Background(), bin, "-dir", p.dir, "-port", strconv.Itoa(p.port)) //nolint:gosec // our own program; its life is bound to its standard input
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}                                               // not for the terminal's interrupt
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
	line, err := bufio.NewReader(out).ReadString('\n')
	if line == "ready\n" {
		p.cmd, p.lifeline = cmd, lifeline
		return nil
	}
	_ = lifeline.Close()
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	if line == "" {
		return err
	}
	return errors.New(line)
}

// Stop ends the server in order.
func (p *Process) Stop() { p.end(func() {}) }

// Kill ends the server as a crash would.
func (p *Process) Kill() { p.end(func() { _ = p.cmd.Process.Kill() }) }

func (p *Process) end(first func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return
	}
	first()
	_ = p.lifeline.Close()
	insist := time.AfterFunc(stopAfter, func() { _ = p.cmd.Process.Kill() })
	_ = p.cmd.Wait() // its status says that it was told to end
	insist.Stop()
	p.cmd, p.lifeline = nil, nil
}

// binary builds the server, once per process; the file is shared by all tests on the machine, and
// the go command leaves it alone while it is up to date.
var binary = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "claviger-test")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "natsd.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer func() { _ = lock.Close() }() // this unlocks
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "natsd")
	if out, err := exec.Command("go", "build", "-o", bin, natsd).CombinedOutput(); err != nil { //nolint:gosec // constants
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return bin, nil
})
