// Command vaultd runs a real Vault core in memory on loopback, for tests.
//
// When it answers it prints one line of JSON: the address "addr", the root token "token", the key
// "unseal" and the "version". It ends with its standard input, or on SIGTERM or an interrupt, and
// forgets everything. It is a module of its own, outside go.work: Vault's server is under the BUSL
// and is run in tests, never linked into what we ship.
package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/builtin/logical/transit"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
	"github.com/hashicorp/vault/version"
)

func main() {
	var opts options
	flag.StringVar(&opts.listen, "listen", "127.0.0.1:0", "loopback `address`; port 0 is any that is free")
	flag.BoolVar(&opts.unseal, "unseal", true, "unseal at start; with -unseal=false it waits for the printed key, as after a restart")
	flag.BoolVar(&opts.verbose, "v", false, "log to standard error")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, opts, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "vaultd:", err)
		os.Exit(1)
	}
}

type options struct {
	listen  string
	unseal  bool
	verbose bool
}

// run serves until ctx or in ends.
func run(ctx context.Context, opts options, in io.Reader, out io.Writer) error {
	address, err := netip.ParseAddrPort(opts.listen)
	if err != nil || !address.Addr().IsLoopback() {
		return fmt.Errorf("-listen %s: want a loopback address and a port; the root token is printed", opts.listen)
	}
	core, keys, err := newCore(ctx, opts)
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", opts.listen)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: vaulthttp.Handler.Handler(&vault.HandlerProperties{
			Core:           core,
			ListenerConfig: &configutil.Listener{Address: listener.Addr().String()},
		}),
		ReadHeaderTimeout: 10 * time.Second,
	}
	ended := make(chan error, 2)
	go func() { ended <- server.Serve(listener) }()
	err = json.NewEncoder(out).Encode(map[string]string{
		"addr":    "http://" + listener.Addr().String(),
		"token":   keys.RootToken,
		"unseal":  hex.EncodeToString(keys.SecretShares[0]),
		"version": version.GetVersion().Version,
	})
	if err != nil {
		return errors.Join(err, server.Close())
	}
	// Not waited for when a signal comes first: a read of standard input cannot be interrupted.
	go func() {
		_, err := io.Copy(io.Discard, in)
		ended <- err
	}()
	select {
	case <-ctx.Done():
		err = nil
	case err = <-ended:
	}
	return errors.Join(err, server.Close())
}

// newCore returns an initialized core whose one unseal key is among keys.
func newCore(ctx context.Context, opts options) (*vault.Core, *vault.InitResult, error) {
	logger := hclog.NewNullLogger()
	if opts.verbose {
		logger = hclog.New(&hclog.LoggerOptions{Output: os.Stderr, Level: hclog.Info})
	}
	store, err := inmem.NewInmem(nil, logger)
	if err != nil {
		return nil, nil, fmt.Errorf("storage: %w", err)
	}
	core, err := vault.NewCore(&vault.CoreConfig{
		Physical:           store,
		Logger:             logger,
		DisableMlock:       true,
		LogicalBackends:    map[string]logical.Factory{"transit": transit.Factory, "kv": kv.Factory},
		CredentialBackends: map[string]logical.Factory{"approle": approle.Factory},
		BuiltinRegistry:    builtins{},
	})
	if err != nil {
		return nil, nil, fmt.Errorf("core: %w", err)
	}
	keys, err := core.Initialize(ctx, &vault.InitParams{
		BarrierConfig: &vault.SealConfig{SecretShares: 1, SecretThreshold: 1},
	})
	if err != nil {
		return nil, nil, fmt.Errorf("initialize: %w", err)
	}
	if opts.unseal {
		if _, err := core.Unseal(keys.SecretShares[0]); err != nil {
			return nil, nil, fmt.Errorf("unseal: %w", err)
		}
	}
	return core, keys, nil
}
