package transit

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/hashicorp/vault/api"

	"github.com/claviger/claviger/pkg/fault"
)

// operation is what was asked of Vault; those of the transit engine are also path segments.
type operation string

const (
	opSeal   operation = "encrypt"
	opOpen   operation = "decrypt"
	opRewrap operation = "rewrap"
	opLogin  operation = "login"
	opRenew  operation = "renew"
	opPepper operation = "read pepper"
	opHealth operation = "health"
)

var errUnreadable = errors.New("vault gave an answer that cannot be read")

// refusals are the words of Vault that may stand in a cause. Everything else it says is left out:
// the body of a half-failed batch holds the plaintexts of the good half, and the client library
// puts the whole body into its error.
var refusals = []string{
	"permission denied", "invalid token", "bad token", "missing client token",
	"Vault is sealed", "Vault is in standby", "internal error",
	"invalid role or secret ID", "invalid role ID", "invalid secret id", "failed to validate credentials",
	"source address", "role_id", "secret_id",
	"encryption key not found", "no handler for route", "unsupported path",
	"request path quota", "rate limit quota exceeded",
	msgForeign, msgBadText, msgTooOld, msgNoContext, msgNoText,
}

// What transit says about a text that does not open. They are the same in Vault 1.21 and OpenBao 2.
const (
	msgForeign   = "message authentication failed"
	msgBadText   = "invalid ciphertext"
	msgTooOld    = "ciphertext or signature version is disallowed by policy (too old)"
	msgNoContext = "missing 'context' for key derivation"
	msgNoText    = "missing ciphertext to decrypt"
)

// foreign reports whether Vault says that a text does not open with what it was given.
func foreign(said string) bool {
	for _, m := range []string{msgForeign, msgBadText, msgTooOld, msgNoText} {
		if strings.Contains(said, m) {
			return true
		}
	}
	return false
}

// answerError is what Vault answered, without anything that could be a secret.
type answerError struct {
	op     operation
	status int
	said   string
}

func (e *answerError) Error() string {
	text := fmt.Sprintf("vault %s: status %d", e.op, e.status)
	if e.said != "" {
		text += ": " + e.said
	}
	return text
}

func known(said string) string {
	var found []string
	for _, words := range refusals {
		if strings.Contains(said, words) {
			found = append(found, words)
		}
	}
	return strings.Join(found, ", ")
}

// failure turns an error of the client library into one of ours. ctx is the caller's: an end of it
// is told as such, an end of our own deadline is Vault's fault.
func failure(ctx context.Context, op operation, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("vault %s: %w", op, context.Canceled)
	}
	if f, ok := fault.Of(err); ok { // from the session: told already
		return f
	}
	if answer, ok := errors.AsType[*api.ResponseError](err); ok {
		return refused(op, answer)
	}
	return ErrUnavailable.Because(unanswered(op, err))
}

func refused(op operation, answer *api.ResponseError) error {
	said := strings.Join(answer.Errors, "\n")
	cause := &answerError{op: op, status: answer.StatusCode, said: known(said)}
	switch {
	case answer.StatusCode == http.StatusServiceUnavailable && strings.Contains(said, "sealed"):
		return ErrSealed.Because(cause)
	case answer.StatusCode >= 500, answer.StatusCode == http.StatusTooManyRequests,
		answer.StatusCode == http.StatusPreconditionFailed, answer.StatusCode == 472, answer.StatusCode == 473:
		return ErrUnavailable.Because(cause)
	case answer.StatusCode == http.StatusBadRequest && (op == opOpen || op == opRewrap) && foreign(said):
		return ErrForeign.Because(cause)
	default: // policy, key or mount are not as they must be; trying again does not help
		return ErrDenied.Because(cause)
	}
}

// unanswered keeps what the network said and drops every text that may quote an answer.
func unanswered(op operation, err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("vault %s: no answer in time: %w", op, context.DeadlineExceeded)
	}
	if network, ok := errors.AsType[*net.OpError](err); ok {
		return fmt.Errorf("vault %s: %w", op, network)
	}
	if certificate, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("vault %s: %w", op, certificate)
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return fmt.Errorf("vault %s: the server does not speak TLS", op)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("vault %s: the connection broke off", op)
	}
	return fmt.Errorf("vault %s: %w", op, errUnreadable)
}
