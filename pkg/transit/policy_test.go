package transit_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/transit"
	"github.com/claviger/claviger/pkg/transit/transittest"
)

// TestVaultPoliciesAllowExactlyTheirPart tries every path with every role's token on a real Vault
// with the policies of deploy/vault. What is not listed as allowed must be refused.
func TestVaultPoliciesAllowExactlyTheirPart(t *testing.T) {
	t.Parallel()
	server := transittest.Start(t)
	root := server.Root(t).Logical()
	derivation := base64.StdEncoding.EncodeToString([]byte("context"))
	plaintext := map[string]any{"plaintext": derivation, "context": derivation}
	got, err := root.WriteWithContext(t.Context(), "transit/encrypt/"+transittest.Key, plaintext)
	if err != nil {
		t.Fatal(err)
	}
	ciphertext := map[string]any{"ciphertext": got.Data["ciphertext"], "context": derivation}
	if _, err := root.WriteWithContext(t.Context(), "transit/keys/claviger-prod", map[string]any{"derived": true}); err != nil {
		t.Fatal(err) // another environment on the same Vault
	}

	roles := []transittest.Role{transittest.Keys, transittest.Router, transittest.Metering, transittest.Rotation}
	keys, router, rotation := roles[0], roles[1], roles[3]
	const key, typo = "/" + transittest.Key, "/claviger-tset"
	for _, c := range []struct {
		method, path string
		body         map[string]any
		allowed      []transittest.Role
	}{
		{"PUT", "transit/encrypt" + key, plaintext, []transittest.Role{keys}},
		{"PUT", "transit/rewrap" + key, ciphertext, []transittest.Role{keys}},
		{"PUT", "transit/decrypt" + key, ciphertext, []transittest.Role{router}},
		{"GET", transittest.PepperPath, nil, []transittest.Role{keys, router}},
		{"PUT", "transit/keys" + key + "/rotate", nil, []transittest.Role{rotation}},
		{"PUT", "transit/keys" + key + "/config", map[string]any{"min_decryption_version": 1}, []transittest.Role{rotation}},
		{"PUT", "auth/token/renew-self", nil, []transittest.Role{keys, router}},

		// A mistyped or foreign key is refused, not made.
		{"PUT", "transit/encrypt" + typo, plaintext, nil},
		{"PUT", "transit/decrypt" + typo, ciphertext, nil},
		{"PUT", "transit/rewrap" + typo, ciphertext, nil},
		{"PUT", "transit/encrypt/claviger-prod", plaintext, nil},
		{"PUT", "transit/decrypt/claviger-prod", ciphertext, nil},
		{"PUT", "transit/keys" + typo, map[string]any{"derived": true}, nil},

		// Nobody gets at the key, or makes it exportable first.
		{"GET", "transit/keys" + key, nil, nil},
		{"LIST", "transit/keys", nil, nil},
		{"DELETE", "transit/keys" + key, nil, nil},
		{"GET", "transit/export/encryption-key" + key, nil, nil},
		{"GET", "transit/export/encryption-key" + key + "/1", nil, nil},
		{"GET", "transit/backup" + key, nil, nil},
		{"PUT", "transit/restore" + key, map[string]any{"backup": "x"}, nil},
		{"PUT", "transit/keys" + key + "/config", map[string]any{"exportable": true}, nil},
		{"PUT", "transit/keys" + key + "/config", map[string]any{"allow_plaintext_backup": true}, nil},
		{"PUT", "transit/keys" + key + "/config", map[string]any{"deletion_allowed": true}, nil},
		{"PUT", "transit/keys" + key + "/trim", map[string]any{"min_available_version": 1}, nil},
		{"PUT", "transit/datakey/plaintext" + key, map[string]any{"context": derivation}, nil},
		{"PUT", "transit/hmac" + key, map[string]any{"input": derivation}, nil},
		{"PUT", "transit/sign" + key, map[string]any{"input": derivation}, nil},
		{"PUT", "transit/config/keys", map[string]any{"disable_upsert": false}, nil},

		// The pepper is read only; nothing else is in reach.
		{"PUT", transittest.PepperPath, map[string]any{"data": map[string]any{"pepper": "x"}}, nil},
		{"DELETE", transittest.PepperPath, nil, nil},
		{"GET", "secret/metadata/claviger/api-key-pepper", nil, nil},
		{"LIST", "secret/metadata/claviger", nil, nil},
		{"GET", "secret/data/other", nil, nil},
		{"GET", "sys/policies/acl/claviger-test-keys-seal", nil, nil},
		{"PUT", "sys/policies/acl/claviger-test-keys-seal", map[string]any{"policy": ""}, nil},
		{"GET", "sys/mounts", nil, nil},
		{"PUT", "sys/seal", nil, nil},
		{"PUT", "auth/approle/role/claviger-test-router/secret-id", nil, nil},
		{"PUT", "auth/token/create", nil, nil},
		{"PUT", "cubbyhole/x", map[string]any{"a": "b"}, nil},
	} {
		for _, role := range roles {
			want := http.StatusForbidden
			for _, allowed := range c.allowed {
				if allowed == role {
					want = http.StatusOK
				}
			}
			if got := try(t, server.TokenClient(t, role), c.method, c.path, c.body); got != want {
				t.Errorf("%s %s %s %v = %d, want %d", role, c.method, c.path, c.body, got, want)
			}
		}
	}
	list, err := root.ListWithContext(t.Context(), "transit/keys")
	if err != nil {
		t.Fatal(err)
	}
	if names, _ := list.Data["keys"].([]any); len(names) != 2 {
		t.Errorf("keys are %v, want the two that were made on purpose", names)
	}
}

