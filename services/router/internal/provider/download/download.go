// Package download gets files from where a provider says that they are. Such an address comes from outside:
// it is called without any credential, through the guard alone, and not followed any further.
package download

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/claviger/claviger/services/router/internal/media"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// MaxBytes bounds a file.
const MaxBytes = 2 << 30

var (
	errStatus   = errors.New("the address answers with another status than 200")
	errTooLarge = errors.New("the file is larger than the router passes on")
	errInline   = errors.New("the file in the address cannot be read")
)

// Fetcher gets files over a client, which must guard where calls go and follow no redirect.
type Fetcher struct{ client *http.Client }

var _ media.Fetcher = (*Fetcher)(nil)

// New returns a fetcher.
func New(client *http.Client) *Fetcher { return &Fetcher{client} }

// Fetch begins to get a file. See media.Fetcher.
func (f *Fetcher) Fetch(ctx context.Context, url string) (media.Content, error) {
	if rest, ok := strings.CutPrefix(url, "data:"); ok {
		return inline(rest)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return media.Content{}, errInline
	}
	req.Header.Set("User-Agent", provider.UserAgent)
	req.Header.Set("Accept", "*/*")
	req.Header.Set("Accept-Encoding", "identity")
	res, err := f.client.Do(req)
	if err != nil {
		return media.Content{}, err
	}
	switch {
	case res.StatusCode != http.StatusOK:
		err = errStatus
	case res.ContentLength > MaxBytes:
		err = errTooLarge
	}
	if err != nil {
		return media.Content{}, errors.Join(err, res.Body.Close())
	}
	return media.Content{Body: &bounded{res.Body, MaxBytes}, MediaType: typeOf(res.Header.Get("Content-Type")), Length: res.ContentLength}, nil
}

// typeOf is a media type that may be passed on: what a browser would run as a page of ours is not.
func typeOf(given string) string {
	parsed, _, err := mime.ParseMediaType(given)
	if err != nil {
		return "application/octet-stream"
	}
	for _, kind := range []string{"video/", "image/", "audio/"} {
		if strings.HasPrefix(parsed, kind) && parsed != "image/svg+xml" {
			return parsed
		}
	}
	return "application/octet-stream"
}

// bounded ends a file that has no end with an error.
type bounded struct {
	io.ReadCloser
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

// inline reads a file that stands in its address.
func inline(rest string) (media.Content, error) {
	head, body, ok := strings.Cut(rest, ",")
	kind, isBase64 := strings.CutSuffix(head, ";base64")
	if !ok || !isBase64 {
		return media.Content{}, errInline
	}
	data, err := base64.StdEncoding.DecodeString(body)
	if err != nil {
		return media.Content{}, errInline
	}
	return media.Content{Body: io.NopCloser(bytes.NewReader(data)), MediaType: typeOf(kind), Length: int64(len(data))}, nil
}
