package dialect

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

// The bounds of what is kept with the usage.
const (
	maxTags    = 16
	maxTagKey  = 64
	maxKept    = 256
	maxModel   = 256
	maxClipped = 64
	// maxParam bounds the path of a field in an error. Names in it are the caller's.
	maxParam = 256
)

// The faults of a request. The fact "param" names the field.
var (
	ErrMalformed = fault.New(fault.Invalid, "MALFORMED_JSON", "the body is not a JSON object").Hinting("send one JSON object, encoded in UTF-8")
	ErrField     = fault.New(fault.Invalid, "INVALID_FIELD", "a field of the request is not valid")
)

// Invalid is the fault of a field that is not as the dialect has it.
func Invalid(param, why string) *fault.Error {
	param = bounded(param)
	return ErrField.Saying("%s %s", param, why).With("param", param)
}

// Uncarried is the fault of a field that the neutral form has no place for.
func Uncarried(param, why string) *fault.Error {
	param = bounded(param)
	return completion.ErrUnsupported.Saying("%s cannot be carried to a provider of another dialect: %s", param, why).
		With("param", param).Hinting("leave it out, or choose a model whose provider speaks this dialect")
}

// Unknown is Uncarried of a field that is not known at all.
func Unknown(param string) *fault.Error {
	return Uncarried(param, "it has no counterpart in this form")
}

// Clip bounds a name of the caller's in a message.
func Clip(s string) string {
	if s == "" {
		return `""`
	}
	return s[:min(len(s), maxClipped)]
}

// bounded is a path without what goes beyond the bound, and without half a character at its end.
func bounded(param string) string {
	if len(param) <= maxParam {
		return param
	}
	return strings.ToValidUTF8(param[:maxParam], "") + "…"
}

// Walk gives each member of a body to field, and makes sure that the body is one whole object.
func Walk(body []byte, field func(name, v []byte) error) error {
	if !utf8.Valid(body) {
		return ErrMalformed.Saying("the body is not valid UTF-8")
	}
	m := jsonscan.Object(body)
	for m.Next() {
		if err := field(m.Name, m.Value); err != nil {
			return err
		}
	}
	return wellFormed(body, &m)
}

// Fields gives each member of a body that is given, not null and not ours, to field. The body was walked before.
func Fields(body []byte, field func(name string, v []byte) error) error {
	m := jsonscan.Object(body)
	for m.Next() {
		if !jsonscan.Given(m.Value) || Ours(m.Name) {
			continue
		}
		if err := field(string(m.Name), m.Value); err != nil {
			return err
		}
	}
	if m.Err() != nil {
		return ErrMalformed.Because(m.Err())
	}
	return nil
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

// Once remembers which fields a body had: of some it must not have two, since the router would read one
// and the provider another.
type Once uint16

// Seen refuses a field that was seen before.
func (o *Once) Seen(param string, bit Once) error {
	if *o&bit != 0 {
		return Invalid(param, "stands in the body twice")
	}
	*o |= bit
	return nil
}

// Model reads the name of a model.
func Model(v []byte) (string, error) { return Text("model", v, maxModel) }

// User reads the name of the caller's end user, as it is kept with the usage.
func User(param string, v []byte) (string, error) { return Text(param, v, maxKept) }

// AddTags adds an object of strings to a request's tags.
func AddTags(req *completion.Request, param string, v []byte) error {
	if !jsonscan.Given(v) {
		return nil
	}
	if jsonscan.KindOf(v) != jsonscan.ObjectKind {
		return Invalid(param, "must be an object of strings")
	}
	m := jsonscan.Object(v)
	for m.Next() {
		key := string(m.Name)
		if key == "" || len(key) > maxTagKey {
			return Invalid(param, "has a key that is empty or longer than 64 bytes")
		}
		value, ok := jsonscan.Text(m.Value)
		switch {
		case !ok:
			return Invalid(param+"."+key, "must be a string")
		case len(value) > maxKept:
			return Invalid(param+"."+key, "is longer than 256 bytes")
		}
		if req.Tags == nil {
			req.Tags = make(map[string]string, 4)
		}
		req.Tags[key] = value
		if len(req.Tags) > maxTags {
			return Invalid(param, "makes more than 16 tags")
		}
	}
	return nil
}

// Text reads an optional string.
func Text(param string, v []byte, limit int) (string, error) {
	if !jsonscan.Given(v) {
		return "", nil
	}
	s, ok := jsonscan.Text(v)
	if !ok {
		return "", Invalid(param, "must be a string")
	}
	if len(s) > limit {
		return "", Invalid(param, "is too long")
	}
	return s, nil
}

// MaxCacheKey is beyond what any provider takes.
const MaxCacheKey = 1024

// CacheKey reads by what prompts share a cache. What is wrong with it the provider says.
func CacheKey(v []byte) string {
	key, err := Text("", v, MaxCacheKey)
	if err != nil {
		return ""
	}
	return key
}

// Truth reads an optional boolean.
func Truth(param string, v []byte) (bool, error) {
	if !jsonscan.Given(v) {
		return false, nil
	}
	yes, ok := jsonscan.True(v)
	if !ok {
		return false, Invalid(param, "must be true or false")
	}
	return yes, nil
}

// Boolean reads a boolean.
func Boolean(param string, v []byte) (*bool, error) {
	yes, ok := jsonscan.True(v)
	if !ok {
		return nil, Invalid(param, "must be true or false")
	}
	return &yes, nil
}

// Whole reads a whole number of at least least.
func Whole(param string, v []byte, least int64) (*int64, error) {
	n, ok := jsonscan.Int(v)
	if !ok || n < least {
		return nil, Invalid(param, fmt.Sprintf("must be a whole number of at least %d", least))
	}
	return &n, nil
}

// Decimal reads a number within bounds.
func Decimal(param string, v []byte, least, most float64) (*float64, error) {
	f, ok := jsonscan.Float(v)
	if !ok || f < least || f > most {
		return nil, Invalid(param, fmt.Sprintf("must be a number from %g to %g", least, most))
	}
	return &f, nil
}

// OneOf reads one of some words.
func OneOf(param string, v []byte, words ...string) (string, error) {
	s, ok := jsonscan.Text(v)
	if !ok || !slices.Contains(words, s) {
		return "", Invalid(param, "must be one of "+strings.Join(words, ", "))
	}
	return s, nil
}

// inlineBytes is what a file in a body counts as, for estimates: about a thousand tokens.
const inlineBytes = 4096

// PromptSize is the size of the messages of a body, with files given by their bytes at a size that is like
// what they cost. Before is what their texts begin with, after the opening quote.
func PromptSize(messages []byte, before string) int {
	size := len(messages)
	for rest := messages; ; {
		i := bytes.Index(rest, []byte(before))
		if i < 0 {
			return size
		}
		rest = rest[i+bytes.LastIndexByte([]byte(before), '"'):]
		end := jsonscan.TextEnd(rest)
		if end == 0 {
			return size
		}
		if end > inlineBytes {
			size += inlineBytes - end
		}
		rest = rest[end:]
	}
}
