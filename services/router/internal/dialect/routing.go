package dialect

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/claviger/claviger/pkg/keyform"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

// The members of a body that are ours and not the dialect's, whichever it is. None reaches a provider.
const (
	// RoutingField is an object with "tags" and "session".
	RoutingField = "claviger"
	// The others are written as OpenRouter's users write them: models to try after the first, which
	// providers may serve, and "fallback", which is what happens anyway.
	modelsField   = "models"
	providerField = "provider"
	routeField    = "route"
)

const (
	maxModels    = 16
	maxProviders = 32
	// maxChoices bounds the members of "provider": each is compared with those before it.
	maxChoices = 32
)

// Ours reports whether a member of a body is for us alone.
func Ours(name []byte) bool {
	switch string(name) {
	case RoutingField, modelsField, providerField, routeField:
		return true
	}
	return false
}

// Asked gathers the members of a body that say how it is routed.
type Asked struct {
	seen                          Once
	ours, models, provider, route []byte
}

// Take takes a member over if it is one of them. It allocates nothing.
func (a *Asked) Take(name, v []byte) error {
	switch string(name) {
	case RoutingField:
		a.ours = v
		return a.seen.Seen(RoutingField, 1<<0)
	case modelsField:
		a.models = v
		return a.seen.Seen(modelsField, 1<<1)
	case providerField:
		a.provider = v
		return a.seen.Seen(providerField, 1<<2)
	case routeField:
		a.route = v
		return a.seen.Seen(routeField, 1<<3)
	}
	return nil
}

// Into reads them into a request.
func (a *Asked) Into(req *completion.Request) error {
	if a.seen == 0 {
		return nil
	}
	if err := own(req, a.ours); err != nil {
		return err
	}
	var err error
	if req.Routing.Models, err = texts(modelsField, a.models, maxModels, maxModel); err != nil {
		return err
	}
	if jsonscan.Given(a.route) {
		if _, err := OneOf(routeField, a.route, "fallback"); err != nil {
			return err
		}
	}
	return a.readProvider(&req.Routing)
}

