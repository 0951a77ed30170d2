package httpapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/telemetry"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/videos"
	"github.com/claviger/claviger/services/router/internal/media"
)

// Media is the use case of media jobs.
type Media interface {
	Submit(ctx context.Context, through media.Completer, caller completion.Caller, req *completion.Request) (media.View, completion.Served, error)
	Get(ctx context.Context, caller completion.Caller, token string) (media.View, error)
	Cancel(ctx context.Context, caller completion.Caller, token string) (media.View, error)
	Content(ctx context.Context, caller completion.Caller, token string, index int) (media.Content, error)
	Hint(provider, jobID string)
}

var (
	errNoList  = fault.New(fault.Invalid, "JOBS_NOT_LISTED", "jobs are not listed: a router keeps no list of them").Hinting("keep the id that a submit answers; usage shows every job")
	errVariant = fault.New(fault.Invalid, "VARIANT_NOT_SUPPORTED", "only the file itself can be had").Hinting(`leave variant out, or write "video"`).With("param", "variant")
	errIndex   = fault.New(fault.Invalid, "INVALID_FIELD", "index must be a whole number from 0").With("param", "index")
)

// mountVideos adds the routes of media jobs.
func (a *api) mountVideos(mux *http.ServeMux) {
	if a.o.Media == nil {
		return
	}
	for _, r := range []struct {
		pattern string
		methods map[string]func(ctx context.Context, x *exchange, caller completion.Caller) error
	}{
		{"/v1/videos", map[string]func(context.Context, *exchange, completion.Caller) error{
			http.MethodPost: a.submitVideo,
			http.MethodGet:  func(context.Context, *exchange, completion.Caller) error { return errNoList },
		}},
		{"/v1/videos/{id}", map[string]func(context.Context, *exchange, completion.Caller) error{
			http.MethodGet: a.getVideo, http.MethodDelete: a.deleteVideo,
		}},
		{"/v1/videos/{id}/cancel", map[string]func(context.Context, *exchange, completion.Caller) error{http.MethodPost: a.cancelVideo}},
		{"/v1/videos/{id}/content", map[string]func(context.Context, *exchange, completion.Caller) error{http.MethodGet: a.videoContent}},
	} {
		mux.HandleFunc(r.pattern, a.handle(r.pattern, openAI, func(ctx context.Context, x *exchange) {
			serve, ok := r.methods[x.r.Method]
			if !ok {
				for method := range r.methods {
					x.w.Header().Add("Allow", method)
				}
				a.fail(ctx, x, errMethod)
				return
			}
			caller, err := a.caller(x.r)
			if err == nil {
				ctx = telemetry.WithOrganization(ctx, caller.OrgID)
				err = serve(ctx, x, caller)
			}
			if err != nil {
				a.fail(ctx, x, completion.Discreet(err, caller.Provenance))
			}
		}))
	}
}

// submitVideo is POST /v1/videos.
func (a *api) submitVideo(ctx context.Context, x *exchange, caller completion.Caller) error {
	body, err := a.body(x.w, x.r)
	if err != nil {
		return err
	}
	req, err := videos.Decode(x.r.Header.Get("Content-Type"), body)
	if err != nil {
		return err
	}
	if err := addHeaders(x.r, &req, nil); err != nil {
		return err
	}
	req.ID = x.requestID
	view, served, err := a.o.Media.Submit(ctx, a.o.Completions, caller, &req)
	if err != nil {
		return err
	}
	if told, ok := completion.Tell(caller.Provenance, x.requestID, served, true); ok {
		provenance(x.w.Header(), told)
	}
	a.answerVideo(x, &view)
	return nil
}

func (a *api) answerVideo(x *exchange, v *media.View) {
	if !v.Status.Final() {
		// SDKs that poll look for this.
		x.w.Header().Set("Openai-Poll-After-Ms", strconv.FormatInt(videos.PollAfter.Milliseconds(), 10))
	}
	a.answer(x, videos.Append(nil, v))
}

