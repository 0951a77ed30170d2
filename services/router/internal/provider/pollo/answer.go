package pollo

import (
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/media"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/usage"
)

const (
	maxID      = 128
	maxOutputs = 32
	maxURL     = 4 << 10
	// maxCredits and maxUSD bound what a provider may say that a job costs.
	maxCredits = 1_000_000
	maxUSD     = 10_000
)

// unwrap takes an answer out of {"code":"SUCCESS","data":{…}}, in which it may stand or not.
func unwrap(body []byte) []byte {
	data := jsonscan.Get(body, "data")
	if jsonscan.KindOf(data) != jsonscan.ObjectKind {
		return body
	}
	if code, _ := jsonscan.Text(jsonscan.Get(body, "code")); code != "SUCCESS" {
		return body
	}
	return data
}

// parseSubmit reads the answer to a submit; nil if it names no task.
func parseSubmit(body []byte) *completion.Job {
	answer := unwrap(body)
	text, _ := jsonscan.Text(jsonscan.Get(answer, "taskId"))
	if strings.Trim(text, ".") == "" || provider.Bounded(text, maxID) != text || strings.ContainsAny(text, "/\\?#% ") {
		return nil
	}
	said, _ := jsonscan.Text(jsonscan.Get(answer, "status"))
	status := statusOf(said)
	if status.Final() { // how it ended is for the first question
		status = media.InProgress
	}
	return &completion.Job{ID: text, Status: string(status)}
}

// statusOf reads a status; whatever is not known is work going on.
func statusOf(text string) media.Status {
	switch strings.ToLower(text) {
	case "waiting", "queued", "pending":
		return media.Queued
	case "succeed", "success", "succeeded", "completed":
		return media.Completed
	case "failed", "error":
		return media.Failed
	}
	return media.InProgress
}

// parseStatus reads how far a task is. It is over when all of its generations are; one that is well is enough
// to call it completed.
func parseStatus(body []byte, key secret.Text) (media.State, bool) {
	answer := unwrap(body)
	list := jsonscan.Get(answer, "generations")
	if jsonscan.KindOf(list) != jsonscan.ArrayKind {
		said, ok := jsonscan.Text(jsonscan.Get(answer, "status"))
		if !ok {
			return media.State{}, false
		}
		status := statusOf(said)
		if status == media.Completed { // without a file it is not there yet
			status = media.InProgress
		}
		state := media.State{Status: status}
		if status == media.Failed {
			state.Failure = failedJob(jsonscan.Get(answer, "failMsg"), key)
		}
		return state, true
	}
	state := media.State{}
	running, failed := 0, []byte(nil)
	for e := jsonscan.Array(list); len(state.Outputs) < maxOutputs && e.Next(); {
		said, _ := jsonscan.Text(jsonscan.Get(e.Value, "status"))
		switch status := statusOf(said); status {
		case media.Completed:
			if out, ok := output(e.Value); ok {
				state.Outputs = append(state.Outputs, out)
			} else {
				running++
			}
		case media.Failed:
			failed = jsonscan.Get(e.Value, "failMsg")
			if failed == nil {
				failed = []byte(`""`)
			}
		case media.Queued, media.InProgress, media.Canceled:
			running++
			if state.Status != media.InProgress {
				state.Status = status
			}
		}
	}
	switch {
	case running > 0:
		if state.Status == "" || len(state.Outputs) > 0 || failed != nil {
			state.Status = media.InProgress
		}
		return media.State{Status: state.Status}, true
	case len(state.Outputs) > 0:
		state.Status, state.Progress, state.Usage = media.Completed, 100, used(answer)
	case failed != nil:
		state.Status, state.Failure = media.Failed, failedJob(failed, key)
		state.Usage = used(answer)
	default: // none has begun
		state.Status = media.Queued
	}
	return state, true
}

// output reads a generation that is well.
func output(v []byte) (media.Output, bool) {
	text, _ := jsonscan.Text(jsonscan.Get(v, "url"))
	kind, _ := jsonscan.Text(jsonscan.Get(v, "mediaType"))
	out := media.Output{URL: text, MediaType: mediaTypes[kind]}
	return out, len(text) <= maxURL && (strings.HasPrefix(text, "https://") || strings.HasPrefix(text, "http://"))
}

// mediaTypes are the sorts of files as far as they say the type; of the rest the file itself tells.
var mediaTypes = map[string]string{"video": "video/mp4", "text": "text/plain"}

func failedJob(message []byte, key secret.Text) *completion.ProviderError {
	f := &completion.ProviderError{Class: completion.ServerError, Status: http.StatusOK, Message: provider.Words(message, key, 0), Sent: true}
	if f.Message == "" {
		f.Message = "the provider says no reason"
	}
	lower := strings.ToLower(f.Message)
	for _, word := range []string{"nsfw", "sensitive", "policy", "moderation", "violat"} {
		if strings.Contains(lower, word) {
			f.Class = completion.ContentRefused
		}
	}
	return f
}

