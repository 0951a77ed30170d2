package messages

import (
	"net/http"

	"github.com/claviger/claviger/services/router/internal/completion"
)

const (
	// version of the API. It serves all models and keeps the sampling parameters of the older ones,
	// which 2026-10-21 does not.
	version = "2023-06-01"

	headerVersion = "Anthropic-Version"
	headerBeta    = "Anthropic-Beta"
)

// Header are the headers of a call, where an API takes those of Anthropic's own. A body that passes goes
// out with what its caller said: in which version it is written, and which fields of it are only on trial.
// A body that was converted is in ours, without any.
func Header(call completion.Call) http.Header {
	header := http.Header{headerVersion: {version}}
	if !call.Raw {
		return header
	}
	for _, name := range []string{headerVersion, headerBeta} {
		if value := call.Request.Headers[name]; value != "" {
			header[name] = []string{value}
		}
	}
	return header
}
