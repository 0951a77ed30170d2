// Package videos speaks OpenAI's videos to callers: a submit that answers a job, and the job when it is
// asked for.
//
// Besides OpenAI's own fields a body may have resolution, aspect_ratio and seed, and parameters: the
// model's own input as its vendor documents it, passed on as it is. A submit is JSON, or a form with a file
// as OpenAI's SDKs send it.
package videos

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"strconv"
	"strings"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

// ErrContentType is the fault of a body in a form that is not known.
var ErrContentType = fault.New(fault.Invalid, "CONTENT_TYPE_NOT_SUPPORTED", "a submit is application/json or multipart/form-data").With("param", "Content-Type")

const (
	maxPrompt     = 64 << 10
	maxWord       = 64
	maxURL        = 8 << 10
	maxParameters = 1 << 20
	maxSeconds    = 3600
	maxParts      = 64
)

// Decode reads the body of a submit. The caller fills in ID.
func Decode(contentType string, body []byte) (completion.Request, error) {
	f := &fields{req: completion.Request{Dialect: completion.OpenAIVideos, Operation: completion.Videos, InputBytes: len(body)}}
	kind, params, err := mime.ParseMediaType(contentType)
	switch {
	case contentType == "", err == nil && kind == "application/json":
		err = dialect.Walk(body, f.field)
	case err == nil && kind == "multipart/form-data" && params["boundary"] != "":
		err = f.form(multipart.NewReader(bytes.NewReader(body), params["boundary"]))
	default:
		err = ErrContentType
	}
	if err == nil {
		err = f.finish()
	}
	if err != nil {
		return completion.Request{}, err
	}
	prompt := &completion.Prompt{Video: &f.video, User: f.req.User}
	f.req.Decode = func() (*completion.Prompt, error) { return prompt, nil }
	return f.req, nil
}

// fields gathers the fields of one body.
type fields struct {
	req   completion.Request
	video completion.VideoInput
	seen  dialect.Once
	asked dialect.Asked
}

const (
	seenModel dialect.Once = 1 << iota
	seenPrompt
	seenSeconds
	seenReference
	seenParameters
	seenMetadata
)

// field takes over one member of a JSON body. What is not known is refused by name: its place is in
// parameters.
func (f *fields) field(name, v []byte) (err error) {
	video := &f.video
	switch string(name) {
	case "model":
		if err = f.seen.Seen("model", seenModel); err == nil {
			f.req.Model, err = dialect.Model(v)
		}
	case "prompt":
		if err = f.seen.Seen("prompt", seenPrompt); err == nil {
			video.Text, err = dialect.Text("prompt", v, maxPrompt)
		}
	case "seconds":
		if err = f.seen.Seen("seconds", seenSeconds); err == nil {
			video.Seconds, err = seconds(v)
		}
	case "size":
		video.Size, err = dialect.Text("size", v, maxWord)
	case "resolution":
		video.Resolution, err = dialect.Text("resolution", v, maxWord)
	case "aspect_ratio":
		video.AspectRatio, err = dialect.Text("aspect_ratio", v, maxWord)
	case "seed":
		video.Seed, err = dialect.Whole("seed", v, 0)
	case "input_reference":
		if err = f.seen.Seen("input_reference", seenReference); err == nil {
			err = f.reference(v)
		}
	case "parameters":
		if err = f.seen.Seen("parameters", seenParameters); err == nil {
			err = f.parameters(v)
		}
	case "user":
		f.req.User, err = dialect.User("user", v)
	case "metadata":
		if err = f.seen.Seen("metadata", seenMetadata); err == nil {
			err = dialect.AddTags(&f.req, "metadata", v)
		}
	default:
		if dialect.Ours(name) {
			return f.asked.Take(name, v)
		}
		err = dialect.Invalid(dialect.Clip(string(name)), "is not known here; a model's own input goes into parameters")
	}
	return err
}

