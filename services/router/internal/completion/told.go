package completion

import (
	"iter"
	"strconv"
	"strings"

	"github.com/claviger/claviger/services/router/internal/usage"
)

// Told is what a caller is told of what served: every face of the router says this and nothing else.
type Told struct {
	RequestID, Model string
	Class            usage.Class
	// Full says that what follows is told, too.
	Full     bool
	Provider string
	// CredentialID and CredentialRevision name the organization's own credential; a platform credential is the
	// operator's business.
	CredentialID       string
	CredentialRevision int
	// Policy is empty, and Line 0, without a policy. Line counts from 1.
	Policy        string
	PolicyVersion int64
	Line          int
	ConfigVersion int64
	// Attempts are all that were begun, the one that served last. Their credentials are told as CredentialID is.
	Attempts []Attempted
	// Ended says that what it costs is known by now, as far as it will be. Cost is in nano-USD, nil is unknown.
	Ended        bool
	Cost         *int64
	PriceVersion string
}

// Tell is what a caller may be told at a level of what serves, when the answer begins: the cost is told of an
// answer in one piece alone. It is false if nothing may be told.
func Tell(level Provenance, requestID string, served Served, whole bool) (Told, bool) {
	t := served.Target
	if level == ProvenanceNone || t == nil {
		return Told{}, false
	}
	out := Told{RequestID: requestID, Model: t.Model, Class: t.Class}
	if level != ProvenanceFull {
		return out, true
	}
	out.Full, out.Provider, out.ConfigVersion, out.Attempts = true, t.Provider, served.ConfigVersion, served.Attempts
	if t.Class == usage.Own {
		out.CredentialID, out.CredentialRevision = t.Credential.ID, t.Credential.Revision
	}
	if t.PolicyName != "" {
		out.Policy, out.PolicyVersion, out.Line = t.PolicyName, t.PolicyVersion, t.Line+1
	}
	if whole {
		out.Ended, out.Cost, out.PriceVersion = true, served.Cost, served.PriceVersion
	}
	return out, true
}

// Ending is t at the end of the answer.
func (t Told) Ending(f Final) Told {
	if t.Full {
		t.Ended, t.Cost, t.PriceVersion = true, f.Cost, f.PriceVersion
	}
	return t
}

// Credential is the credential of an attempt as callers may be told, empty for the operator's.
func (a *Attempted) Credential() string {
	if a.Class == usage.Own {
		return a.CredentialID
	}
	return ""
}

// Headers gives what is told as headers or trailers, each with its name in the canonical form. A cost that stays
// unknown says so; one that is not known yet is not among them.
func (t *Told) Headers() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		say := func(name, value string) bool { return value == "" || yield(name, value) }
		if !say("X-Claviger-Model", t.Model) || !say("X-Claviger-Class", t.Class.String()) || !t.Full ||
			!say("X-Claviger-Provider", t.Provider) {
			return
		}
		if t.CredentialID != "" && (!say("X-Claviger-Credential", t.CredentialID) ||
			!say("X-Claviger-Credential-Revision", strconv.Itoa(t.CredentialRevision))) {
			return
		}
		if t.Policy != "" && (!say("X-Claviger-Policy", t.Policy+"@"+strconv.FormatInt(t.PolicyVersion, 10)) ||
			!say("X-Claviger-Line", strconv.Itoa(t.Line))) {
			return
		}
		if !say("X-Claviger-Config-Version", strconv.FormatInt(t.ConfigVersion, 10)) || !say("X-Claviger-Attempts", strconv.Itoa(len(t.Attempts))) {
			return
		}
		for i := range t.Attempts {
			if !say("X-Claviger-Attempt", t.Attempts[i].header()) {
				return
			}
		}
		if t.Ended {
			cost := "unknown"
			if t.Cost != nil {
				cost = strconv.FormatInt(*t.Cost, 10)
			}
			_ = say("X-Claviger-Cost-Nano-Usd", cost) && say("X-Claviger-Price-Version", t.PriceVersion)
		}
	}
}

// header is an attempt as one header says it: its id, and what else there is behind semicolons.
func (a *Attempted) header() string {
	var b strings.Builder
	b.WriteString(a.AttemptID)
	for _, p := range [...]struct{ name, value string }{
		{"model", a.Model}, {"class", a.Class.String()}, {"credential", a.Credential()}, {"error", a.ErrorClass},
	} {
		if p.value != "" {
			b.WriteString("; ")
			b.WriteString(p.name)
			b.WriteString(`="`)
			b.WriteString(strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(p.value))
			b.WriteByte('"')
		}
	}
	return b.String()
}
