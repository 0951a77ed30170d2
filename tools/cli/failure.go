package cli

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"strings"
	"syscall"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"
	"github.com/alecthomas/kong"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	"github.com/claviger/claviger/tools/seed"
)

// usageError is a command line that makes no sense.
type usageError struct {
	message, hint string
	// fields are mistakes of a file, by their places in it.
	fields []fieldProblem
}

// Error says what is wrong.
func (e *usageError) Error() string { return e.message }

func usagef(format string, args ...any) error {
	return &usageError{message: fmt.Sprintf(format, args...)}
}

// fileProblem is what is wrong with a file, place by place.
func fileProblem(name string, err error) error {
	mistakes, ok := errors.AsType[seed.FileError](err)
	if !ok {
		return &usageError{message: err.Error()}
	}
	out := &usageError{message: fmt.Sprintf("%s cannot be read as a policy", name)}
	for _, m := range mistakes {
		out.fields = append(out.fields, fieldProblem{fmt.Sprintf("%s:%d:%d", m.File, m.Line, m.Column), m.Message})
	}
	return out
}

// failure is something that did not work and that no server has said.
type failure struct {
	code    string
	message string
	hint    string
	cause   error
}

// Error says what happened.
func (e *failure) Error() string { return e.message }

// Unwrap returns the cause.
func (e *failure) Unwrap() error { return e.cause }

// callError is a call that failed, with what is known about it beside the error.
type callError struct {
	err       error
	address   string
	requestID string
	// email and organization are who called; empty before somebody is signed in.
	email, organization string
}

// Error says what happened.
func (e *callError) Error() string { return e.err.Error() }

// Unwrap returns the error of the call.
func (e *callError) Unwrap() error { return e.err }

// problem is a failure as it is shown. Its JSON is part of what scripts rely on.
type problem struct {
	Code      string            `json:"code"`
	Message   string            `json:"message"`
	Hint      string            `json:"hint,omitempty"`
	Blame     string            `json:"blame,omitempty"`
	RequestID string            `json:"requestId,omitempty"`
	Fields    []fieldProblem    `json:"fields,omitempty"`
	Facts     map[string]string `json:"facts,omitempty"`

	exit int
	// plain is the text of an error that has its own form; it is printed as it is.
	plain string
}

type fieldProblem struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// unnamed is the code of failures that have no name of their own.
const unnamed = "FAILED"

// fail prints err, if there is one, and returns the exit code.
func (t *terminal) fail(err error) int {
	if err == nil {
		return 0
	}
	p := explain(err)
	switch {
	case t.structured():
		text, _ := json.Marshal(struct { //nolint:errchkjson // strings and maps of strings
			Error problem `json:"error"`
		}{p})
		fmt.Fprintln(t.Err, string(text))
	case p.plain != "":
		fmt.Fprintln(t.Err, p.plain)
	default:
		t.printProblem(p)
	}
	return p.exit
}

func (t *terminal) printProblem(p problem) {
	style := t.styled(t.Err)
	fmt.Fprintf(t.Err, "%s %s\n", style(red, t.program+":"), clean(p.Message))
	for _, f := range p.Fields {
		if strings.Contains(p.Message, f.Message) { // it has been said
			continue
		}
		fmt.Fprintf(t.Err, "  %s: %s\n", clean(f.Field), clean(f.Message))
	}
	if p.Hint != "" {
		fmt.Fprintf(t.Err, "  %s\n", clean(p.Hint))
	}
	var facts []string
	if p.Code != unnamed && p.exit == 1 {
		facts = append(facts, "code "+p.Code)
	}
	if p.RequestID != "" {
		facts = append(facts, "request id "+p.RequestID)
	}
	if len(facts) > 0 {
		fmt.Fprintf(t.Err, "  %s\n", style(dim, strings.Join(facts, ", ")))
	}
}

// explain turns any error into what is shown of it.
func explain(err error) problem {
	if e, ok := errors.AsType[*usageError](err); ok {
		return problem{Code: "USAGE", Message: e.message, Hint: e.hint, Fields: e.fields, exit: 2}
	}
	if e, ok := errors.AsType[*failure](err); ok {
		p := problem{Code: e.code, Message: e.message, Hint: e.hint, exit: 1}
		if of, ok := errors.AsType[*seed.LineError](err); ok {
			p.Message = of.Error()
		}
		if inner, ok := errors.AsType[*callError](e.cause); ok {
			p.RequestID = inner.requestID
		}
		return p
	}
	if e, ok := errors.AsType[*callError](err); ok {
		return e.explain()
	}
	if errors.Is(err, context.Canceled) {
		return problem{Code: "INTERRUPTED", Message: "interrupted", exit: 1}
	}
	p := problem{Code: unnamed, Message: err.Error(), exit: 1}
	var coder kong.ExitCoder
	if errors.As(err, &coder) { // of a command that is not ours
		p.exit, p.plain = coder.ExitCode(), err.Error()
	}
	return p
}

