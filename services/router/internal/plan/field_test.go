package plan_test

import (
	"errors"
	"testing"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
)

// TestAWrongNameIsFoundWhereItStands among the models that a request names, with and without one of its own.
func TestAWrongNameIsFoundWhereItStands(t *testing.T) {
	t.Parallel()
	w := basic()
	for _, c := range []struct {
		model  string
		models []string
		kind   error
		param  string
	}{
		{"nobody/x", []string{"openai/o4"}, completion.ErrModelUnknown, "model"},
		{"openai/o4", []string{"openai/o4", "policy/other"}, completion.ErrPolicyUnknown, "models[1]"},
		{"", []string{"nobody/x", "openai/o4"}, completion.ErrModelUnknown, "models[0]"},
		{"", []string{"openai/o4", "nobody/x"}, completion.ErrModelUnknown, "models[1]"},
	} {
		_, err := planner(w).Make(w, app, &completion.Request{Model: c.model, Routing: completion.Routing{Models: c.models}})
		f, _ := fault.Of(err)
		if !errors.Is(err, c.kind) || f.Facts()["param"] != c.param {
			t.Errorf("%q, then %q: %v names %q, want %q", c.model, c.models, err, f.Facts()["param"], c.param)
		}
	}
}
