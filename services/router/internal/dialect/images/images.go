// Package images speaks OpenAI's drawn pictures to callers.
package images

import (
	"encoding/base64"
	"strconv"
	"time"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

// Decode reads what the router has to know of a body that asks for pictures. The request keeps the body
// as it is, and decodes it only when it is asked to. The caller fills in ID.
func Decode(body []byte) (completion.Request, error) {
	req := completion.Request{Dialect: completion.OpenAIImages, Operation: completion.Images, Raw: body}
	s := scan{req: &req}
	if err := dialect.Walk(body, s.field); err != nil {
		return completion.Request{}, err
	}
	if jsonscan.TextLen(s.prompt) == 0 {
		return completion.Request{}, dialect.Invalid("prompt", "is required and must be a string")
	}
	if req.User == "" {
		req.User = s.safety
	}
	req.InputBytes = jsonscan.TextLen(s.prompt)
	if err := s.asked.Into(&req); err != nil {
		return completion.Request{}, err
	}
	req.Decode = func() (*completion.Prompt, error) { return decodePrompt(body) }
	return req, nil
}

// scan gathers the fields of one body.
type scan struct {
	req    *completion.Request
	seen   dialect.Once
	prompt []byte
	asked  dialect.Asked
	safety string
}

// Of these fields a body must not have two: the router would read one and the provider another.
const (
	seenModel dialect.Once = 1 << iota
	seenStream
	seenPrompt
	seenUser
)

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
	case "prompt":
		s.prompt, err = v, s.seen.Seen("prompt", seenPrompt)
	case "user":
		if err = s.seen.Seen("user", seenUser); err == nil {
			s.req.User, err = dialect.User("user", v)
		}
	case "safety_identifier":
		s.safety, err = dialect.User("safety_identifier", v)
	default:
		err = s.asked.Take(name, v)
	}
	return err
}

// maxCount bounds how many pictures a request may ask for.
const maxCount = 10

// decodePrompt reads a whole body into the neutral form. Besides OpenAI's own fields it knows aspect_ratio
// and seed, which other vendors' models have.
func decodePrompt(body []byte) (*completion.Prompt, error) {
	in := &completion.ImageInput{}
	p := &completion.Prompt{Image: in}
	if err := dialect.Fields(body, func(name string, v []byte) error { return decodeField(p, in, name, v) }); err != nil {
		return nil, err
	}
	return p, nil
}

func decodeField(p *completion.Prompt, in *completion.ImageInput, name string, v []byte) (err error) {
	const word = 64
	switch name {
	case "model":
	case "prompt":
		in.Text, err = dialect.Text(name, v, len(v))
	case "n":
		n, ok := jsonscan.Int(v)
		if !ok || n < 1 || n > maxCount {
			return dialect.Invalid(name, "must be a whole number from 1 to 10")
		}
		in.Count = int(n)
	case "size":
		in.Size, err = dialect.Text(name, v, word)
	case "aspect_ratio":
		in.AspectRatio, err = dialect.Text(name, v, word)
	case "quality":
		in.Quality, err = dialect.Text(name, v, word)
	case "style":
		in.Style, err = dialect.Text(name, v, word)
	case "background":
		in.Background, err = dialect.Text(name, v, word)
	case "output_format":
		in.Format, err = dialect.Text(name, v, word)
	case "response_format":
		var how string
		how, err = dialect.OneOf(name, v, "url", "b64_json")
		in.Base64 = how == "b64_json"
	case "seed":
		n, ok := jsonscan.Int(v)
		if !ok {
			return dialect.Invalid(name, "must be a whole number")
		}
		in.Seed = &n
	case "user", "safety_identifier":
		if name == "user" || p.User == "" {
			p.User, err = dialect.User(name, v)
		}
	default:
		err = passedOver(name, v)
	}
	return err
}

// passedOver accepts the fields that need not be carried, as far as they need not.
func passedOver(name string, v []byte) error {
	fine := false
	switch name {
	case "stream":
		yes, ok := jsonscan.True(v)
		fine = ok && !yes
	case "partial_images":
		n, ok := jsonscan.Int(v)
		fine = ok && n == 0
	case "moderation":
		how, _ := jsonscan.Text(v)
		fine = how == "auto"
	case "output_compression":
		n, ok := jsonscan.Int(v)
		fine = ok && n == 100
	}
	if fine {
		return nil
	}
	if name == "stream" || name == "partial_images" {
		return dialect.Uncarried(name, "pictures that become clearer do not pass between dialects")
	}
	return dialect.Unknown(dialect.Clip(name))
}

// Encoder writes converted pictures.
type Encoder struct {
	created time.Time
	urls    bool
}

var _ dialect.Encoder = Encoder{}

// NewEncoder returns the writer of one answer.
func NewEncoder(req *completion.Request, created time.Time) Encoder {
	return Encoder{created: created, urls: string(jsonscan.Get(req.Raw, "response_format")) == `"url"`}
}

// AppendChunk implements dialect.Encoder: converted pictures are never streamed.
func (Encoder) AppendChunk(dst []byte, _ *completion.Chunk) []byte { return dst }

// AppendEnd implements dialect.Encoder.
func (Encoder) AppendEnd(dst []byte, _ completion.Final) []byte { return dst }

// AppendWhole implements dialect.Encoder. Bytes for a caller who asked for addresses are an address, too.
func (e Encoder) AppendWhole(dst []byte, c *completion.Chunk, f completion.Final) []byte {
	dst = append(dst, `{"created":`...)
	dst = strconv.AppendInt(dst, e.created.Unix(), 10)
	dst = append(dst, `,"data":[`...)
	if c.Result != nil {
		for i := range c.Result.Pictures {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = e.picture(dst, &c.Result.Pictures[i])
		}
	}
	dst = append(dst, ']')
	if t := f.Tokens; t != nil && t.InputTotal+t.OutputTotal > 0 {
		for _, m := range [...]struct {
			before string
			n      int64
		}{
			{`,"usage":{"input_tokens":`, t.InputTotal},
			{`,"output_tokens":`, t.OutputTotal},
			{`,"total_tokens":`, t.InputTotal + t.OutputTotal},
			{`,"input_tokens_details":{"text_tokens":`, t.InputTotal - t.ImageIn},
			{`,"image_tokens":`, t.ImageIn},
			{`},"output_tokens_details":{"text_tokens":`, t.OutputTotal - t.ImageOut},
			{`,"image_tokens":`, t.ImageOut},
		} {
			dst = append(dst, m.before...)
			dst = strconv.AppendInt(dst, m.n, 10)
		}
		dst = append(dst, "}}"...)
	}
	return append(dst, "}\n"...)
}

func (e Encoder) picture(dst []byte, p *completion.Picture) []byte {
	switch {
	case p.URL != "" && (e.urls || len(p.Data) == 0):
		dst = append(dst, `{"url":`...)
		dst = jsonscan.AppendText(dst, p.URL)
	case e.urls:
		media := p.MediaType
		if media == "" {
			media = "image/png"
		}
		dst = append(dst, `{"url":`...)
		dst = jsonscan.AppendText(dst, "data:"+media+";base64,"+base64.StdEncoding.EncodeToString(p.Data))
	default:
		dst = append(dst, `{"b64_json":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, p.Data)
		dst = append(dst, '"')
	}
	if p.RevisedText != "" {
		dst = append(dst, `,"revised_prompt":`...)
		dst = jsonscan.AppendText(dst, p.RevisedText)
	}
	return append(dst, '}')
}
