package embeddings_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/embeddings"
	"github.com/claviger/claviger/services/router/internal/usage"
)

func TestDecodeReadsWhatTheRouterNeeds(t *testing.T) {
	t.Parallel()
	body := []byte(`{"model":"openai/text-embedding-3-small","input":["one","two"],"user":"u1","encoding_format":"base64","claviger":{"tags":{"team":"a"},"session":"s"}}`)
	got, err := embeddings.Decode(body)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Raw, body) || got.Model != "openai/text-embedding-3-small" || got.Stream || got.User != "u1" || got.Session != "s" || got.Tags["team"] != "a" ||
		got.Dialect != completion.OpenAIEmbeddings || got.Asks() != completion.Embeddings || got.InputBytes != 6 {
		t.Errorf("%+v", got)
	}
	for input, size := range map[string]int{`"hello"`: 5, `[1,2,3]`: 12, `[[1,2],[3]]`: 12, `["a"]`: 1} {
		if got, err := embeddings.Decode([]byte(`{"input":` + input + `}`)); err != nil || got.InputBytes != size {
			t.Errorf("%s: %d bytes, %v, want %d", input, got.InputBytes, err, size)
		}
	}
}

func TestInputsAreDecoded(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]completion.EmbeddingInput{
		`{"input":"one"}`: {Texts: []string{"one"}},
		`{"model":"m","input":["one","tw\u00f6"],"dimensions":5,"encoding_format":"base64"}`: {Texts: []string{"one", "twö"}, Dimensions: new(int64(5)), Base64: true},
		`{"input":"a","encoding_format":"float","dimensions":null}`:                          {Texts: []string{"a"}},
	} {
		req, err := embeddings.Decode([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		prompt, err := req.Decode()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&want, prompt.Embedding); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
	}
}

func TestWrongInputsAreNamed(t *testing.T) {
	t.Parallel()
	many := `"input":["a"` + strings.Repeat(`,"a"`, 2048) + `]`
	for fields, param := range map[string]string{
		`"model":"m"`: "input", `"input":null`: "input", `"input":""`: "input", `"input":[]`: "input", `"input":7`: "input", `"input":{}`: "input",
		`"input":["a",""]`: "input[1]", `"input":["a",1]`: "input", `"input":[null]`: "input", many: "input",
		`"input":"a","encoding_format":"hex"`: "encoding_format", `"input":"a","input":"b"`: "input", `"input":"a","user":7`: "user",
	} {
		_, err := embeddings.Decode([]byte("{" + fields + "}"))
		if f, _ := fault.Of(err); f == nil || f.Facts()["param"] != param {
			t.Errorf("%.40s: %v, want %s named", fields, err, param)
		}
	}
	// What passes to a provider that speaks the dialect, and cannot be converted.
	for fields, param := range map[string]string{
		`"input":[1,2]`: "input", `"input":[[1],[2]]`: "input", `"input":"a","new":1`: "new", `"input":"a","dimensions":0`: "dimensions",
	} {
		req, err := embeddings.Decode([]byte("{" + fields + "}"))
		if err != nil {
			t.Errorf("%s: does not pass: %v", fields, err)
			continue
		}
		_, err = req.Decode()
		if f, _ := fault.Of(err); f == nil || f.Facts()["param"] != param {
			t.Errorf("%s: %v, want %s named", fields, err, param)
		}
	}
}

func TestVectorsAreWrittenAsAskedFor(t *testing.T) {
	t.Parallel()
	vectors := [][]float32{{1, -0.5, 1e-9, math.MaxFloat32}, {0.1}}
	chunk := completion.Chunk{Result: &completion.Result{Vectors: vectors}}
	for _, format := range []string{"float", "base64"} {
		e := embeddings.NewEncoder(&completion.Request{Raw: fmt.Appendf(nil, `{"encoding_format":%q,"input":"a"}`, format)}, "mistral/m")
		b := e.AppendWhole(nil, &chunk, completion.Final{Tokens: &usage.Tokens{InputTotal: 7}})
		var got struct {
			Object, Model string
			Usage         map[string]int
			Data          []struct {
				Object    string
				Index     int
				Embedding json.RawMessage
			}
		}
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		if got.Object != "list" || got.Model != "mistral/m" || got.Usage["prompt_tokens"] != 7 || got.Usage["total_tokens"] != 7 || len(got.Data) != 2 {
			t.Errorf("%s", b)
		}
		for i, d := range got.Data {
			var v []float32
			if format == "float" {
				if err := json.Unmarshal(d.Embedding, &v); err != nil {
					t.Fatal(err)
				}
			} else {
				var text string
				_ = json.Unmarshal(d.Embedding, &text)
				raw, err := base64.StdEncoding.DecodeString(text)
				if err != nil {
					t.Fatal(err)
				}
				for ; len(raw) > 0; raw = raw[4:] {
					v = append(v, math.Float32frombits(binary.LittleEndian.Uint32(raw)))
				}
			}
			if diff := cmp.Diff(vectors[i], v); diff != "" || d.Index != i || d.Object != "embedding" {
				t.Errorf("%s (-want +got):\n%s", format, diff)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"input":["a","b"],"dimensions":3}`, `{"input":[[1],[2]]}`, `{"input":"a","encoding_format":"base64"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		req, err := embeddings.Decode(body)
		if err == nil {
			var prompt *completion.Prompt
			if prompt, err = req.Decode(); err == nil && len(prompt.Embedding.Texts) == 0 {
				t.Fatalf("%q: no texts", body)
			}
		}
		if _, ok := fault.Of(err); err != nil && !ok {
			t.Fatalf("%q: %v is no fault", body, err)
		}
	})
}
