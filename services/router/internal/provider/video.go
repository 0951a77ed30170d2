package provider

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"strconv"
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

// MaxSide bounds what is taken for the width or height of a picture.
const MaxSide = 16384

// Side reads "1280x720". Who is what callers know the vendor as.
func Side(who, size string) (width, height int, err error) {
	ws, hs, ok := strings.Cut(size, "x")
	width, werr := strconv.Atoi(ws)
	height, herr := strconv.Atoi(hs)
	if !ok || werr != nil || herr != nil || width < 1 || height < 1 || width > MaxSide || height > MaxSide {
		return 0, 0, Uncarried(who, "size", `it is no "width x height" such as "1280x720"`)
	}
	return width, height, nil
}

// Shape is "720p" and "16:9" of "1280x720", as makers of videos call it.
func Shape(who, size string) (resolution, ratio string, err error) {
	width, height, err := Side(who, size)
	if err != nil {
		return "", "", err
	}
	a, b := width, height
	for b != 0 {
		a, b = b, a%b
	}
	return strconv.Itoa(min(width, height)) + "p", strconv.Itoa(width/a) + ":" + strconv.Itoa(height/a), nil
}

// FirstFrame is the address of a video's first frame, with the picture in it if it came as bytes; empty if
// there is none.
func FirstFrame(v *completion.VideoInput) string {
	if v.ImageURL != "" || v.ImageData == nil {
		return v.ImageURL
	}
	return "data:" + v.MediaType + ";base64," + base64.StdEncoding.EncodeToString(v.ImageData)
}

// Input is the input of a model, as members of a JSON object.
type Input map[string]any

// Put adds a text that is not empty.
func (in Input) Put(name, text string) {
	if text != "" {
		in[name] = text
	}
}

// Own adds the members of a caller's own JSON object, which win over those that are there.
func (in Input) Own(text string) error {
	if text == "" {
		return nil
	}
	own := map[string]any{}
	m := jsonscan.Object([]byte(text))
	for m.Next() {
		own[string(m.Name)] = json.RawMessage(bytes.Clone(m.Value))
	}
	if m.Err() != nil || !jsonscan.Valid([]byte(text)) {
		return completion.ErrUnsupported.Saying("parameters is no JSON object").With("param", "parameters")
	}
	maps.Copy(in, own)
	return nil
}

// Encode writes the object, its members in order.
func (in Input) Encode() []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(in); err != nil {
		panic(err) // texts, numbers and JSON that was parsed always encode
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// MaxSeconds bounds what is believed of the length of a video.
const MaxSeconds = 3600

// Seconds reads a length that was put into an input: 5, "5" or "5s"; 0 is unknown.
func Seconds(v any) int {
	n, _ := v.(int)
	if raw, ok := v.(json.RawMessage); ok {
		text, isText := jsonscan.Text(raw)
		if !isText {
			text = string(raw)
		}
		n, _ = strconv.Atoi(strings.TrimSuffix(text, "s")) // what is no number is unknown
	}
	if n < 1 || n > MaxSeconds {
		return 0
	}
	return n
}

// Submitted is the answer of a call that only submits a job.
type Submitted struct {
	job  *completion.Job
	head completion.AnswerHead
	told bool
}

var _ completion.Answer = (*Submitted)(nil)

// NewSubmitted returns the answer that is a job.
func NewSubmitted(job *completion.Job, status int, model string) *Submitted {
	return &Submitted{job: job, head: completion.AnswerHead{Status: status, RequestID: job.ID, Model: model}}
}

// Next returns the job, once.
func (s *Submitted) Next() (completion.Chunk, error) {
	if s.told {
		return completion.Chunk{}, io.EOF
	}
	s.told = true
	return completion.Chunk{Content: true, Pieces: 1, Result: &completion.Result{Job: s.job}}, nil
}

// Close has nothing to release.
func (s *Submitted) Close() error { return nil }

// Head says what the provider named.
func (s *Submitted) Head() completion.AnswerHead { return s.head }
