package vertex

import (
	"bytes"
	"context"
	"net/http"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
)

const (
	// classic is what stands in the body for version 2023-06-01 of the API. Later versions stand for
	// themselves.
	classic       = "vertex-2023-10-16"
	firstVersion  = "2023-06-01"
	headerVersion = "Anthropic-Version"
	headerBeta    = "Anthropic-Beta"
	memberVersion = "anthropic_version"
)

// claude calls a model of Anthropic's: the form is Anthropic's, but the model stands in the path and the
// version in the body.
func (p *Provider) claude(ctx context.Context, call completion.Call, at place) (completion.Answer, error) {
	models := at.root + at.prefix + "/publishers/anthropic/models/"
	said := map[string]string(nil)
	if call.Raw {
		said = call.Request.Headers
	}
	apiVersion := classic
	if v := said[headerVersion]; v != "" && v != firstVersion {
		apiVersion = v
	}
	header := http.Header{}
	if beta := said[headerBeta]; beta != "" {
		header.Set(headerBeta, beta)
	}
	if call.Request.Asks() == completion.CountTokens {
		return p.messages.CountWrapped(ctx, call, func(body []byte, _ bool) ([]byte, provider.Route, error) {
			return versioned(body, apiVersion, false), provider.Route{URL: models + "count-tokens:rawPredict", Auth: at.auth, Header: header}, nil
		})
	}
	return p.messages.StartWrapped(ctx, call, func(body []byte, stream bool) ([]byte, provider.Route, error) {
		method := ":rawPredict"
		if stream {
			method = ":streamRawPredict"
		}
		return versioned(body, apiVersion, true), provider.Route{URL: models + call.Model + method, Auth: at.auth, Header: header}, nil
	})
}

// versioned returns a body with the version in it, in place of one that is there, and without its model if
// that stands in the path. Every other byte stays.
func versioned(body []byte, apiVersion string, unnamed bool) []byte {
	at := bytes.IndexByte(body, '{') + 1
	version := `"` + memberVersion + `":` + string(jsonscan.AppendText(nil, apiVersion))
	edits := []jsonscan.Edit{{Start: at, End: at, With: version}}
	members := 0
	m := jsonscan.Object(body)
	for m.Next() {
		if name := string(m.Name); name != memberVersion && (name != "model" || !unnamed) {
			members++
			continue
		}
		start, end := m.NameAt, m.ValueAt+len(m.Value)
		if m.CommaAt >= 0 && members > 0 { // something stays before it: its comma goes
			start = m.CommaAt
		} else if next := jsonscan.Trailing(body, end); next >= 0 && body[next] == ',' {
			end = next + 1
		}
		edits = append(edits, jsonscan.Edit{Start: start, End: end})
	}
	if members > 0 {
		edits[0].With += ","
	}
	return jsonscan.Apply(body, edits)
}

// place is where a call goes and how it is signed.
type place struct {
	root, prefix string
	auth         provider.Auth
	token        secret.Text // that a service account signs with; empty in express mode
}