// own reads our own field into a request.
func own(req *completion.Request, v []byte) error {
	if !jsonscan.Given(v) {
		return nil
	}
	if jsonscan.KindOf(v) != jsonscan.ObjectKind {
		return Invalid(RoutingField, "must be an object")
	}
	m := jsonscan.Object(v)
	for m.Next() {
		var err error
		switch name := RoutingField + "." + Clip(string(m.Name)); string(m.Name) {
		case "tags":
			err = AddTags(req, name, m.Value)
		case "session":
			req.Session, err = Text(name, m.Value, maxKept)
		default:
			err = Invalid(name, "is not known")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// texts reads an optional list of strings that are not empty.
func texts(param string, v []byte, most, longest int) ([]string, error) {
	if !jsonscan.Given(v) {
		return nil, nil
	}
	if jsonscan.KindOf(v) != jsonscan.ArrayKind {
		return nil, Invalid(param, "must be an array of strings")
	}
	var out []string
	list := jsonscan.Array(v)
	for list.Next() {
		at := fmt.Sprintf("%s[%d]", param, len(out))
		if len(out) == most {
			return nil, Invalid(param, fmt.Sprintf("has more than %d elements", most))
		}
		text, err := Text(at, list.Value, longest)
		switch {
		case err != nil:
			return nil, err
		case text == "":
			return nil, Invalid(at, "must be a string that is not empty")
		}
		out = append(out, text)
	}
	return out, nil
}

// knownChoices are what "provider" may say.
const knownChoices = "order, only, ignore, sort, allow_fallbacks, require_parameters and max_price are known"

func (a *Asked) readProvider(r *completion.Routing) error {
	if !jsonscan.Given(a.provider) {
		return nil
	}
	if jsonscan.KindOf(a.provider) != jsonscan.ObjectKind {
		return Invalid(providerField, "must be an object; "+knownChoices)
	}
	var seen []string // who reads the first and who the last of two do not agree
	m := jsonscan.Object(a.provider)
	for m.Next() {
		name := string(m.Name)
		if slices.Contains(seen, name) {
			return Invalid(providerField+"."+Clip(name), "stands in the body twice")
		}
		if seen = append(seen, name); len(seen) > maxChoices {
			return Invalid(providerField, "has more members than are known; "+knownChoices)
		}
		if !jsonscan.Given(m.Value) {
			continue
		}
		if err := choose(r, name, m.Value); err != nil {
			return err
		}
	}
	return nil
}

// choose reads a member of "provider".
func choose(r *completion.Routing, name string, v []byte) (err error) {
	param := providerField + "." + Clip(name)
	switch name {
	case "order":
		r.Order, err = providers(param, v)
	case "only":
		r.Only, err = providers(param, v)
	case "ignore":
		r.Ignore, err = providers(param, v)
	case "sort":
		if word, _ := jsonscan.Text(v); word == "throughput" {
			return Invalid(param, `"throughput" is not measured here; "price" and "latency" are known`)
		}
		r.Sort, err = OneOf(param, v, "price", "latency")
	case "allow_fallbacks":
		var allowed bool
		allowed, err = Truth(param, v)
		r.NoFallbacks = !allowed
	case "require_parameters":
		r.RequireParameters, err = Truth(param, v)
	case "max_price":
		err = maxPrice(r, param, v)
	default:
		err = unchosen(name, param, v)
	}
	return err
}

// unchosen refuses what OpenRouter knows and we cannot keep, unless it asks for nothing. A wish about a
// caller's data is never passed over in silence.
func unchosen(name, param string, v []byte) error {
	refuse := func(why, instead string) error { return Invalid(param, "is not supported: "+why).Hinting(instead) }
	switch name {
	case "data_collection":
		if word, _ := jsonscan.Text(v); word == "allow" {
			return nil
		}
		return refuse("what a provider keeps is in your organization's own contract with it", "leave it out, and name the providers that may serve in provider.only")
	case "zdr", "enforce_distillable_text":
		if yes, err := Truth(param, v); err != nil || !yes {
			return err
		}
		return refuse("what a provider keeps or allows is in your organization's own contract with it", "leave it out, and name the providers that may serve in provider.only")
	case "quantizations":
		if jsonscan.KindOf(v) == jsonscan.ArrayKind {
			if list := jsonscan.Array(v); !list.Next() {
				return nil
			}
		}
		return refuse("providers do not say how many bits their weights have", "leave it out, and name the providers that may serve in provider.only")
	case "preferred_min_throughput", "preferred_max_latency":
		return refuse("no provider promises a speed", `leave it out; provider.sort "latency" tries the fastest first`)
	}
	return Invalid(param, "is not known; "+knownChoices)
}

// providers reads a list of providers. One that is named twice counts once.
func providers(param string, v []byte) ([]string, error) {
	list, err := texts(param, v, maxProviders, maxModel)
	if err != nil {
		return nil, err
	}
	var out []string
	for i, name := range list {
		slug, err := Provider(fmt.Sprintf("%s[%d]", param, i), name)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(out, slug) {
			out = append(out, slug)
		}
	}
	return out, nil
}

// elsewhere are providers as other routers spell them.
var elsewhere = map[string]string{
	"google-vertex": "vertex", "vertex-ai": "vertex", "google-vertex-ai": "vertex",
	"amazon-bedrock": "bedrock", "azure-openai": "azure", "x-ai": "xai", "mistralai": "mistral", "moonshotai": "moonshot", "fal-ai": "fal", "pollo-ai": "pollo",
}

// spellings are our providers by their slugs, their names and what others call them.
var spellings = sync.OnceValue(func() map[string]string {
	out := map[string]string{}
	for _, p := range keyform.Known() {
		out[spelled(p.Slug)], out[spelled(p.Name)] = p.Slug, p.Slug
	}
	for name, slug := range elsewhere {
		out[spelled(name)] = slug
	}
	return out
})

// spelled is a provider's name without what people write differently.
func spelled(name string) string {
	return strings.NewReplacer(" ", "-", "_", "-", ".", "-").Replace(strings.ToLower(name))
}

// Provider is the slug of a provider as callers name it: by our slug, its own name or OpenRouter's. Param is the
// field that an error names.
func Provider(param, name string) (string, error) {
	if slug, ok := spellings()[spelled(name)]; ok {
		return slug, nil
	}
	base, variant, isVariant := strings.Cut(name, "/")
	if slug, ok := spellings()[spelled(base)]; isVariant && ok {
		return "", Invalid(param, fmt.Sprintf("names %q of %s: where a provider serves from cannot be chosen here", Clip(variant), slug)).
			Hinting("name the provider alone: " + slug)
	}
	if spelled(name) == "google" {
		return "", Invalid(param, `"google" is two providers`).Hinting("name google-ai-studio or vertex")
	}
	var known []string
	for _, p := range keyform.Known() {
		known = append(known, p.Slug)
	}
	return "", Invalid(param, fmt.Sprintf("names no provider that is known here: %q", Clip(name))).Hinting("the providers are " + strings.Join(known, ", "))
}

// maxPrice reads bounds in US dollars per million tokens.
func maxPrice(r *completion.Routing, param string, v []byte) error {
	if jsonscan.KindOf(v) != jsonscan.ObjectKind {
		return Invalid(param, "must be an object with prompt and completion")
	}
	m := jsonscan.Object(v)
	for m.Next() {
		if !jsonscan.Given(m.Value) {
			continue
		}
		at := param + "." + Clip(string(m.Name))
		var into **int64
		switch string(m.Name) {
		case "prompt":
			into = &r.MaxInput
		case "completion":
			into = &r.MaxOutput
		case "request", "image", "audio":
			return Invalid(at, "is not supported: prices are bounded for prompt and completion")
		default:
			return Invalid(at, "is not known; prompt and completion are")
		}
		if *into != nil {
			return Invalid(at, "stands in the body twice")
		}
		text, isText := jsonscan.Text(m.Value)
		if !isText && jsonscan.KindOf(m.Value) == jsonscan.Number {
			text = string(m.Value)
		}
		nano, ok := nanoDollars(text)
		if !ok {
			return Invalid(at, "must be a number of US dollars per million tokens, from 0")
		}
		*into = &nano
	}
	return nil
}

// maxDecimal bounds how long a number may be.
const maxDecimal = 64

// nanoDollars reads a decimal number, with or without an exponent, as billionths, exactly: of what is less
// than one the rest is cut off, which for a bound of whole billionths is the same. What does not fit is
// as high as can be.
func nanoDollars(text string) (int64, bool) {
	digit := func(c byte) bool { return c >= '0' && c <= '9' }
	if text == "" || len(text) > maxDecimal || !digit(text[0]) || !digit(text[len(text)-1]) || !jsonscan.Valid([]byte(text)) {
		return 0, false
	}
	mantissa, exponent := text, 0
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		mantissa = text[:i]
		n, err := strconv.Atoi(text[i+1:])
		if err != nil || n > 1000 || n < -1000 {
			return 0, false
		}
		exponent = n
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	shift := exponent + 9 - len(fraction) // zeros to add, or digits to cut off
	switch {
	case digits == "":
		return 0, true
	case shift < 0:
		digits = digits[:max(0, len(digits)+shift)]
	case len(digits)+shift > 19:
		return math.MaxInt64, true
	default:
		digits += strings.Repeat("0", shift)
	}
	var n uint64
	for _, c := range []byte(digits) {
		if n > math.MaxInt64/10 {
			return math.MaxInt64, true
		}
		n = n*10 + uint64(c-'0')
	}
	return int64(min(n, math.MaxInt64)), true
}
