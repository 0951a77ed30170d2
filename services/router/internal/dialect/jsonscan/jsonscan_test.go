package jsonscan_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

func TestValidAgreesWithTheStandardLibrary(t *testing.T) {
	t.Parallel()
	for _, text := range cases {
		if got, want := jsonscan.Valid([]byte(text)), json.Valid([]byte(text)); got != want {
			t.Errorf("Valid(%q) = %v, want %v", text, got, want)
		}
	}
}

var cases = []string{
	``, ` `, `{}`, `[]`, `null`, `nul`, `true`, `tru`, `false`, `0`, `-0`, `01`, `-`, `1.`, `1.5e`, `1.5e+3`, `1E-2`, `.5`,
	`"a"`, `"a`, `"\u00e9"`, `"\u00g9"`, `"\x"`, "\"a\nb\"", `"` + strings.Repeat("x", 100) + `"`, `"1234567\"9"`, "\"1234567\x01\"",
	`{"a":1}`, `{"a":1,}`, `{"a"}`, `{"a":}`, `{a:1}`, `{"a":1 "b":2}`, `{"a":1,"b":[1,2,{"c":null}]}`, `[1,]`, `[,]`, `[1 2]`, `{} x`, `[1]]`,
	` { "a" : [ ] , "b" : { } } `, `"é\ud83d\ude00"`, `"\ud83d"`, "\xef\xbb\xbf{}",
}

func TestMembersStandWhereTheySay(t *testing.T) {
	t.Parallel()
	data := []byte(" { \"model\" : \"a\\\"b\" ,\"mod\\u0065l2\":[1, 2],\n\"o\":{\"x\":null} } ")
	type member struct{ Name, Value string }
	var got []member
	m := jsonscan.Object(data)
	for m.Next() {
		got = append(got, member{string(m.Name), string(m.Value)})
		if !bytes.HasPrefix(data[m.ValueAt:], m.Value) || data[m.NameAt] != '"' || (m.CommaAt >= 0 && data[m.CommaAt] != ',') {
			t.Errorf("member %s: offsets %d %d %d", m.Name, m.NameAt, m.ValueAt, m.CommaAt)
		}
	}
	want := []member{{"model", `"a\"b"`}, {"model2", `[1, 2]`}, {"o", `{"x":null}`}}
	if diff := cmp.Diff(want, got); diff != "" || m.Err() != nil {
		t.Errorf("members (-want +got):\n%s error %v", diff, m.Err())
	}
	if at := jsonscan.Trailing(data, m.End()); at != -1 {
		t.Errorf("Trailing = %d", at)
	}
}

func TestErrorsNameTheirPlace(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		`{"a":1,"b":tru}`: 11, `{"a":1 "b":2}`: 7, `[]`: 0, ``: 0, `{"a":"x`: 5, `{`: 1,
	} {
		m := jsonscan.Object([]byte(text))
		for m.Next() {
			continue
		}
		syntax, ok := m.Err().(*jsonscan.SyntaxError) //nolint:errorlint // not wrapped
		if !ok || syntax.Offset != want {
			t.Errorf("%q: error %v, want byte %d", text, m.Err(), want)
		}
	}
}

func TestDepthIsBounded(t *testing.T) {
	t.Parallel()
	nest := func(n int) []byte {
		return []byte(`{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}`)
	}
	walk := func(data []byte) error {
		m := jsonscan.Object(data)
		for m.Next() {
			continue
		}
		return m.Err()
	}
	if err := walk(nest(jsonscan.MaxDepth - 1)); err != nil {
		t.Errorf("depth %d: %v", jsonscan.MaxDepth, err)
	}
	syntax, ok := walk(nest(jsonscan.MaxDepth)).(*jsonscan.SyntaxError) //nolint:errorlint // not wrapped
	if !ok || !syntax.TooDeep {
		t.Errorf("depth %d: %v", jsonscan.MaxDepth+1, syntax)
	}
	if err := walk(nest(1_000_000)); err == nil {
		t.Error("a million levels pass")
	}
}

func TestApplyKeepsEveryOtherByte(t *testing.T) {
	t.Parallel()
	got := jsonscan.Apply([]byte("0123456789"), []jsonscan.Edit{{0, 0, "<"}, {2, 4, "xx"}, {9, 10, ""}, {10, 10, ">"}})
	if want := "<01xx45678>"; string(got) != want {
		t.Errorf("Apply = %q, want %q", got, want)
	}
}

func TestReadingAllocatesNothing(t *testing.T) {
	data := []byte(`{"id":"x","choices":[{"index":0,"delta":{"content":"hello \u00e9"},"finish_reason":null}],"usage":null}`)
	if n := testing.AllocsPerRun(100, func() {
		m := jsonscan.Object(data)
		for m.Next() {
			if string(m.Name) != "choices" {
				continue
			}
			e := jsonscan.Array(m.Value)
			for e.Next() {
				in := jsonscan.Object(e.Value)
				for in.Next() {
					continue
				}
			}
		}
	}); n != 0 {
		t.Errorf("reading allocates %v times, want none", n)
	}
}

func FuzzAgainstStandardLibrary(f *testing.F) {
	for _, text := range cases {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, want := jsonscan.Valid(data), json.Valid(data)
		if got && !want {
			t.Fatalf("Valid(%q) = true, encoding/json says no", data)
		}
		if !got && want && !deep(data) {
			t.Fatalf("Valid(%q) = false, encoding/json says yes", data)
		}
		if !want {
			return
		}
		if trimmed := bytes.TrimSpace(data); len(trimmed) > 0 && trimmed[0] == '"' && got {
			checkText(t, trimmed)
		}
		if trimmed := bytes.TrimSpace(data); len(trimmed) > 0 && trimmed[0] == '{' && got {
			checkMembers(t, data)
		}
	})
}

func deep(data []byte) bool {
	return bytes.Count(data, []byte("["))+bytes.Count(data, []byte("{")) > jsonscan.MaxDepth
}

// checkText compares with encoding/json, and encodes again.
func checkText(t *testing.T, data []byte) {
	t.Helper()
	var want string
	if json.Unmarshal(data, &want) != nil {
		return
	}
	got, ok := jsonscan.Text(data)
	if !ok || strings.ToValidUTF8(got, "\uFFFD") != strings.ToValidUTF8(want, "\uFFFD") {
		if !strings.ContainsRune(want, '\uFFFD') { // runs of invalid bytes are counted differently
			t.Fatalf("Text(%q) = %q, want %q", data, got, want)
		}
	}
	var again string
	if err := json.Unmarshal(jsonscan.AppendText(nil, want), &again); err != nil || again != want {
		t.Fatalf("AppendText(%q) does not read back: %q, %v", want, again, err)
	}
}

func checkMembers(t *testing.T, data []byte) {
	t.Helper()
	var want map[string]json.RawMessage
	if json.Unmarshal(data, &want) != nil {
		return
	}
	got := map[string]bool{}
	m := jsonscan.Object(data)
	for m.Next() {
		got[strings.ToValidUTF8(string(m.Name), "\uFFFD")] = true
	}
	if m.Err() != nil || len(got) > len(want) {
		t.Fatalf("Object(%q): %d members, want %d; error %v", data, len(got), len(want), m.Err())
	}
}

func BenchmarkObject(b *testing.B) {
	data := []byte(`{"model":"gpt-4o-mini","messages":[{"role":"user","content":"` + strings.Repeat("lorem ipsum dolor ", 100) + `"}],"stream":true}`)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		m := jsonscan.Object(data)
		for m.Next() {
			continue
		}
	}
}
