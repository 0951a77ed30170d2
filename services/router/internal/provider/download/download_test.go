package download_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/egress"
	"github.com/claviger/claviger/services/router/internal/provider/download"
)

func fetcher(t *testing.T, allow ...string) *download.Fetcher {
	t.Helper()
	guard, err := egress.New(egress.Options{Allow: allow})
	if err != nil {
		t.Fatal(err)
	}
	return download.New(guard.Client(egress.TransportOptions{}), time.Minute)
}

func TestFilesComeWithoutACredentialAndWithoutADetour(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"Authorization", "X-Api-Key", "Cookie", "Referer"} {
			if r.Header.Get(name) != "" {
				t.Errorf("the header %s goes out", name)
			}
		}
		switch r.URL.Path {
		case "/a.mp4":
			w.Header().Set("Content-Type", "video/mp4")
			_, _ = io.WriteString(w, "film")
		case "/page":
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<script>")
		case "/elsewhere":
			http.Redirect(w, r, "/a.mp4", http.StatusFound)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	f := fetcher(t, strings.TrimPrefix(server.URL, "http://"))
	for url, want := range map[string]struct{ body, kind string }{
		server.URL + "/a.mp4":              {"film", "video/mp4"},
		server.URL + "/page":               {"<script>", "application/octet-stream"},
		"data:image/png;base64,eA==":       {"x", "image/png"},
		"data:text/html;base64,eA==":       {"x", "application/octet-stream"},
		"data:image/svg+xml;base64,eA==":   {"x", "application/octet-stream"},
		server.URL + "/elsewhere":          {},
		server.URL + "/gone":               {},
		"data:image/png,x":                 {},
		"data:image/png;base64,***":        {},
		"://":                              {},
		"file:///etc/passwd":               {},
		"gopher://" + server.URL[7:] + "/": {},
	} {
		got, err := f.Fetch(t.Context(), url)
		if want.body == "" {
			if err == nil || strings.Contains(err.Error(), url) {
				t.Errorf("%s = %v, want an error that does not hold the address, which is as good as the file", url, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s = %v", url, err)
			continue
		}
		body, err := io.ReadAll(got.Body)
		if err = errors.Join(err, got.Body.Close()); err != nil || string(body) != want.body || got.MediaType != want.kind || got.Length != int64(len(want.body)) {
			t.Errorf("%s = %q of %s and length %d, %v; want %+v", url, body, got.MediaType, got.Length, err, want)
		}
	}
}

func TestFileThatDoesNotGoOnIsGivenUp(t *testing.T) {
	t.Parallel()
	stalled := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
		}
		select {
		case <-r.Context().Done():
		case <-stalled:
		}
	}))
	defer server.Close()
	defer close(stalled)
	f := download.New(server.Client(), 100*time.Millisecond)
	if _, err := f.Fetch(t.Context(), server.URL+"/header"); err == nil {
		t.Error("a file that never begins is fetched")
	}
	got, err := f.Fetch(t.Context(), server.URL+"/body")
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(got.Body); err == nil || string(body) != "half" {
		t.Errorf("half a file is read as %q, %v", body, err)
	}
	if err := got.Body.Close(); err != nil {
		t.Error(err)
	}
}

func TestAddressesInsideAreNotCalled(t *testing.T) {
	t.Parallel()
	called := false
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true }))
	defer server.Close()
	f := fetcher(t)
	port := server.URL[strings.LastIndexByte(server.URL, ':'):]
	for _, url := range []string{
		server.URL, "https://127.0.0.1" + port, "https://localhost" + port, "https://169.254.169.254/latest/meta-data", "https://10.0.0.1/",
		"https://[::1]" + port, "https://0.0.0.0" + port, "https://2130706433/", "https://metadata.google.internal/", "http://8.8.8.8/", "https://user@8.8.8.8/",
	} {
		if _, err := f.Fetch(t.Context(), url); !errors.Is(err, egress.ErrNotAllowed) {
			t.Errorf("%s = %v, want it refused", url, err)
		}
	}
	if called {
		t.Error("an address inside was called")
	}
}
