package rpc

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
)

// TestASilentStreamGivesSignsOfLife after ten seconds without any event, and then every fifteen; an event puts the
// next one off, and after the end none comes.
func TestASilentStreamGivesSignsOfLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var events, signs []time.Duration
		p := &pulse{send: func(m *routerv1.StreamCompletionResponse) error {
			into := &signs
			if m.GetEvent() != nil {
				into = &events
			}
			*into = append(*into, time.Since(begin))
			return nil
		}}
		p.start()
		say := func(at time.Duration) {
			<-time.After(at - time.Since(begin))
			if err := p.event(&routerv1.StreamCompletionResponse{Event: &routerv1.StreamCompletionResponse_Text{Text: "a"}}); err != nil {
				t.Fatal(err)
			}
		}
		say(32 * time.Second)
		say(40 * time.Second)
		say(60 * time.Second)
		p.stop()
		<-time.After(time.Hour)
		synctest.Wait()
		if diff := cmp.Diff([]time.Duration{10 * time.Second, 25 * time.Second, 55 * time.Second}, signs); diff != "" {
			t.Errorf("signs of life (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]time.Duration{32 * time.Second, 40 * time.Second, 60 * time.Second}, events); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

// TestNoSignOfLifeGoesToACallerWhoIsGone: the first that cannot be sent is the last.
func TestNoSignOfLifeGoesToACallerWhoIsGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tried := 0
		p := &pulse{send: func(*routerv1.StreamCompletionResponse) error { tried++; return errors.New("gone") }}
		p.start()
		<-time.After(time.Hour)
		synctest.Wait()
		p.stop()
		if tried != 1 {
			t.Errorf("%d signs of life were tried", tried)
		}
	})
}
