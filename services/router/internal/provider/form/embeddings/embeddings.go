// Package embeddings is the form of OpenAI's embeddings, which many vendors speak: vectors of texts.
//
// A call whose caller speaks the same dialect passes byte for byte, but for the model's name and our own
// routing fields. Every other call is encoded from the neutral input.
package embeddings

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"maps"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/form/chat"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// Vendor says how a vendor's embeddings differ from OpenAI's. The zero value is OpenAI's own form.
type Vendor struct {
	// Name is what callers know the vendor as; empty is OpenAI.
	Name string
	// Dimensions is what the vendor calls the length of the vectors; empty is "dimensions".
	Dimensions string
	// Floats says that the vendor gives numbers only; others are asked for base64, which is exact and a
	// third of the size.
	Floats bool
	// NoUser says that the vendor refuses to be told the end user.
	NoUser bool
	// Members gives members of the vendor's own, for what the input says besides; nil is none.
	Members func(in *completion.EmbeddingInput) map[string]any
	// Judge changes the class of an error where the vendor has words of its own; nil is OpenAI's.
	Judge func(*completion.ProviderError)
	// Cost reads what the vendor says that a call costs from its usage, in billionths of a dollar; nil is
	// that it does not say.
	Cost func(usage []byte) (nano int64, ok bool)
}

// Form sends calls in this form.
type Form struct {
	client provider.Client
	vendor Vendor
	now    func() time.Time
}

// New returns the form of a vendor over a client.
func New(client provider.Client, vendor Vendor) *Form {
	if vendor.Name == "" {
		vendor.Name = "OpenAI"
	}
	if vendor.Dimensions == "" {
		vendor.Dimensions = "dimensions"
	}
	if vendor.Judge == nil {
		vendor.Judge = func(*completion.ProviderError) {}
	}
	return &Form{client: client, vendor: vendor, now: time.Now}
}

// Start sends the call along a route. See completion.Provider.
func (p *Form) Start(ctx context.Context, call completion.Call, route provider.Route) (completion.Answer, error) {
	body, inputs, err := p.body(call)
	if err != nil {
		return nil, err
	}
	res, err := p.client.Send(ctx, provider.Outgoing{
		Method: http.MethodPost, URL: route.URL, Body: body,
		AttemptID: call.AttemptID, Auth: route.Auth, Header: route.Header,
	})
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		failure := chat.RefusedWith(res, route.Auth.Key, p.now())
		p.vendor.Judge(failure)
		return nil, failure
	}
	r := reader{vendor: &p.vendor, key: route.Auth.Key, id: res.RequestID(), inputs: inputs, raw: call.Raw}
	return &answer{provider.NewWhole(res, r.read)}, nil
}

// answer is an answer without output tokens: it is no piece for an estimate.
type answer struct{ *provider.Whole }

// Next implements completion.Answer.
func (a *answer) Next() (completion.Chunk, error) {
	chunk, err := a.Whole.Next()
	chunk.Pieces = 0
	return chunk, err
}

