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
	"strconv"
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
	// control is the public address of keys.
	control string
	// collector is where the router reports to.
	collector string
	ends      []func()
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
	r.control = "http://" + back.Keys
	collector, err := r.start(ctx, "collector")
	if err != nil {
		return nil, err
	}
	r.collector = "http://" + collector.Addr
	for _, name := range []string{"router", "quiet"} {
		router, err := r.start(ctx, name, dir, back.Addr, back.NATS, provider.Addr, collector.Addr)
		if err != nil {
			return nil, err
		}
		r.base[name], r.key[name] = "http://"+router.Addr+"/v1", strings.TrimSpace(back.APIKey)
	}
	r.base["direct"] = "http://" + provider.Addr + "/openai/v1"
	r.base["proxy"] = "http://" + proxy.Addr + "/openai/v1"
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

// exported returns how many bytes of traces the router has sent. It sends every few seconds.
func (r *rig) exported(ctx context.Context) (int64, error) {
	for range 100 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.collector, http.NoBody)
		if err != nil {
			return 0, err
		}
		res, err := r.client.Do(req)
		if err != nil {
			return 0, err
		}
		text, err := io.ReadAll(res.Body)
		_ = res.Body.Close() // read to its end
		if err != nil {
			return 0, err
		}
		if n, err := strconv.ParseInt(string(text), 10, 64); err != nil || n > 0 {
			return n, err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return 0, errors.New("the router exported no traces")
}
