// Package porttest hands out loopback ports for servers that tests start as processes of their own.
//
// Asking the system for port 0, closing the listener and passing the number on is a race: until the
// process listens, the system may give the same port to anybody who asks for any port, or as the
// local end of a connection. The ports here lie below the range that systems give out by themselves,
// and a lock file keeps each with one test process.
package porttest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// Linux gives out 32768 and above by itself, other systems 49152 and above.
const (
	first = 20000
	last  = 32000
)

var (
	mu   sync.Mutex
	held []*os.File // an open file is its lock; they are given back when this process ends
)

// Free returns a loopback port that nobody listens on, and that no other caller of Free is given as
// long as this process lives.
func Free() (int, error) {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("claviger-test-ports-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, fmt.Errorf("reserve a port: %w", err)
	}
	mu.Lock()
	defer mu.Unlock()
	start := rand.IntN(last - first) //nolint:gosec // spreads processes over the range
	for i := range last - first {
		port := first + (start+i)%(last-first)
		lock, err := reserve(dir, port)
		if err != nil {
			return 0, fmt.Errorf("reserve port %d: %w", port, err)
		}
		if lock == nil {
			continue
		}
		held = append(held, lock)
		return port, nil
	}
	return 0, errors.New("reserve a port: all are taken")
}

// Address is Free as an address on 127.0.0.1.
func Address() (string, error) {
	port, err := Free()
	if err != nil {
		return "", err
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), nil
}

// reserve returns the lock on port, or nil if somebody has it or listens there.
func reserve(dir string, port int) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(port)), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close() // nothing was written
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, nil
		}
		return nil, err
	}
	probe, err := new(net.ListenConfig).Listen(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, lock.Close() // somebody who does not ask here listens on it
	}
	return lock, probe.Close()
}
