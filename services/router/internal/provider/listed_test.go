package provider_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/services/router/internal/provider"
)

func TestTheListOfModelsIsKeptWithTheVerdict(t *testing.T) {
	t.Parallel()
	long := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,{"id":"m%d"}`, i)
		}
		return `{"data":[` + b.String()[1:] + `]}`
	}
	for body, want := range map[string][]string{
		`{"object":"list","data":[{"id":"gpt-4.1","object":"model"},{"object":"model","id":"o3"}]}`: {"gpt-4.1", "o3"},
		` [{"id":"acme/m"}]`: {"acme/m"},
		`{"data":[{"id":"a"},{"id":""},{"id":7},"b",{"id":"` + strings.Repeat("x", 257) + `"},{"id":"a\u0007b"},{"id":"c"}]}`: {"a", "c"},
		`{"data":[]}`: nil,
		long(1001):    nil,
	} {
		got := provider.Listed(answer(body))
		if diff := cmp.Diff(want, got.Models); diff != "" || got.State != "active" {
			t.Errorf("%.80s: %s, models (-want +got):\n%s", body, got.State, diff)
		}
	}
	if got := provider.Listed(answer(long(1000))); len(got.Models) != 1000 {
		t.Errorf("%d of 1,000 models are named", len(got.Models))
	}
	for _, body := range []string{"", "<html>", `{}`, `{"data":{}}`, `"data"`} {
		if got := provider.Listed(answer(body)); got.State != "" || got.Reason == "" || got.Models != nil {
			t.Errorf("%q: %+v", body, got)
		}
	}
}

func answer(body string) *provider.Response {
	return &provider.Response{Response: &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: -1,
	}}
}
