// Command vaultd runs a real, unsealed Vault core in memory on loopback, for tests.
//
// It prints one line of JSON, {"addr": …, "token": …}, when it is ready, and ends with its standard input.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"slices"

	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/builtin/logical/transit"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
	"github.com/hashicorp/vault/version"
)

// builtins tells the plugin catalog of the engines that are compiled in.
type builtins struct{}

func (builtins) Contains(name string, kind consts.PluginType) bool {
	return slices.Contains(builtins{}.Keys(kind), name)
}

func (b builtins) Get(name string, kind consts.PluginType) (func() (any, error), bool) {
	if !b.Contains(name, kind) {
		return nil, false
	}
	return toFunc(map[string]logical.Factory{"approle": approle.Factory, "kv": kv.Factory, "transit": transit.Factory}[name]), true
}

func (builtins) Keys(kind consts.PluginType) []string {
	switch kind {
	case consts.PluginTypeCredential:
		return []string{"approle"}
	case consts.PluginTypeSecrets:
		return []string{"kv", "transit"}
	}
	return nil
}

func (builtins) DeprecationStatus(string, consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, true
}

func (b builtins) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }

func toFunc(f logical.Factory) func() (any, error) { return func() (any, error) { return f, nil } }

func main() {
	addr := flag.String("listen", "127.0.0.1:0", "loopback address")
	verbose := flag.Bool("v", false, "log to standard error")
	flag.Parse()
	if err := run(*addr, *verbose); err != nil {
		log.Fatal(err)
	}
}

func run(addr string, verbose bool) error {
	logger := hclog.NewNullLogger()
	if verbose {
		logger = hclog.New(&hclog.LoggerOptions{Output: os.Stderr, Level: hclog.Info})
	}
	store, err := inmem.NewInmem(nil, logger)
	if err != nil {
		return err
	}
	core, err := vault.NewCore(&vault.CoreConfig{
		Physical:     store,
		Logger:       logger,
		DisableMlock: true,
		LogicalBackends: map[string]logical.Factory{
			"transit": transit.Factory,
			"kv":      kv.Factory,
		},
		CredentialBackends: map[string]logical.Factory{"approle": approle.Factory},
		BuiltinRegistry:    builtins{},
	})
	if err != nil {
		return fmt.Errorf("new core: %w", err)
	}
	ctx := context.Background()
	initRes, err := core.Initialize(ctx, &vault.InitParams{
		BarrierConfig: &vault.SealConfig{SecretShares: 1, SecretThreshold: 1},
	})
	if err != nil {
		return fmt.Errorf("initialize: %w", err)
	}
	for _, key := range initRes.SecretShares {
		if _, err := core.Unseal(key); err != nil {
			return fmt.Errorf("unseal: %w", err)
		}
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	handler := vaulthttp.Handler.Handler(&vault.HandlerProperties{
		Core:           core,
		ListenerConfig: &configutil.Listener{Address: listener.Addr().String()},
	})
	go func() { _ = http.Serve(listener, handler) }()
	ready := map[string]string{"addr": "http://" + listener.Addr().String(), "token": initRes.RootToken,
		"unseal": fmt.Sprintf("%x", initRes.SecretShares[0]), "version": version.GetVersion().Version}
	if err := json.NewEncoder(os.Stdout).Encode(ready); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
