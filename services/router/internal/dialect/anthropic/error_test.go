package anthropic_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/anthropic"
)

func TestErrorsHaveTheTypesThatSDKsRaise(t *testing.T) {
	t.Parallel()
	class := func(c completion.Class) error {
		return &completion.ProviderError{Class: c, Status: 400, Message: "words of the provider"}
	}
	for _, test := range []struct {
		err    error
		status int
		kind   string
		retry  bool
	}{
		{fault.New(fault.Invalid, "X", "x"), 400, "invalid_request_error", true},
		{fault.New(fault.Invalid, "BODY_TOO_LARGE", "x"), 413, "request_too_large", true},
		{fault.New(fault.Unauthenticated, "X", "x"), 401, "authentication_error", true},
		{fault.New(fault.Denied, "X", "x"), 403, "permission_error", true},
		{fault.New(fault.NotFound, "X", "x"), 404, "not_found_error", true},
		{fault.New(fault.Conflict, "X", "x"), 409, "conflict_error", true},
		{fault.New(fault.Precondition, "X", "x"), 422, "invalid_request_error", true},
		{fault.New(fault.Exhausted, "BUDGET", "x"), 402, "billing_error", false},
		{fault.New(fault.Exhausted, "RATE", "x").RetryingAfter(time.Second), 429, "rate_limit_error", true},
		{fault.New(fault.Unavailable, "X", "x"), 503, "api_error", true},
		{completion.ErrOverloaded, 529, "overloaded_error", true},
		{fault.New(fault.Timeout, "X", "x"), 504, "timeout_error", true},
		{fault.New(fault.Internal, "X", "x"), 500, "api_error", true},
		{errors.New("secret"), 500, "api_error", true},
		{class(completion.InvalidRequest), 400, "invalid_request_error", true},
		{class(completion.ModelNotFound), 404, "not_found_error", true},
		{class(completion.RateLimited), 429, "rate_limit_error", true},
		{class(completion.QuotaExhausted), 402, "billing_error", false},
		{class(completion.AuthInvalid), 502, "api_error", false},
		{class(completion.Overloaded), 529, "overloaded_error", true},
		{class(completion.TimedOut), 504, "timeout_error", true},
		{class(completion.ServerError), 502, "api_error", true},
	} {
		f := anthropic.Fail(test.err, "req_1")
		var e struct {
			Type  string `json:"type"`
			Error struct {
				Type, Message string
				Details       map[string]string
			} `json:"error"`
			RequestID string `json:"request_id"`
		}
		if err := json.Unmarshal(f.AppendBody(nil), &e); err != nil {
			t.Fatalf("%s: %v", f.AppendBody(nil), err)
		}
		status, header := f.Head()
		if status != test.status || e.Error.Type != test.kind || e.Type != "error" || e.RequestID != "req_1" || e.Error.Message == "" || e.Error.Details["error_code"] == "" {
			t.Errorf("%v: %d %s, want %d %s", test.err, status, f.AppendBody(nil), test.status, test.kind)
		}
		if header.Get("Request-Id") != "req_1" || (header.Get("X-Should-Retry") != "false") != test.retry {
			t.Errorf("%v: headers %v", test.err, header)
		}
		if strings.Contains(string(f.AppendBody(nil)), "secret") {
			t.Errorf("a cause is told: %s", f.AppendBody(nil))
		}
	}
}

func TestErrorEventEndsAStream(t *testing.T) {
	t.Parallel()
	err := completion.ErrBrokenOff.With("param", "p").With("provider", "openai").Because(&completion.ProviderError{Class: completion.Network, Message: "cut"})
	got := string(anthropic.Fail(err, "req_1").AppendEvent(nil))
	want := "event: error\n" + `data: {"type":"error","error":{"type":"api_error","message":"the provider broke off the answer","details":{"error_code":"answer_broken_off","param":"p","blame":"provider","hint":"what came is incomplete; send the request again","provider":"openai"}},"request_id":"req_1"}` + "\n\n"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
