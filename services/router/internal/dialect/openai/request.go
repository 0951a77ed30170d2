// Package openai speaks OpenAI's chat completions to callers: it reads their requests, and writes
// answers and errors as the official SDKs expect them.
//
// A request is scanned once, without decoding it, since most bodies pass to the provider as they are.
// Only when a target speaks another dialect is the prompt decoded, and then strictly: what the neutral
// form cannot carry is refused by name.
package openai

import (
	"bytes"
	"errors"
	"unicode/utf8"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

// The bounds of what is kept with the usage.
const (
	maxTags     = 16
	maxTagKey   = 64
	maxTagValue = 256
	maxModel    = 256
)

// The faults of a request. The fact "param" names the field.
var (
	ErrMalformed = fault.New(fault.Invalid, "MALFORMED_JSON", "the body is not a JSON object").Hinting("send one JSON object, encoded in UTF-8")
	ErrField     = fault.New(fault.Invalid, "INVALID_FIELD", "a field of the request is not valid")
)

func invalid(param, why string) *fault.Error {
	return ErrField.Saying("%s %s", param, why).With("param", param)
}

// Decode reads what the router has to know of a chat completions body. The request keeps the body as
// it is, and decodes the whole prompt only when it is asked to. The caller fills in ID and TraceID.
func Decode(body []byte) (completion.Request, error) {
	req := completion.Request{Dialect: completion.OpenAIChat, Raw: body}
	if !utf8.Valid(body) {
		return completion.Request{}, ErrMalformed.Saying("the body is not valid UTF-8")
	}
	s := scan{req: &req}
	m := jsonscan.Object(body)
	for m.Next() {
		if err := s.field(m.Name, m.Value); err != nil {
			return completion.Request{}, err
		}
	}
	if err := wellFormed(body, &m); err != nil {
		return completion.Request{}, err
	}
	if err := s.finish(); err != nil {
		return completion.Request{}, err
	}
	req.Decode = func() (*completion.Prompt, error) { return decodePrompt(body) }
	return req, nil
}

// wellFormed names the place where a body stops being JSON. It does not quote the body.
func wellFormed(body []byte, m *jsonscan.Members) error {
	at, problem := jsonscan.Trailing(body, m.End()), "something follows the object"
	if err := m.Err(); err != nil {
		var syntax *jsonscan.SyntaxError
		if !errors.As(err, &syntax) {
			return ErrMalformed.Because(err)
		}
		at, problem = syntax.Offset, syntax.Problem
	} else if at < 0 {
		return nil
	}
	before := body[:min(at, len(body))]
	line := 1 + bytes.Count(before, []byte{'\n'})
	column := len(before) - bytes.LastIndexByte(before, '\n')
	return ErrMalformed.Saying("the body is not a JSON object: %s at byte %d (line %d, column %d)", problem, at, line, column)
}

// scan gathers the fields of one body.
type scan struct {
	req      *completion.Request
	seen     uint8
	messages []byte
	tools    []byte
	metadata []byte
	ours     []byte
	safety   string
}

// Of these fields a body must not have two: the router would read one and the provider another.
const (
	seenModel = 1 << iota
	seenStream
	seenOptions
	seenMessages
	seenMetadata
	seenUser
	seenOurs
)

func (s *scan) once(name string, bit uint8) error {
	if s.seen&bit != 0 {
		return invalid(name, "stands in the body twice")
	}
	s.seen |= bit
	return nil
}

// field takes over one member. Names are spelled out, since one that is taken from the body would be
// an allocation for each member.
func (s *scan) field(name, v []byte) (err error) {
	switch string(name) {
	case "model":
		if err = s.once("model", seenModel); err == nil {
			s.req.Model, err = text("model", v, maxModel)
		}
	case "stream":
		if err = s.once("stream", seenStream); err == nil {
			s.req.Stream, err = truth("stream", v)
		}
	case "stream_options":
		if err = s.once("stream_options", seenOptions); err == nil {
			s.req.IncludeUsage, err = includeUsage(v)
		}
	case "messages":
		s.messages, err = v, s.once("messages", seenMessages)
	case "metadata":
		s.metadata, err = v, s.once("metadata", seenMetadata)
	case "user":
		if err = s.once("user", seenUser); err == nil {
			s.req.User, err = text("user", v, maxTagValue)
		}
	case "safety_identifier":
		s.safety, err = text("safety_identifier", v, maxTagValue)
	case "tools":
		s.tools = v
	case dialect.RoutingField:
		s.ours, err = v, s.once(dialect.RoutingField, seenOurs)
	}
	return err
}

// finish checks what needs the whole body.
func (s *scan) finish() error {
	switch {
	case s.messages == nil:
		return invalid("messages", "is required")
	case jsonscan.KindOf(s.messages) != jsonscan.ArrayKind:
		return invalid("messages", "must be an array")
	}
	if first := jsonscan.Array(s.messages); !first.Next() {
		return invalid("messages", "must not be empty")
	}
	if s.req.User == "" {
		s.req.User = s.safety
	}
	s.req.InputBytes = promptSize(s.messages) + len(s.tools)
	if jsonscan.Given(s.metadata) {
		if err := s.addTags("metadata", s.metadata); err != nil {
			return err
		}
	}
	return s.routing()
}

// routing reads our own field.
func (s *scan) routing() error {
	if !jsonscan.Given(s.ours) {
		return nil
	}
	if jsonscan.KindOf(s.ours) != jsonscan.ObjectKind {
		return invalid(dialect.RoutingField, "must be an object")
	}
	m := jsonscan.Object(s.ours)
	for m.Next() {
		var err error
		switch name := dialect.RoutingField + "." + string(m.Name); string(m.Name) {
		case "tags":
			if jsonscan.Given(m.Value) {
				err = s.addTags(name, m.Value)
			}
		case "session":
			s.req.Session, err = text(name, m.Value, maxTagValue)
		default:
			err = invalid(name, "is not known")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *scan) addTags(param string, v []byte) error {
	if jsonscan.KindOf(v) != jsonscan.ObjectKind {
		return invalid(param, "must be an object of strings")
	}
	m := jsonscan.Object(v)
	for m.Next() {
		key := string(m.Name)
		if key == "" || len(key) > maxTagKey {
			return invalid(param, "has a key that is empty or longer than 64 bytes")
		}
		value, ok := jsonscan.Text(m.Value)
		switch {
		case !ok:
			return invalid(param+"."+key, "must be a string")
		case len(value) > maxTagValue:
			return invalid(param+"."+key, "is longer than 256 bytes")
		}
		if s.req.Tags == nil {
			s.req.Tags = make(map[string]string, 4)
		}
		s.req.Tags[key] = value
		if len(s.req.Tags) > maxTags {
			return invalid(param, "makes more than 16 tags")
		}
	}
	return nil
}

func includeUsage(v []byte) (bool, error) {
	if !jsonscan.Given(v) {
		return false, nil
	}
	if jsonscan.KindOf(v) != jsonscan.ObjectKind {
		return false, invalid("stream_options", "must be an object")
	}
	m := jsonscan.Object(v)
	include, seen := false, false
	for m.Next() {
		if string(m.Name) != "include_usage" {
			continue
		}
		if seen {
			return false, invalid("stream_options.include_usage", "stands in the body twice")
		}
		var err error
		if include, err = truth("stream_options.include_usage", m.Value); err != nil {
			return false, err
		}
		seen = true
	}
	return include, nil
}

// text reads an optional string.
func text(param string, v []byte, limit int) (string, error) {
	if !jsonscan.Given(v) {
		return "", nil
	}
	s, ok := jsonscan.Text(v)
	if !ok {
		return "", invalid(param, "must be a string")
	}
	if len(s) > limit {
		return "", invalid(param, "is too long")
	}
	return s, nil
}

// truth reads an optional boolean.
func truth(param string, v []byte) (bool, error) {
	if !jsonscan.Given(v) {
		return false, nil
	}
	yes, ok := jsonscan.True(v)
	if !ok {
		return false, invalid(param, "must be true or false")
	}
	return yes, nil
}

// imageBytes is what a picture in a body counts as, for estimates: about a thousand tokens.
const imageBytes = 4096

// promptSize is the size of the messages, with pictures given by their bytes at a size that is like
// what they cost.
func promptSize(messages []byte) int {
	size := len(messages)
	for rest := messages; ; {
		i := bytes.Index(rest, []byte(`"data:`))
		if i < 0 {
			return size
		}
		rest = rest[i:]
		end := jsonscan.TextEnd(rest)
		if end == 0 {
			return size
		}
		if end > imageBytes {
			size += imageBytes - end
		}
		rest = rest[end:]
	}
}
