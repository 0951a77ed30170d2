package transit

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/claviger/claviger/pkg/secret"
)

// callTimeout bounds every call to Vault. A Vault whose audit devices are full hangs, and what
// waits for it must not hang with it.
const callTimeout = 2 * time.Second

// VaultOptions says where Vault is and who we are.
type VaultOptions struct {
	// Address is "https://host:port"; "http://" is accepted for loopback only.
	Address string
	// CAFile is a PEM file with the server's authority; empty is the system's.
	CAFile string
	// RoleID and SecretID log in by AppRole.
	RoleID   string
	SecretID secret.Text
	// Token is used as it is and never renewed, in place of AppRole.
	Token secret.Text
	// Mount is where the transit engine is. Default "transit".
	Mount string
	// Key is the derived key. It must exist: nothing here creates one.
	Key string
	// Log receives logins and renewals, never a token.
	Log *slog.Logger
}

func (o VaultOptions) validate() error {
	var problems []error
	address, err := url.Parse(o.Address)
	switch {
	case err != nil || address.Host == "" || address.User != nil || address.RawQuery != "" || address.Fragment != "":
		problems = append(problems, errors.New(`vault address: want "https://host:port"`))
	case address.Scheme == "http" && !loopback(address.Hostname()):
		problems = append(problems, errors.New("vault address: http is accepted for loopback only, since tokens and secrets pass"))
	case address.Scheme != "http" && address.Scheme != "https":
		problems = append(problems, errors.New("vault address: want https"))
	}
	if o.Token.Empty() && (o.RoleID == "" || o.SecretID.Empty()) {
		problems = append(problems, errors.New("vault login: set role_id and secret_id"))
	}
	if o.Key == "" || strings.Contains(o.Key, "/") {
		problems = append(problems, errors.New("vault transit key: set the name of the derived key"))
	}
	return errors.Join(problems...)
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// Vault is a HashiCorp Vault, or OpenBao, with the transit engine. It stays logged in until its
// context ends or Close is called. It reads nothing from the environment.
type Vault struct {
	client  *api.Client
	session *session
	mount   string
	key     string
	stop    context.CancelFunc
	running sync.WaitGroup
}

// NewVault returns at once, whether Vault answers or not: it logs in behind the scenes, and until
// that has worked every call fails with the reason, as does Ready. The error is about opts only.
func NewVault(ctx context.Context, opts VaultOptions) (*Vault, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	transport, err := vaultTransport(opts.CAFile)
	if err != nil {
		return nil, err
	}
	client, err := vaultClient(opts.Address, transport)
	if err != nil {
		return nil, err
	}
	if opts.Mount == "" {
		opts.Mount = "transit"
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	v := &Vault{client: client, mount: strings.Trim(opts.Mount, "/"), key: opts.Key, stop: func() {}}
	if !opts.Token.Empty() {
		client.SetToken(opts.Token.Reveal())
		v.session = staticSession()
		return v, nil
	}
	login, err := vaultClient(opts.Address, transport)
	if err != nil {
		return nil, err
	}
	v.session = newSession(client, login, opts.RoleID, opts.SecretID, opts.Log)
	ctx, v.stop = context.WithCancel(ctx)
	v.running.Go(func() { v.session.run(ctx) })
	return v, nil
}

// Close ends the session's renewal and waits for it. The token runs out by itself.
func (v *Vault) Close() {
	v.stop()
	v.running.Wait()
}

// vaultTransport is ours alone: no proxy of the environment sees a credential.
func vaultTransport(caFile string) (*http.Transport, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("vault authority: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("vault authority: %s holds no PEM certificate", caFile)
		}
	}
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: time.Second}).DialContext,
		TLSClientConfig:     config,
		TLSHandshakeTimeout: time.Second,
		ForceAttemptHTTP2:   true,
		MaxIdleConns:        32,
		MaxIdleConnsPerHost: 32,
		IdleConnTimeout:     time.Minute,
	}, nil
}

func vaultClient(address string, transport *http.Transport) (*api.Client, error) {
	client, err := api.NewClient(&api.Config{
		Address: address,
		HttpClient: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		// No second try: the caller's deadline is the only clock, and who waits knows whether to
		// try again.
		CheckRetry: func(context.Context, *http.Response, error) (bool, error) { return false, nil },
		// A token goes nowhere but to the configured address.
		DisableRedirects: true,
	})
	if err != nil {
		return nil, fmt.Errorf("vault client: %w", err)
	}
	// NewClient takes token, namespace and headers from the environment.
	client.ClearToken()
	client.SetHeaders(http.Header{api.RequestHeaderName: {"true"}})
	return client, nil
}

