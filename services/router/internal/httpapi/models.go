package httpapi

import (
	"context"
	"net/http"
	"strings"

	"github.com/claviger/claviger/pkg/telemetry"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/openai"
)

// models is GET /v1/models.
func (a *api) models(ctx context.Context, x *exchange) {
	names, ok := a.named(ctx, x)
	if !ok {
		return
	}
	list := make([]openai.Model, 0, len(names))
	for _, name := range names {
		list = append(list, a.described(name))
	}
	a.answer(x, openai.AppendModels(nil, list))
}

// model is GET /v1/models/{model}.
func (a *api) model(ctx context.Context, x *exchange) {
	names, ok := a.named(ctx, x)
	if !ok {
		return
	}
	asked := x.r.PathValue("model")
	for _, name := range names {
		if name == asked {
			a.answer(x, openai.AppendModel(nil, a.described(name)))
			return
		}
	}
	a.fail(ctx, x, completion.ErrModelUnknown.Saying("there is no model %q", asked).With("param", "model"))
}

func (a *api) named(ctx context.Context, x *exchange) (names []string, ok bool) {
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

// described is a model as the list tells it. Nobody can say when most were made; SDKs want a number.
func (a *api) described(name string) openai.Model {
	owner, _, _ := strings.Cut(name, "/")
	return openai.Model{ID: name, OwnedBy: owner}
}

func (a *api) answer(x *exchange, body []byte) {
	x.w.Header().Set("Content-Type", jsonType)
	x.w.Header().Set("X-Request-Id", x.requestID)
	x.status = http.StatusOK
	_, _ = x.w.Write(body) // the caller may be gone by now
}
