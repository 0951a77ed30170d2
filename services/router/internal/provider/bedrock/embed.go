package bedrock

import (
	"context"
	"encoding/json"
	"io"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/usage"
)

const (
	// maxTexts bounds the texts of a request, and atOnce how many calls of one are under way at a time.
	maxTexts = 512
	atOnce   = 4
)

// embedder is how the models of a maker are asked for vectors.
type embedder struct {
	// batch is how many texts one call takes; sizes says that the vectors' length can be chosen.
	batch int
	sizes bool
	body  func(in *completion.EmbeddingInput, texts []string) any
	read  func(body []byte) (vectors [][]float32, tokens int64, ok bool)
}

// embedding is the way of a model, nil if there is none.
func embedding(m model) *embedder {
	switch {
	case strings.HasPrefix(m.bare, "amazon.titan-embed-text") || strings.HasPrefix(m.bare, "amazon.titan-embed-g1-text"):
		return &embedder{batch: 1, sizes: strings.HasPrefix(m.bare, "amazon.titan-embed-text-v2"), body: titanBody, read: titanVectors}
	case strings.HasPrefix(m.bare, "cohere.embed"):
		return &embedder{batch: 96, sizes: strings.HasPrefix(m.bare, "cohere.embed-v4"), body: cohereBody, read: cohereVectors}
	}
	return nil
}

func titanBody(in *completion.EmbeddingInput, texts []string) any {
	return struct {
		Text       string `json:"inputText"`
		Dimensions *int64 `json:"dimensions,omitempty"`
	}{texts[0], in.Dimensions}
}

func titanVectors(body []byte) ([][]float32, int64, bool) {
	var answer struct {
		Embedding []float32       `json:"embedding"`
		Tokens    json.RawMessage `json:"inputTextTokenCount"`
	}
	err := json.Unmarshal(body, &answer)
	tokens, ok := jsonscan.Int(answer.Tokens)
	if !ok || tokens < 0 || tokens > maxTokens { // a mistake, and not used
		tokens = 0
	}
	return [][]float32{answer.Embedding}, tokens, err == nil && len(answer.Embedding) > 0
}

func cohereBody(in *completion.EmbeddingInput, texts []string) any {
	purpose := "search_document"
	if in.Purpose == "query" {
		purpose = "search_query"
	}
	return struct {
		Texts      []string `json:"texts"`
		Purpose    string   `json:"input_type"`
		Types      []string `json:"embedding_types"`
		Dimensions *int64   `json:"output_dimension,omitempty"`
	}{texts, purpose, []string{"float"}, in.Dimensions}
}

// cohereVectors reads both forms of the answer. It holds no count of tokens.
func cohereVectors(body []byte) ([][]float32, int64, bool) {
	var answer struct {
		Embeddings json.RawMessage `json:"embeddings"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return nil, 0, false
	}
	var typed struct {
		Float [][]float32 `json:"float"`
	}
	if json.Unmarshal(answer.Embeddings, &typed) == nil {
		return typed.Float, 0, len(typed.Float) > 0
	}
	err := json.Unmarshal(answer.Embeddings, &typed.Float)
	return typed.Float, 0, err == nil && len(typed.Float) > 0
}

// embed asks for vectors. A model that takes fewer texts at once than there are is called several times;
// the answer is one.
func (p *Provider) embed(ctx context.Context, call completion.Call, a account, m model) (completion.Answer, error) {
	prompt, err := call.Prompt()
	if err != nil {
		return nil, err
	}
	in, way := prompt.Embedding, embedding(m)
	switch {
	case way == nil || in == nil:
		return nil, uncarried("model", m.bare+" makes no vectors")
	case in.Dimensions != nil && !way.sizes:
		return nil, uncarried("dimensions", "the vectors of "+m.bare+" have one length")
	case len(in.Texts) == 0 || len(in.Texts) > maxTexts:
		return nil, uncarried("input", "it takes 1 to "+strconv.Itoa(maxTexts)+" texts in one request")
	}
	answers := make([]vectors, (len(in.Texts)+way.batch-1)/way.batch)
	group, together := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i := range answers {
		texts := in.Texts[i*way.batch : min(len(in.Texts), (i+1)*way.batch)]
		group.Go(func() (err error) {
			answers[i], err = p.vectors(together, call, a, m, way, in, texts)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		if ctx.Err() != nil {
			return nil, provider.Interrupted(ctx, &completion.ProviderError{
				Class: completion.Network, Message: "the call was ended", Sent: true,
			})
		}
		return nil, partly(err, answers)
	}
	return joined(answers, m), nil
}

// partly is the error of some of several calls: the others may have cost something.
func partly(err error, answers []vectors) error {
	failed, ok := err.(*completion.ProviderError) //nolint:errorlint // as it came from vectors
	if !ok {
		return err
	}
	for _, v := range answers {
		if v.list != nil {
			failed.Sent, failed.Unbilled = true, false
		}
	}
	return failed
}

// vectors are the answer of one call.
type vectors struct {
	list   [][]float32
	tokens int64
	// counted says that the count is told; requestID is AWS's name for the call.
	counted   bool
	requestID string
}

func (p *Provider) vectors(ctx context.Context, call completion.Call, a account, m model, way *embedder, in *completion.EmbeddingInput, texts []string) (vectors, error) {
	body, err := marshal(way.body(in, texts))
	if err != nil {
		return vectors{}, err
	}
	res, err := p.send(ctx, call, a, a.runtime+"/model/"+address(m.id)+"/invoke", body, false)
	if err != nil {
		return vectors{}, err
	}
	got, err := res.Whole()
	if err != nil {
		return vectors{}, err
	}
	list, tokens, ok := way.read(got)
	if !ok || len(list) != len(texts) {
		return vectors{}, res.Failed("the provider answered something that are not the vectors of these texts")
	}
	out := vectors{list: list, tokens: tokens, counted: tokens > 0, requestID: res.RequestID()}
	if n, err := strconv.ParseInt(res.Header.Get("X-Amzn-Bedrock-Input-Token-Count"), 10, 64); err == nil && n >= 0 && n < maxTokens && !out.counted {
		out.tokens, out.counted = n, true
	}
	return out, nil
}

// once is an answer in one piece that has come.
type once struct {
	chunk completion.Chunk
	head  completion.AnswerHead
	done  bool
}

var _ completion.Answer = (*once)(nil)

// joined puts the answers of several calls together.
func joined(answers []vectors, m model) completion.Answer {
	out := &once{head: completion.AnswerHead{Status: 200, Model: m.id, RequestID: answers[0].requestID}}
	out.chunk = completion.Chunk{Content: true, Result: &completion.Result{}} // no piece: vectors are no output tokens
	var t usage.Tokens
	counted := true
	for _, v := range answers {
		out.chunk.Result.Vectors = append(out.chunk.Result.Vectors, v.list...)
		t.InputTotal += v.tokens
		counted = counted && v.counted
	}
	t.InputUncached = t.InputTotal
	if counted {
		out.chunk.Usage = &completion.Usage{Tokens: t, Final: true}
	}
	return out
}

// Next returns the piece, once.
func (o *once) Next() (completion.Chunk, error) {
	if o.done {
		return completion.Chunk{}, io.EOF
	}
	o.done = true
	return o.chunk, nil
}

// Head says what the provider named.
func (o *once) Head() completion.AnswerHead { return o.head }

// Close does nothing: all has come.
func (o *once) Close() error { return nil }
