package transittest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/transit"
)

// canary is a plaintext that no error may hold.
const canary = "sk-canary-5f1d0c7e9b3a4826"

// bound is what the conformance tests bind to.
func bound() transit.Context {
	return transit.Context{
		Environment:  Environment,
		OrgID:        "org_01jd0000000000000000000001",
		CredentialID: "cred_01jd0000000000000000000001",
		Revision:     1,
		Binding:      transit.Bind("compat", "https://llm.example"),
	}
}

// Run checks the promises that every pair of Sealer and Opener keeps. Open returns a pair that
// shares a key, and may be called more than once.
func Run(t *testing.T, open func(t *testing.T) (transit.Sealer, transit.Opener)) {
	t.Helper()
	for name, check := range map[string]func(*testing.T, transit.Sealer, transit.Opener){
		"what is sealed opens to the same":                 opensToTheSame,
		"every part of the context is bound":               everyPartIsBound,
		"a changed text does not open":                     changedTextFails,
		"equal plaintexts look different":                  equalLooksDifferent,
		"a bad item spoils only itself":                    badItemFailsAlone,
		"a rewrapped text opens in the same place only":    rewrapKeepsTheContext,
		"nothing is sealed to an incomplete context":       incompleteContextFails,
		"nothing empty or too large is sealed":             sizeIsBounded,
		"each ability comes alone":                         abilitiesAreApart,
		"a text that something else sealed is not for us":  otherFormsFail,
		"an error never holds the plaintext or the sealed": errorsHoldNothing,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sealer, opener := open(t)
			check(t, sealer, opener)
		})
	}
}

func mustSeal(t *testing.T, sealer transit.Sealer, plaintext string, c transit.Context) string {
	t.Helper()
	sealed, err := sealer.Seal(t.Context(), secret.New(plaintext), c)
	if err != nil {
		t.Fatalf("Seal: %v", err)
	}
	if len(plaintext) > 8 && strings.Contains(sealed, plaintext) {
		t.Fatal("the sealed text holds the plaintext")
	}
	return sealed
}

func wantForeign(t *testing.T, opener transit.Opener, what, sealed string, c transit.Context) {
	t.Helper()
	got, err := opener.Open(t.Context(), sealed, c)
	if !errors.Is(err, transit.ErrForeign) || !got.Empty() {
		t.Errorf("Open(%s) = %d bytes, %v, want ErrForeign", what, got.Len(), err)
	}
}

func opensToTheSame(t *testing.T, sealer transit.Sealer, opener transit.Opener) {
	for _, plaintext := range []string{canary, "x", "\x00\xff not utf-8 \xfe", strings.Repeat("k", transit.MaxPlaintext)} {
		got, err := opener.Open(t.Context(), mustSeal(t, sealer, plaintext, bound()), bound())
		if err != nil || !got.Equal(secret.New(plaintext)) {
			t.Errorf("Open(Seal(%d bytes)) = %d bytes, %v, want the same", len(plaintext), got.Len(), err)
		}
	}
}

func everyPartIsBound(t *testing.T, sealer transit.Sealer, opener transit.Opener) {
	sealed := mustSeal(t, sealer, canary, bound())
	for what, change := range map[string]func(*transit.Context){
		"another environment":  func(c *transit.Context) { c.Environment = "prod" },
		"another organization": func(c *transit.Context) { c.OrgID = "org_01jd0000000000000000000002" },
		"another credential":   func(c *transit.Context) { c.CredentialID = "cred_01jd0000000000000000000002" },
		"another revision":     func(c *transit.Context) { c.Revision = 2 },
		"another endpoint":     func(c *transit.Context) { c.Binding = transit.Bind("compat", "https://evil.example") },
		"another provider":     func(c *transit.Context) { c.Binding = transit.Bind("other", "https://llm.example") },
		"parts moved by a byte": func(c *transit.Context) {
			c.OrgID, c.CredentialID = c.OrgID+c.CredentialID[:1], c.CredentialID[1:]
		},
	} {
		c := bound()
		change(&c)
		wantForeign(t, opener, what, sealed, c)
	}
}

