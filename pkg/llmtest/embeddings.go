package llmtest

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
)

// embeddings is OpenAI's form of vectors. The vector of a text is Vector of it; that of tokens is the
// vector of their numbers with blanks between.
type embeddings struct {
	openAIFamily
	body struct {
		Input          json.RawMessage `json:"input"`
		Dimensions     *int            `json:"dimensions"`
		EncodingFormat string          `json:"encoding_format"`
	}
	texts []string
}

// maxInputs bounds how many texts one call may have.
const maxInputs = 2048

// defaultDimensions is the length of a vector, far below that of real models.
const defaultDimensions = 8

// Vector is the vector that the scripted provider gives a text: the same text has the same vector.
func Vector(text string, dimensions int) []float32 {
	v := make([]float32, dimensions)
	state := uint32(2166136261)
	for i := range v {
		for _, b := range []byte(text + strconv.Itoa(i)) {
			state = (state ^ uint32(b)) * 16777619
		}
		v[i] = float32(int32(state)) / (1 << 31)
	}
	return v
}

// read: there are no streams, whatever is asked for.
func (e *embeddings) read(c *call, raw []byte) *wire {
	problem := e.openAIFamily.read(c, raw)
	c.body.Stream = false
	return problem
}

func (e *embeddings) check(c *call, raw []byte) (last string, _ *wire) {
	if c.model == "" {
		return "", refused("you must provide a model parameter", "", "")
	}
	if err := json.Unmarshal(raw, &e.body); err != nil {
		return "", refused("'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference.", "", "")
	}
	if problem := e.inputs(); problem != nil {
		return "", problem
	}
	if d := e.body.Dimensions; d != nil && (*d < 1 || !strings.HasPrefix(c.model, "text-embedding-3")) {
		return "", refused("This model does not support specifying dimensions.", "", "")
	}
	switch e.body.EncodingFormat {
	case "", "float", "base64":
	default:
		return "", refused("Invalid value: '"+e.body.EncodingFormat+"'. Supported values are: 'float' and 'base64'.", "encoding_format", "invalid_value")
	}
	return e.texts[0], nil
}

// inputs reads a text, texts, tokens or lists of tokens.
func (e *embeddings) inputs() *wire {
	var one string
	var many []json.RawMessage
	switch {
	case json.Unmarshal(e.body.Input, &one) == nil && len(e.body.Input) > 0:
		e.texts = []string{one}
	case json.Unmarshal(e.body.Input, &many) != nil || len(many) == 0:
		return refused("'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference.", "", "")
	case json.Unmarshal(many[0], new(int)) == nil:
		e.texts = []string{tokens(e.body.Input)}
	default:
		for _, m := range many {
			if json.Unmarshal(m, &one) != nil {
				one = tokens(m)
			}
			e.texts = append(e.texts, one)
		}
	}
	if len(e.texts) > maxInputs {
		return refused("'$.input' is invalid. Expected an array with maximum length 2048.", "", "")
	}
	if slices.Contains(e.texts, "") {
		return refused("'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference.", "", "")
	}
	return nil
}

func tokens(v json.RawMessage) string {
	var numbers []int
	if json.Unmarshal(v, &numbers) != nil {
		return ""
	}
	words := make([]string, len(numbers))
	for i, n := range numbers {
		words[i] = strconv.Itoa(n)
	}
	return strings.Join(words, " ")
}

// declare: vectors are no output tokens.
func (e *embeddings) declare(c *call) {
	c.usage = Usage{Input: c.usage.Input}
	c.answer = answer{}
}

func (e *embeddings) whole(c *call) []byte {
	data := make([]any, len(e.texts))
	for i, text := range e.texts {
		dimensions := defaultDimensions
		if e.body.Dimensions != nil {
			dimensions = *e.body.Dimensions
		}
		var vector any = Vector(text, dimensions)
		if e.body.EncodingFormat == "base64" {
			vector = base64.StdEncoding.EncodeToString(littleEndian(Vector(text, dimensions)))
		}
		data[i] = map[string]any{"object": "embedding", "index": i, "embedding": vector}
	}
	whole := map[string]any{"object": "list", "data": data, "model": c.answerModel()}
	if !c.script.NoUsage {
		whole["usage"] = map[string]any{"prompt_tokens": c.usage.Input, "total_tokens": c.usage.Input}
	}
	return indented(whole)
}

func littleEndian(v []float32) []byte {
	b := make([]byte, 0, 4*len(v))
	for _, f := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return b
}
