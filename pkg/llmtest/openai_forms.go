package llmtest

import (
	"encoding/json"
	"net/http"
	"strings"
)

// openAIForms serves the addresses of OpenAI's other forms.
func openAIForms(p *Provider, w http.ResponseWriter, r *http.Request) bool {
	provider, path := split(r.URL.Path)
	var n native
	switch path {
	case "/v1/responses":
		n = &responses{}
	case "/v1/responses/input_tokens":
		c := p.newCall(w, r, openAI, provider)
		c.native = &responses{}
		p.counted(w, r, c, map[string]any{"object": "response.input_tokens"})
		return true
	case "/v1/embeddings":
		n = &embeddings{}
	case "/v1/images/generations":
		n = &images{}
	default:
		return false
	}
	p.generateBy(w, r, func() *call {
		c := p.newCall(w, r, openAI, provider)
		c.native = n
		return c
	})
	return true
}

// openAIFamily is what OpenAI's forms have in common: keys, headers, errors.
type openAIFamily struct{}

func (openAIFamily) provider() string { return "openai" }

func (openAIFamily) key(r *http.Request) string {
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
}

func (openAIFamily) headers(c *call)        { c.commonHeaders() }
func (openAIFamily) admit(*call) *wire      { return nil }
func (openAIFamily) failure(f Failure) wire { return failures[f][openAI] }
func (openAIFamily) stream(_ *call, _ *sink) {
	panic("llmtest: a form without streams was asked to stream")
}

func (openAIFamily) envelope(c *call, w wire) []byte { return w.body(openAI, c.entry.RequestID) }

func (openAIFamily) read(c *call, raw []byte) *wire {
	if err := json.Unmarshal(raw, &c.body); err != nil {
		return &wire{status: 400, kind: "invalid_request_error", message: "We could not parse the JSON body of your request. (" + err.Error() + ")"}
	}
	c.model = c.body.Model
	return nil
}

// refused is a 400 of OpenAI's.
func refused(message, param, code string) *wire {
	return &wire{status: 400, kind: "invalid_request_error", code: code, param: param, message: message}
}

// encode renders what is built here of strings and numbers, which always encodes.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// indented is encode as OpenAI lays whole answers out.
func indented(v any) []byte {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err)
	}
	return append(b, '\n')
}
