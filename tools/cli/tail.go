package cli

import (
	"context"
	"errors"
	"io"
	"time"

	"connectrpc.com/connect/v2"

	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
)

type tailCommand struct {
	Common  common      `embed:""`
	Filters filterFlags `embed:""`
	Errors  bool        `help:"Only attempts that did not end well."`
	Limit   int         `placeholder:"N" help:"End after so many attempts."`
}

// Help is the long help.
func (tailCommand) Help() string {
	return `One line per attempt, a moment after it ended: '~' marks counts that are not the provider's own final
ones. A connection that breaks off is taken up again where it ended, and nothing is missed.
An attempt whose counts are corrected later is shown again. Ctrl-C ends it.

With --output json, each attempt is one object on one line.

Examples:

    claviger tail
    claviger tail --errors --model openai/gpt-4o-mini
    claviger tail --tag team=search -o json | jq -r '.event.requestId'`
}

const (
	// quietest is how long a stream may be silent: the server sends a sign of life every 15 seconds.
	quietest = 45 * time.Second
	// patience is how long it goes on trying while the installation is away.
	patience = 10 * time.Minute
)

// Run follows.
func (c *tailCommand) Run(ctx context.Context, t *terminal) error {
	if c.Limit < 0 {
		return usagef("--limit must not be negative")
	}
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	filters, err := c.Filters.filters(ctx, api)
	if err != nil {
		return err
	}
	f := &follower{
		api: api, list: newAttemptList(t, api, false), limit: c.Limit,
		request: &meteringv1.WatchRequestsRequest{Filters: filters, ErrorsOnly: c.Errors},
	}
	err = f.follow(ctx, t)
	if ctx.Err() != nil { // it was told to end
		return nil
	}
	return err
}

type follower struct {
	api     *client
	list    *attemptList
	limit   int
	request *meteringv1.WatchRequestsRequest
	begun   bool
}

var errEnough = errors.New("enough attempts")

// follow takes one stream after the other until there is enough, or something does not heal.
func (f *follower) follow(ctx context.Context, t *terminal) error {
	var awaySince time.Time
	for failures := 0; ; {
		before := f.request.GetResumeToken()
		err := f.stream(ctx)
		switch {
		case errors.Is(err, errEnough):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case f.request.GetResumeToken() != before: // it worked for a while
			failures, awaySince = 0, time.Time{}
		}
		if err == nil { // a stream ends before its access token does
			if f.request.GetResumeToken() == before {
				failures++
			}
			f.api.forget()
		} else {
			if reason(err) == "TOKEN_EXPIRED" {
				f.api.forget()
			} else if !transient(err) {
				return err
			}
			failures++
			if awaySince.IsZero() {
				awaySince = time.Now()
				t.note("The connection broke off (%s); trying again …", explain(err).Message)
			} else if time.Since(awaySince) > patience {
				return err
			}
		}
		if failures == 0 {
			continue
		}
		if err := pause(ctx, delay(min(failures, tries), err)); err != nil {
			return err
		}
	}
}

// stream shows one stream. It returns nil when the server ended it as it should.
func (f *follower) stream(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// A connection that died without a word is noticed by the signs of life that do not come.
	silence := time.AfterFunc(quietest, func() { cancel(io.ErrUnexpectedEOF) })
	defer silence.Stop()
	ctx, info := connect.NewClientContext(ctx)
	failed := func(err error) error {
		if errors.Is(context.Cause(ctx), io.ErrUnexpectedEOF) {
			err = io.ErrUnexpectedEOF
		}
		return f.api.failed(err, info)
	}
	stream, err := f.api.usage.WatchRequests(ctx, f.request)
	if err != nil {
		return failed(err)
	}
	defer stream.Close() //nolint:errcheck // it is read, not written
	for {
		batch, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return failed(err)
		}
		silence.Reset(quietest)
		if !f.begun { // not before it is sure that there is something to follow
			f.begun = true
			if err := f.list.begin(); err != nil {
				return err
			}
		}
		for _, attempt := range batch.GetAttempts() {
			if err := f.list.add(ctx, attempt); err != nil {
				return err
			}
			if f.limit > 0 && f.list.count == f.limit {
				return errEnough
			}
		}
		if batch.GetResumeToken() != "" {
			f.request.ResumeToken = batch.GetResumeToken()
		}
	}
}
