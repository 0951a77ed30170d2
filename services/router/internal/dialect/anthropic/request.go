// Package anthropic speaks Anthropic's messages to callers: it reads their requests, and writes answers and
// errors as the official SDKs expect them.
//
// A request is scanned once, without decoding it, since a body passes as it is to providers that speak this
// dialect. Only when a target speaks another one is the prompt decoded, and then strictly: what the neutral
// form cannot carry is refused by name. What a caller has tried out by the header anthropic-beta counts by
// the fields that it opens; the header itself says nothing to providers that do not speak this dialect.
//
// Thinking stays where it came between pieces of text, in streams and, from providers that say where (Claude,
// Bedrock, OpenAI's responses), in whole answers. Two orders are lost there: that among tool calls, for which
// a neutral prompt has no place either, and that of an answer with sources, whose text stays in one piece.
package anthropic

import (
	"unicode/utf8"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

// maxUser is how much is kept of the caller's name of its end user.
const maxUser = 256

// Decode reads what the router has to know of a messages body. The request keeps the body as it is, and
// decodes the whole prompt only when it is asked to.
func Decode(body []byte) (completion.Request, error) {
	req, s, err := decode(body)
	if err != nil {
		return completion.Request{}, err
	}
	if s.maxTokens == nil {
		return completion.Request{}, dialect.Invalid("max_tokens", "is required")
	}
	req.Dialect = completion.AnthropicMessages
	return req, nil
}

// DecodeCount reads a body whose tokens are to be counted.
func DecodeCount(body []byte) (completion.Request, error) {
	req, _, err := decode(body)
	if err != nil {
		return completion.Request{}, err
	}
	if req.Stream {
		return completion.Request{}, dialect.Invalid("stream", "is not for counting tokens")
	}
	req.Dialect, req.Operation = completion.AnthropicCount, completion.CountTokens
	return req, nil
}

func decode(body []byte) (completion.Request, *scan, error) {
	s := &scan{}
	if err := dialect.Walk(body, s.field); err != nil {
		return completion.Request{}, nil, err
	}
	if err := s.finish(); err != nil {
		return completion.Request{}, nil, err
	}
	s.req.Raw = body
	s.req.Decode = func() (*completion.Prompt, error) { return decodePrompt(body) }
	return s.req, s, nil
}

// scan gathers the fields of one body.
type scan struct {
	req                                completion.Request
	seen                               dialect.Once
	asked                              dialect.Asked
	messages, system, tools, maxTokens []byte
}

const (
	seenModel dialect.Once = 1 << iota
	seenStream
	seenMessages
	seenSystem
	seenMetadata
)

// field takes over one member.
func (s *scan) field(name, v []byte) (err error) {
	switch string(name) {
	case "model":
		if err = s.seen.Seen("model", seenModel); err == nil {
			s.req.Model, err = dialect.Model(v)
		}
	case "stream":
		if err = s.seen.Seen("stream", seenStream); err == nil {
			s.req.Stream, err = dialect.Truth("stream", v)
		}
	case "messages":
		s.messages, err = v, s.seen.Seen("messages", seenMessages)
	case "system":
		s.system, err = v, s.seen.Seen("system", seenSystem)
	case "metadata":
		if err = s.seen.Seen("metadata", seenMetadata); err == nil {
			s.req.User, err = user(v)
		}
	case "tools":
		s.tools = v
	case "max_tokens":
		if jsonscan.Given(v) {
			s.maxTokens = v
		}
	default:
		err = s.asked.Take(name, v)
	}
	return err
}

// finish checks what needs the whole body.
func (s *scan) finish() error {
	switch {
	case s.messages == nil:
		return dialect.Invalid("messages", "is required")
	case jsonscan.KindOf(s.messages) != jsonscan.ArrayKind:
		return dialect.Invalid("messages", "must be an array")
	}
	if first := jsonscan.Array(s.messages); !first.Next() {
		return dialect.Invalid("messages", "must not be empty")
	}
	s.req.InputBytes = dialect.PromptSize(s.messages, `"data":"`) + len(s.system) + len(s.tools)
	if n, ok := jsonscan.Int(s.maxTokens); ok && n > 0 {
		s.req.MaxOutput = n
	}
	s.req.State = states(s.messages)
	return s.asked.Into(&s.req)
}

// user reads metadata. What of the name is too long to keep is left out: the provider gets it whole.
func user(v []byte) (string, error) {
	if !jsonscan.Given(v) {
		return "", nil
	}
	if jsonscan.KindOf(v) != jsonscan.ObjectKind {
		return "", dialect.Invalid("metadata", "must be an object")
	}
	name, err := dialect.Text("metadata.user_id", jsonscan.Get(v, "user_id"), len(v))
	if len(name) <= maxUser {
		return name, err
	}
	cut := maxUser
	for !utf8.RuneStart(name[cut]) {
		cut--
	}
	return name[:cut], err
}
