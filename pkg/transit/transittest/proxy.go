package transittest

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// Proxy stands between a client and Vault and can make it look away or stuck.
type Proxy struct {
	// Address is what a client is given in place of the Vault's.
	Address string

	listener net.Listener
	target   string
	running  sync.WaitGroup

	mu    sync.Mutex
	mode  mode
	conns map[net.Conn]struct{}
}

type mode int

const (
	passing mode = iota
	hanging
	refusing
)

// NewProxy returns a Proxy to v that passes everything until told otherwise.
func (v *Vault) NewProxy(t testing.TB) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // loopback
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	p := &Proxy{
		Address:  "http://" + listener.Addr().String(),
		listener: listener,
		target:   strings.TrimPrefix(v.Address, "http://"),
		conns:    map[net.Conn]struct{}{},
	}
	p.running.Go(p.serve)
	t.Cleanup(func() {
		_ = listener.Close()
		p.set(refusing)
		p.running.Wait()
	})
	return p
}

// Pass lets new connections through.
func (p *Proxy) Pass() { p.set(passing) }

// Hang accepts connections and never answers.
func (p *Proxy) Hang() { p.set(hanging) }

// Refuse breaks every connection, as a Vault that is away does.
func (p *Proxy) Refuse() { p.set(refusing) }

// set changes the mode and breaks what is open, so that no old connection keeps working.
func (p *Proxy) set(m mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = m
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}

func (p *Proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		now := p.mode
		if now == refusing {
			_ = client.Close()
		} else {
			p.conns[client] = struct{}{}
		}
		p.mu.Unlock()
		if now == passing {
			p.running.Go(func() { p.pass(client) })
		}
	}
}

func (p *Proxy) pass(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", p.target) //nolint:noctx // loopback
	if err != nil {
		return
	}
	p.mu.Lock()
	p.conns[server] = struct{}{}
	p.mu.Unlock()
	p.running.Go(func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	})
	_, _ = io.Copy(client, server)
}
