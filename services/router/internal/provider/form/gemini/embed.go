package gemini

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// Vectors is a way to ask for vectors.
type Vectors uint8

// The ways.
const (
	// Batched: batchEmbedContents, many texts in one call.
	Batched Vectors = iota
	// Single: embedContent of Vertex AI, one text in each call.
	Single
	// Predicted: predict, many texts; PredictedOne takes one in each call.
	Predicted
	PredictedOne
)

// atOnce is how many calls of one request are under way at once.
const atOnce = 4

// size is how many texts one call takes.
func (v Vectors) size() int {
	switch v {
	case Batched:
		return 100
	case Predicted:
		return 250
	case Single, PredictedOne:
	}
	return 1
}

func (v Vectors) method() string {
	switch v {
	case Batched:
		return "batchEmbedContents"
	case Single:
		return "embedContent"
	case Predicted, PredictedOne:
	}
	return "predict"
}

type (
	wireBatch struct {
		Requests []wireEmbed `json:"requests"`
	}
	wireEmbed struct {
		Model      string           `json:"model,omitempty"`
		Content    wireContent      `json:"content"`
		TaskType   string           `json:"taskType,omitempty"`
		Dimensions *int64           `json:"outputDimensionality,omitempty"`
		Config     *wireEmbedConfig `json:"embedContentConfig,omitempty"`
	}
	wireEmbedConfig struct {
		TaskType   string `json:"taskType,omitempty"`
		Dimensions *int64 `json:"outputDimensionality,omitempty"`
	}
	wirePredict struct {
		Instances  []wireInstance  `json:"instances"`
		Parameters *wireParameters `json:"parameters,omitempty"`
	}
	wireInstance struct {
		Content  string `json:"content"`
		TaskType string `json:"task_type,omitempty"`
	}
	wireParameters struct {
		Dimensions *int64 `json:"outputDimensionality,omitempty"`
	}
)

// encodeTexts is the body of one call for vectors.
func encodeTexts(v Vectors, model string, texts []string, in *completion.EmbeddingInput) any {
	task := map[string]string{"query": "RETRIEVAL_QUERY", "document": "RETRIEVAL_DOCUMENT"}[in.Purpose]
	if v == Predicted || v == PredictedOne {
		w := wirePredict{}
		for _, text := range texts {
			w.Instances = append(w.Instances, wireInstance{Content: text, TaskType: task})
		}
		if in.Dimensions != nil {
			w.Parameters = &wireParameters{in.Dimensions}
		}
		return w
	}
	content := func(text *string) wireContent { return wireContent{Parts: []wirePart{{Text: text}}} }
	if v == Single {
		w := wireEmbed{Content: content(&texts[0])}
		if task != "" || in.Dimensions != nil {
			w.Config = &wireEmbedConfig{TaskType: task, Dimensions: in.Dimensions}
		}
		return w
	}
	w := wireBatch{}
	for i := range texts {
		w.Requests = append(w.Requests, wireEmbed{
			Model: "models/" + model, Content: content(&texts[i]), TaskType: task, Dimensions: in.Dimensions,
		})
	}
	return w
}

// embed asks for vectors, in as many calls as the texts need. The answer is one piece.
func (f *Form) embed(ctx context.Context, call completion.Call, prompt *completion.Prompt, at At) (completion.Answer, error) {
	in := prompt.Embedding
	if in == nil || len(in.Texts) == 0 {
		return nil, provider.Uncarried(f.options.Who, "input", "it holds no text")
	}
	for i, text := range in.Texts {
		if text == "" {
			return nil, provider.Uncarried(f.options.Who, fmt.Sprintf("input[%d]", i), "it is empty")
		}
	}
	way := Batched
	if f.options.Vectors != nil {
		way = f.options.Vectors(call.Model)
	}
	calls := (len(in.Texts) + way.size() - 1) / way.size()
	out := &vectors{vectors: make([][]float32, len(in.Texts)), known: true}
	// One failure ends the other calls: the request fails as a whole.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(atOnce, calls) {
		wg.Go(func() {
			for n := range next {
				from := n * way.size()
				to := min(from+way.size(), len(in.Texts))
				if err := f.embedSome(ctx, call, at(way.method()), encodeTexts(way, call.Model, in.Texts[from:to], in), out, from, to); err != nil {
					out.fail(err)
					cancel()
				}
			}
		})
	}
	for n := range calls {
		if ctx.Err() != nil {
			break
		}
		next <- n
	}
	close(next)
	wg.Wait()
	if out.err != nil {
		if failure, ok := errors.AsType[*completion.ProviderError](out.err); ok && out.head.Status != 0 {
			failure.Sent, failure.Unbilled = true, false // other calls were answered
		}
		return nil, out.err
	}
	if err := ctx.Err(); err != nil {
		return nil, provider.Interrupted(ctx, &completion.ProviderError{Class: completion.Network, Message: "the call was canceled", Sent: true})
	}
	return out, nil
}

