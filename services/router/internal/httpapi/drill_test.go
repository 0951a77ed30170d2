package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/services/router/internal/completion"
)

// TestADrillIsNamedWhereItIsTold: the caller sees that the first target failed in a rehearsal and not by itself.
func TestADrillIsNamedWhereItIsTold(t *testing.T) {
	t.Parallel()
	for _, d := range dialects {
		r := &rig{targets: []completion.Target{target("slow", "a"), target("slow", "x")}}
		r.targets[0].Drill = &completion.Drill{ID: "drill_1", Class: completion.RateLimited, Until: time.Now().Add(time.Minute)}
		handler := r.handler(t, map[string]completion.Provider{"slow": slow{plays: map[string][]step{"x": {{0, said("hi"), nil}}}}}, nil)
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, d.path, strings.NewReader(body(d.body, "slow/x", "true", llmtest.Script{})))
		req.Header.Set("X-Api-Key", "clv-full")
		req.Header.Set("X-Claviger-Include", "provenance")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, req)
		if got := w.Body.String(); !strings.Contains(got, `{"attempt_id":"","provider":"slow","model":"slow/a"`) || strings.Count(got, `"error_class":"rate_limited","drill_id":"drill_1"}`) != 1 {
			t.Errorf("%s: %s", d.path, got)
		}
		if got := len(r.done()); got != 1 {
			t.Errorf("%s: %d events, want that of the call that was made", d.path, got)
		}
	}
}
