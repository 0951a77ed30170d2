package policy

import (
	"slices"
	"strings"
	"time"
)

// Prefix begins a model that names a policy.
const Prefix = "policy/"

// Spec is a routing rule: groups of targets, tried in order. Its lines are the targets, counted from 1
// through all groups. It is kept as JSON text; what is absent there takes its default.
type Spec struct {
	Groups []Group `json:"groups"`
	// MaxAttempts bounds the calls for one request; 0 is the router's default.
	MaxAttempts int `json:"max_attempts,omitempty"`
	// Hedge is nil for never.
	Hedge *Hedge `json:"hedge,omitempty"`
}

// Strategy says in which order the targets of a group are tried; empty is Fallback.
type Strategy string

// The strategies.
const (
	Fallback      Strategy = "fallback"
	Weighted      Strategy = "weighted"
	LowestLatency Strategy = "lowest_latency"
	LowestCost    Strategy = "lowest_cost"
	Sticky        Strategy = "sticky"
)

// draws reports whether weights say something.
func (s Strategy) draws() bool { return s == Weighted || s == Sticky }

// Group is a step of a rule.
type Group struct {
	Strategy Strategy `json:"strategy,omitempty"`
	Targets  []Target `json:"targets"`
	// When is nil for all requests.
	When *Condition `json:"when,omitempty"`
	// StickyBy is "session", "user" or "tag:<key>"; empty is "session".
	StickyBy string `json:"sticky_by,omitempty"`
}

// strategy is the one that holds.
func (g *Group) strategy() Strategy {
	if g.Strategy == "" {
		return Fallback
	}
	return g.Strategy
}

// Condition is what a request must be, in all that is set.
type Condition struct {
	Tags []Tag `json:"tags,omitempty"`
	// Models are patterns in which "*" stands for any text.
	Models []string `json:"models,omitempty"`
	// MinInput and MaxInput are tokens; 0 is any.
	MinInput int64    `json:"min_input_tokens,omitempty"`
	MaxInput int64    `json:"max_input_tokens,omitempty"`
	APIKeys  []string `json:"api_key_ids,omitempty"`
	Groups   []string `json:"group_ids,omitempty"`
}

// None reports whether every request fits.
func (c *Condition) None() bool {
	return c == nil || len(c.Tags)+len(c.Models)+len(c.APIKeys)+len(c.Groups) == 0 && c.MinInput == 0 && c.MaxInput == 0
}

// Tag is a tag that a request must have; no values are any.
type Tag struct {
	Key    string   `json:"key"`
	Values []string `json:"values,omitempty"`
}

// Class says whose credentials serve.
type Class string

// The classes.
const (
	Own      Class = "own"
	Platform Class = "platform"
)

// Target is one line.
type Target struct {
	// Model is "provider/model" or "policy/<name>".
	Model string `json:"model"`
	// Use is empty where a policy or a credential is named.
	Use Class `json:"use,omitempty"`
	// CredentialID is the one credential that may serve; empty is any of Use.
	CredentialID string `json:"credential_id,omitempty"`
	// Weight is nil for 1.
	Weight   *int     `json:"weight,omitempty"`
	Timeouts Timeouts `json:"timeouts,omitzero"`
	// Retries and Backoff are nil for the router's default; so is no MoveOn.
	Retries   *int           `json:"retries,omitempty"`
	Backoff   *time.Duration `json:"backoff_ns,omitempty"`
	MoveOn    []string       `json:"move_on,omitempty"`
	Overrides *Overrides     `json:"overrides,omitempty"`
}

// Policy is the name of the policy that the line stands for, "" if it names a model.
func (t *Target) Policy() string {
	name, ok := strings.CutPrefix(t.Model, Prefix)
	if !ok {
		return ""
	}
	return name
}

// Provider is the provider of the line's model, "" if it names a policy.
func (t *Target) Provider() string {
	slug, _, _ := strings.Cut(t.Model, "/")
	if t.Policy() != "" {
		return ""
	}
	return slug
}

// class is whose credentials serve: a line that names one is for the organization's own.
func (t *Target) class() Class {
	if t.Use == "" && t.Policy() == "" {
		return Own
	}
	return t.Use
}

// weight is the one that holds.
func (t *Target) weight() int {
	if t.Weight == nil {
		return 1
	}
	return *t.Weight
}

// Timeouts bound a call; 0 is the router's default.
type Timeouts struct {
	FirstByte     time.Duration `json:"first_byte_ns,omitempty"`
	BetweenChunks time.Duration `json:"between_chunks_ns,omitempty"`
	Total         time.Duration `json:"total_ns,omitempty"`
}

// Overrides replace parameters of a request; nil and empty stay as the caller wrote them.
type Overrides struct {
	Temperature     *float64 `json:"temperature,omitempty"`
	TopP            *float64 `json:"top_p,omitempty"`
	MaxOutputTokens *int64   `json:"max_output_tokens,omitempty"`
	ReasoningEffort *string  `json:"reasoning_effort,omitempty"`
}

// Hedge sends a second call when the first one is slow.
type Hedge struct {
	// After is 0 for what the router has measured.
	After time.Duration `json:"after_ns,omitempty"`
	// MaxPercent is 0 for the router's default.
	MaxPercent int `json:"max_percent,omitempty"`
}

// line is a target with its place.
type line struct {
	*Target
	group, place int
	// number counts from 1.
	number int
}

// lines are all of them, in order.
func (s *Spec) lines() []line {
	var out []line
	for g := range s.Groups {
		for i := range s.Groups[g].Targets {
			out = append(out, line{&s.Groups[g].Targets[i], g, i, len(out) + 1})
		}
	}
	return out
}

// References are what the rule names, each once: "policy/<name>", and the ids of credentials and groups.
// API keys are not among them: one that is revoked or gone asks for nothing any more, so no line of a
// policy waits for it.
func (s *Spec) References() []string {
	var out []string
	for _, l := range s.lines() {
		if l.Policy() != "" {
			out = append(out, l.Model)
		}
		if l.CredentialID != "" {
			out = append(out, l.CredentialID)
		}
	}
	for _, g := range s.Groups {
		if g.When != nil {
			out = append(out, g.When.Groups...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
