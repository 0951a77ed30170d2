package pricing

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// naming says what of a provider's model names is no part of the model.
type naming struct {
	// folders says that what stands before the last slash says who made the model or where it is listed:
	// "openai/gpt-4o", "publishers/anthropic/models/claude-opus-5".
	folders bool
	// prefixes are of places that take calls, without a price of their own.
	prefixes []string
	// versions is what may stand at the end.
	versions *regexp.Regexp
}

// date is that of a snapshot, as vendors write it: "-2024-08-06", "-20251101", "@20251101".
const date = `(?:[-@]\d{8}|-\d{4}-\d{2}-\d{2})`

var (
	dated   = regexp.MustCompile(date + `$`)
	namings = map[string]naming{
		"anthropic": {versions: dated},
		"openai":    {versions: dated},
		"xai":       {versions: dated},
		// An entry of an Azure credential is named by whom it is for: mostly maker and model.
		"azure":            {folders: true, versions: dated},
		"google-ai-studio": {folders: true},
		"vertex":           {folders: true, versions: regexp.MustCompile(`(?:` + date + `|@default)$`)},
		// Inference profiles of Amazon: a group of regions before the id. "global." is cheaper for some
		// models, which then have rows of their own. Ids end in a snapshot and a version.
		"bedrock": {
			folders:  true, // ARNs of profiles and models
			prefixes: []string{"us.", "eu.", "apac.", "jp.", "au.", "in.", "ca.", "sa.", "us-gov.", "global."},
			versions: regexp.MustCompile(date + `?(?:-v\d+)?(?::\d+k?){0,2}$`),
		},
	}
)

// plainName takes off what is no part of the model. It is the name itself if there is nothing.
func plainName(slug string) string {
	provider, model, ok := strings.Cut(slug, "/")
	n, known := namings[provider]
	if !ok || !known {
		return slug
	}
	if n.folders {
		model = base(model)
	}
	if n.versions != nil {
		model = model[:len(model)-len(n.versions.FindString(model))]
	}
	return provider + "/" + model
}

// base takes off folders.
func base(model string) string {
	if strings.Contains(model, "application-inference-profile/") { // what follows is no model's name
		return model
	}
	return model[strings.LastIndexByte(model, '/')+1:]
}

// withoutFolders takes off who made the model or where it is listed.
func withoutFolders(slug string) string {
	provider, model, _ := strings.Cut(slug, "/")
	if !namings[provider].folders {
		return slug
	}
	return provider + "/" + base(model)
}

// withoutPlace takes off the place that takes the call.
func withoutPlace(slug string) string {
	provider, model, _ := strings.Cut(slug, "/")
	for _, prefix := range namings[provider].prefixes {
		if rest, ok := strings.CutPrefix(model, prefix); ok {
			return provider + "/" + rest
		}
	}
	return slug
}

// plainNames finds the models whose own name is not plain. A plain name that several have with different
// prices is nobody's.
func plainNames(models map[string][]Price) map[string]string {
	plain := map[string]string{}
	for _, model := range slices.Sorted(maps.Keys(models)) {
		name := plainName(model)
		if _, own := models[name]; own {
			continue
		}
		if other, taken := plain[name]; !taken {
			plain[name] = model
		} else if other != "" && !samePrices(models[other], models[model]) {
			plain[name] = ""
		}
	}
	return plain
}

// samePrices reports whether two models cost the same, whenever.
func samePrices(a, b []Price) bool {
	return slices.EqualFunc(a, b, func(x, y Price) bool {
		return x.ValidFrom.Equal(y.ValidFrom) && x.Reported == y.Reported && reflect.DeepEqual(x.Tiers, y.Tiers) && reflect.DeepEqual(x.Units, y.Units)
	})
}

// Named finds the model of the table that a name means: the name itself, or one that differs in what is no
// part of the model.
func (b *Table) Named(model string) (string, bool) {
	if _, own := b.models[model]; own {
		return model, true
	}
	name := plainName(model)
	for _, name := range [...]string{withoutFolders(model), name, withoutPlace(name)} {
		if _, own := b.models[name]; own {
			return name, true
		}
		if found, ok := b.plain[name]; ok {
			return found, found != ""
		}
	}
	return "", false
}