func changedTextFails(t *testing.T, sealer transit.Sealer, opener transit.Opener) {
	sealed := mustSeal(t, sealer, canary, bound())
	start := strings.LastIndex(sealed, ":") + 1
	for _, at := range []int{start, start + 8, (start + len(sealed)) / 2, len(sealed) - 6} {
		changed := []byte(sealed)
		if changed[at]++; changed[at] > 'y' || changed[at] == ':' || changed[at] == '=' {
			changed[at] = 'B'
		}
		wantForeign(t, opener, "changed byte", string(changed), bound())
	}
	for what, text := range map[string]string{
		"cut":           sealed[:len(sealed)-8],
		"only a prefix": sealed[:start],
		"nothing":       "",
		"longer":        sealed + "AAAA",
		"not base64":    sealed[:start] + "!!!!",
		"next version":  strings.Replace(sealed, ":v1:", ":v9:", 1),
		"no version":    strings.Replace(sealed, ":v1:", ":", 1),
	} {
		wantForeign(t, opener, what, text, bound())
	}
}

func equalLooksDifferent(t *testing.T, sealer transit.Sealer, _ transit.Opener) {
	first, second := mustSeal(t, sealer, canary, bound()), mustSeal(t, sealer, canary, bound())
	if first == second {
		t.Error("sealing the same twice gave the same text, which tells that two credentials are equal")
	}
}

func badItemFailsAlone(t *testing.T, sealer transit.Sealer, opener transit.Opener) {
	good := mustSeal(t, sealer, canary, bound())
	elsewhere, incomplete := bound(), bound()
	elsewhere.OrgID, incomplete.OrgID = "org_01jd0000000000000000000002", ""
	items := []transit.Item{
		{Sealed: good, Context: bound()},
		{Sealed: good, Context: elsewhere},
		{Sealed: good[:len(good)-8] + "AAAAAAAA", Context: bound()},
		{Sealed: "plain text", Context: bound()},
		{Sealed: good, Context: incomplete},
		{Sealed: good, Context: bound()},
	}
	want := []error{nil, transit.ErrForeign, transit.ErrForeign, transit.ErrForeign, transit.ErrContext, nil}
	// 250 goods more, so that Vault's calls are cut at least once.
	for range 250 {
		items, want = append(items, items[0]), append(want, nil)
	}
	results := transit.OpenBatch(t.Context(), opener, items)
	if len(results) != len(items) {
		t.Fatalf("OpenBatch(%d items) = %d results", len(items), len(results))
	}
	for i, r := range results {
		if !errors.Is(r.Err, want[i]) || (r.Err == nil) != r.Plaintext.Equal(secret.New(canary)) {
			t.Errorf("OpenBatch item %d = %d bytes, %v, want %v", i, r.Plaintext.Len(), r.Err, want[i])
		}
	}
	onlyBad := transit.OpenBatch(t.Context(), opener, items[1:3])
	for i, r := range onlyBad {
		if !errors.Is(r.Err, transit.ErrForeign) {
			t.Errorf("OpenBatch of bad items only, item %d: %v, want ErrForeign", i, r.Err)
		}
	}
	if got := transit.OpenBatch(t.Context(), opener, nil); len(got) != 0 {
		t.Errorf("OpenBatch(nothing) = %d results", len(got))
	}
}

func rewrapKeepsTheContext(t *testing.T, sealer transit.Sealer, opener transit.Opener) {
	rewrapper, ok := sealer.(transit.Rewrapper)
	if !ok {
		t.Fatalf("%T cannot rewrap", sealer)
	}
	sealed := mustSeal(t, sealer, canary, bound())
	again, err := rewrapper.Rewrap(t.Context(), sealed, bound())
	if err != nil || again == sealed {
		t.Fatalf("Rewrap = the same: %t, %v", again == sealed, err)
	}
	if got, err := opener.Open(t.Context(), again, bound()); err != nil || !got.Equal(secret.New(canary)) {
		t.Errorf("Open(rewrapped) = %d bytes, %v", got.Len(), err)
	}
	elsewhere := bound()
	elsewhere.OrgID = "org_01jd0000000000000000000002"
	wantForeign(t, opener, "rewrapped, another organization", again, elsewhere)
	if _, err := rewrapper.Rewrap(t.Context(), sealed, elsewhere); !errors.Is(err, transit.ErrForeign) {
		t.Errorf("Rewrap(another organization): %v, want ErrForeign", err)
	}
	if _, err := rewrapper.Rewrap(t.Context(), "plain text", bound()); !errors.Is(err, transit.ErrForeign) {
		t.Errorf("Rewrap(plain text): %v, want ErrForeign", err)
	}
}

