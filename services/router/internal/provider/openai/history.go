package openai

import (
	"bytes"
	"net/url"
	"slices"
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

// foreign are members that OpenAI does not know and refuses, by where they stand. Answers of other vendors
// brought them into a conversation, or they are hints to other vendors; without them the answer is no other.
var foreign = map[string][]string{
	"messages[]":              {"reasoning_content", "reasoning", "reasoning_details"},
	"messages[].tool_calls[]": {"extra_content"},
	"messages[].content[]":    {"cache_control"},
	"tools[]":                 {"cache_control"},
}

// own reports whether an address is OpenAI's own. Compatible servers know members of their own, which stay.
func own(baseURL string) bool {
	u, err := url.Parse(baseURL)
	return err == nil && (u.Hostname() == "api.openai.com" || strings.HasSuffix(u.Hostname(), ".api.openai.com"))
}

// withoutForeign is a call whose body passes, without what stands in foreign. Every other byte stays.
func withoutForeign(call completion.Call) completion.Call {
	raw := call.Request.Raw
	if !call.Raw || !own(call.BaseURL) || !mayBeForeign(raw) {
		return call
	}
	edits := strip(nil, raw, 0, "")
	if len(edits) == 0 {
		return call
	}
	edited := *call.Request
	edited.Raw = jsonscan.Apply(raw, edits)
	call.Request = &edited
	return call
}

// mayBeForeign is a quick look that spares most bodies the walk.
func mayBeForeign(raw []byte) bool {
	for _, name := range []string{`"reasoning`, `"extra_content"`, `"cache_control"`} {
		if bytes.Contains(raw, []byte(name)) {
			return true
		}
	}
	return false
}

// strip adds the edits of an object that begins at an offset and stands at a place.
func strip(edits []jsonscan.Edit, object []byte, at int, place string) []jsonscan.Edit {
	drop := foreign[place]
	m := jsonscan.Object(object)
	kept := false
	for m.Next() {
		name := string(m.Name)
		if slices.Contains(drop, name) {
			edits = append(edits, removed(object, at, &m, kept))
			continue
		}
		kept = true
		if place != "" {
			name = place + "." + name
		}
		if below(name + "[]") {
			edits = elements(edits, m.Value, at+m.ValueAt, name+"[]")
		}
	}
	return edits
}

func elements(edits []jsonscan.Edit, array []byte, at int, place string) []jsonscan.Edit {
	if jsonscan.KindOf(array) != jsonscan.ArrayKind {
		return edits
	}
	list := jsonscan.Array(array)
	for list.Next() {
		if jsonscan.KindOf(list.Value) == jsonscan.ObjectKind {
			edits = strip(edits, list.Value, at+list.At(), place)
		}
	}
	return edits
}

// below reports whether anything is dropped at a place.
func below(place string) bool {
	_, known := foreign[place]
	return known
}

// removed takes the current member out: with the comma before it if a member stays before it, else with the
// comma after it.
func removed(object []byte, at int, m *jsonscan.Members, kept bool) jsonscan.Edit {
	start, end := m.NameAt, m.ValueAt+len(m.Value)
	if kept {
		return jsonscan.Edit{Start: at + m.CommaAt, End: at + end}
	}
	if next := jsonscan.Trailing(object, end); next >= 0 && object[next] == ',' {
		end = next + 1
	}
	return jsonscan.Edit{Start: at + start, End: at + end}
}
