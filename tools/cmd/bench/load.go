package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// targets are the ways to the provider, in the order in which rounds take them.
var targets = []string{"direct", "proxy", "router"}

// priced are the targets whose CPU time is compared. The router that is quiet does not report what it
// does, and is otherwise the same.
var priced = []string{"proxy", "router", "quiet"}

// quantiles are of one target's latencies.
type quantiles struct{ p50, p99 time.Duration }

// request builds a call to a target. The provider plays the script.
func (r *rig) request(ctx context.Context, target, script string, stream bool) (*http.Request, error) {
	model := "gpt-4o-mini"
	if target == "router" || target == "quiet" {
		model = modelName
	}
	return r.post(ctx, question{target: target, key: r.key[target], model: model, script: script, stream: stream})
}

// question is a call to a target. The provider plays the script.
type question struct {
	target, key, model, script string
	stream                     bool
}

// post builds a call.
func (r *rig) post(ctx context.Context, q question) (*http.Request, error) {
	body := fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"%s Say something short about keys, please."}],"stream":%v}`, q.model, q.script, q.stream)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.base[q.target]+"/chat/completions", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+q.key)
	return req, nil
}

// call makes one call and reads the answer to its end.
func (r *rig) call(ctx context.Context, target, script string, stream bool) error {
	req, err := r.request(ctx, target, script, stream)
	if err != nil {
		return err
	}
	res, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1000))
		return fmt.Errorf("%s answered %s: %s", target, res.Status, text)
	}
	if !stream {
		_, err = io.Copy(io.Discard, res.Body)
		return err
	}
	buf := make([]byte, 4096)
	var tail []byte
	for {
		n, err := res.Body.Read(buf)
		tail = append(tail, buf[:n]...)
		tail = tail[max(0, len(tail)-64):]
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("%s: the stream broke off: %w (after %q)", target, err, tail)
		}
	}
	if !bytes.Contains(tail, []byte("data: [DONE]")) {
		return fmt.Errorf("%s: the stream ended without [DONE]", target)
	}
	return nil
}

// latency times n calls to each target, one at a time and by turns.
func (r *rig) latency(ctx context.Context, n int) (map[string]quantiles, error) {
	times := map[string][]time.Duration{}
	for i := range n + n/10 {
		for _, t := range targets {
			began := time.Now()
			if err := r.call(ctx, t, "script:tokens=20", false); err != nil {
				return nil, err
			}
			if i >= n/10 { // the first tenth warms up
				times[t] = append(times[t], time.Since(began))
			}
		}
	}
	out := map[string]quantiles{}
	for t, all := range times {
		slices.Sort(all)
		out[t] = quantiles{all[len(all)/2], all[len(all)*99/100]}
	}
	return out, nil
}

// costs are the CPU time that each target's process spends on a call, and the share of it that the
// router does not spend on telemetry.
type costs struct {
	per  map[string]time.Duration
	told float64
}

// cost measures costs as the median of rounds in which the targets take turns. Telemetry is compared
// within each round, and the mean of the middle half counts: what else the machine does changes more from
// round to round than what is compared.
func (r *rig) cost(ctx context.Context, script string, stream bool, calls int) (costs, error) {
	rounds := 24
	if !stream {
		rounds = 144
	}
	parallel := 16
	if stream {
		parallel = 64
	}
	per := map[string][]time.Duration{}
	var told []float64
	for round := range rounds + 1 {
		this := map[string]time.Duration{}
		for i := range priced {
			t := priced[(i+round)%len(priced)]
			before, err := cpuTime(r.pid[t])
			if err != nil {
				return costs{}, err
			}
			n := max(calls/rounds, parallel)
			if err := r.parallel(ctx, t, script, stream, n, parallel); err != nil {
				return costs{}, err
			}
			after, err := cpuTime(r.pid[t])
			if err != nil {
				return costs{}, err
			}
			this[t] = (after - before) / time.Duration(n)
		}
		if round == 0 { // warms up
			continue
		}
		for t, d := range this {
			per[t] = append(per[t], d)
		}
		told = append(told, float64(this["quiet"])/float64(this["router"]))
	}
	out := costs{per: map[string]time.Duration{}}
	for t, all := range per {
		slices.Sort(all)
		out.per[t] = all[len(all)/2]
	}
	slices.Sort(told)
	middle := told[len(told)/4 : len(told)*3/4]
	for _, share := range middle {
		out.told += share / float64(len(middle))
	}
	return out, nil
}

func (r *rig) parallel(ctx context.Context, target, script string, stream bool, calls, workers int) error {
	var group sync.WaitGroup
	var mu sync.Mutex
	var failure error
	next := 0
	for range workers {
		group.Go(func() {
			for {
				mu.Lock()
				if next >= calls || failure != nil {
					mu.Unlock()
					return
				}
				next++
				mu.Unlock()
				if err := r.call(ctx, target, script, stream); err != nil {
					mu.Lock()
					failure = err
					mu.Unlock()
				}
			}
		})
	}
	group.Wait()
	return failure
}

// memory returns the KiB that an open stream holds in a target's process: the growth of its
// resident memory with n streams that have begun and pause.
func (r *rig) memory(ctx context.Context, n int) (map[string]float64, error) {
	out := map[string]float64{}
	for _, t := range targets[1:] {
		if err := r.parallel(ctx, t, "script:tokens=3", true, 64, 16); err != nil { // what the first streams cost once
			return nil, err
		}
		before, err := resident(r.pid[t])
		if err != nil {
			return nil, err
		}
		during, err := r.hold(ctx, t, n)
		if err != nil {
			return nil, err
		}
		out[t] = float64(during-before) / 1024 / float64(n)
	}
	return out, nil
}

// hold opens n streams, and returns the resident memory while all are open.
func (r *rig) hold(ctx context.Context, target string, n int) (int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	open := make(chan error, n)
	slots := make(chan struct{}, 500)
	for range n {
		group.Go(func() {
			slots <- struct{}{}
			req, err := r.request(ctx, target, "script:tokens=1000,delay=1s", true)
			if err != nil {
				open <- err
				return
			}
			res, err := r.client.Do(req)
			<-slots
			if err != nil {
				open <- err
				return
			}
			defer func() { _ = res.Body.Close() }()
			open <- nil
			<-ctx.Done()
		})
	}
	for range n {
		if err := <-open; err != nil {
			return 0, err
		}
	}
	// The resident memory settles within a second or two of the last stream.
	var least int64
	for range 10 {
		select {
		case <-time.After(300 * time.Millisecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		now, err := resident(r.pid[target])
		if err != nil {
			return 0, err
		}
		if least == 0 || now < least {
			least = now
		}
	}
	return least, nil
}

// cpuTime is the time that a process has been running on a core, by the scheduler's count of its
// threads. Go keeps its threads, so none is lost on the way.
func cpuTime(pid int) (time.Duration, error) {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return 0, err
	}
	var total time.Duration
	for _, task := range tasks {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, task.Name()))
		if err != nil {
			return 0, err
		}
		running, err := strconv.ParseInt(strings.Fields(string(raw))[0], 10, 64)
		if err != nil {
			return 0, err
		}
		total += time.Duration(running)
	}
	return total, nil
}

// resident is the resident memory of a process in bytes.
func resident(pid int) (int64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("process %d has no VmRSS", pid)
}
