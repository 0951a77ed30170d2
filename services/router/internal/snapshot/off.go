package snapshot

import keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"

// Off is what a State switches off together with the answers under way, and what the one before it did not:
// a router that was away finds it too, and what it has cut already is not in it again.
type Off struct{ Credentials, APIKeys []string }

// Empty reports whether there is nothing to cut.
func (o Off) Empty() bool { return len(o.Credentials)+len(o.APIKeys) == 0 }

// note adds what batch cuts after before. What before did not know has no answers here.
func (o *Off) note(before *State, batch *keysv1.ConfigBatch) {
	for _, c := range batch.GetCredentials() {
		if c.GetCut() {
			o.credential(before, c.GetOrgId(), c.GetId())
		}
	}
	for _, r := range batch.GetRemoved() {
		if r.GetCut() {
			o.credential(before, r.GetOrgId(), r.GetId())
		}
	}
	for _, k := range batch.GetApiKeys() {
		if was := before.keys[k.GetPublicId()]; k.GetCut() && was != nil && !was.cut {
			o.APIKeys = append(o.APIKeys, k.GetId())
		}
	}
}

func (o *Off) credential(before *State, orgID, id string) {
	if _, known := before.Credential(orgID, id); known && !before.orgs[orgID].cut[id] {
		o.Credentials = append(o.Credentials, id)
	}
}
