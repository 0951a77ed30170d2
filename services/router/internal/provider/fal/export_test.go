package fal

import (
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/media"
)

// ReadSubmit, ReadResult and ReadError are the parsers of what fal answers.
func ReadSubmit(body []byte, base, endpoint string) (*completion.Job, error) {
	return parseSubmit(body, base, endpoint)
}

func ReadResult(body []byte) media.State { return parseResult(body) }

func ReadError(status int, body []byte, key secret.Text) *completion.ProviderError {
	return parseError(status, body, key)
}

func ReadKeys(body []byte) int { return len(parseKeys(body)) }

// ReadStatus is what a status says, empty if it is none.
func ReadStatus(body []byte) media.Status {
	s, err := parseStatus(body)
	if err != nil {
		return ""
	}
	return s.state
}

// VideoInput and ImageInput encode a prompt.
func VideoInput(model string, v completion.VideoInput) (string, error) {
	in, err := videoInput(model, &completion.Prompt{Video: &v})
	return string(in.json), err
}

func ImageInput(v completion.ImageInput) (string, error) {
	in, err := imageInput(&completion.Prompt{Image: &v})
	return string(in.json), err
}

// StatusPath is where a job is asked for.
func StatusPath(ref string) string { return pathsOf(ref).status }
