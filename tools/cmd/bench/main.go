// Command bench measures what the router adds to a call: latency, CPU and memory, against a direct
// call and against a bare Go reverse proxy, interleaved in one run, so that noise meets all three
// alike. It prints ratios; with -check it fails outside the bounds that the product promises.
//
// It also measures how soon two routers follow when something is switched off while they serve.
//
// Provider, proxy, router and everything behind the router are processes of their own: the CPU and
// memory of one of them is what the kernel says of it.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) > 2 && os.Args[1] == "child" {
		if err := child(ctx, os.Args[2], os.Args[3:]); err != nil {
			_, _ = fmt.Fprintf(os.Stderr, "bench %s: %v\n", os.Args[2], err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "usage" {
		usageMain(ctx, os.Args[2:])
		return
	}
	check := flag.Bool("check", false, "fail outside the bounds")
	quick := flag.Bool("quick", false, "a tenth of the work: to see that it runs, not to believe it")
	revocations := flag.Bool("revocations", false, "measure nothing but how soon routers follow when something is switched off")
	flag.Parse()
	if err := run(ctx, *check, *quick, *revocations); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bound is a figure that may not be exceeded (or, with least, not fallen short of).
type bound struct {
	name  string
	value float64
	limit float64
	least bool
	unit  string
}

func (b bound) broken() bool {
	if b.least {
		return b.value < b.limit
	}
	return b.value > b.limit
}

func run(ctx context.Context, check, quick, revocations bool) error {
	out := os.Stdout
	_, _ = fmt.Fprintf(out, "claviger bench: %s, %d cores\n", runtime.Version(), runtime.NumCPU())
	rig, err := startRig(ctx)
	if err != nil {
		return err
	}
	defer rig.stop()
	scale := 1
	if quick {
		scale = 10
	}
	var bounds []bound
	if !revocations {
		if bounds, err = rig.price(ctx, scale, out); err != nil {
			return err
		}
	}
	revoked, err := rig.revoke(ctx, 200/scale, out)
	if err != nil {
		return err
	}
	return judge(append(bounds, revoked...), check, out)
}

// price measures what the router adds to a call.
func (r *rig) price(ctx context.Context, scale int, out io.Writer) (bounds []bound, err error) {
	latency, err := r.latency(ctx, 6000/scale)
	if err != nil {
		return nil, err
	}
	_, _ = fmt.Fprintf(out, "\nlatency of a small completion, one at a time\n%-8s %10s %10s %12s\n", "", "p50", "p99", "added p50")
	for _, t := range targets {
		_, _ = fmt.Fprintf(out, "%-8s %10v %10v %12v\n", t, latency[t].p50, latency[t].p99, latency[t].p50-latency["direct"].p50)
	}
	added := func(t string) float64 { return float64(latency[t].p50 - latency["direct"].p50) }
	bounds = append(bounds, bound{name: "added p50, router : proxy", value: added("router") / added("proxy"), limit: 1.5})

	for _, load := range []struct {
		title  string
		script string
		stream bool
		calls  int
		least  bool
		name   string
		limit  float64
	}{
		{"small completions, 16 at a time", "script:tokens=20", false, 96_000 / scale, true, "requests per CPU-second, router : proxy", 0.85},
		{"streams of 200 tokens, one every 2 ms, 64 at a time", "script:tokens=200,delay=2ms", true, 640 / scale, false, "CPU per streamed token, router : proxy", 1.4},
	} {
		cost, err := r.cost(ctx, load.script, load.stream, load.calls)
		if err != nil {
			return nil, err
		}
		_, _ = fmt.Fprintf(out, "\n%s\n%-8s %14s %14s\n", load.title, "", "CPU per call", "calls/CPU-s")
		for _, t := range priced {
			_, _ = fmt.Fprintf(out, "%-8s %14v %14.0f\n", t, cost.per[t].Round(100*time.Nanosecond), float64(time.Second)/float64(cost.per[t]))
		}
		ratio := float64(cost.per["router"]) / float64(cost.per["proxy"])
		if load.least {
			ratio = 1 / ratio
		}
		bounds = append(bounds, bound{name: load.name, value: ratio, limit: load.limit, least: load.least})
		_, _ = fmt.Fprintf(out, "with telemetry a CPU-second serves %.2f of the calls that it serves without\n", cost.told)
		if load.least {
			bounds = append(bounds, bound{name: "requests per CPU-second, telemetry : none", value: cost.told, limit: 0.9, least: true})
		}
	}
	sent, err := r.exported(ctx)
	if err != nil {
		return nil, err
	}
	_, _ = fmt.Fprintf(out, "(quiet is the router without telemetry; the other has exported %d KiB of traces)\n", sent>>10)

	memory, err := r.memory(ctx, 2000/scale)
	if err != nil {
		return nil, err
	}
	_, _ = fmt.Fprintf(out, "\nmemory of an open stream\n")
	for _, t := range []string{"proxy", "router"} {
		_, _ = fmt.Fprintf(out, "%-8s %10.1f KiB\n", t, memory[t])
	}
	bounds = append(bounds, bound{name: "memory per open stream", value: memory["router"], limit: 52, unit: " KiB"})
	return bounds, nil
}

// judge prints the bounds, and with check fails if any is broken.
func judge(bounds []bound, check bool, out io.Writer) error {
	_, _ = fmt.Fprintln(out)
	broken := 0
	for _, b := range bounds {
		sign, word := "≤", "ok"
		if b.least {
			sign = "≥"
		}
		if b.broken() {
			word = "BROKEN"
			broken++
		}
		_, _ = fmt.Fprintf(out, "%-44s %8.2f%s  (%s %g)  %s\n", b.name, b.value, b.unit, sign, b.limit, word)
	}
	if check && broken > 0 {
		return fmt.Errorf("%d of %d bounds are broken", broken, len(bounds))
	}
	return nil
}
