package httpapi

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/claviger/claviger/pkg/telemetry"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/anthropic"
	"github.com/claviger/claviger/services/router/internal/dialect/openai"
)

// familyOf tells whose SDK is calling on a route that both vendors have.
func familyOf(r *http.Request) *family {
	if r.Header.Get(headerVersion) != "" {
		return anthropicFamily
	}
	return openAI
}

// models is GET /v1/models, in the form of the vendor whose SDK asks.
func (a *api) models(ctx context.Context, x *exchange) {
	names, ok := a.named(ctx, x)
	if !ok {
		return
	}
	if x.of == anthropicFamily {
		names, more, err := page(names, x.r.URL.Query())
		if err != nil {
			a.fail(ctx, x, err)
			return
		}
		list := make([]anthropic.Model, len(names))
		for i, name := range names {
			list[i] = anthropic.Model{ID: name, Name: name}
		}
		a.answer(x, anthropic.AppendModels(nil, list, more))
		return
	}
	list := make([]openai.Model, len(names))
	for i, name := range names {
		list[i] = described(name)
	}
	a.answer(x, openai.AppendModels(nil, list))
}

// maxModel is how long a model's name can be. What is longer is something else, such as a job's token.
const maxModel = 256

// model is GET /v1/models/{model}.
func (a *api) model(ctx context.Context, x *exchange) {
	names, ok := a.named(ctx, x)
	if !ok {
		return
	}
	asked := x.r.PathValue("model")
	switch {
	case len(asked) > maxModel: // not repeated, since it is logged
		a.fail(ctx, x, completion.ErrModelUnknown.With("param", "model"))
	case !slices.Contains(names, asked):
		a.fail(ctx, x, completion.ErrModelUnknown.Saying("there is no model %q", asked).With("param", "model"))
	case x.of == anthropicFamily:
		a.answer(x, anthropic.AppendModel(nil, anthropic.Model{ID: asked, Name: asked}))
	default:
		a.answer(x, openai.AppendModel(nil, described(asked)))
	}
}

func (a *api) named(ctx context.Context, x *exchange) (names []string, ok bool) {
	x.of = familyOf(x.r)
	if x.r.Method != http.MethodGet {
		x.w.Header().Set("Allow", http.MethodGet)
		a.fail(ctx, x, errMethod)
		return nil, false
	}
	caller, err := a.caller(x.r)
	if err == nil {
		ctx = telemetry.WithOrganization(ctx, caller.OrgID)
		names, err = a.o.Models(caller)
	}
	if err != nil {
		a.fail(ctx, x, err)
		return nil, false
	}
	return names, true
}

// maxPage bounds a page of models.
const maxPage = 1000

// page is the part of a list that a query asks for. Without a limit it is all of it: there is nothing to gain
// from asking twice.
func page(names []string, q url.Values) (part []string, more bool, err error) {
	limit := maxPage
	if given := q.Get("limit"); given != "" {
		if limit, err = strconv.Atoi(given); err != nil || limit < 1 || limit > maxPage {
			return nil, false, dialect.Invalid("limit", "must be a number from 1 to 1000")
		}
	}
	if before := q.Get("before_id"); before != "" {
		at := max(0, slices.Index(names, before))
		return names[max(0, at-limit):at], at > limit, nil
	}
	if after := q.Get("after_id"); after != "" {
		names = names[slices.Index(names, after)+1:]
	}
	return names[:min(limit, len(names))], limit < len(names), nil
}

// described is a model as the list tells it. Nobody can say when most were made; SDKs want a number.
func described(name string) openai.Model {
	owner, _, _ := strings.Cut(name, "/")
	return openai.Model{ID: name, OwnedBy: owner}
}

func (a *api) answer(x *exchange, body []byte) {
	h := x.w.Header()
	h.Set("Content-Type", jsonType)
	h.Set("X-Request-Id", x.requestID)
	if name := x.of.idHeader; name != "" {
		h.Set(name, x.requestID)
	}
	x.status = http.StatusOK
	_, _ = x.w.Write(body) // the caller may be gone by now
}
