package openai

import (
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

// Failure is an error as the caller gets it.
type Failure struct{ dialect.Problem }

var _ dialect.Failure = Failure{}

// Fail turns any error into the answer whose status makes an OpenAI SDK raise the right exception.
func Fail(err error, requestID string) Failure { return Failure{dialect.Explain(err, requestID)} }

// AppendBody appends OpenAI's envelope, with members of ours that SDKs ignore: whose fault it is, what
// to do next, and the request's id.
func (f Failure) AppendBody(dst []byte) []byte {
	dst = append(dst, `{"error":{"message":`...)
	dst = jsonscan.AppendText(dst, f.Message)
	dst = append(dst, `,"type":`...)
	dst = jsonscan.AppendText(dst, f.Kind)
	for _, m := range [...]struct{ name, value string }{{"param", f.Param}, {"code", f.Code}} {
		dst = append(dst, `,"`...)
		dst = append(dst, m.name...)
		dst = append(dst, `":`...)
		if m.value == "" {
			dst = append(dst, "null"...)
		} else {
			dst = jsonscan.AppendText(dst, m.value)
		}
	}
	for _, m := range [...]struct{ name, value string }{
		{"blame", string(f.Blame)}, {"hint", f.Hint}, {"request_id", f.RequestID},
	} {
		if m.value != "" {
			dst = append(dst, `,"`...)
			dst = append(dst, m.name...)
			dst = append(dst, `":`...)
			dst = jsonscan.AppendText(dst, m.value)
		}
	}
	if start := len(dst); len(f.Details) > 0 {
		dst = append(dst, `,"details":{`...)
		facts := len(dst)
		if dst = f.AppendFacts(dst, false); len(dst) == facts {
			dst = dst[:start]
		} else {
			dst = append(dst, '}')
		}
	}
	return append(dst, "}}"...)
}

// AppendEvent appends the failure as the last event of a stream that has begun. No [DONE] follows it:
// that would make the answer look whole.
func (f Failure) AppendEvent(dst []byte) []byte {
	dst = append(dst, "data: "...)
	dst = f.AppendBody(dst)
	return append(dst, "\n\n"...)
}
