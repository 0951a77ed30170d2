package plan

import (
	"slices"
	"strings"
)

// Patterns are names of models, made ready to be asked for each request: in those with "*", that stands
// for any text. A list of a thousand names costs one look-up and as many comparisons as it has stars.
type Patterns struct {
	exact map[string]struct{}
	stars []string
}

// Compile makes patterns of a list. An empty list is nil, which fits every name.
func Compile(list []string) *Patterns {
	if len(list) == 0 {
		return nil
	}
	p := &Patterns{exact: make(map[string]struct{}, len(list))}
	for _, pattern := range list {
		if strings.Contains(pattern, "*") {
			p.stars = append(p.stars, pattern)
		} else {
			p.exact[pattern] = struct{}{}
		}
	}
	return p
}

// Fit reports whether one of the patterns fits a name. Nil fits every name.
func (p *Patterns) Fit(name string) bool {
	if p == nil {
		return true
	}
	if _, ok := p.exact[name]; ok {
		return true
	}
	return fitsAny(p.stars, name)
}

func fitsAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return fits(pattern, name) })
}

// fits reports whether a pattern fits a name. It takes at most len(pattern) × len(name) steps.
func fits(pattern, name string) bool {
	p, n := 0, 0
	star, from := -1, 0 // the last star, and where what it stands for ends
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, n
			p++
		case p < len(pattern) && pattern[p] == name[n]:
			p++
			n++
		case star >= 0:
			from++
			p, n = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
