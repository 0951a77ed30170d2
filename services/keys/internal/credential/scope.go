package credential

import (
	"context"
	"fmt"
	"slices"

	"github.com/claviger/claviger/pkg/fault"
)

// Scope narrows what a credential may be used for. What is empty narrows nothing. An API key or a group that is
// removed later stays in it: what names only what is gone fits nobody, and is never as wide as no scope.
type Scope struct {
	// Models are patterns of "provider/model"; "*" stands for any text.
	Models []string `json:"models,omitempty"`
	// APIKeys may use it, and API keys in Groups.
	APIKeys []string `json:"api_keys,omitempty"`
	Groups  []string `json:"groups,omitempty"`
}

// equal reports whether s says what other says.
func (s Scope) equal(other Scope) bool {
	return slices.Equal(s.Models, other.Models) && slices.Equal(s.APIKeys, other.APIKeys) && slices.Equal(s.Groups, other.Groups)
}

// checkScope makes sure that what is named exists in the organization. The form of patterns is the contract's.
func checkScope(ctx context.Context, tx Tx, s Scope) error {
	var broken []fault.Violation
	look := func(field, noun string, ids []string, unknown func(context.Context, []string) ([]string, error)) error {
		if len(ids) == 0 {
			return nil
		}
		missing, err := unknown(ctx, ids)
		if err != nil {
			return err
		}
		for i, named := range ids {
			if slices.Contains(missing, named) {
				broken = append(broken, fault.Violation{Field: fmt.Sprintf("scope.%s[%d]", field, i), Description: fmt.Sprintf("there is no %s %s", noun, named)})
			}
		}
		return nil
	}
	if err := look("api_key_ids", "API key", s.APIKeys, tx.UnknownAPIKeys); err != nil {
		return err
	}
	if err := look("group_ids", "group", s.Groups, tx.UnknownGroups); err != nil {
		return err
	}
	if len(broken) > 0 {
		return ErrScope.Saying("%s: %s", broken[0].Field, broken[0].Description).Violating(broken...)
	}
	return nil
}
