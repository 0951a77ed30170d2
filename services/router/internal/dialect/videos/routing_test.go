package videos_test

import (
	"bytes"
	"mime/multipart"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/videos"
)

// TestSubmitsSayWhatElseMayServe as other bodies do, and forms with the same fields as JSON texts.
func TestSubmitsSayWhatElseMayServe(t *testing.T) {
	t.Parallel()
	want := completion.Routing{Models: []string{"fal/c/d"}, Only: []string{"fal"}, NoFallbacks: true}
	fields := map[string]string{
		"model": "fal/a/b", "prompt": "a kite", "models": `["fal/c/d"]`, "provider": ` {"only":["fal"],"allow_fallbacks":false} `, "route": "fallback",
	}
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	for name, value := range fields {
		if err := w.WriteField(name, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for kind, body := range map[string]string{
		"application/json":      `{"model":"fal/a/b","prompt":"a kite","models":` + fields["models"] + `,"provider":` + fields["provider"] + `,"route":"fallback"}`,
		w.FormDataContentType(): form.String(),
	} {
		req, err := videos.Decode(kind, []byte(body))
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		if diff := cmp.Diff(want, req.Routing); diff != "" || req.Model != "fal/a/b" {
			t.Errorf("%s asks for %q (-want +got):\n%s", kind, req.Model, diff)
		}
	}
	_, err := videos.Decode("", []byte(`{"prompt":"a kite","provider":{"zdr":true}}`))
	if f, ok := fault.Of(err); !ok || f.Facts()["param"] != "provider.zdr" {
		t.Errorf("a wish that cannot be kept: %v", err)
	}
}