// try answers with the status, 200 for any success.
func try(t *testing.T, client *api.Client, method, path string, body map[string]any) int {
	t.Helper()
	var err error
	switch method {
	case "GET":
		_, err = client.Logical().ReadWithContext(t.Context(), path)
	case "LIST":
		_, err = client.Logical().ListWithContext(t.Context(), path)
	case "DELETE":
		_, err = client.Logical().DeleteWithContext(t.Context(), path)
	default:
		_, err = client.Logical().WriteWithContext(t.Context(), path, body)
	}
	if answer, ok := errors.AsType[*api.ResponseError](err); ok {
		return answer.StatusCode
	}
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return http.StatusOK
}

// TestMistypedKeyIsRefusedForEverybody holds even for a token that may create.
func TestMistypedKeyIsRefusedForEverybody(t *testing.T) {
	t.Parallel()
	server := transittest.Shared(t)
	opts := transit.VaultOptions{Address: server.Address, Token: secret.New(server.RootToken), Key: "claviger-tset"}
	if err := sealOnce(t, connect(t, opts)); !errors.Is(err, transit.ErrDenied) {
		t.Errorf("Seal with a mistyped key as root = %v, want ErrDenied", err)
	}
	got, err := server.Root(t).Logical().ReadWithContext(t.Context(), "transit/keys/claviger-tset")
	if err != nil || got != nil {
		t.Errorf("the mistyped key was made: %v, %v", got, err)
	}
}

func TestEachServiceHasOneHalf(t *testing.T) {
	t.Parallel()
	server := transittest.Shared(t)
	sealed, err := server.Connect(t, transittest.Keys).Sealer().Seal(t.Context(), secret.New(canary), bound())
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range []transittest.Role{transittest.Router, transittest.Metering} {
		if err := sealOnce(t, server.Connect(t, role)); !errors.Is(err, transit.ErrDenied) {
			t.Errorf("Seal as %s = %v, want ErrDenied", role, err)
		}
	}
	for _, role := range []transittest.Role{transittest.Keys, transittest.Metering} {
		opener := server.Connect(t, role).Opener()
		if _, err := opener.Open(t.Context(), sealed, bound()); !errors.Is(err, transit.ErrDenied) {
			t.Errorf("Open as %s = %v, want ErrDenied", role, err)
		}
		for _, r := range transit.OpenBatch(t.Context(), opener, []transit.Item{{Sealed: sealed, Context: bound()}}) {
			if !errors.Is(r.Err, transit.ErrDenied) {
				t.Errorf("OpenBatch as %s = %v, want ErrDenied", role, r.Err)
			}
		}
	}
}

// TestSealingPolicyMakesNoKey shows that "update" alone refuses a key that does not exist, even where
// the engine would make it.
func TestSealingPolicyMakesNoKey(t *testing.T) {
	t.Parallel()
	server := transittest.Start(t)
	root := server.Root(t).Logical()
	if _, err := root.WriteWithContext(t.Context(), "transit/config/keys", map[string]any{"disable_upsert": false}); err != nil {
		t.Fatal(err)
	}
	if _, err := root.WriteWithContext(t.Context(), "transit/keys/"+transittest.Key+"/config", map[string]any{"deletion_allowed": true}); err != nil {
		t.Fatal(err)
	}
	if _, err := root.DeleteWithContext(t.Context(), "transit/keys/"+transittest.Key); err != nil {
		t.Fatal(err)
	}
	if err := sealOnce(t, server.Connect(t, transittest.Keys)); !errors.Is(err, transit.ErrDenied) {
		t.Errorf("Seal with a key that is gone = %v, want ErrDenied", err)
	}
	if got, err := root.ReadWithContext(t.Context(), "transit/keys/"+transittest.Key); err != nil || got != nil {
		t.Errorf("the key was made again: %v, %v", got, err)
	}
}
