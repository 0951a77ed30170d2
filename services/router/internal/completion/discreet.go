package completion

import (
	"errors"
	"slices"

	"github.com/claviger/claviger/pkg/fault"
)

// naming are the facts that say who was asked, and with what.
var naming = []string{"provider", "model", "credential_class", "credential", "policy", "tried"}

// listing are the reasons of faults whose words list candidates or name a provider.
var listing = []string{
	ErrNoTarget.Reason(), ErrCoolingDown.Reason(), ErrUnsupported.Reason(),
	"ROUTE_NOT_ALLOWED", "NO_ROUTE_LEFT", // of package plan
}

// Discreet is as much of an error as a caller may be told at a level. Credentials of the organization are named by
// their labels, and all by their classes, but at none: there an error says what happened, whose fault it was and what
// to do, and neither provider nor class nor label. What a provider says of a request that its caller has to mend
// stays, since nobody else could. The error itself is the cause of what is told, for logs.
func Discreet(err error, level Provenance) error {
	f, ok := fault.Of(err)
	if level != ProvenanceNone || !ok {
		return err
	}
	names := slices.Contains(listing, f.Reason())
	for _, fact := range naming {
		_, told := f.Facts()[fact]
		names = names || told
	}
	if !names {
		return err
	}
	message := f.Declared()
	if e, ok := errors.AsType[*ProviderError](err); ok && f.Reason() == e.Class.Handling().Fault.Reason() {
		message = "the provider " + message // a class's words go behind a name
		if f.Blame() == fault.Caller && e.Message != "" {
			message += ": " + e.Message
		}
	}
	return f.Without(naming...).Saying("%s", message).Because(err)
}
