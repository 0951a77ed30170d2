package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
)

const (
	index = "index.html"
	// assets holds files whose names change with their content.
	assets = "assets/"
)

// contentSecurityPolicy lets pages use what comes from their own origin, run no script and no style that
// stands in a page, and be framed by nobody.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; " +
	"connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// types are the kinds of files that a build makes. The system's own table is not asked: it differs from
// machine to machine, and browsers are told to believe us.
var types = map[string]string{
	".html":  "text/html; charset=utf-8",
	".js":    "text/javascript; charset=utf-8",
	".css":   "text/css; charset=utf-8",
	".svg":   "image/svg+xml",
	".png":   "image/png",
	".ico":   "image/x-icon",
	".woff2": "font/woff2",
	".txt":   "text/plain; charset=utf-8",
	".json":  "application/json",
}

// file is one built file.
type file struct {
	content      []byte
	contentType  string
	cacheControl string
	etag         string
	// zipped compresses the content when it is first asked for, and once.
	zipped func() []byte
}

// handler serves the files by their path without the leading slash.
type handler map[string]*file

// Handler serves the pages. Every path that does not look like a file is a page: what it shows is
// decided in the browser.
func Handler() (http.Handler, error) {
	built, err := pages()
	if err != nil {
		return nil, err
	}
	return handlerOf(built)
}

func handlerOf(built fs.FS) (http.Handler, error) {
	h := handler{}
	err := fs.WalkDir(built, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name != "." && strings.HasPrefix(entry.Name(), "."): // what tools leave for themselves
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.IsDir():
			return nil
		}
		content, err := fs.ReadFile(built, name)
		if err != nil {
			return err
		}
		h[name] = newFile(name, content)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read pages: %w", err)
	}
	if h[index] == nil {
		return nil, fmt.Errorf("read pages: there is no %s", index)
	}
	return secured(h), nil
}

func newFile(name string, content []byte) *file {
	sum := sha256.Sum256(content)
	f := &file{
		content: content, contentType: types[path.Ext(name)], cacheControl: "no-cache",
		etag: `"` + hex.EncodeToString(sum[:12]) + `"`,
	}
	if strings.HasPrefix(name, assets) {
		f.cacheControl = "public, max-age=31536000, immutable"
	}
	if f.contentType == "" {
		f.contentType = "application/octet-stream"
	}
	f.zipped = sync.OnceValue(func() []byte { return compress(content) })
	return f
}

// compress returns content as gzip, nil if that saves nothing worth having.
func compress(content []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level exists
	_, _ = w.Write(content)                               // a buffer takes everything
	_ = w.Close()
	if b.Len() > len(content)*9/10 {
		return nil
	}
	return b.Bytes()
}

// secured sets what browsers have to know about every answer.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentSecurityPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

// ServeHTTP answers with a file, or with the page for paths that only the browser understands.
func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	found := h[name]
	if found == nil && isPage(name) {
		found = h[index]
	}
	switch {
	case found == nil:
		http.Error(w, "there is nothing here", http.StatusNotFound)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "the pages are only read, with GET or HEAD", http.StatusMethodNotAllowed)
	default:
		found.serve(w, r)
	}
}

func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", f.contentType)
	h.Set("Cache-Control", f.cacheControl)
	h.Set("Vary", "Accept-Encoding")
	content, etag := f.content, f.etag
	if acceptsGzip(r.Header) {
		if zipped := f.zipped(); zipped != nil {
			h.Set("Content-Encoding", "gzip")
			content, etag = zipped, strings.TrimSuffix(etag, `"`)+`-gzip"`
		}
	}
	h.Set("ETag", etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// isPage tells the paths of pages from those of files and of procedures. A page's path may hold names
// with a dot in them, such as a model's, but does not end as a file does.
func isPage(name string) bool {
	first, _, _ := strings.Cut(name, "/")
	if strings.Contains(first, ".") || strings.HasPrefix(name, assets) {
		return false
	}
	ext := strings.TrimPrefix(path.Ext(name), ".")
	return ext == "" || len(ext) > 5 || ext[0] < 'A' // ".1" ends a version, ".js" a file
}

// acceptsGzip reads Accept-Encoding as far as it is about gzip.
func acceptsGzip(header http.Header) bool {
	for _, line := range header.Values("Accept-Encoding") {
		for part := range strings.SplitSeq(line, ",") {
			coding, parameters, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
				weight, found := strings.CutPrefix(strings.ReplaceAll(parameters, " ", ""), "q=")
				return !found || strings.Trim(weight, "0.") != ""
			}
		}
	}
	return false
}
