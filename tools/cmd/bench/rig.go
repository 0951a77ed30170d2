package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// rig is the running whole.
type rig struct {
	dir    string
	pid    map[string]int
	base   map[string]string // where a target takes /chat/completions
	key    map[string]string
	client *http.Client
	ends   []func()
}

// startRig starts all processes. They end with it, or with this process.
func startRig(ctx context.Context) (_ *rig, err error) {
	dir, err := os.MkdirTemp("", "claviger-bench-")
	if err != nil {
		return nil, err
	}
	r := &rig{
		dir: dir, pid: map[string]int{}, base: map[string]string{}, key: map[string]string{"direct": providerKey, "proxy": providerKey},
		client: &http.Client{Transport: &http.Transport{MaxIdleConns: 4096, MaxIdleConnsPerHost: 4096, DisableCompression: true}},
	}
	r.ends = append(r.ends, func() { _ = os.RemoveAll(dir) })
	defer func() {
		if err != nil {
			r.stop()
		}
	}()
	provider, err := r.start(ctx, "provider")
	if err != nil {
		return nil, err
	}
	proxy, err := r.start(ctx, "proxy", provider.Addr)
	if err != nil {
		return nil, err
	}
	back, err := r.start(ctx, "backplane", dir, provider.Addr)
	if err != nil {
		return nil, err
	}
	router, err := r.start(ctx, "router", dir, back.Addr, back.NATS, provider.Addr)
	if err != nil {
		return nil, err
	}
	r.base["direct"] = "http://" + provider.Addr + "/openai/v1"
	r.base["proxy"] = "http://" + proxy.Addr + "/openai/v1"
	r.base["router"] = "http://" + router.Addr + "/v1"
	r.key["router"] = strings.TrimSpace(back.APIKey)
	return r, nil
}

func (r *rig) stop() {
	for _, end := range slices.Backward(r.ends) {
		end()
	}
}

// start runs a child and waits for its line.
func (r *rig) start(ctx context.Context, name string, args ...string) (ready, error) {
	self, err := os.Executable()
	if err != nil {
		return ready{}, err
	}
	cmd := exec.CommandContext(ctx, self, append([]string{"child", name}, args...)...) //nolint:gosec // ourselves
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return ready{}, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return ready{}, err
	}
	if err := cmd.Start(); err != nil {
		return ready{}, err
	}
	r.ends = append(r.ends, func() { _ = stdin.Close(); _ = cmd.Wait() })
	r.pid[name] = cmd.Process.Pid
	lines := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(stdout).ReadString('\n')
		lines <- line
		_, _ = io.Copy(io.Discard, stdout)
	}()
	select {
	case line := <-lines:
		var out ready
		if err := json.Unmarshal([]byte(line), &out); err != nil {
			return ready{}, fmt.Errorf("%s did not start", name)
		}
		return out, nil
	case <-time.After(60 * time.Second):
		return ready{}, errors.New(name + " does not start")
	}
}
