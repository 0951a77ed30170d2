package snapshot

import (
	"testing"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
)

// TestOnlySomeStatesServe goes over all states that there are: one that is new here does not serve by accident.
func TestOnlySomeStatesServe(t *testing.T) {
	t.Parallel()
	serve := map[keysv1.CredentialState]bool{
		keysv1.CredentialState_CREDENTIAL_STATE_UNSPECIFIED: true, // of keys before there were states
		keysv1.CredentialState_CREDENTIAL_STATE_UNVERIFIED:  true,
		keysv1.CredentialState_CREDENTIAL_STATE_ACTIVE:      true,
		keysv1.CredentialState_CREDENTIAL_STATE_DEGRADED:    true,
	}
	// What a provider said of the first secret does not hold the second one back, and what owners said does.
	secondToo := map[keysv1.CredentialState]bool{
		keysv1.CredentialState_CREDENTIAL_STATE_REJECTED: true, keysv1.CredentialState_CREDENTIAL_STATE_QUOTA_EXHAUSTED: true,
		keysv1.CredentialState_CREDENTIAL_STATE_NO_SECRET: true,
	}
	for n, name := range keysv1.CredentialState_name {
		state := keysv1.CredentialState(n)
		c := credentialOf(&keysv1.CredentialConfig{Provider: "openai", State: state, Revision: 1, Next: &keysv1.NextSecret{Revision: 2, SharePercent: 10}})
		if got := c.Out == ""; got != serve[state] {
			t.Errorf("%s: serves %v (%q), want %v", name, got, c.Out, serve[state])
		}
		if got, want := c.Next.Out == "", serve[state] || secondToo[state]; got != want {
			t.Errorf("%s: its second secret serves %v (%q), want %v", name, got, c.Next.Out, want)
		}
	}
}