// seconds reads "8" as OpenAI has it, and 8.
func seconds(v []byte) (int, error) {
	if !jsonscan.Given(v) {
		return 0, nil
	}
	text, ok := jsonscan.Text(v)
	if !ok {
		text = string(v)
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxSeconds {
		return 0, dialect.Invalid("seconds", "must be a whole number from 1 to "+strconv.Itoa(maxSeconds))
	}
	return n, nil
}

// reference reads the first frame: an address, or an object that holds one.
func (f *fields) reference(v []byte) error {
	if jsonscan.KindOf(v) == jsonscan.ObjectKind {
		for m := jsonscan.Object(v); m.Next(); {
			switch string(m.Name) {
			case "image_url", "url":
				v = m.Value
			default:
				return dialect.Invalid("input_reference."+dialect.Clip(string(m.Name)), "is not supported: files are not kept here; give image_url, or send the file with the form")
			}
		}
	}
	if !jsonscan.Given(v) {
		return nil
	}
	url, ok := jsonscan.Text(v)
	if !ok {
		return dialect.Invalid("input_reference", "must be the address of a picture")
	}
	return f.picture(url)
}

func (f *fields) picture(url string) error {
	if rest, ok := strings.CutPrefix(url, "data:"); ok {
		head, body, _ := strings.Cut(rest, ",")
		kind, isBase64 := strings.CutSuffix(head, ";base64")
		data, err := base64.StdEncoding.DecodeString(body)
		if !isBase64 || err != nil || !strings.HasPrefix(kind, "image/") || len(kind) > maxWord {
			return dialect.Invalid("input_reference", "is no picture in base64")
		}
		f.video.ImageData, f.video.MediaType = data, kind
		return nil
	}
	if len(url) > maxURL || !strings.HasPrefix(url, "https://") && !strings.HasPrefix(url, "http://") {
		return dialect.Invalid("input_reference", "must be the https address of a picture, or a picture in base64")
	}
	f.video.ImageURL = url
	return nil
}

func (f *fields) parameters(v []byte) error {
	if !jsonscan.Given(v) {
		return nil
	}
	if jsonscan.KindOf(v) != jsonscan.ObjectKind || len(v) > maxParameters || !jsonscan.Valid(v) {
		return dialect.Invalid("parameters", "must be an object of at most 1 MiB")
	}
	f.video.Parameters = string(v)
	return nil
}

// form takes over the fields of a form. Each is a text, but for the file of input_reference.
func (f *fields) form(r *multipart.Reader) error {
	for range maxParts {
		part, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return dialect.ErrMalformed.Saying("the body is not a whole form").Because(err)
		}
		content, err := io.ReadAll(part) // as large as the body at most, which is bounded
		if err != nil {
			return dialect.ErrMalformed.Saying("the body is not a whole form").Because(err)
		}
		name := part.FormName()
		switch {
		case part.FileName() != "" && name != "input_reference":
			err = dialect.Invalid(dialect.Clip(name), "must not be a file")
		case part.FileName() != "":
			err = f.file(part.Header.Get("Content-Type"), content)
		default:
			err = f.text(name, string(content))
		}
		if err != nil {
			return err
		}
	}
	return dialect.ErrMalformed.Saying("the form has more than %d fields", maxParts)
}

// text takes over one field of a form as if it stood in JSON.
func (f *fields) text(name, content string) error {
	if inner, ok := strings.CutPrefix(name, "input_reference["); ok {
		return f.field([]byte("input_reference"), member(strings.TrimSuffix(inner, "]"), content))
	}
	if name == "parameters" || name == "seed" || name == "metadata" || dialect.Ours([]byte(name)) && name != "route" {
		if !jsonscan.Valid([]byte(content)) {
			return dialect.Invalid(name, "must be JSON")
		}
		return f.field([]byte(name), bytes.TrimSpace([]byte(content)))
	}
	return f.field([]byte(name), jsonscan.AppendText(nil, content))
}

// member is an object of one text: forms write members of objects as fields of their own.
func member(name, content string) []byte {
	b := append(jsonscan.AppendText([]byte{'{'}, name), ':')
	return append(jsonscan.AppendText(b, content), '}')
}

func (f *fields) file(contentType string, content []byte) error {
	if err := f.seen.Seen("input_reference", seenReference); err != nil {
		return err
	}
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil || !strings.HasPrefix(kind, "image/") || len(kind) > maxWord {
		return dialect.Invalid("input_reference", "must be a picture with its type")
	}
	if len(content) == 0 {
		return dialect.Invalid("input_reference", "is empty")
	}
	f.video.ImageData, f.video.MediaType = content, kind
	return nil
}

// finish checks what needs the whole body.
func (f *fields) finish() error {
	if f.video.Text == "" && f.video.Parameters == "" {
		return dialect.Invalid("prompt", "is required")
	}
	return f.asked.Into(&f.req)
}
