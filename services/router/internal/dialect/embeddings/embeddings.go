// Package embeddings speaks OpenAI's embeddings to callers: vectors of texts, as numbers or in base64,
// which some SDKs ask for by themselves.
package embeddings

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

// maxInputs bounds how many texts a request may have.
const maxInputs = 2048

// Decode reads what the router has to know of an embeddings body. The request keeps the body as it is,
// and decodes the input only when it is asked to. The caller fills in ID.
func Decode(body []byte) (completion.Request, error) {
	req := completion.Request{Dialect: completion.OpenAIEmbeddings, Operation: completion.Embeddings, Raw: body}
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
	req   *completion.Request
	seen  dialect.Once
	input []byte
	asked dialect.Asked
}

// Of these fields a body must not have two: the router would read one and the provider another.
const (
	seenModel dialect.Once = 1 << iota
	seenInput
	seenUser
)

func (s *scan) field(name, v []byte) (err error) {
	switch string(name) {
	case "model":
		if err = s.seen.Seen("model", seenModel); err == nil {
			s.req.Model, err = dialect.Model(v)
		}
	case "input":
		s.input, err = v, s.seen.Seen("input", seenInput)
	case "user":
		if err = s.seen.Seen("user", seenUser); err == nil {
			s.req.User, err = dialect.User("user", v)
		}
	case "encoding_format":
		if jsonscan.Given(v) {
			_, err = dialect.OneOf("encoding_format", v, "float", "base64")
		}
	default:
		err = s.asked.Take(name, v)
	}
	return err
}

func (s *scan) finish() error {
	if s.input == nil || !jsonscan.Given(s.input) {
		return dialect.Invalid("input", "is required")
	}
	count, size, err := measure(s.input)
	if err != nil {
		return err
	}
	if count > maxInputs {
		return dialect.Invalid("input", fmt.Sprintf("has %d elements, and %d are allowed", count, maxInputs))
	}
	s.req.InputBytes = size
	return s.asked.Into(s.req)
}

// tokenBytes is what a token in a body counts as, for estimates.
const tokenBytes = 4

// measure counts the inputs, and how long they are together.
func measure(v []byte) (count, size int, err error) {
	switch jsonscan.KindOf(v) {
	case jsonscan.String:
		if jsonscan.TextLen(v) == 0 {
			return 0, 0, dialect.Invalid("input", "must not be empty")
		}
		return 1, jsonscan.TextLen(v), nil
	case jsonscan.ArrayKind:
	case jsonscan.Missing, jsonscan.Null, jsonscan.Bool, jsonscan.Number, jsonscan.ObjectKind:
		return 0, 0, dialect.Invalid("input", "must be a string, or an array of strings or tokens")
	}
	kind := jsonscan.Missing
	list := jsonscan.Array(v)
	for ; list.Next(); count++ {
		if kind == jsonscan.Missing {
			kind = jsonscan.KindOf(list.Value)
		}
		if jsonscan.KindOf(list.Value) != kind {
			return 0, 0, dialect.Invalid("input", "must not mix strings and tokens")
		}
		switch kind {
		case jsonscan.String:
			size += jsonscan.TextLen(list.Value)
			if len(list.Value) == 2 {
				return 0, 0, dialect.Invalid(fmt.Sprintf("input[%d]", count), "must not be empty")
			}
		case jsonscan.Number:
			size += tokenBytes
		case jsonscan.ArrayKind:
			for tokens := jsonscan.Array(list.Value); tokens.Next(); {
				size += tokenBytes
			}
		case jsonscan.Missing, jsonscan.Null, jsonscan.Bool, jsonscan.ObjectKind:
			return 0, 0, dialect.Invalid("input", "must be a string, or an array of strings or tokens")
		}
	}
	if count == 0 {
		return 0, 0, dialect.Invalid("input", "must not be empty")
	}
	if kind == jsonscan.Number { // tokens of one text
		count = 1
	}
	return count, size, nil
}

// decodePrompt reads a whole body into the neutral form.
func decodePrompt(body []byte) (*completion.Prompt, error) {
	in := &completion.EmbeddingInput{}
	p := &completion.Prompt{Embedding: in}
	m := jsonscan.Object(body)
	for m.Next() {
		if !jsonscan.Given(m.Value) || dialect.Ours(m.Name) {
			continue
		}
		var err error
		switch name := string(m.Name); name {
		case "model":
		case "input":
			in.Texts, err = texts(m.Value)
		case "dimensions":
			in.Dimensions, err = dialect.Whole(name, m.Value, 1)
		case "encoding_format":
			in.Base64 = string(m.Value) == `"base64"`
		case "user":
			p.User, err = dialect.User(name, m.Value)
		default:
			err = dialect.Unknown(dialect.Clip(name))
		}
		if err != nil {
			return nil, err
		}
	}
	if m.Err() != nil {
		return nil, dialect.ErrMalformed.Because(m.Err())
	}
	return p, nil
}

func texts(v []byte) ([]string, error) {
	if text, ok := jsonscan.Text(v); ok {
		return []string{text}, nil
	}
	var out []string
	list := jsonscan.Array(v)
	for list.Next() {
		text, ok := jsonscan.Text(list.Value)
		if !ok {
			return nil, dialect.Uncarried("input", "tokens are those of one vendor's models; other models need the text")
		}
		out = append(out, text)
	}
	return out, nil
}

// Encoder writes converted vectors.
type Encoder struct {
	model  string
	base64 bool
}

var _ dialect.Encoder = Encoder{}

// NewEncoder returns the writer of one answer: the request, and the slug of the model that serves.
func NewEncoder(req *completion.Request, model string) Encoder {
	format := jsonscan.Get(req.Raw, "encoding_format")
	return Encoder{model: model, base64: string(format) == `"base64"`}
}

// AppendChunk implements dialect.Encoder: vectors are never streamed.
func (Encoder) AppendChunk(dst []byte, _ *completion.Chunk) []byte { return dst }

// AppendEnd implements dialect.Encoder.
func (Encoder) AppendEnd(dst []byte, _ completion.Final) []byte { return dst }

// AppendWhole implements dialect.Encoder. SDKs want numbers of tokens; estimates stand for those that are not
// known.
func (e Encoder) AppendWhole(dst []byte, c *completion.Chunk, f completion.Final) []byte {
	dst = append(dst, `{"object":"list","data":[`...)
	if c.Result != nil {
		for i, vector := range c.Result.Vectors {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, `{"object":"embedding","index":`...)
			dst = strconv.AppendInt(dst, int64(i), 10)
			dst = append(dst, `,"embedding":`...)
			dst = append(e.vector(dst, vector), '}')
		}
	}
	dst = append(dst, `],"model":`...)
	dst = jsonscan.AppendText(dst, e.model)
	var tokens int64
	if f.Tokens != nil {
		tokens = f.Tokens.InputTotal
	}
	dst = append(dst, `,"usage":{"prompt_tokens":`...)
	dst = strconv.AppendInt(dst, tokens, 10)
	dst = append(dst, `,"total_tokens":`...)
	dst = strconv.AppendInt(dst, tokens, 10)
	return append(dst, "}}\n"...)
}

// vector appends numbers, or little-endian numbers of four bytes in base64.
func (e Encoder) vector(dst []byte, v []float32) []byte {
	if e.base64 {
		b := make([]byte, 0, 4*len(v))
		for _, f := range v {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
		}
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, b)
		return append(dst, '"')
	}
	dst = append(dst, '[')
	for i, f := range v {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendFloat(dst, float64(f), 'g', -1, 32)
	}
	return append(dst, ']')
}
