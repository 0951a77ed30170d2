package completion_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// told is a caller who is told in errors which credential it was.
var told = completion.Caller{Provenance: completion.ProvenanceBasic}

// TestACallerWhoIsToldNothingIsToldWhatHappenedAndNoNames goes over all classes of errors. What is told at the other
// levels is the error itself.
func TestACallerWhoIsToldNothingIsToldWhatHappenedAndNoNames(t *testing.T) {
	t.Parallel()
	target := &completion.Target{
		Provider: "acmeai", Model: "acmeai/m", Class: usage.Own, Credential: &completion.Credential{Label: "prod"}, PolicyName: "main",
	}
	for _, h := range completion.Handlings() {
		provider := &completion.ProviderError{Class: h.Class, Message: "words of the provider", Status: 418}
		err := error(completion.Fault(provider, target).With("tried", "acmeai/m with credential prod"))
		for _, level := range []completion.Provenance{completion.ProvenanceBasic, completion.ProvenanceFull} {
			if got := completion.Discreet(err, level); !errors.Is(got, err) || got.Error() != err.Error() {
				t.Errorf("%s at level %d: %v, want it as it is", h.Class, level, got)
			}
		}
		got := completion.Discreet(fmt.Errorf("face: %w", err), completion.ProvenanceNone)
		f, ok := fault.Of(got)
		if !ok || f.Reason() != h.Fault.Reason() || f.Hint() != h.Fault.Hint() || f.Facts()["error_class"] != string(h.Class) {
			t.Errorf("%s: %v, want the same reason, hint and class of error", h.Class, got)
			continue
		}
		shown := fmt.Sprint(f.Message(), f.Hint(), f.Facts())
		for _, name := range []string{"acmeai", "prod", "main", "own"} {
			for fact, value := range f.Facts() {
				if value == name {
					t.Errorf("%s: the fact %s tells %s", h.Class, fact, value)
				}
			}
			if name != "own" && strings.Contains(shown, name) {
				t.Errorf("%s: %s tells %s", h.Class, shown, name)
			}
		}
		if mends := h.Fault.Blame() == fault.Caller; strings.Contains(shown, provider.Message) != mends {
			t.Errorf("%s: %s; the provider's words are for those who can mend the request: %v", h.Class, shown, mends)
		}
		if !strings.Contains(got.Error(), "acmeai") {
			t.Errorf("%s: the log has %v, want all of it", h.Class, got)
		}
		if e, ok := errors.AsType[*completion.ProviderError](got); !ok || e != provider {
			t.Errorf("%s: the provider's failure is lost, which says the status", h.Class)
		}
	}
}

func TestWhatNamesNobodyIsToldAsItIs(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		nil, errors.New("x"), completion.ErrModelUnknown.Saying("there is no model gpt-0"), completion.ErrOverloaded, completion.ErrModelRequired,
	} {
		if got := completion.Discreet(err, completion.ProvenanceNone); fmt.Sprint(got) != fmt.Sprint(err) {
			t.Errorf("%v became %v", err, got)
		}
	}
}
