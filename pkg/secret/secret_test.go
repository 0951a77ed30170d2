package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/claviger/claviger/pkg/secret"
)

func TestNoPrinterShowsThePlaintext(t *testing.T) {
	t.Parallel()
	const canary = "sk-canary-0123456789"
	type holder struct {
		Name string
		Key  secret.Text
		key  secret.Text
		Ptr  *secret.Text
	}
	text := secret.New(canary)
	h := holder{Name: "n", Key: text, key: text, Ptr: &text}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%p"} {
		fmt.Fprintf(&out, verb+"\n", text)
		fmt.Fprintf(&out, verb+"\n", h)
		fmt.Fprintf(&out, verb+"\n", &h)
		fmt.Fprintf(&out, verb+"\n", []any{h, map[string]any{"k": text}})
	}
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(handler).Info("m", "text", text, "holder", h, "ptr", &h)
	}
	if err := json.NewEncoder(&out).Encode(h); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{canary, fmt.Sprintf("%x", canary)} {
		if strings.Contains(out.String(), bad) {
			t.Fatalf("output holds %q:\n%s", bad, out.String())
		}
	}
	if got := text.Reveal(); got != canary {
		t.Fatalf("Reveal() = %q, want the plaintext", got)
	}
}

func TestHintShowsAtMostFourCharactersOfALongSecret(t *testing.T) {
	t.Parallel()
	for plain, want := range map[string]string{"": "…", "short-secret": "…", "sk-0123456789abcdef": "…cdef"} {
		if got := secret.New(plain).Hint(); got != want {
			t.Errorf("Hint(%q) = %q, want %q", plain, got, want)
		}
	}
}
