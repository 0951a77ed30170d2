package provider

import (
	"bytes"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

var errMalformed = fault.New(fault.Invalid, "MALFORMED_JSON", "the body is not a JSON object")

// Rewrite returns a copy of a caller's body in which "model" is the provider's own name of the model,
// added if it is missing, and our own routing field is taken out. Of every other top-level member,
// each may give edits of its own; first gives members to put before all others, each with a comma
// after it. Every other byte stays.
func Rewrite(raw []byte, model string, each func(*jsonscan.Members) []jsonscan.Edit, first func() string) ([]byte, error) {
	edits := make([]jsonscan.Edit, 1, 5)
	hasModel := false
	m := jsonscan.Object(raw)
	for m.Next() {
		switch string(m.Name) {
		case "model":
			hasModel = true
			edits = append(edits, jsonscan.Edit{Start: m.ValueAt, End: m.ValueAt + len(m.Value), With: quote(model)})
		case dialect.RoutingField:
			edits = append(edits, removal(raw, &m))
		default:
			if each != nil {
				edits = append(edits, each(&m)...)
			}
		}
	}
	if m.Err() != nil {
		return nil, errMalformed.Because(m.Err())
	}
	insert := ""
	if !hasModel {
		insert = `"model":` + quote(model) + `,`
	}
	if first != nil {
		insert += first()
	}
	at := bytes.IndexByte(raw, '{') + 1
	edits[0] = jsonscan.Edit{Start: at, End: at, With: insert}
	return jsonscan.Apply(raw, edits), nil
}

func quote(s string) string { return string(jsonscan.AppendText(nil, s)) }

// removal takes the current member out, with the comma that follows it or, after the last one, the
// comma before.
func removal(raw []byte, m *jsonscan.Members) jsonscan.Edit {
	start, end := m.NameAt, m.ValueAt+len(m.Value)
	if next := jsonscan.Trailing(raw, end); next >= 0 && raw[next] == ',' {
		return jsonscan.Edit{Start: start, End: next + 1}
	}
	if m.CommaAt >= 0 {
		start = m.CommaAt
	}
	return jsonscan.Edit{Start: start, End: end}
}
