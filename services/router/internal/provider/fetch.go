package provider

import (
	"context"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/claviger/claviger/pkg/fault"
)

const (
	// maxPicture bounds a picture that is fetched for a caller, maxPictures how many are for one call, and
	// maxPictureBytes what they are together: a body of addresses is small, what stands there is not.
	maxPicture      = 20 << 20
	maxPictures     = 32
	maxPictureBytes = 40 << 20
	// fetchTime bounds the time that it may take: the caller waits for the model besides.
	fetchTime = 15 * time.Second
)

var errPicture = fault.New(fault.Invalid, "PICTURE_NOT_FETCHED", "a picture could not be fetched").With("param", "messages").
	Hinting("this provider takes no addresses of pictures, so the router fetches them: check the address, or send the picture itself as a data URL")

// album counts the pictures of one call.
type album struct{ pictures, bytes int }

// ForCall returns the client with bounds of its own for the pictures of one call. It is for one goroutine.
func (c Client) ForCall() Client {
	c.album = &album{}
	return c
}

// Picture fetches a picture by its address, for vendors that do not: over the guarded transport, without
// any credential, and without following redirects.
func (c Client) Picture(ctx context.Context, address string) (data []byte, mediaType string, err error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || u.User != nil {
		return nil, "", errPicture.Saying("the address of a picture is malformed")
	}
	limit := maxPicture
	if a := c.album; a != nil {
		if a.pictures++; a.pictures > maxPictures {
			return nil, "", errPicture.Saying("a call may have %d pictures by address that the router fetches", maxPictures)
		}
		limit = min(limit, maxPictureBytes-a.bytes)
	}
	timed, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	req, err := http.NewRequestWithContext(timed, http.MethodGet, address, nil)
	if err != nil {
		return nil, "", errPicture.Saying("the address of a picture is malformed")
	}
	req.Header = http.Header{"User-Agent": {UserAgent}, "Accept": {"image/*"}, "Accept-Encoding": {"identity"}}
	res, err := c.transport.RoundTrip(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, "", ctx.Err()
		}
		if f, isFault := fault.Of(err); isFault { // what egress refuses, it says why
			return nil, "", errPicture.Saying("a picture could not be fetched: %s", f.Message())
		}
		return nil, "", errPicture.Saying("a picture could not be fetched: its server cannot be reached").Because(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, "", errPicture.Saying("a picture could not be fetched: its server answers %d", res.StatusCode)
	}
	data, err = io.ReadAll(io.LimitReader(res.Body, int64(limit)+1))
	switch {
	case err != nil:
		return nil, "", errPicture.Saying("a picture could not be fetched: its server broke off").Because(err)
	case len(data) > maxPicture:
		return nil, "", errPicture.Saying("a picture could not be fetched: it is larger than %d MiB", maxPicture>>20)
	case len(data) > limit:
		return nil, "", errPicture.Saying("the pictures by address of a call are larger than %d MiB together", maxPictureBytes>>20)
	}
	if c.album != nil {
		c.album.bytes += len(data)
	}
	mediaType, _, _ = mime.ParseMediaType(res.Header.Get("Content-Type"))
	if !strings.HasPrefix(mediaType, "image/") {
		mediaType = http.DetectContentType(data)
	}
	if !strings.HasPrefix(mediaType, "image/") {
		return nil, "", errPicture.Saying("what stands at the address of a picture is none")
	}
	return data, mediaType, nil
}
