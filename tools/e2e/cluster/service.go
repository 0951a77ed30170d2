package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"buf.build/go/protoyaml"
	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/protobuf/proto"
)

const (
	readyTimeout = 60 * time.Second
	stopTimeout  = 60 * time.Second
	// tail is how much of a log is shown when a test has failed.
	tail = 8 << 10
)

// Service is a process of ours. Its addresses and its data outlive the process.
type Service struct {
	Name string
	// Internal is the mTLS listener of keys, GRPC the public gRPC listener of a router.
	Internal string
	GRPC     string

	c           *Cluster
	args        []string
	httpAddress string
	opsAddress  string
	log         string
	process     *exec.Cmd
	ended       chan struct{}
	exit        error // how the process ended, once it has
}

// service writes the settings of a service, which is not started yet.
func (c *Cluster) service(command, name string, s proto.Message) *Service {
	c.tb.Helper()
	text, err := protoyaml.MarshalOptions{UseProtoNames: true}.Marshal(s)
	c.must(err)
	file := filepath.Join(c.dir, name+".yaml")
	c.must(os.WriteFile(file, text, 0o600))
	service := &Service{Name: name, c: c, args: []string{command, "--config", file}, log: filepath.Join(c.dir, name+".log")}
	c.tb.Cleanup(func() {
		if service.Running() {
			service.Stop()
		}
		if text, err := os.ReadFile(service.log); err == nil && bytes.Contains(text, []byte("WARNING: DATA RACE")) {
			c.tb.Errorf("cluster: the race detector has found something in %s", name)
		}
		if c.tb.Failed() {
			c.tb.Logf("log of %s ends:\n%s", name, service.logTail())
		}
	})
	return service
}

// URL is the public HTTP listener.
func (s *Service) URL() string { return "http://" + s.httpAddress }

// OpsURL is the ops listener.
func (s *Service) OpsURL() string { return "http://" + s.opsAddress }

// Transport reaches the public API over HTTP.
func (s *Service) Transport() connect.Transport {
	return connecthttp.NewTransport(s.c.client, s.URL())
}

// Start starts the process and returns when it is ready.
func (s *Service) Start() {
	s.c.tb.Helper()
	s.Launch()
	s.AwaitReady()
}

// Launch starts the process and does not wait until it is ready, for tests in which it cannot be.
func (s *Service) Launch() {
	s.c.tb.Helper()
	if s.Running() {
		s.c.tb.Fatalf("cluster: %s is running already", s.Name)
	}
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	s.c.must(err)
	defer func() { _ = log.Close() }() // the process has its own
	// Not bound to the test's context: it would kill where Stop should drain.
	s.process = exec.CommandContext(context.WithoutCancel(s.c.tb.Context()), s.c.binary, s.args...) //nolint:gosec // our own binary
	s.process.Stdout, s.process.Stderr = log, log
	s.process.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.c.dir}, s.c.environ...)
	// A test process that is killed takes its services with it.
	EndsWithParent(s.process)
	s.c.must(s.process.Start())
	s.ended = make(chan struct{})
	go func(process *exec.Cmd, ended chan struct{}) {
		s.exit = process.Wait()
		close(ended)
	}(s.process, s.ended)
}

// Running reports whether the process is there.
func (s *Service) Running() bool {
	if s.process == nil {
		return false
	}
	select {
	case <-s.ended:
		return false
	default:
		return true
	}
}

// AwaitReady returns when the service says that it is ready.
func (s *Service) AwaitReady() {
	s.c.tb.Helper()
	Eventually(s.c.tb, readyTimeout, s.Name+" is ready", func() error {
		if !s.Running() {
			s.c.tb.Fatalf("cluster: %s has ended:\n%s", s.Name, s.logTail())
		}
		return s.Ready()
	})
}