// body is what goes out, and how many vectors it asks for; 0 is unknown.
func (p *Form) body(call completion.Call) (body []byte, inputs int, err error) {
	if call.Raw {
		body, err = provider.Rewrite(call.Request.Raw, call.Model, nil, nil)
		return body, 0, err
	}
	prompt, err := call.Prompt()
	if err != nil {
		return nil, 0, err
	}
	in := prompt.Embedding
	if in == nil {
		return nil, 0, completion.ErrUnsupported.Saying("the request asks for no embeddings")
	}
	w := map[string]any{"model": call.Model, "input": in.Texts, "encoding_format": "base64"}
	if p.vendor.Floats {
		delete(w, "encoding_format")
	}
	if in.Dimensions != nil {
		w[p.vendor.Dimensions] = *in.Dimensions
	}
	if prompt.User != "" && !p.vendor.NoUser {
		w["user"] = prompt.User
	}
	if p.vendor.Members != nil {
		maps.Copy(w, p.vendor.Members(in))
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(w); err != nil {
		return nil, 0, provider.Uncarried(p.vendor.Name, "input", "it cannot be encoded").Because(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), len(in.Texts), nil
}

// reader reads one answer.
type reader struct {
	vendor *Vendor
	key    secret.Text
	id     string
	inputs int
	raw    bool
}

func (r *reader) nonsense(message string) error {
	return &completion.ProviderError{Class: completion.ServerError, Status: http.StatusOK, RequestID: r.id, Message: message, Sent: true}
}

func (r *reader) read(body []byte) (completion.Chunk, string, error) {
	data := jsonscan.Get(body, "data")
	if jsonscan.KindOf(data) != jsonscan.ArrayKind {
		if jsonscan.Given(jsonscan.Get(body, "error")) {
			failure := chat.ReportedWith(body, r.key, r.id)
			r.vendor.Judge(failure)
			return completion.Chunk{}, "", failure
		}
		return completion.Chunk{}, "", r.nonsense("the provider answered something that is not a list of embeddings")
	}
	chunk := completion.Chunk{Usage: r.usage(jsonscan.Get(body, "usage"))}
	if r.raw {
		chunk.Raw = body
	} else {
		vectors, err := r.vectors(data)
		if err != nil {
			return completion.Chunk{}, "", err
		}
		chunk.Result = &completion.Result{Vectors: vectors}
	}
	model, _ := jsonscan.Text(jsonscan.Get(body, "model"))
	return chunk, provider.Bounded(model, 256), nil
}

// vectors reads one vector for each input, in the order of the inputs.
func (r *reader) vectors(data []byte) ([][]float32, error) {
	out := make([][]float32, r.inputs)
	at := 0
	for list := jsonscan.Array(data); list.Next(); at++ {
		index := at
		if n, ok := jsonscan.Int(jsonscan.Get(list.Value, "index")); ok {
			index = int(n)
		}
		vector, ok := vector(jsonscan.Get(list.Value, "embedding"))
		switch {
		case !ok:
			return nil, r.nonsense("the provider answered an embedding that is not a vector")
		case index < 0 || index >= len(out) || out[index] != nil:
			return nil, r.nonsense("the provider answered embeddings of other inputs than it was given")
		}
		out[index] = vector
	}
	if at != r.inputs {
		return nil, r.nonsense("the provider answered embeddings of other inputs than it was given")
	}
	return out, nil
}

// vector reads numbers, or little-endian numbers of four bytes in base64.
func vector(v []byte) ([]float32, bool) {
	if text, ok := jsonscan.Text(v); ok {
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(b) == 0 || len(b)%4 != 0 {
			return nil, false
		}
		out := make([]float32, len(b)/4)
		for i := range out {
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
			if f := float64(out[i]); math.IsNaN(f) || math.IsInf(f, 0) {
				return nil, false
			}
		}
		return out, true
	}
	out := make([]float32, 0, bytes.Count(v, []byte{','})+1)
	list := jsonscan.Array(v)
	for list.Next() {
		if jsonscan.KindOf(list.Value) != jsonscan.Number {
			return nil, false
		}
		f, err := strconv.ParseFloat(string(list.Value), 32)
		if err != nil {
			return nil, false
		}
		out = append(out, float32(f))
	}
	return out, len(out) > 0 && list.Err() == nil
}

// maxTokens bounds a count: what is larger is a mistake and not used.
const maxTokens = 1 << 40

// usage reads a usage object; nil is unknown. Vectors are no output tokens.
func (r *reader) usage(v []byte) *completion.Usage {
	n, ok := jsonscan.Int(jsonscan.Get(v, "prompt_tokens"))
	if !ok {
		n, ok = jsonscan.Int(jsonscan.Get(v, "total_tokens"))
	}
	if !ok || n < 0 || n > maxTokens {
		return nil
	}
	out := &completion.Usage{Tokens: usage.Tokens{InputTotal: n, InputUncached: n}, Final: true}
	if r.vendor.Cost != nil {
		if nano, told := r.vendor.Cost(v); told {
			out.CostNanoUSD = &nano
		}
	}
	return out
}
