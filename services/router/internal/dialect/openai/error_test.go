package openai_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/openai"
)

// envelope is what SDKs read of an error, and ours beside it.
type envelope struct {
	Error struct {
		Message   string            `json:"message"`
		Type      string            `json:"type"`
		Param     *string           `json:"param"`
		Code      *string           `json:"code"`
		Blame     string            `json:"blame"`
		Hint      string            `json:"hint"`
		RequestID string            `json:"request_id"`
		Details   map[string]string `json:"details"`
	} `json:"error"`
}

func read(t *testing.T, f openai.Failure) envelope {
	t.Helper()
	var e envelope
	if err := json.Unmarshal(f.AppendBody(nil), &e); err != nil {
		t.Fatalf("%s: %v", f.AppendBody(nil), err)
	}
	if e.Error.Message == "" || e.Error.Type == "" || e.Error.Blame == "" {
		t.Errorf("incomplete envelope %s", f.AppendBody(nil))
	}
	return e
}

func header(f openai.Failure) http.Header {
	_, h := f.Head()
	return h
}

func TestFaultsBecomeTheRightStatus(t *testing.T) {
	t.Parallel()
	for kind, want := range map[fault.Kind]int{
		fault.Internal: 500, fault.Invalid: 400, fault.Unauthenticated: 401, fault.Denied: 403, fault.NotFound: 404, fault.Conflict: 409,
		fault.Precondition: 422, fault.Exhausted: 429, fault.Unavailable: 503, fault.Canceled: 499, fault.Timeout: 504,
	} {
		err := fault.New(kind, "SOME_REASON", "it happened").With("param", "a.b").With("limit", "daily").Hinting("do this").Because(errors.New("secret cause"))
		f := openai.Fail(fmt.Errorf("while: %w", err), "req_1")
		e := read(t, f)
		if f.Status != want || *e.Error.Code != "some_reason" || e.Error.Message != "it happened" || *e.Error.Param != "a.b" || e.Error.Hint != "do this" ||
			e.Error.RequestID != "req_1" || !cmp.Equal(e.Error.Details, map[string]string{"limit": "daily"}) {
			t.Errorf("kind %d: status %d, want %d; %+v", kind, f.Status, want, e)
		}
	}
	if f := openai.Fail(fault.New(fault.Invalid, "BODY_TOO_LARGE", "x"), ""); f.Status != 413 {
		t.Errorf("too large: %d", f.Status)
	}
}

func TestOtherErrorsSayNothing(t *testing.T) {
	t.Parallel()
	for want, err := range map[int]error{
		500: errors.New("dial tcp 10.0.0.1: secret"), 499: fmt.Errorf("x: %w", context.Canceled), 504: fmt.Errorf("x: %w", context.DeadlineExceeded),
	} {
		f := openai.Fail(err, "")
		if f.Status != want || strings.Contains(string(f.AppendBody(nil)), "secret") {
			t.Errorf("%v: %d %s", err, f.Status, f.AppendBody(nil))
		}
		read(t, f)
	}
}

func TestProviderErrorsBecomeTheRightStatus(t *testing.T) {
	t.Parallel()
	for class, want := range map[completion.Class]struct {
		status  int
		blame   fault.Blame
		noRetry bool
	}{
		completion.InvalidRequest: {400, fault.Caller, false}, completion.TooLarge: {400, fault.Caller, false},
		completion.ContentRefused: {400, fault.Caller, false}, completion.Unsupported: {400, fault.Caller, false},
		completion.AuthInvalid: {502, fault.Provider, true}, completion.AuthLimited: {502, fault.Provider, true},
		completion.CredentialError: {502, fault.Us, true}, completion.QuotaExhausted: {429, fault.Provider, true},
		completion.RateLimited: {429, fault.Provider, false}, completion.Overloaded: {503, fault.Provider, false},
		completion.ServerError: {502, fault.Provider, false}, completion.TimedOut: {504, fault.Provider, false},
		completion.Network: {502, fault.Provider, false}, completion.ModelNotFound: {404, fault.Provider, false},
	} {
		failed := &completion.ProviderError{Class: class, Status: 418, Message: "so it is", RetryAfter: 1500 * time.Millisecond}
		f := openai.Fail(failed, "req_1")
		e := read(t, f)
		if f.Status != want.status || e.Error.Blame != string(want.blame) || f.NoRetry != want.noRetry {
			t.Errorf("%s: %d %+v, want %+v", class, f.Status, e, want)
		}
		h := header(f)
		if wait := want.blame != fault.Caller; wait != (h.Get("Retry-After") == "2") || wait != (h.Get("Retry-After-Ms") == "1500") || h.Get("X-Request-Id") != "req_1" || (h.Get("X-Should-Retry") == "false") != want.noRetry {
			t.Errorf("%s: headers %v", class, h)
		}
	}
}

func TestCallersErrorsKeepTheProvidersWords(t *testing.T) {
	t.Parallel()
	failed := &completion.ProviderError{
		Class: completion.InvalidRequest, Status: 400, Type: "invalid_request_error", Code: "invalid_value", Param: "temperature", Message: "Invalid 'temperature'",
	}
	e := read(t, openai.Fail(completion.ErrBrokenOff.With("attempts", "2").Because(failed), ""))
	if e.Error.Message != "Invalid 'temperature'" || *e.Error.Param != "temperature" || *e.Error.Code != "invalid_value" || e.Error.Details["attempts"] != "2" {
		t.Errorf("%+v", e)
	}
	failed = &completion.ProviderError{Class: completion.TooLarge, Status: 413, Message: "too large"}
	if f := openai.Fail(failed, ""); f.Status != 413 {
		t.Errorf("status %d, want 413", f.Status)
	}
}

func TestRejectedCredentialIsNotTheCallersKey(t *testing.T) {
	t.Parallel()
	failed := &completion.ProviderError{Class: completion.AuthInvalid, Status: 401, Type: "invalid_request_error", Code: "invalid_api_key", Message: "Incorrect API key provided"}
	rejected := fault.New(fault.Precondition, "CREDENTIAL_REJECTED", "openai rejected the credential").Blaming(fault.Provider).
		Hinting("an owner has to rotate the credential").With("credential", "Prod \"key\"").With("provider", "openai").Because(failed)
	f := openai.Fail(rejected, "req_1")
	golden(t, "error_credential.json", append(f.AppendBody(nil), '\n'))
	if f.Status != 502 || !f.NoRetry {
		t.Errorf("status %d, want 502", f.Status)
	}
}

func TestErrorEventEndsAStream(t *testing.T) {
	t.Parallel()
	f := openai.Fail(completion.ErrBrokenOff.Because(&completion.ProviderError{Class: completion.Network, Message: "the provider broke off its answer"}), "req_1")
	got := string(f.AppendEvent(nil))
	want := `data: {"error":{"message":"the provider broke off the answer","type":"provider_error","param":null,"code":"answer_broken_off","blame":"provider","hint":"what came is incomplete; send the request again","request_id":"req_1"}}` + "\n\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
}

func TestBudgetsAreNotRetried(t *testing.T) {
	t.Parallel()
	budget := openai.Fail(fault.New(fault.Exhausted, "BUDGET_EXHAUSTED", "the budget is used up"), "")
	rate := openai.Fail(fault.New(fault.Exhausted, "RATE_LIMITED", "too fast").RetryingAfter(time.Millisecond), "")
	if !budget.NoRetry || rate.NoRetry || header(rate).Get("Retry-After") != "1" || read(t, budget).Error.Type != "insufficient_quota" {
		t.Errorf("budget %+v, rate %+v", budget, header(rate))
	}
}