// Ready asks the service once.
func (s *Service) Ready() error {
	request, err := http.NewRequestWithContext(s.c.tb.Context(), http.MethodGet, s.OpsURL()+"/readyz", http.NoBody)
	if err != nil {
		return err
	}
	answer, err := s.c.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 4<<10))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(strings.TrimSpace(string(text)))
	}
	return err
}

// Stop asks the process to end, as a deployment does, and waits until it has: in time and in order.
func (s *Service) Stop() {
	s.c.tb.Helper()
	s.signal(syscall.SIGTERM)
	select {
	case <-s.ended:
		if s.exit != nil {
			s.c.tb.Errorf("cluster: %s, asked to end, did so with %v", s.Name, s.exit)
		}
	case <-time.After(stopTimeout):
		s.Kill()
		s.c.tb.Errorf("cluster: %s did not end within %s of SIGTERM", s.Name, stopTimeout)
	}
}

// Leave asks the process to end and returns once it says that it is not ready.
func (s *Service) Leave() {
	s.c.tb.Helper()
	s.signal(syscall.SIGTERM)
	Eventually(s.c.tb, stopTimeout, s.Name+" is not ready", func() error {
		if s.Ready() == nil {
			return errors.New("it is ready")
		}
		return nil
	})
}

// Hurry asks a process that leaves a second time, and waits until it has ended: at once, and in order.
func (s *Service) Hurry() {
	s.c.tb.Helper()
	s.signal(syscall.SIGTERM)
	select {
	case <-s.ended:
		if s.exit != nil {
			s.c.tb.Errorf("cluster: %s, asked to hurry, ended with %v", s.Name, s.exit)
		}
	case <-time.After(stopTimeout):
		s.Kill()
		s.c.tb.Errorf("cluster: %s did not end within %s of the second signal", s.Name, stopTimeout)
	}
}

// Kill ends the process as a crash would.
func (s *Service) Kill() {
	s.c.tb.Helper()
	s.signal(syscall.SIGKILL)
	<-s.ended
}

func (s *Service) signal(sig syscall.Signal) {
	s.c.tb.Helper()
	if !s.Running() {
		s.c.tb.Fatalf("cluster: %s is not running", s.Name)
	}
	if err := s.process.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.c.tb.Fatalf("cluster: signal %s: %v", s.Name, err)
	}
}

// Log returns all that the service has logged, over all its processes.
func (s *Service) Log() string {
	s.c.tb.Helper()
	text, err := os.ReadFile(s.log)
	s.c.must(err)
	return string(text)
}

func (s *Service) logTail() string {
	text, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-tail):])
}

// Eventually tries until it works, and fails the test with the last error if it does not in time.
func Eventually(tb testing.TB, timeout time.Duration, what string, try func() error) {
	tb.Helper()
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-deadline.C:
			tb.Fatalf("%s: not within %s: %v", what, timeout, err)
		case <-ticker.C:
		}
	}
}

var built struct {
	sync.Once
	path string
	err  error
}

// EndsWithParent makes a process end when this one does, however it does, where the system can.
func EndsWithParent(cmd *exec.Cmd) { cmd.SysProcAttr = endsWithParent() }

// Binary returns the claviger binary to test: CLAVIGER_BINARY, else one that is built from the source
// once per test process.
func Binary(tb testing.TB) string {
	tb.Helper()
	if path := os.Getenv("CLAVIGER_BINARY"); path != "" {
		return path
	}
	built.Do(func() {
		dir, err := os.MkdirTemp("", "claviger-e2e-") //nolint:usetesting // shared by all tests of the process
		if err != nil {
			built.err = err
			return
		}
		built.path = filepath.Join(dir, "claviger")
		build := exec.CommandContext(context.WithoutCancel(tb.Context()), "go", "build", "-o", built.path, "github.com/claviger/claviger/tools/cmd/claviger") //nolint:gosec // constants
		if text, err := build.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("%w\n%s", err, text)
		}
	})
	if built.err != nil {
		tb.Fatalf("build claviger: %v", built.err)
	}
	return built.path
}