// embedSome makes one call and keeps its vectors.
func (f *Form) embedSome(ctx context.Context, call completion.Call, route provider.Route, w any, out *vectors, from, to int) error {
	res, key, err := f.post(ctx, call, route, w, false)
	if err != nil {
		return err
	}
	body, err := res.Whole()
	if err != nil {
		return err
	}
	reads := &format{key: key, id: res.RequestID()}
	if err := reads.errorIn(body); err != nil {
		return err
	}
	got, count := readVectors(body)
	if len(got) != to-from {
		return reads.nonsense(fmt.Sprintf("the provider answered %d vectors for %d texts", len(got), to-from))
	}
	out.keep(from, got, count, res)
	return nil
}

// readVectors reads the answers of all ways, and how many tokens the texts are: -1 if that is not said.
func readVectors(body []byte) (out [][]float32, tokens int64) {
	tokens = -1
	wrong := false // one of the counts cannot be, and neither can their sum
	defer func() {
		if wrong {
			tokens = -1
		}
	}()
	said := func(v []byte) {
		n, ok := jsonscan.Int(v)
		wrong = wrong || !ok || n < 0 || n > maxTokens
		tokens = max(tokens, 0) + n
	}
	if jsonscan.KindOf(body) != jsonscan.ObjectKind {
		return nil, tokens
	}
	m := jsonscan.Object(body)
	for m.Next() {
		switch string(m.Name) {
		case "embedding":
			out = append(out, readVector(jsonscan.Get(m.Value, "values")))
		case "embeddings":
			for list := jsonscan.Array(m.Value); list.Next(); {
				out = append(out, readVector(jsonscan.Get(list.Value, "values")))
			}
		case "predictions":
			for list := jsonscan.Array(m.Value); list.Next(); {
				out = append(out, readVector(jsonscan.Get(list.Value, "embeddings", "values")))
				said(jsonscan.Get(list.Value, "embeddings", "statistics", "token_count"))
			}
		case "usageMetadata":
			said(jsonscan.Get(m.Value, "promptTokenCount"))
		}
	}
	for _, vector := range out {
		if len(vector) == 0 {
			return nil, tokens
		}
	}
	return out, tokens
}

func readVector(v []byte) []float32 {
	if jsonscan.KindOf(v) != jsonscan.ArrayKind {
		return nil
	}
	var out []float32
	for list := jsonscan.Array(v); list.Next(); {
		n, ok := jsonscan.Float(list.Value)
		if !ok {
			return nil
		}
		out = append(out, float32(n))
	}
	return out
}

// vectors is an answer in one piece, put together of one or more calls.
type vectors struct {
	mu      sync.Mutex
	vectors [][]float32
	tokens  int64
	known   bool // every call said its tokens
	head    completion.AnswerHead
	err     error
	done    bool
}

var _ completion.Answer = (*vectors)(nil)

func (v *vectors) keep(from int, got [][]float32, tokens int64, res *provider.Response) {
	v.mu.Lock()
	defer v.mu.Unlock()
	copy(v.vectors[from:], got)
	v.known = v.known && tokens >= 0
	v.tokens += tokens
	v.head.Status, v.head.RequestID = res.StatusCode, res.RequestID()
}

// fail keeps the first failure: later ones follow from it.
func (v *vectors) fail(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err == nil {
		v.err = err
	}
}

// Head says what the provider named.
func (v *vectors) Head() completion.AnswerHead { return v.head }

// Close does nothing: all has been read.
func (v *vectors) Close() error { return nil }

// Next returns the vectors, once.
func (v *vectors) Next() (completion.Chunk, error) {
	if v.done {
		return completion.Chunk{}, io.EOF
	}
	v.done = true
	chunk := completion.Chunk{Content: true, Result: &completion.Result{Vectors: v.vectors}} // no piece: vectors are no output tokens
	if v.known {
		chunk.Usage = &completion.Usage{Tokens: usage.Tokens{InputTotal: v.tokens, InputUncached: v.tokens}, Final: true}
	}
	return chunk, nil
}
