// Package responses speaks OpenAI's responses to callers, without their state: nothing is stored, and
// what refers to something stored is refused by name, since a later request may go to another provider
// or credential. A conversation goes on by sending it whole.
//
// A request is scanned once, without decoding it, since most bodies pass to the provider as they are.
// Only when a target speaks another dialect is the prompt decoded, and then strictly: what the neutral
// form cannot carry is refused by name.
package responses

import (
	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

// ErrStateless is the fault of what would have to be stored.
var ErrStateless = fault.New(fault.Invalid, "STATE_NOT_SUPPORTED", "nothing is stored here")

// stateless refuses a field by name, and says what to do in its place.
func stateless(param, why, instead string) error {
	return ErrStateless.Saying("%s is not supported: %s", param, why).With("param", param).Hinting(instead)
}

// Decode reads what the router has to know of a responses body. The request keeps the body as it is, and
// decodes the whole prompt only when it is asked to. The caller fills in ID.
func Decode(body []byte) (completion.Request, error) {
	req := completion.Request{Dialect: completion.OpenAIResponses, Raw: body}
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
	input    []byte
	prompt   bool
	metadata []byte
	asked    dialect.Asked
	safety   string
	size     int // of what else is part of the prompt
}

// Of these fields a body must not have two: the router would read one and the provider another.
const (
	seenModel dialect.Once = 1 << iota
	seenStream
	seenInput
	seenMetadata
	seenUser
	seenStore
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
	case "input":
		s.input, err = v, s.seen.Seen("input", seenInput)
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
	case "instructions", "tools":
		s.size += len(v)
	case "prompt":
		s.prompt = jsonscan.Given(v)
	case "max_output_tokens":
		if n, ok := jsonscan.Int(v); ok && n > 0 {
			s.req.MaxOutput = n
		}
	case "store":
		if err = s.seen.Seen("store", seenStore); err == nil {
			err = refused("store", v, "a later request may go to another provider or credential, so nothing is stored", "leave store out or make it false, and send the whole conversation as input each time")
		}
	case "background":
		err = refused("background", v, "an answer in the background would have to be stored", "leave background out, and set stream for answers that take long")
	case "previous_response_id", "conversation":
		if jsonscan.Given(v) {
			err = stateless(string(name), "it names something stored, and a later request may go to another provider or credential", "send the whole conversation as input; with include reasoning.encrypted_content its reasoning goes on, too")
		}
	default:
		err = s.asked.Take(name, v)
	}
	return err
}

// refused refuses a switch that is on.
func refused(param string, v []byte, why, instead string) error {
	on, err := dialect.Truth(param, v)
	if err == nil && on {
		return stateless(param, why, instead)
	}
	return err
}

// finish checks what needs the whole body.
func (s *scan) finish() error {
	switch jsonscan.KindOf(s.input) {
	case jsonscan.Missing, jsonscan.Null:
		if !s.prompt {
			return dialect.Invalid("input", "is required")
		}
	case jsonscan.String:
	case jsonscan.ArrayKind:
		if first := jsonscan.Array(s.input); !first.Next() {
			return dialect.Invalid("input", "must not be empty")
		}
	case jsonscan.Bool, jsonscan.Number, jsonscan.ObjectKind:
		return dialect.Invalid("input", "must be a string or an array of items")
	}
	if s.req.User == "" {
		s.req.User = s.safety
	}
	s.req.InputBytes = dialect.PromptSize(s.input, `"data:`) + s.size
	s.req.State = states(s.input)
	if err := dialect.AddTags(s.req, "metadata", s.metadata); err != nil {
		return err
	}
	return s.asked.Into(s.req)
}
