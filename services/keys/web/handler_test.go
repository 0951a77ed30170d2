package web

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

var script = strings.Repeat("const answer = 42;\n", 200)

// built is what a build leaves behind.
func built(t *testing.T) http.Handler {
	t.Helper()
	h, err := handlerOf(fstest.MapFS{
		"index.html":             {Data: []byte("<!doctype html><title>the page</title>")},
		"favicon.svg":            {Data: []byte("<svg/>")},
		"assets/index-B7f2.js":   {Data: []byte(script)},
		"assets/inter-9a.woff2":  {Data: []byte{0x77, 0x4f, 0x46, 0x32}},
		".gitkeep":               {},
		".vite/manifest.json":    {Data: []byte("{}")},
		"assets/.hidden/file.js": {Data: []byte("{}")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func ask(h http.Handler, method, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestPathsArePagesFilesOrNothing(t *testing.T) {
	t.Parallel()
	h := built(t)
	const page, immutable, none = "no-cache", "public, max-age=31536000, immutable", ""
	for path, want := range map[string]struct {
		status int
		kind   string
		cache  string
	}{
		"/":                                     {200, "text/html; charset=utf-8", page},
		"/index.html":                           {200, "text/html; charset=utf-8", page},
		"/o/acme/usage":                         {200, "text/html; charset=utf-8", page},
		"/o/acme/models/openai/gpt-4.1":         {200, "text/html; charset=utf-8", page},
		"/o/acme/models/claude-3.5-sonnet-old":  {200, "text/html; charset=utf-8", page},
		"/favicon.svg":                          {200, "image/svg+xml", page},
		"/assets/index-B7f2.js":                 {200, "text/javascript; charset=utf-8", immutable},
		"/assets/inter-9a.woff2":                {200, "font/woff2", immutable},
		"/assets/index-OLD.js":                  {404, "text/plain; charset=utf-8", none},
		"/assets/":                              {404, "text/plain; charset=utf-8", none},
		"/assets":                               {200, "text/html; charset=utf-8", page},
		"/robots.txt":                           {404, "text/plain; charset=utf-8", none},
		"/o/acme/app.js":                        {404, "text/plain; charset=utf-8", none},
		"/.gitkeep":                             {404, "text/plain; charset=utf-8", none},
		"/.git/config":                          {404, "text/plain; charset=utf-8", none},
		"/.vite/manifest.json":                  {404, "text/plain; charset=utf-8", none},
		"/assets/.hidden/file.js":               {404, "text/plain; charset=utf-8", none},
		"/o/../../etc/passwd.txt":               {404, "text/plain; charset=utf-8", none},
		"/claviger.keys.v1.ConfigService/Watch": {404, "text/plain; charset=utf-8", none},
	} {
		answer := ask(h, http.MethodGet, path)
		if answer.Code != want.status || answer.Header().Get("Content-Type") != want.kind || answer.Header().Get("Cache-Control") != want.cache {
			t.Errorf("GET %s = %d %s %q, want %d %s %q", path, answer.Code, answer.Header().Get("Content-Type"), answer.Header().Get("Cache-Control"),
				want.status, want.kind, want.cache)
		}
		if html := strings.Contains(answer.Body.String(), "the page"); html != (want.cache == page && strings.HasPrefix(want.kind, "text/html")) {
			t.Errorf("GET %s: it is the page: %t", path, html)
		}
	}
}

func TestEveryAnswerTellsBrowsersWhatIsAllowed(t *testing.T) {
	t.Parallel()
	h := built(t)
	for _, answer := range []*httptest.ResponseRecorder{
		ask(h, http.MethodGet, "/"), ask(h, http.MethodGet, "/assets/index-B7f2.js", "Accept-Encoding", "gzip"),
		ask(h, http.MethodHead, "/o/acme"), ask(h, http.MethodGet, "/nothing.js"), ask(h, http.MethodPost, "/"),
	} {
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; " +
				"base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'",
			"X-Content-Type-Options":       "nosniff",
			"Referrer-Policy":              "no-referrer",
			"Cross-Origin-Opener-Policy":   "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := answer.Header().Get(name); got != want {
				t.Errorf("answer %d: %s = %q, want %q", answer.Code, name, got, want)
			}
		}
	}
}

func TestPagesAreOnlyRead(t *testing.T) {
	t.Parallel()
	h := built(t)
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, "TRACE"} {
		answer := ask(h, method, "/o/acme")
		if answer.Code != http.StatusMethodNotAllowed || answer.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s = %d, allowed %q", method, answer.Code, answer.Header().Get("Allow"))
		}
	}
	// A gRPC or Connect client that asks for a method that is not there must hear that, not 405.
	if answer := ask(h, http.MethodPost, "/claviger.keys.v1.ConfigService/WatchConfig"); answer.Code != http.StatusNotFound {
		t.Errorf("POST to an unknown procedure = %d, want 404", answer.Code)
	}
	if answer := ask(h, http.MethodHead, "/"); answer.Code != http.StatusOK {
		t.Errorf("HEAD / = %d", answer.Code)
	}
}

func TestAssetsAreCompressedForThoseWhoCanReadIt(t *testing.T) {
	t.Parallel()
	h := built(t)
	const path = "/assets/index-B7f2.js"
	for accept, want := range map[string]string{
		"gzip, deflate, br, zstd": "gzip", "GZIP": "gzip", "br, gzip;q=0.5": "gzip", "br,  gzip ; q = 1": "gzip",
		"": "", "br": "", "gzip;q=0": "", "gzip;q=0.0": "", "x-gzip": "",
	} {
		answer := ask(h, http.MethodGet, path, "Accept-Encoding", accept)
		if got := answer.Header().Get("Content-Encoding"); got != want || answer.Header().Get("Vary") != "Accept-Encoding" {
			t.Errorf("Accept-Encoding %q: encoding %q, want %q; Vary %q", accept, got, want, answer.Header().Get("Vary"))
		}
		var content io.Reader = strings.NewReader(answer.Body.String())
		if want == "gzip" {
			var err error
			if content, err = gzip.NewReader(content); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := io.ReadAll(content); err != nil || !bytes.Equal(got, []byte(script)) {
			t.Errorf("Accept-Encoding %q: %d bytes, %v, want the script", accept, len(got), err)
		}
	}
	// What would not get smaller stays as it is.
	if answer := ask(h, http.MethodGet, "/assets/inter-9a.woff2", "Accept-Encoding", "gzip"); answer.Header().Get("Content-Encoding") != "" {
		t.Error("a font was compressed")
	}
}

func TestAFileIsCompressedOnce(t *testing.T) {
	t.Parallel()
	f := newFile("assets/a.js", []byte(script))
	if first, second := f.zipped(), f.zipped(); &first[0] != &second[0] {
		t.Error("the file was compressed again")
	}
}

func TestAPageThatABrowserHasIsNotSentAgain(t *testing.T) {
	t.Parallel()
	h := built(t)
	for _, encoding := range []string{"", "gzip"} {
		tag := ask(h, http.MethodGet, "/o/acme", "Accept-Encoding", encoding).Header().Get("ETag")
		answer := ask(h, http.MethodGet, "/", "Accept-Encoding", encoding, "If-None-Match", tag)
		if tag == "" || answer.Code != http.StatusNotModified || answer.Body.String() != "" {
			t.Errorf("encoding %q: tag %q gives %d", encoding, tag, answer.Code)
		}
	}
}

func TestThePagesThatAreBuiltInAreServed(t *testing.T) {
	t.Parallel()
	h, err := Handler() // what was built, or the placeholder
	if err != nil {
		t.Fatal(err)
	}
	answer := ask(h, http.MethodGet, "/o/acme/credentials")
	page := answer.Body.String()
	if answer.Code != http.StatusOK || !strings.Contains(page, "<title>Claviger") {
		t.Fatalf("GET = %d\n%s", answer.Code, page)
	}
	for _, inline := range []string{"<style", "style=", "onclick=", "javascript:"} {
		if strings.Contains(page, inline) {
			t.Errorf("the page holds %q, which the policy forbids", inline)
		}
	}
	for tag := range strings.SplitSeq(page, "<script") {
		if text, _, ok := strings.Cut(tag, "</script>"); ok && !strings.HasSuffix(strings.TrimSpace(text), ">") {
			t.Errorf("the page holds an inline script: %s", text)
		}
	}
}

func TestThePlaceholderSaysHowToBuildThePages(t *testing.T) {
	t.Parallel()
	text, err := placeholder.ReadFile("placeholder/" + index)
	if err != nil || !strings.Contains(string(text), "make web") {
		t.Errorf("placeholder: %v, %s", err, text)
	}
}
