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
	"net/url"
	"strings"
	"time"

	"github.com/claviger/claviger/services/router/internal/media"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// MaxBytes bounds a file.
const MaxBytes = 2 << 30

var (
	errStatus   = errors.New("the address answers with another status than 200")
	errTooLarge = errors.New("the file is larger than the router passes on")
	errInline   = errors.New("the file in the address cannot be read")
	errAddress  = errors.New("the address is none")
)

// Fetcher gets files over a client, which must guard where calls go and follow no redirect.
type Fetcher struct {
	client *http.Client
	idle   time.Duration
}

var _ media.Fetcher = (*Fetcher)(nil)

// New returns a fetcher that gives up on a file of which nothing comes for as long as idle.
func New(client *http.Client, idle time.Duration) *Fetcher { return &Fetcher{client, idle} }

// Fetch begins to get a file. See media.Fetcher.
func (f *Fetcher) Fetch(ctx context.Context, address string) (media.Content, error) {
	if rest, ok := strings.CutPrefix(address, "data:"); ok {
		return inline(rest)
	}
	ctx, cut := context.WithCancel(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		cut()
		return media.Content{}, errAddress
	}
	alarm := time.AfterFunc(f.idle, cut)
	req.Header.Set("User-Agent", provider.UserAgent)
	req.Header.Set("Accept", "*/*")
	req.Header.Set("Accept-Encoding", "identity")
	res, err := f.client.Do(req) //nolint:bodyclose // the content's, which its reader closes
	if err != nil {
		alarm.Stop()
		cut()
		return media.Content{}, withoutAddress(err)
	}
	switch {
	case res.StatusCode != http.StatusOK:
		err = errStatus
	case res.ContentLength > MaxBytes:
		err = errTooLarge
	}
	body := &bounded{ReadCloser: res.Body, left: MaxBytes, alarm: alarm, idle: f.idle, cut: cut}
	if err != nil {
		return media.Content{}, errors.Join(err, body.Close())
	}
	return media.Content{Body: body, MediaType: typeOf(res.Header.Get("Content-Type")), Length: res.ContentLength}, nil
}

// withoutAddress takes the address out of an error, which is logged: who knows it gets the file.
func withoutAddress(err error) error {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return failed.Err
	}
	return err
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

// bounded ends a file that has no end, or that does not go on, with an error.
type bounded struct {
	io.ReadCloser
	left  int64
	alarm *time.Timer
	idle  time.Duration
	cut   context.CancelFunc
}

// Close gives the connection back.
func (b *bounded) Close() error {
	b.alarm.Stop()
	err := b.ReadCloser.Close()
	b.cut()
	return err
}

// Read waits for as long as idle. Between two reads it is the caller that pauses.
func (b *bounded) Read(p []byte) (int, error) {
	b.alarm.Reset(b.idle)
	n, err := b.ReadCloser.Read(p)
	b.alarm.Stop()
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
