package fal

import (
	"errors"
	"net/url"
	"path"
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/media"
	"github.com/claviger/claviger/services/router/internal/provider"
)

var errShape = errors.New("not what the queue answers")

// maxID bounds what fal calls a request, maxPath each of the paths of one.
const (
	maxID   = 128
	maxPath = 320
)

// paths are where to ask for a request, below the base address.
type paths struct{ response, status, cancel string }

// ref is what the job's token carries: the first path, and the others only if they are unusual.
func (p paths) ref() string {
	if p.status == p.response+"/status" && p.cancel == p.response+"/cancel" {
		return p.response
	}
	return p.response + " " + p.status + " " + p.cancel
}

func pathsOf(ref string) paths {
	if parts := strings.Split(ref, " "); len(parts) == 3 {
		return paths{parts[0], parts[1], parts[2]}
	}
	return paths{ref, ref + "/status", ref + "/cancel"}
}

// parseSubmit reads the answer to a submit.
func parseSubmit(body []byte, base, endpoint string) (*completion.Job, error) {
	id := words(body, "request_id", maxID)
	if strings.Trim(id, ".") == "" || strings.ContainsAny(id, "/?#%\\ ") {
		return nil, errShape
	}
	// What is not said, or leads elsewhere, is where fal's own clients look: without the model's sub-path.
	owner := strings.SplitN(strings.TrimPrefix(endpoint, "/"), "/", 3)
	at := paths{response: "/" + owner[0] + "/" + owner[1] + "/requests/" + id}
	if given := pathBelow(base, words(body, "response_url", 0)); given != "" {
		at.response = given
	}
	at.status, at.cancel = at.response+"/status", at.response+"/cancel"
	if given := pathBelow(base, words(body, "status_url", 0)); given != "" {
		at.status = given
	}
	if given := pathBelow(base, words(body, "cancel_url", 0)); given != "" {
		at.cancel = given
	}
	job := &completion.Job{ID: id, Ref: at.ref(), Status: string(media.Queued)}
	if status, err := parseStatus(body); err == nil && status.state == media.InProgress {
		job.Status = string(media.InProgress)
	}
	return job, nil
}

// pathBelow is the path of an address below base; empty if it leads anywhere else.
func pathBelow(base, given string) string {
	from, err := url.Parse(base)
	if err != nil {
		return ""
	}
	to, err := url.Parse(given)
	if err != nil || to.Scheme != from.Scheme || to.Host != from.Host || to.User != nil || to.RawQuery != "" || to.Fragment != "" {
		return ""
	}
	rest, ok := strings.CutPrefix(to.EscapedPath(), strings.TrimSuffix(from.EscapedPath(), "/"))
	if !ok || !strings.HasPrefix(rest, "/") || len(rest) > maxPath || path.Clean(rest) != rest || strings.ContainsAny(rest, "% ") {
		return ""
	}
	return rest
}

// words reads a text member.
func words(body []byte, name string, limit int) string {
	text, ok := jsonscan.Text(jsonscan.Get(body, name))
	if !ok {
		return ""
	}
	if limit == 0 {
		limit = 2 << 10
	}
	return provider.Bounded(text, limit)
}

// status is how far the queue is with a request.
type status struct{ state media.Status }

// parseStatus reads a status. There are three; whatever else comes is work going on.
func parseStatus(body []byte) (status, error) {
	text, ok := jsonscan.Text(jsonscan.Get(body, "status"))
	if !ok {
		return status{}, errShape
	}
	switch text {
	case "IN_QUEUE":
		return status{media.Queued}, nil
	case "COMPLETED":
		return status{media.Completed}, nil
	}
	return status{media.InProgress}, nil
}
