package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

// following is a tail that runs.
type following struct {
	out, errs *safeBuffer
	done      chan int
	stop      context.CancelFunc
}

func (p *person) tail(args ...string) *following {
	ctx, stop := context.WithTimeout(p.world.t.Context(), time.Minute)
	f := &following{out: &safeBuffer{}, errs: &safeBuffer{}, done: make(chan int, 1), stop: stop}
	go func() {
		f.done <- p.start(ctx, strings.NewReader(""), f.out, f.errs, append([]string{"tail"}, args...)...)
	}()
	p.world.t.Cleanup(stop)
	return f
}

// waits until the tail has printed text.
func (f *following) waits(t *testing.T, text string) {
	t.Helper()
	eventually(t, "the line "+text, func() error {
		if strings.Contains(f.out.String(), text) {
			return nil
		}
		return errors.New(f.out.String() + f.errs.String())
	})
}

func TestTailShowsARequestAsItIsCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.ready()
	other := newWorld(t) // its requests are nobody else's business
	otherKey := other.ready()
	f := w.owner.tail()
	f.waits(t, "OUTCOME")
	foreign := other.complete(otherKey, "hello")
	id := w.complete(key, "hello")
	f.waits(t, id)
	lines := strings.Split(strings.TrimSpace(f.out.String()), "\n")
	last := lines[len(lines)-1]
	for _, want := range []string{"ok", "openai/gpt-4o-mini", "own", "app", "$0.00", id} {
		if !strings.Contains(last, want) {
			t.Errorf("the line %q does not hold %q", last, want)
		}
	}
	f.stop() // as Ctrl-C does
	if code := <-f.done; code != 0 {
		t.Errorf("tail ended with %d: %s", code, f.errs.String())
	}
	if strings.Contains(f.out.String(), foreign) {
		t.Error("the request of another organization was shown")
	}
}

func TestTailGoesOnWhereAConnectionBrokeOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.ready()
	server, address := w.between(func(http.ResponseWriter, *http.Request, http.Handler) bool { return false })
	p := w.person()
	p.run(password, "sign-in", "--address", address, "--organization", w.organization, "--email", "owner@acme.example", "--password-stdin").ok()
	f := p.tail()
	f.waits(t, "OUTCOME")
	first := w.complete(key, "hello")
	f.waits(t, first)
	server.CloseClientConnections()
	second := w.complete(key, "hello")
	f.waits(t, second)
	server.CloseClientConnections()
	third := w.complete(key, "hello")
	f.waits(t, third)
	f.stop()
	<-f.done
	for _, id := range []string{first, second, third} {
		if n := strings.Count(f.out.String(), id); n != 1 {
			t.Errorf("%s was shown %d times", id, n)
		}
	}
	if !strings.Contains(f.errs.String(), "trying again") {
		t.Errorf("nothing was said about the connection: %q", f.errs.String())
	}
}

func TestTailFiltersAndSpeaksJSON(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.ready()
	errorsOnly := w.owner.tail("--errors", "--key", "app", "--class", "own")
	errorsOnly.waits(t, "OUTCOME")
	fine := w.complete(key, "hello")
	broken := w.complete(key, "script:error=bad_request hello")
	errorsOnly.waits(t, broken)
	if strings.Contains(errorsOnly.out.String(), fine) {
		t.Error("--errors shows a request that went well")
	}
	errorsOnly.stop()
	<-errorsOnly.done

	f := w.owner.tail("-o", "json", "--limit", "1", "--tag", "team=search")
	eventually(t, "the end of the tail", func() error {
		w.complete(key, "hello")
		select {
		case code := <-f.done:
			if code != 0 {
				t.Errorf("tail ended with %d: %s", code, f.errs.String())
			}
			return nil
		default:
			return errors.New("it goes on")
		}
	})
	var attempt struct {
		Event struct {
			RequestID string `json:"requestId"`
			Tags      map[string]string
			Outcome   string
		}
		CostNanoUsd string
	}
	if err := json.Unmarshal([]byte(f.out.String()), &attempt); err != nil {
		t.Fatalf("the output is not one JSON object: %v\n%s", err, f.out.String())
	}
	if !strings.HasPrefix(attempt.Event.RequestID, "req_") || attempt.Event.Outcome != "OUTCOME_OK" || attempt.CostNanoUsd == "" || attempt.Event.Tags["team"] != "search" {
		t.Errorf("the attempt is %+v", attempt)
	}
	w.owner.run("", "request", "list", "--errors").ok().says(broken)
}