func (e *callError) explain() problem {
	p := problem{Code: unnamed, Message: e.err.Error(), RequestID: e.requestID, exit: 1}
	ce, ok := errors.AsType[*connect.Error](e.err)
	switch {
	case errors.Is(e.err, context.DeadlineExceeded):
		p.Code, p.Message = "TIMED_OUT", e.address+" did not answer in time"
		return p
	case errors.Is(e.err, context.Canceled):
		p.Code, p.Message = "INTERRUPTED", "interrupted"
		return p
	case !ok:
		return p
	case !ce.IsRemote():
		if cause, ok := notArrived(e.err); ok {
			p.Code, p.Message = "UNREACHABLE", fmt.Sprintf("cannot reach %s: %s", e.address, cause)
			p.Hint = "check the address, and that the installation runs"
			return p
		}
		p.Code, p.Message = "NOT_CLAVIGER", fmt.Sprintf("%s answers, but not as Claviger does: %s", e.address, ce.Message())
		p.Hint = "check the address; a proxy in between may have answered"
		return p
	}
	p.Code, p.Message = strings.ToUpper(ce.Code().String()), ce.Message()
	info, fields := details(ce)
	for _, f := range fields {
		p.Fields = append(p.Fields, fieldProblem{f.GetField(), f.GetDescription()})
	}
	if info == nil {
		if ce.Code() == connect.CodeUnimplemented {
			p.Hint = "the installation is older than this program, or does not serve this part"
		}
		return p
	}
	p.Code = info.GetReason()
	p.Facts = maps.Clone(info.GetMetadata())
	p.Blame, p.Hint = p.Facts["blame"], p.Facts["hint"]
	if id := p.Facts["request_id"]; id != "" {
		p.RequestID = id
	}
	for _, shown := range []string{"blame", "hint", "request_id"} {
		delete(p.Facts, shown)
	}
	p.Message = strings.TrimSuffix(p.Message, ": "+p.Hint)
	if len(p.Fields) > 0 && p.Code == "FIELDS_INVALID" {
		p.Message = "the request breaks the rules of its fields"
	}
	e.adviseTo(&p)
	return p
}

// adviseTo says what to do next in the words of this program, where the server's are for programmers.
func (e *callError) adviseTo(p *problem) {
	switch p.Code {
	case "SESSION_ENDED", "TOKEN_EXPIRED", "TOKEN_INVALID", "UNAUTHENTICATED":
		p.Message, p.Hint = "your session at "+e.address+" has ended", "sign in again: claviger sign-in"
	case "SIGN_IN_FAILED":
		if p.Hint == "" {
			p.Hint = "check all three; which of them is wrong is not told"
		}
	case "ROLE_NOT_ALLOWED":
		p.Hint = "claviger whoami shows your role; an owner of the organization can change it"
	case "TERMS_NOT_ACCEPTED":
		p.Hint = "add --accept-terms if the organization may use this key here and knows that the provider bills it"
	}
}

// reason returns the stable word of an error that a server sent, or nothing.
func reason(err error) string {
	ce, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return ""
	}
	info, _ := details(ce)
	return info.GetReason()
}

// fact returns a fact that a server's error names.
func fact(err error, name string) string {
	ce, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return ""
	}
	info, _ := details(ce)
	return info.GetMetadata()[name]
}

func details(ce *connect.Error) (*errdetails.ErrorInfo, []*errdetails.BadRequest_FieldViolation) {
	var info *errdetails.ErrorInfo
	var fields []*errdetails.BadRequest_FieldViolation
	for _, detail := range ce.Details() {
		message, err := connectproto.UnmarshalErrorDetail(detail)
		if err != nil {
			continue
		}
		switch m := message.(type) {
		case *errdetails.ErrorInfo:
			info = m
		case *errdetails.BadRequest:
			fields = m.GetFieldViolations()
		}
	}
	return info, fields
}

// notArrived says in a few words why a call did not get to a server or its answer not back. It is false
// if a server answered.
func notArrived(err error) (string, bool) {
	var (
		network     net.Error
		address     *url.Error
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
	)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the connection broke off", true
	case errors.As(err, &record):
		return "it does not speak https", true
	case errors.As(err, &certificate):
		return certificate.Error(), true
	case errors.As(err, &network):
		return root(network), true
	case errors.As(err, &address):
		return root(address), true
	}
	return "", false
}

// root is the innermost cause in words, such as "connection refused" without the addresses around it.
func root(err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.Err + " " + dns.Name
	}
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err.Error()
		}
		err = next
	}
}
