package responses

import (
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/dialect/openai"
)

// Failure is an error as the caller gets it.
type Failure struct{ openai.Failure }

var _ dialect.Failure = Failure{}

// Fail turns any error into the answer whose status makes an OpenAI SDK raise the right exception.
func Fail(err error, requestID string) Failure { return Failure{openai.Fail(err, requestID)} }

// AppendEvent appends the failure as the last event of a stream that has begun: what is documented of the
// event, and OpenAI's envelope, without which SDKs do not raise an exception.
func (f Failure) AppendEvent(dst []byte) []byte {
	dst = append(dst, "event: error\ndata: {\"type\":\"error\",\"sequence_number\":0,\"code\":"...)
	for _, m := range [...]struct{ value, next string }{{f.Code, `,"message":`}, {f.Message, `,"param":`}, {f.Param, ","}} {
		if m.value == "" && m.next != `,"param":` {
			dst = append(dst, "null"...)
		} else {
			dst = jsonscan.AppendText(dst, m.value)
		}
		dst = append(dst, m.next...)
	}
	body := f.AppendBody(nil)
	dst = append(dst, body[1:]...) // of its object the members
	return append(dst, "\n\n"...)
}
