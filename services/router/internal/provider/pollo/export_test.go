package pollo

import (
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/media"
)

// The parsers of what Pollo answers.
func ReadSubmit(body []byte) *completion.Job { return parseSubmit(body) }

func ReadStatus(body []byte, key secret.Text) (media.State, bool) { return parseStatus(body, key) }

func ReadError(status int, body []byte, json bool, key secret.Text) *completion.ProviderError {
	return parseError(status, body, json, key)
}

// Submit is where a video is submitted, and the body.
func Submit(name string, v completion.VideoInput, webhook string) (path, body string, err error) {
	m, err := modelOf(name)
	if err != nil {
		return "", "", err
	}
	b, _, err := submitBody(m, &completion.Prompt{Video: &v}, webhook)
	return m.path, string(b), err
}
