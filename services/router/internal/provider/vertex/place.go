package vertex

import (
	"net/url"
	"strings"

	"github.com/claviger/claviger/pkg/keyform"
	"github.com/claviger/claviger/services/router/internal/provider/form/gemini"
)

const (
	// BaseURL is Vertex AI's address for the location "global"; other locations have their own.
	BaseURL = "https://aiplatform.googleapis.com"
	// tokenURL is the only place where tokens come from. A credential's own word for it is not believed.
	tokenURL = "https://oauth2.googleapis.com/token" //nolint:gosec // an address, no credential
	version  = "/v1"
	global   = "global"
)

// base is where calls of a location go. An address that an organization or operator named serves every
// location; data that must stay in its region is never sent to another.
func base(named, location string) string {
	if named != BaseURL && named != "" {
		return named
	}
	switch location {
	case "", global:
		return BaseURL
	case "us", "eu":
		return "https://aiplatform." + location + ".rep.googleapis.com"
	}
	return "https://" + location + "-aiplatform.googleapis.com"
}

// tokensFrom is the token endpoint: Google's, but beside an address that is not Google's at all, which is
// a test's or a gateway's. An assertion is made for one of them and is nothing to the other.
func tokensFrom(named string) string {
	u, err := url.Parse(named)
	if named == "" || err == nil && strings.HasSuffix(u.Hostname(), ".googleapis.com") {
		return tokenURL
	}
	return named + "/token"
}

// prefix is what paths of a project begin with; express mode has no project.
func prefix(g keyform.Google) string {
	if !g.APIKey.Empty() {
		return version
	}
	return version + "/projects/" + g.ProjectID + "/locations/" + g.Location
}

// kind is who made a model, and so in which form it is called.
type kind uint8

const (
	google kind = iota
	claude
	open // in OpenAI's form
)

// modelOf tells a model's kind from its name, and returns the name in its form.
func modelOf(name string) (kind, string) {
	publisher, model, found := strings.Cut(name, "/")
	switch {
	case !found && strings.HasPrefix(name, "claude-"):
		return claude, name
	case !found:
		return google, name
	case publisher == "google":
		return google, model
	case publisher == "anthropic":
		return claude, model
	}
	return open, name
}

// vectors says how vectors are asked for with a model.
func vectors(model string) gemini.Vectors {
	switch {
	case strings.Contains(model, "gemini") && model != "gemini-embedding-001", strings.Contains(model, "maas"):
		return gemini.Single
	case strings.Contains(model, "gemini"):
		return gemini.PredictedOne
	}
	return gemini.Predicted
}