// call runs do under the deadline with a token, and once more with a new one if Vault does not
// know the old one any longer.
func (v *Vault) call(ctx context.Context, op operation, do func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	generation, err := v.session.wait(bounded)
	if err == nil {
		err = do(bounded)
		if v.session.stale(generation, err) {
			if err = v.session.renewed(bounded, generation); err == nil {
				err = do(bounded)
			}
		}
	}
	return failure(ctx, op, err)
}

// write is one transit call whose answer has the text field want.
func (v *Vault) write(ctx context.Context, op operation, body map[string]any, want string) (string, error) {
	var text string
	err := v.call(ctx, op, func(ctx context.Context) error {
		answer, err := v.client.Logical().WriteWithContext(ctx, v.path(op), body)
		if err != nil {
			return err
		}
		var ok bool
		if answer != nil {
			text, ok = answer.Data[want].(string)
		}
		if !ok {
			return errUnreadable
		}
		return nil
	})
	return text, err
}

func (v *Vault) path(op operation) string { return v.mount + "/" + string(op) + "/" + v.key }

// Ready tells whether Vault is unsealed and we are logged in, else why not.
func (v *Vault) Ready(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	health, err := v.client.Sys().HealthWithContext(bounded)
	switch {
	case err != nil:
		return failure(ctx, opHealth, err)
	case !health.Initialized:
		return ErrUnavailable.Because(errors.New("vault is not initialized"))
	case health.Sealed:
		return ErrSealed
	}
	_, err = v.session.wait(bounded)
	return failure(ctx, opLogin, err)
}

// Sealer returns the ability to seal, and to rewrap (Rewrapper), and no other.
func (v *Vault) Sealer() Sealer { return &vaultSealer{vault: v} }

// Opener returns the ability to open, also in batches (BatchOpener), and no other.
func (v *Vault) Opener() Opener { return &vaultOpener{vault: v} }

type vaultSealer struct{ vault *Vault }

var _ interface {
	Sealer
	Rewrapper
} = (*vaultSealer)(nil)

// Seal encrypts with the newest version of the key.
func (s *vaultSealer) Seal(ctx context.Context, plaintext secret.Text, bound Context) (string, error) {
	if err := sealable(plaintext, bound); err != nil {
		return "", err
	}
	return s.vault.write(ctx, opSeal, map[string]any{
		"plaintext": base64.StdEncoding.EncodeToString([]byte(plaintext.Reveal())),
		"context":   bound.base64(),
	}, "ciphertext")
}

// Rewrap encrypts sealed again with the newest version of the key, inside Vault.
func (s *vaultSealer) Rewrap(ctx context.Context, sealed string, bound Context) (string, error) {
	if err := bound.complete(); err != nil {
		return "", err
	}
	if !vaultText(sealed) {
		return "", ErrForeign.Because(errOtherForm)
	}
	return s.vault.write(ctx, opRewrap, map[string]any{"ciphertext": sealed, "context": bound.base64()}, "ciphertext")
}

type vaultOpener struct{ vault *Vault }

var _ interface {
	Opener
	BatchOpener
} = (*vaultOpener)(nil)

// Open decrypts one text.
func (o *vaultOpener) Open(ctx context.Context, sealed string, bound Context) (secret.Text, error) {
	if err := bound.complete(); err != nil {
		return secret.Text{}, err
	}
	if !vaultText(sealed) {
		return secret.Text{}, ErrForeign.Because(errOtherForm)
	}
	encoded, err := o.vault.write(ctx, opOpen, map[string]any{"ciphertext": sealed, "context": bound.base64()}, "plaintext")
	if err != nil {
		return secret.Text{}, err
	}
	return decodePlaintext(encoded)
}

func decodePlaintext(encoded string) (secret.Text, error) {
	plain, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil { // the error would quote a byte of it
		return secret.Text{}, ErrUnavailable.Because(errUnreadable)
	}
	return secret.New(string(plain)), nil
}

func (c Context) base64() string { return base64.StdEncoding.EncodeToString(c.Bytes()) }

var errOtherForm = errors.New("not a text that this vault has sealed")

// vaultText reports whether sealed has the form "vault:v<version>:…".
func vaultText(sealed string) bool {
	rest, ok := strings.CutPrefix(sealed, "vault:v")
	version, text, found := strings.Cut(rest, ":")
	return ok && found && text != "" && version != "" && strings.Trim(version, "0123456789") == ""
}
