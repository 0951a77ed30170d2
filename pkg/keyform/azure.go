package keyform

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/secret"
)

// maxDeployments bounds Azure's list.
const maxDeployments = 64

var (
	azureSlug    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}$`)
	azureName    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._ -]{0,127}$`) // without what would end a path's segment
	azureVersion = regexp.MustCompile(`^[A-Za-z0-9.-]{1,40}$`)
	azureHost    = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?(:[0-9]{1,5})?$`)
)

const azureHint = `write it as [{"model_slug": "openai/gpt-4o", "endpoint_url": "https://….openai.azure.com", "api_key": "…", "model_id": "the deployment's name"}]`

func parseAzure(text secret.Text) (Azure, []fault.Violation, error) {
	var p, warnings problems
	var out Azure
	if raw := readDocument(text, &p); raw != nil {
		list := readList(raw, &p)
		switch {
		case len(p) > 0:
		case len(list) == 0:
			p.add("secret", "has no deployment")
		case len(list) > maxDeployments:
			p.add("secret", "has %d deployments, at most %d are possible", len(list), maxDeployments)
		default:
			for i, item := range list {
				if o := readObject(item, fmt.Sprintf("[%d]", i), []string{"model_slug", "endpoint_url", "api_key", "model_id"}, nil, &p); o != nil {
					out = append(out, readDeployment(o, &p, &warnings))
				}
			}
			out.duplicates(&p)
		}
	}
	if err := p.err(azureHint); err != nil {
		return nil, nil, err
	}
	return out, warnings, nil
}

func readDeployment(o *object, p, warnings *problems) AzureDeployment {
	d := AzureDeployment{ModelSlug: o.text("model_slug"), ModelID: o.text("model_id"), Key: o.secret(p, "api_key")}
	o.required(p, "model_slug", "endpoint_url", "api_key")
	if d.ModelSlug != "" && !azureSlug.MatchString(d.ModelSlug) {
		p.add(o.name("model_slug"), `is not a model's name such as "openai/gpt-4o"`)
	}
	if raw := o.text("endpoint_url"); raw != "" {
		e, problem := readEndpoint(raw)
		if problem != "" {
			p.add(o.name("endpoint_url"), "%s", problem)
		}
		d.Endpoint, d.API, d.Version = e.base, e.api, e.version
		switch {
		case e.deployment == "" || e.deployment == d.ModelID:
		case d.ModelID == "" && !o.bad["model_id"]:
			d.ModelID = e.deployment
		default:
			warnings.add(o.name("model_id"), "differs from the deployment in endpoint_url; model_id is used")
		}
	}
	switch {
	case d.ModelID == "" && !o.has("model_id"):
		p.add(o.name("model_id"), "is missing: it is the deployment's name at Azure")
	case d.ModelID != "" && !azureName.MatchString(d.ModelID):
		p.add(o.name("model_id"), "is not a deployment's name: letters, digits, dots, dashes, spaces and underscores")
	}
	return d
}

// duplicates notes deployments that are listed twice. Several of one model are several candidates.
func (a Azure) duplicates(p *problems) {
	type place struct{ slug, endpoint, id string }
	seen := map[place]int{}
	for i, d := range a {
		if d.Endpoint == "" || d.ModelID == "" {
			continue
		}
		at := place{d.ModelSlug, d.url(), d.ModelID}
		if first, ok := seen[at]; ok {
			p.add(fmt.Sprintf("[%d]", i), "is the same deployment as [%d]", first)
			continue
		}
		seen[at] = i
	}
}

// endpoint is what endpoint_url says.
type endpoint struct {
	base, version, deployment string
	api                       AzureAPI
}

// Hosts of Azure, and of its clouds for governments and in China.
var (
	azureRoots      = []string{".openai.azure", ".cognitiveservices.azure", ".services.ai.azure"}
	azureClouds     = []string{".com", ".us", ".cn"}
	azureShared     = ".api.cognitive.microsoft.com"
	azureServerless = ".models.ai.azure.com"
)

// readEndpoint brings what a person has pasted into its normal form, or says what is wrong with it.
// Where a tenant may send things at all is not decided here but by pkg/egress. Plain http is left to
// it with an IP address, which only an operator can open.
func readEndpoint(raw string) (e endpoint, problem string) {
	for _, r := range raw {
		if r <= ' ' || r >= 0x7f || strings.ContainsRune(`\"<>^{}|`+"`", r) {
			return e, "has a character that is not allowed"
		}
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Opaque != "" || u.Host == "":
		return e, "is not a URL: write it like https://acme.openai.azure.com"
	case u.User != nil || strings.Contains(raw, "@"):
		return e, `has an "@": leave out user and password, the key belongs into api_key`
	case strings.Contains(raw, "#"):
		return e, `has a "#": leave it out, and what follows it`
	}
	host := strings.TrimSuffix(strings.ToLower(u.Host), ".")
	address := false
	if at, err := netip.ParseAddr(u.Hostname()); err == nil && at.Zone() == "" {
		address = true
	} else if !azureHost.MatchString(host) {
		return e, "has a host that is not a name: write it like https://acme.openai.azure.com"
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !address) {
		return e, "must be https"
	}
	host = strings.TrimSuffix(host, map[string]string{"https": ":443", "http": ":80"}[u.Scheme])
	version, problem := apiVersion(u)
	if problem != "" {
		return e, problem
	}
	segments, problem := segmentsOf(u)
	if problem != "" {
		return e, problem
	}
	origin := u.Scheme + "://" + host
	switch {
	case strings.HasSuffix(host, azureServerless):
		return serverless(origin, segments)
	case ofAzure(host):
		return resource(origin, version, segments)
	default:
		return gateway(origin, version, segments), ""
	}
}

