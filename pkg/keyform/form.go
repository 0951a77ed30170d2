package keyform

import (
	"fmt"
	"net/url"
	"slices"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/secret"
)

// Form is a credential that was read and found in order.
type Form struct {
	// Settings are what of it may be shown.
	Settings Settings
	// Hint tells it from others of its kind, for people.
	Hint string
	// Warnings name what was accepted and may not be meant.
	Warnings []fault.Violation
	// Endpoints are the addresses that Settings.Deployments name, in their order, for egress to judge.
	Endpoints []string
	// Normal is what is sealed.
	Normal secret.Text
}

// Settings are the parts of a credential that are not secret, and the ends of those that are. Which
// are filled depends on the provider; of one API key there are none.
type Settings struct {
	// Region is AWS's.
	Region string `json:"region,omitempty"`
	// Project and Location are Google Cloud's, ClientEmail is the service account's name.
	Project     string `json:"project,omitempty"`
	Location    string `json:"location,omitempty"`
	ClientEmail string `json:"client_email,omitempty"`
	// Deployments are Azure's.
	Deployments []Deployment `json:"deployments,omitempty"`
	// Secrets are the secret fields, masked.
	Secrets []Masked `json:"secrets,omitempty"`
}

// Deployment is one of Azure's.
type Deployment struct {
	ModelSlug string `json:"model_slug"`
	// EndpointURL is the normal form, with the api-version if there is one.
	EndpointURL string `json:"endpoint_url"`
	ModelID     string `json:"model_id"`
}

// Masked is a secret field as it is shown.
type Masked struct {
	// Field is its name in the JSON: "secretAccessKey", "[0].api_key".
	Field string `json:"field"`
	// Hint is its end.
	Hint string `json:"hint"`
}

// Places are where these settings lead: the origins, regions, locations and projects that the tenant
// named, each once, sorted. A secret is bound to them.
func (s Settings) Places() []string {
	var places []string
	add := func(kind, value string) {
		if value != "" {
			places = append(places, kind+value)
		}
	}
	add("region=", s.Region)
	add("project=", s.Project)
	add("location=", s.Location)
	for _, d := range s.Deployments {
		add("", origin(d.EndpointURL))
	}
	slices.Sort(places)
	return slices.Compact(places)
}

// origin is scheme, host and port. What is no URL gives itself: nothing was sealed for that.
func origin(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return raw
	}
	return u.Scheme + "://" + u.Host
}

// SameUse reports whether secrets under both settings go to the same places for the same models, in
// the same order. How they are shown may differ.
func (s Settings) SameUse(other Settings) bool {
	return s.Region == other.Region && s.Project == other.Project && s.Location == other.Location &&
		slices.Equal(s.Deployments, other.Deployments)
}

// Parse reads a credential of a provider, in any way in which it may be written.
func Parse(provider string, text secret.Text) (Form, error) {
	switch KindOf(provider) {
	case AzureList:
		list, warnings, err := parseAzure(text)
		if err != nil {
			return Form{}, err
		}
		return list.form(warnings), nil
	case AWSObject:
		a, warnings, err := parseAWS(text)
		if err != nil {
			return Form{}, err
		}
		return a.form(warnings), nil
	case GoogleFile:
		g, err := parseGoogle(text)
		if err != nil {
			return Form{}, err
		}
		return g.form(), nil
	case Key:
	}
	var p problems
	p.secret("secret", text.Reveal())
	if err := p.err("paste the key alone, without spaces or line breaks"); err != nil {
		return Form{}, err
	}
	return Form{Hint: text.Hint(), Normal: text}, nil
}

// ParseAzure reads Azure's list.
func ParseAzure(text secret.Text) (Azure, error) {
	list, _, err := parseAzure(text)
	return list, err
}

// ParseAWS reads a credential of Bedrock.
func ParseAWS(text secret.Text) (AWS, error) {
	a, _, err := parseAWS(text)
	return a, err
}

// ParseGoogle reads a credential of Vertex AI.
func ParseGoogle(text secret.Text) (Google, error) { return parseGoogle(text) }

// problems gathers what is wrong with a credential.
type problems []fault.Violation

// maxProblems bounds what is told at once.
const maxProblems = 32

func (p *problems) add(field, format string, args ...any) {
	if len(*p) < maxProblems {
		*p = append(*p, fault.Violation{Field: field, Description: fmt.Sprintf(format, args...)})
	}
}

// err is nil if nothing is wrong.
func (p problems) err(hint string) error {
	if len(p) == 0 {
		return nil
	}
	first := p[0].Field + ": " + p[0].Description
	if len(p) > 1 {
		first += fmt.Sprintf(", and %d more", len(p)-1)
	}
	return ErrMalformed.Saying("the secret is not in the provider's form: %s", first).Violating(p...).Hinting(hint)
}

// maxSecret bounds one secret inside a credential: session tokens have some thousand bytes.
const maxSecret = 16 << 10

// secret notes what cannot be in an API key. Nothing is trimmed: what is sealed is what was sent.
func (p *problems) secret(field, value string) {
	problem, at := "", 0
	for i, r := range value {
		at = i + 1
		switch {
		case r == '\n' || r == '\r':
			problem = "a line break"
		case r == ' ' || r == '\t':
			problem = "white space"
		case r < ' ' || r == 0x7f:
			problem = "a control character"
		case r > 0x7f:
			problem = "a character that no API key has"
		default:
			continue
		}
		break
	}
	switch {
	case value == "":
		p.add(field, "is missing")
	case len(value) > maxSecret:
		p.add(field, "has more than %d bytes", maxSecret)
	case problem != "":
		p.add(field, "has %s at byte %d", problem, at)
	}
}
