// Package openai speaks OpenAI's chat completions to callers: it reads their requests, and writes
// answers and errors as the official SDKs expect them.
//
// A request is scanned once, without decoding it, since most bodies pass to the provider as they are.
// Only when a target speaks another dialect is the prompt decoded, and then strictly: what the neutral
// form cannot carry is refused by name.
//
// A whole answer here has one text and, beside it, its reasoning: which block came before which part of the
// text cannot be said, as it can in Anthropic's messages and OpenAI's responses.
package openai

import (
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

// Decode reads what the router has to know of a chat completions body. The request keeps the body as
// it is, and decodes the whole prompt only when it is asked to. The caller fills in ID and TraceID.
func Decode(body []byte) (completion.Request, error) {
	req := completion.Request{Dialect: completion.OpenAIChat, Raw: body}
	s := scan{req: &req}
	if err := dialect.Walk(body, s.field); err != nil {
		return completion.Request{}, err
	}
	if err := s.finish(); err != nil {
		return completion.Request{}, err
	}
	req.Decode = func() (*completion.Prompt, error) { return decodePrompt(body) }
	return req, nil
}

// scan gathers the fields of one body.
type scan struct {
	req      *completion.Request
	seen     dialect.Once
	messages []byte
	tools    []byte
	metadata []byte
	asked    dialect.Asked
	safety   string
	bounded  bool // by the newer name
}

// Of these fields a body must not have two: the router would read one and the provider another.
const (
	seenModel dialect.Once = 1 << iota
	seenStream
	seenOptions
	seenMessages
	seenMetadata
	seenUser
)

// field takes over one member. Names are spelled out, since one that is taken from the body would be
// an allocation for each member.
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
	case "stream_options":
		if err = s.seen.Seen("stream_options", seenOptions); err == nil {
			s.req.IncludeUsage, err = includeUsage(v)
		}
	case "messages":
		s.messages, err = v, s.seen.Seen("messages", seenMessages)
	case "metadata":
		s.metadata, err = v, s.seen.Seen("metadata", seenMetadata)
	case "user":
		if err = s.seen.Seen("user", seenUser); err == nil {
			s.req.User, err = dialect.User("user", v)
		}
	case "prompt_cache_key":
		s.req.CacheKey = dialect.CacheKey(v)
	case "safety_identifier":
		s.safety, err = dialect.User("safety_identifier", v)
	case "tools":
		s.tools = v
	case "max_tokens":
		s.bound(v, false)
	case "max_completion_tokens":
		s.bound(v, true)
	default:
		err = s.asked.Take(name, v)
	}
	return err
}

// bound takes over how long the answer may be, for estimates: the newer name wins. What is wrong with it the
// provider says.
func (s *scan) bound(v []byte, wins bool) {
	if n, ok := jsonscan.Int(v); ok && n > 0 && (wins || !s.bounded) {
		s.req.MaxOutput, s.bounded = n, wins
	}
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
	if s.req.User == "" {
		s.req.User = s.safety
	}
	s.req.InputBytes = dialect.PromptSize(s.messages, `"data:`) + len(s.tools)
	s.req.State = states(s.messages)
	if err := dialect.AddTags(s.req, "metadata", s.metadata); err != nil {
		return err
	}
	return s.asked.Into(s.req)
}

func includeUsage(v []byte) (bool, error) {
	if !jsonscan.Given(v) {
		return false, nil
	}
	if jsonscan.KindOf(v) != jsonscan.ObjectKind {
		return false, dialect.Invalid("stream_options", "must be an object")
	}
	m := jsonscan.Object(v)
	include, seen := false, false
	for m.Next() {
		if string(m.Name) != "include_usage" {
			continue
		}
		if seen {
			return false, dialect.Invalid("stream_options.include_usage", "stands in the body twice")
		}
		var err error
		if include, err = dialect.Truth("stream_options.include_usage", m.Value); err != nil {
			return false, err
		}
		seen = true
	}
	return include, nil
}
