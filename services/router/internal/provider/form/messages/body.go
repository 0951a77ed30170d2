package messages

import (
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// Body is a prompt in this form, for vendors that send it in an envelope of their own. It says whether
// the answer is streamed to us.
func Body(p *completion.Prompt, model string, stream bool) (body []byte, streamed bool, err error) {
	return encodeBody(p, model, stream, nil)
}

// Raw is the body of a caller who speaks this form, with the edits that every vendor needs.
func Raw(call completion.Call) ([]byte, error) { return rawBody(call) }

// Passed is the answer to a body that passed, which came in another vendor's envelope and was taken out
// of it: a message, or events as Anthropic sends them.
func Passed(res *provider.Response, key secret.Text, stream bool) completion.Answer {
	f := &format{key: key, id: res.RequestID()}
	if stream {
		return provider.NewStream(res, f, true)
	}
	return provider.NewWhole(res, func(b []byte) (completion.Chunk, string, error) { return f.whole(b, true) })
}