func incompleteContextFails(t *testing.T, sealer transit.Sealer, opener transit.Opener) {
	sealed := mustSeal(t, sealer, canary, bound())
	for what, change := range map[string]func(*transit.Context){
		"environment":  func(c *transit.Context) { c.Environment = "" },
		"organization": func(c *transit.Context) { c.OrgID = "" },
		"credential":   func(c *transit.Context) { c.CredentialID = "" },
		"revision":     func(c *transit.Context) { c.Revision = 0 },
		"binding":      func(c *transit.Context) { c.Binding = "" },
	} {
		c := bound()
		change(&c)
		if _, err := sealer.Seal(t.Context(), secret.New(canary), c); !errors.Is(err, transit.ErrContext) {
			t.Errorf("Seal without %s: %v, want ErrContext", what, err)
		}
		if _, err := opener.Open(t.Context(), sealed, c); !errors.Is(err, transit.ErrContext) {
			t.Errorf("Open without %s: %v, want ErrContext", what, err)
		}
	}
}

func sizeIsBounded(t *testing.T, sealer transit.Sealer, _ transit.Opener) {
	for _, plaintext := range []string{"", strings.Repeat("k", transit.MaxPlaintext+1)} {
		if _, err := sealer.Seal(t.Context(), secret.New(plaintext), bound()); !errors.Is(err, transit.ErrSize) {
			t.Errorf("Seal(%d bytes): %v, want ErrSize", len(plaintext), err)
		}
	}
}

func abilitiesAreApart(t *testing.T, sealer transit.Sealer, opener transit.Opener) {
	if _, ok := sealer.(transit.Opener); ok {
		t.Errorf("%T can open", sealer)
	}
	if _, ok := sealer.(transit.BatchOpener); ok {
		t.Errorf("%T can open batches", sealer)
	}
	if _, ok := opener.(transit.Sealer); ok {
		t.Errorf("%T can seal", opener)
	}
	if _, ok := opener.(transit.Rewrapper); ok {
		t.Errorf("%T can rewrap", opener)
	}
}

func otherFormsFail(t *testing.T, _ transit.Sealer, opener transit.Opener) {
	for _, text := range []string{
		"vault:v1:8SDd3WHDOjf7mq69CyCqYjBXAiQQAVZRkFM13ok481zoCmHnSeDX9vyf7w==", "vault:v0:AAAA", "vault:v:AAAA",
		"vault:vx:AAAA", "tink:v1:AQAAAAEAAAAA", "tink:v2:AAAA", "AAAA", "sk-plain", "vault:v1:../../sys/seal",
	} {
		wantForeign(t, opener, text, text, bound())
	}
}

func errorsHoldNothing(t *testing.T, sealer transit.Sealer, opener transit.Opener) {
	sealed := mustSeal(t, sealer, canary, bound())
	elsewhere := bound()
	elsewhere.OrgID = "org_01jd0000000000000000000002"
	_, foreign := opener.Open(t.Context(), sealed, elsewhere)
	_, size := sealer.Seal(t.Context(), secret.New(strings.Repeat(canary, 4000)), bound())
	batch := transit.OpenBatch(t.Context(), opener, []transit.Item{{Sealed: sealed, Context: bound()}, {Sealed: sealed, Context: elsewhere}})
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	_, gone := opener.Open(canceled, sealed, elsewhere)
	for _, err := range []error{foreign, size, batch[1].Err, gone} {
		if err == nil {
			t.Error("no error where one was due")
			continue
		}
		f, _ := fault.Of(err)
		text := err.Error()
		if f != nil {
			text += f.Message() + f.Hint()
		}
		for _, bad := range []string{canary, "c2stY2FuYXJ5", sealed[len(sealed)-20:]} {
			if strings.Contains(text, bad) {
				t.Errorf("the error %q holds %q", text, bad)
			}
		}
	}
}
