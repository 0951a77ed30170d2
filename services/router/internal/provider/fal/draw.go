package fal

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/media"
	"github.com/claviger/claviger/services/router/internal/provider"
)

const (
	// firstPause and longestPause are between questions for pictures.
	firstPause   = 300 * time.Millisecond
	longestPause = 3 * time.Second
	// maxDraw is how long pictures are waited for.
	maxDraw = 15 * time.Minute
	// maxMisses is how many questions may fail in a row.
	maxMisses = 5
	// cancelTime bounds the cancellation of a job whose caller has left.
	cancelTime = 3 * time.Second
	// maxBytes bounds the pictures of an answer together that are fetched for their bytes.
	maxBytes = 64 << 20
)

// draw submits pictures and answers them.
func (p *Provider) draw(ctx context.Context, call completion.Call, endpoint string, prompt *completion.Prompt) (completion.Answer, error) {
	body, err := imageInput(prompt)
	if err != nil {
		return nil, err
	}
	job, head, err := p.submit(ctx, call, endpoint, body, "")
	if err != nil {
		return nil, err
	}
	d := &drawing{p: p, job: job, head: head, bytes: prompt.Image.Base64, began: p.now(), pause: firstPause}
	d.ctx, d.stop = context.WithCancel(ctx)
	d.at = media.At{BaseURL: call.BaseURL, Credential: call.Credential, Secret: call.Secret, ID: job.ID, Ref: job.Ref, Model: call.Model}
	return d, nil
}

// drawing is the answer of a call that waits for its pictures.
type drawing struct {
	p      *Provider
	ctx    context.Context //nolint:containedctx // the call's, whose end cancels the job
	stop   context.CancelFunc
	at     media.At
	job    *completion.Job
	head   completion.AnswerHead
	bytes  bool
	began  time.Time
	pause  time.Duration
	misses int
	// over says that the job runs no more, told that its pictures were returned.
	over atomic.Bool
	told bool
}

// Head says what the queue named.
func (d *drawing) Head() completion.AnswerHead { return d.head }

// Close cancels the job if it still runs.
func (d *drawing) Close() error {
	d.stop()
	if d.over.Swap(true) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.ctx), cancelTime)
	defer cancel()
	if err := d.p.Cancel(ctx, d.at); err != nil && !errors.Is(err, media.ErrEnded) && !errors.Is(err, media.ErrUnknown) {
		return err
	}
	return nil
}

// Next asks once whether the pictures are there. While they are not it returns empty chunks: the provider is
// alive.
func (d *drawing) Next() (completion.Chunk, error) {
	if d.told {
		return completion.Chunk{}, io.EOF
	}
	if err := d.wait(); err != nil {
		return completion.Chunk{}, err
	}
	state, err := d.p.Poll(d.ctx, d.at)
	switch {
	case d.ctx.Err() != nil:
		return completion.Chunk{}, provider.Interrupted(d.ctx, d.lost(completion.Network, "the call ended before the pictures were there"))
	case err != nil:
		return d.missed(err)
	case state.Status == media.Failed:
		d.over.Store(true)
		return completion.Chunk{}, state.Failure
	case state.Status != media.Completed:
		d.misses = 0
		return completion.Chunk{}, nil
	}
	d.over.Store(true)
	return d.pictures(state)
}

// wait pauses before a question, a little longer each time.
func (d *drawing) wait() error {
	if d.p.now().Sub(d.began) > maxDraw {
		return d.lost(completion.TimedOut, "the pictures took too long")
	}
	timer := time.NewTimer(d.pause)
	defer timer.Stop()
	d.pause = min(d.pause*3/2, longestPause)
	select {
	case <-timer.C:
		return nil
	case <-d.ctx.Done():
		return provider.Interrupted(d.ctx, d.lost(completion.Network, "the call ended before the pictures were there"))
	}
}

// missed tells a question that failed from a job that did.
func (d *drawing) missed(err error) (completion.Chunk, error) {
	failure, ok := errors.AsType[*completion.ProviderError](err)
	if !ok {
		failure = d.lost(completion.ServerError, "the provider does not know its own job")
	}
	failure.Sent, failure.Unbilled = true, false
	final := failure.Class == completion.AuthInvalid || failure.Class == completion.AuthLimited
	if d.misses++; final || d.misses >= maxMisses {
		return completion.Chunk{}, failure
	}
	return completion.Chunk{}, nil
}

func (d *drawing) lost(class completion.Class, message string) *completion.ProviderError {
	return &completion.ProviderError{Class: class, Message: message, RequestID: d.job.ID, Sent: true}
}

// pictures are the answer.
func (d *drawing) pictures(state media.State) (completion.Chunk, error) {
	out := completion.Chunk{Content: true, Pieces: 1, Finish: completion.Stop, Usage: state.Usage, Result: &completion.Result{}}
	if state.Filtered {
		out.Finish = completion.ContentFilter
	}
	left := maxBytes
	for _, o := range state.Outputs {
		picture := completion.Picture{URL: o.URL, MediaType: o.MediaType}
		if data, kind, ok := inline(o.URL); ok {
			picture = completion.Picture{Data: data, MediaType: kind}
		} else if d.bytes {
			data, err := d.p.download(d.ctx, o.URL, left)
			if err != nil {
				return completion.Chunk{}, err
			}
			left -= len(data)
			picture = completion.Picture{Data: data, MediaType: o.MediaType}
		}
		out.Result.Pictures = append(out.Result.Pictures, picture)
	}
	if len(out.Result.Pictures) == 0 {
		return completion.Chunk{}, d.lost(completion.ServerError, "the provider's answer holds no pictures; is this a model that draws?")
	}
	d.told = true
	return out, nil
}

// download gets a picture's bytes from where the answer says that they are, without the key.
func (p *Provider) download(ctx context.Context, address string, limit int) ([]byte, error) {
	res, err := p.client.Send(ctx, provider.Outgoing{Method: http.MethodGet, URL: address, Header: http.Header{"Accept": {"image/*"}}})
	if err != nil {
		return nil, spent(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, res.Failed("the picture is not where the provider says")
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, int64(limit)+1))
	switch {
	case err != nil:
		return nil, res.Broken(err)
	case len(data) > limit:
		return nil, res.Failed("the pictures are larger than the router takes")
	}
	return data, nil
}

// spent marks an error that came after the pictures were made, and have to be paid.
func spent(err error) error {
	if failure, ok := errors.AsType[*completion.ProviderError](err); ok {
		failure.Sent = true
	}
	return err
}