func ofAzure(host string) bool {
	if strings.HasSuffix(host, azureShared) {
		return true
	}
	for _, root := range azureRoots {
		for _, cloud := range azureClouds {
			if strings.HasSuffix(host, root+cloud) {
				return true
			}
		}
	}
	return false
}

// apiVersion reads the query: it may hold an api-version and nothing else, a key least of all.
func apiVersion(u *url.URL) (version, problem string) {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", `has something after "?" that cannot be read`
	}
	for name, values := range query {
		if name != "api-version" || len(values) != 1 {
			return "", `has something after "?" beside one api-version: leave it out, the key belongs into api_key`
		}
	}
	version = query.Get("api-version")
	if version != "" && !azureVersion.MatchString(version) {
		return "", "has an api-version that is not one"
	}
	return version, ""
}

// segmentsOf takes a path apart, decoded. None of them leads out of the path or to another one.
func segmentsOf(u *url.URL) (segments []string, problem string) {
	const bad = `has a path that is not plain: use letters, digits and -._~:+=, between single slashes`
	path := strings.Trim(u.EscapedPath(), "/")
	if path == "" {
		return nil, ""
	}
	for part := range strings.SplitSeq(path, "/") {
		segment, err := url.PathUnescape(part)
		if err != nil || segment == "" || segment == "." || segment == ".." {
			return nil, bad
		}
		for _, r := range segment {
			if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._~:+=, ", r) {
				return nil, bad
			}
		}
		segments = append(segments, segment)
	}
	return segments, ""
}

// begins reports whether a path begins with some segments.
func begins(path []string, with ...string) bool {
	return len(path) >= len(with) && slices.Equal(path[:len(with)], with)
}

func resource(origin, version string, path []string) (endpoint, string) {
	switch {
	case len(path) == 0, slices.Equal(path, []string{"openai"}):
		return endpoint{base: origin, api: AzureV1}, ""
	case begins(path, "openai", "deployments") && len(path) >= 3:
		return endpoint{base: origin, api: AzureClassic, version: version, deployment: path[2]}, ""
	case begins(path, "openai", "v1"), begins(path, "openai", "responses"):
		return endpoint{base: origin, api: AzureV1}, ""
	case begins(path, "api", "projects") && len(path) >= 3:
		if rest := path[3:]; len(rest) > 0 && !begins(rest, "openai", "v1") {
			break
		}
		return endpoint{base: origin + "/api/projects/" + strings.ReplaceAll(path[2], " ", "%20") + "/openai/v1", api: AzureProject}, ""
	case begins(path, "models"):
		return endpoint{base: origin + "/models", api: AzureModels, version: version}, ""
	case begins(path, "anthropic"):
		return endpoint{base: origin, api: AzureAnthropic}, ""
	}
	return endpoint{}, "has a path that Azure does not have: the resource's address alone is enough, as in https://acme.openai.azure.com"
}

func serverless(origin string, path []string) (endpoint, string) {
	if len(path) == 0 || begins(path, "v1") || begins(path, "chat", "completions") {
		return endpoint{base: origin, api: AzureServerless}, ""
	}
	return endpoint{}, "has a path that Azure does not have: the deployment's address alone is enough"
}

// gateway keeps the path, up to what is added to it again.
func gateway(origin, version string, path []string) endpoint {
	e := endpoint{api: AzureGateway, version: version}
	if n := len(path); n >= 2 && path[n-2] == "chat" && path[n-1] == "completions" {
		path = path[:n-2]
	}
	prefix := path
	if n := len(path); n >= 3 && slices.Equal(path[n-2:], []string{"v1", "messages"}) {
		prefix = path[:n-2]
	}
	if n := len(prefix); n >= 1 && prefix[n-1] == "anthropic" {
		e.api, e.version, path = AzureAnthropic, "", prefix[:n-1]
	}
	e.base = origin
	for _, segment := range path {
		e.base += "/" + strings.ReplaceAll(segment, " ", "%20")
	}
	return e
}

// url is the one way to write an endpoint: reading it gives the same.
func (d AzureDeployment) url() string {
	out := d.Endpoint
	switch d.API {
	case AzureClassic:
		out += "/openai/deployments/" + url.PathEscape(d.ModelID)
	case AzureAnthropic:
		out += "/anthropic"
	case AzureV1, AzureProject, AzureModels, AzureServerless, AzureGateway:
	}
	if d.Version != "" {
		out += "?api-version=" + d.Version
	}
	return out
}

func (a Azure) form(warnings []fault.Violation) Form {
	type entry struct {
		ModelSlug   string `json:"model_slug"`
		EndpointURL string `json:"endpoint_url"`
		APIKey      string `json:"api_key"`
		ModelID     string `json:"model_id"`
	}
	f := Form{Warnings: warnings}
	entries := make([]entry, len(a))
	for i, d := range a {
		entries[i] = entry{d.ModelSlug, d.url(), d.Key.Reveal(), d.ModelID}
		f.Endpoints = append(f.Endpoints, d.Endpoint)
		f.Settings.Deployments = append(f.Settings.Deployments, Deployment{d.ModelSlug, d.url(), d.ModelID})
		f.Settings.Secrets = append(f.Settings.Secrets, Masked{fmt.Sprintf("[%d].api_key", i), d.Key.Hint()})
	}
	f.Hint = a[0].Key.Hint()
	if len(a) > 1 {
		f.Hint += fmt.Sprintf(" +%d", len(a)-1)
	}
	f.Normal = write(entries)
	return f
}
