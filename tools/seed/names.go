package seed

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
)

// Naming turns what a rule calls an object into what another form of it does: names into ids, or ids into
// names. Nil leaves them.
type Naming struct {
	Credential, APIKey, Group func(string) (string, error)
}

// Resolve returns a copy of a rule in which every object is called as naming says.
func Resolve(spec *keysv1.PolicySpec, naming Naming) (*keysv1.PolicySpec, error) {
	out := proto.CloneOf(spec)
	line := 0
	for _, group := range out.GetGroups() {
		if when := group.GetWhen(); when != nil {
			if err := rename(when.ApiKeyIds, naming.APIKey); err != nil {
				return nil, err
			}
			if err := rename(when.GroupIds, naming.Group); err != nil {
				return nil, err
			}
		}
		for _, target := range group.GetTargets() {
			line++
			if target.GetCredentialId() == "" || naming.Credential == nil {
				continue
			}
			id, err := naming.Credential(target.GetCredentialId())
			if err != nil {
				return nil, &LineError{line, err}
			}
			target.CredentialId = id
		}
	}
	return out, nil
}

// LineError is what is wrong with a line of a policy. Lines count from 1 through all groups.
type LineError struct {
	Line int
	Err  error
}

// Error says which line it is.
func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns what is wrong with it.
func (e *LineError) Unwrap() error { return e.Err }

func rename(list []string, name func(string) (string, error)) error {
	if name == nil {
		return nil
	}
	for i, old := range list {
		renamed, err := name(old)
		if err != nil {
			return err
		}
		list[i] = renamed
	}
	return nil
}
