package httpapi_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/telemetry"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/httpapi"
	"github.com/claviger/claviger/services/router/internal/snapshot"
)

// TestWhatCallersWriteMakesNoSeries asks for routes and methods that do not exist.
func TestWhatCallersWriteMakesNoSeries(t *testing.T) {
	t.Parallel()
	memory := telemetry.NewMemory(telemetry.MemoryLimits{})
	told, err := telemetry.Start(t.Context(), telemetry.Options{Service: "router", Memory: memory})
	if err != nil {
		t.Fatal(err)
	}
	defer told.Shutdown(context.WithoutCancel(t.Context()))
	server := httptest.NewServer(httpapi.New(httpapi.Options{
		Caller: func(presented string) (completion.Caller, error) {
			if presented == "panic" {
				panic("a defect")
			}
			return completion.Caller{}, snapshot.ErrKeyInvalid
		},
		Log: slog.New(slog.DiscardHandler), Now: time.Now, Telemetry: told,
	}))
	defer server.Close()
	ask := func(method, path, key, traceID string) {
		req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+key)
		if traceID != "" {
			req.Header.Set("Traceparent", "00-"+traceID+"-b7ad6b7169203331-01")
		}
		res, err := server.Client().Do(req)
		if err != nil {
			return // cut, as after a defect
		}
		_, _ = io.Copy(io.Discard, res.Body) // what it says is another test's
		_ = res.Body.Close()                 // read to its end
	}
	for _, path := range []string{"/v1/made-up-1", "/v1/made-up-2", "/v1/models/made-up-3", "/v1/chat/completions"} {
		for _, method := range []string{http.MethodPost, http.MethodGet, "MADEUP", "PURGE"} {
			ask(method, path, "made-up-4", "")
		}
	}
	const wrong, defect = "0af7651916cd43dd8448eb211c80319c", "1af7651916cd43dd8448eb211c80319c"
	ask(http.MethodPost, "/v1/chat/completions", "made-up-5", wrong)
	ask(http.MethodPost, "/v1/chat/completions", "panic", defect)

	w := httptest.NewRecorder()
	telemetry.Metrics(told).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))
	text := w.Body.String()
	if strings.Contains(strings.ToLower(text), "made") || strings.Contains(text, "PURGE") {
		t.Errorf("what a caller wrote is a label:\n%s", text)
	}
	for _, series := range []string{
		`http_server_request_duration_seconds_count\{http_request_method="_OTHER",http_response_status_code="404",http_route="/v1/",.* 4`,
		`http_server_request_duration_seconds_count\{error_type="broken_off",http_request_method="POST",http_route="/v1/chat/completions",.* 1`,
		`http_server_active_requests\{http_route="/v1/chat/completions",.* 0`,
	} {
		if !regexp.MustCompile(series).MatchString(text) {
			t.Errorf("there is no %s in\n%s", series, text)
		}
	}
	for traceID, failed := range map[string]bool{wrong: false, defect: true} {
		spans := memory.Trace(traceID)
		if len(spans) != 1 || spans[0].ParentID != "b7ad6b7169203331" || spans[0].Error != failed || spans[0].Attributes["claviger.request_id"] == "" {
			t.Errorf("spans of %s = %+v, want one below the caller's that is an error: %v", traceID, spans, failed)
		}
	}
}