// getVideo is GET /v1/videos/{id}.
func (a *api) getVideo(ctx context.Context, x *exchange, caller completion.Caller) error {
	view, err := a.o.Media.Get(ctx, caller, x.r.PathValue("id"))
	if err == nil {
		a.answerVideo(x, &view)
	}
	return err
}

// cancelVideo is POST /v1/videos/{id}/cancel, which OpenAI has not.
func (a *api) cancelVideo(ctx context.Context, x *exchange, caller completion.Caller) error {
	view, err := a.o.Media.Cancel(ctx, caller, x.r.PathValue("id"))
	if err == nil {
		a.answerVideo(x, &view)
	}
	return err
}

// deleteVideo is DELETE /v1/videos/{id}. Nothing is kept here that could be deleted: a job that runs is
// canceled, and of one that has ended the provider keeps the files as long as it does.
func (a *api) deleteVideo(ctx context.Context, x *exchange, caller completion.Caller) error {
	token := x.r.PathValue("id")
	if _, err := a.o.Media.Cancel(ctx, caller, token); err != nil {
		return err
	}
	a.answer(x, videos.AppendDeleted(nil, token))
	return nil
}

// videoContent is GET /v1/videos/{id}/content, of the first file or the one that index says.
func (a *api) videoContent(ctx context.Context, x *exchange, caller completion.Caller) error {
	query := x.r.URL.Query()
	if v := query.Get("variant"); v != "" && v != "video" {
		return errVariant
	}
	index := 0
	if given := query.Get("index"); given != "" {
		n, err := strconv.Atoi(given)
		if err != nil || n < 0 {
			return errIndex
		}
		index = n
	}
	content, err := a.o.Media.Content(ctx, caller, x.r.PathValue("id"), index)
	if err != nil {
		return err
	}
	defer content.Body.Close()
	h := x.w.Header()
	h.Set("Content-Type", content.MediaType)
	// The bytes are somebody else's: no browser may take them for a page of ours.
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Content-Disposition", "attachment")
	h.Set("X-Request-Id", x.requestID)
	if content.Length >= 0 {
		h.Set("Content-Length", strconv.FormatInt(content.Length, 10))
	}
	x.status = http.StatusOK
	x.w.WriteHeader(http.StatusOK)
	if err := a.copyContent(x, content.Body); err != nil {
		a.log(ctx, x, err)
		panic(http.ErrAbortHandler) // so that a part does not look whole
	}
	return nil
}

// copyContent passes bytes on, each write within its time.
func (a *api) copyContent(x *exchange, from io.Reader) error {
	rc := http.NewResponseController(x.w)
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			_ = rc.SetWriteDeadline(time.Now().Add(writeTime)) // not every writer can; then the connection's end is the bound
			if _, err := x.w.Write(buf[:n]); err != nil {
				return errGone.Because(err)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return media.ErrContentFetch.Because(err)
		}
	}
}

// Webhook says of which job of a provider's a call tells, or why it is not to be listened to.
type Webhook func(ctx context.Context, header http.Header, body []byte) (jobID string, err error)

// maxWebhook bounds what a provider may tell.
const maxWebhook = 1 << 20

// mountHooks adds the routes on which providers tell of the end of jobs. They carry no truth: what they name
// is asked for.
func (a *api) mountHooks(mux *http.ServeMux) {
	for name, webhook := range a.o.Webhooks {
		pattern := "/hooks/" + name
		mux.HandleFunc(pattern, a.handle(pattern, openAI, func(ctx context.Context, x *exchange) {
			if x.r.Method != http.MethodPost {
				x.w.Header().Set("Allow", http.MethodPost)
				a.fail(ctx, x, errMethod)
				return
			}
			x.r.Body = http.MaxBytesReader(x.w, x.r.Body, maxWebhook)
			body, err := a.body(x.w, x.r)
			if err == nil {
				var job string
				if job, err = webhook(ctx, x.r.Header, body); err == nil && job != "" {
					a.o.Media.Hint(name, strings.ToValidUTF8(job, ""))
				}
			}
			if err != nil {
				a.fail(ctx, x, err)
				return
			}
			x.status = http.StatusNoContent
			x.w.WriteHeader(http.StatusNoContent)
		}))
	}
}
