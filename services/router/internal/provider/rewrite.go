package provider

import (
	"bytes"
	"strings"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

var errMalformed = fault.New(fault.Invalid, "MALFORMED_JSON", "the body is not a JSON object")

// Rewrite returns a copy of a caller's body in which "model" is the provider's own name of the model,
// added if it is missing, and our own routing fields are taken out. Of every other top-level member,
// each may give edits of its own; first gives members to put before all others, each with a comma
// after it. Every other byte stays.
func Rewrite(raw []byte, model string, each func(*jsonscan.Members) []jsonscan.Edit, first func() string) ([]byte, error) {
	cut := jsonscan.Cutter{Edits: make([]jsonscan.Edit, 1, 5)}
	hasModel := false
	m := jsonscan.Object(raw)
	for m.Next() {
		switch {
		case string(m.Name) == "model":
			hasModel = true
			cut.Keep(jsonscan.Edit{Start: m.ValueAt, End: m.ValueAt + len(m.Value), With: quote(model)})
		case dialect.Ours(m.Name):
			cut.Remove(raw, 0, &m)
		case each != nil:
			cut.Keep(each(&m)...)
		default:
			cut.Keep()
		}
	}
	if m.Err() != nil {
		return nil, errMalformed.Because(m.Err())
	}
	cut.Close()
	insert := ""
	if !hasModel {
		insert = `"model":` + quote(model) + `,`
	}
	if first != nil {
		insert += first()
	}
	if cut.Kept == 0 {
		insert = strings.TrimSuffix(insert, ",")
	}
	at := bytes.IndexByte(raw, '{') + 1
	cut.Edits[0] = jsonscan.Edit{Start: at, End: at, With: insert}
	return jsonscan.Apply(raw, cut.Edits), nil
}

func quote(s string) string { return string(jsonscan.AppendText(nil, s)) }
