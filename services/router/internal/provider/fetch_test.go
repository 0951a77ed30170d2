package provider_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// pictures serves every address with one answer, and keeps what it was asked.
type pictures struct {
	status int
	kind   string
	body   []byte
	err    error
	asked  *http.Request
}

func (p *pictures) RoundTrip(req *http.Request) (*http.Response, error) {
	p.asked = req
	if p.err != nil {
		return nil, p.err
	}
	return &http.Response{
		StatusCode: p.status, Header: http.Header{"Content-Type": {p.kind}, "Location": {"https://elsewhere.example/"}},
		Body: io.NopCloser(bytes.NewReader(p.body)), ContentLength: -1, Request: req,
	}, nil
}

func TestPicturesAreFetchedWithoutCredentials(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]string{"image/webp; x=1": "image/webp", "application/octet-stream": "image/gif", "": "image/gif"} {
		server := &pictures{status: 200, kind: kind, body: []byte("GIF89a...")}
		data, mediaType, err := provider.NewClient(server).Picture(t.Context(), "https://pictures.example/a.gif?x=1")
		if err != nil || mediaType != want || string(data) != "GIF89a..." {
			t.Errorf("%q: %q of %q, %v", kind, data, mediaType, err)
		}
		if len(server.asked.Header) != 3 || server.asked.Header.Get("Authorization") != "" {
			t.Errorf("%q: headers %v", kind, server.asked.Header)
		}
	}
}

func TestWhatIsNoPictureIsRefused(t *testing.T) {
	t.Parallel()
	good := "https://pictures.example/a.gif"
	for name, test := range map[string]struct {
		address string
		server  pictures
	}{
		"scheme":      {"ftp://pictures.example/a.gif", pictures{}},
		"no host":     {"https:///a.gif", pictures{}},
		"a password":  {"https://u:p@pictures.example/a.gif", pictures{}},
		"redirect":    {good, pictures{status: 302}},
		"missing":     {good, pictures{status: 404}},
		"page":        {good, pictures{status: 200, kind: "text/html", body: []byte("<html></html>")}},
		"too large":   {good, pictures{status: 200, kind: "image/png", body: make([]byte, 20<<20+1)}},
		"unreachable": {good, pictures{err: errors.New("no route")}},
		"egress":      {good, pictures{err: fault.New(fault.Denied, "X", "private addresses are not allowed")}},
	} {
		_, _, err := provider.NewClient(&test.server).Picture(t.Context(), test.address)
		f, ok := fault.Of(err)
		if !ok || f.Kind() != fault.Invalid || strings.Contains(f.Message(), "pictures.example") {
			t.Errorf("%s: %v", name, err)
		}
		if test.address != good && test.server.asked != nil {
			t.Errorf("%s: was asked for", name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := provider.NewClient(&pictures{err: context.Canceled}).Picture(ctx, good); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func TestThePicturesOfOneCallAreBounded(t *testing.T) {
	t.Parallel()
	const address = "https://pictures.example/a.gif"
	fetch := func(size, times int) (fetched int, err error) {
		server := &pictures{status: 200, kind: "image/png", body: make([]byte, size)}
		client := provider.NewClient(server).ForCall()
		for range times {
			server.asked = nil
			if _, _, err = client.Picture(t.Context(), address); err != nil {
				return fetched, err
			}
			fetched++
		}
		return fetched, nil
	}
	for name, test := range map[string]struct {
		size, times, want int
		says              string
	}{
		"many":  {10, 40, 32, "32 pictures"},
		"large": {15 << 20, 4, 2, "40 MiB together"},
		"few":   {10 << 20, 4, 4, ""},
	} {
		fetched, err := fetch(test.size, test.times)
		if fetched != test.want || (err == nil) != (test.says == "") {
			t.Errorf("%s: %d pictures were fetched, %v, want %d", name, fetched, err, test.want)
		}
		if f, ok := fault.Of(err); test.says != "" && (!ok || !strings.Contains(f.Message(), test.says)) {
			t.Errorf("%s: %v, want that it says %q", name, err, test.says)
		}
	}
}