// used is what the task says that it took; nil if it does not.
func used(answer []byte) *completion.Usage {
	out := &completion.Usage{Units: []usage.Unit{{Name: "request", Milli: 1000}}}
	if credits, ok := number(jsonscan.Get(answer, "credit"), maxCredits); ok {
		out.Units = append(out.Units, usage.Unit{Name: "credit", Milli: int64(math.Round(credits * 1000))})
		out.Final = true
	}
	if usd, ok := number(jsonscan.Get(answer, "costUsd"), maxUSD); ok {
		nano := int64(math.Round(usd * 1e9))
		out.CostNanoUSD, out.Final = &nano, true
	}
	if !out.Final {
		return nil
	}
	return out
}

// number reads a number, or a text that is one.
func number(v []byte, limit float64) (float64, bool) {
	n, ok := jsonscan.Float(v)
	if text, isText := jsonscan.Text(v); isText {
		var err error
		n, err = strconv.ParseFloat(text, 64)
		ok = err == nil
	}
	return n, ok && n >= 0 && n <= limit
}

// judgeBalance is the verdict on a key whose balance came.
func judgeBalance(body []byte) completion.Verdict {
	available, ok := number(jsonscan.Get(unwrap(body), "availableCredits"), math.MaxFloat64)
	if !ok {
		return completion.Verdict{Reason: "the address answers, but not with a balance; check the endpoint"}
	}
	if available == 0 {
		return completion.Verdict{State: "quota_exhausted", Reason: "the provider accepts the key, but no credits are left; add credits at the provider"}
	}
	return completion.Verdict{State: "active", Reason: "the provider accepts the key; " + strconv.FormatFloat(available, 'f', -1, 64) + " credits are left"}
}

// TaskOf is the task that a webhook tells of; empty if it tells of none. Nobody but the owner of the account
// can check its signature, so it is a hint and nothing more.
func TaskOf(body []byte) string {
	text, _ := jsonscan.Text(jsonscan.Get(body, "taskId"))
	if len(text) > maxID {
		return ""
	}
	return text
}

// refused is the error of an error status.
func (p *Provider) refused(res *provider.Response, key secret.Text) *completion.ProviderError {
	json := isJSON(res)
	failure := parseError(res.StatusCode, res.ErrorBody(), json, key)
	failure.Sent, failure.RequestID = true, res.RequestID()
	failure.RetryAfter = provider.RetryAfter(res.Header, p.now())
	return failure
}

// parseError reads {"message","code","issues":[{"message"}]}. A page in HTML is from the proxy in front, and
// says nothing of the key.
func parseError(status int, body []byte, json bool, key secret.Text) *completion.ProviderError {
	f := &completion.ProviderError{Status: status, Message: provider.StatusMessage(status), Class: completion.ServerError}
	if !json || jsonscan.KindOf(body) != jsonscan.ObjectKind {
		switch status {
		case http.StatusTooManyRequests:
			f.Class = completion.RateLimited
		case http.StatusRequestEntityTooLarge:
			f.Class = completion.TooLarge
		}
		return f
	}
	if said := provider.Words(jsonscan.Get(body, "message"), key, 0); said != "" {
		f.Message = said
	}
	f.Code = provider.Words(jsonscan.Get(body, "code"), key, 64)
	var issues []string
	for e := jsonscan.Array(jsonscan.Get(body, "issues")); len(issues) < 4 && e.Next(); {
		if said := provider.Words(jsonscan.Get(e.Value, "message"), key, 512); said != "" {
			issues = append(issues, said)
		}
	}
	if len(issues) > 0 {
		f.Message = provider.Bounded(f.Message+": "+strings.Join(issues, "; "), 2<<10)
	}
	f.Class = classify(f)
	return f
}

func classify(f *completion.ProviderError) completion.Class {
	switch f.Status {
	case http.StatusUnauthorized:
		return completion.AuthInvalid
	case http.StatusPaymentRequired:
		return completion.QuotaExhausted
	case http.StatusForbidden:
		if strings.Contains(strings.ToLower(f.Message), "credit") {
			return completion.QuotaExhausted
		}
		return completion.AuthLimited
	case http.StatusNotFound:
		return completion.ModelNotFound
	case http.StatusRequestEntityTooLarge:
		return completion.TooLarge
	case http.StatusTooManyRequests:
		return completion.RateLimited
	case http.StatusServiceUnavailable:
		return completion.Overloaded
	case http.StatusGatewayTimeout:
		return completion.TimedOut
	}
	if f.Status >= 400 && f.Status < 500 {
		return completion.InvalidRequest
	}
	return completion.ServerError
}
