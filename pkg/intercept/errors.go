package intercept

import (
	"context"
	"errors"
	"io"
	"maps"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/claviger/claviger/pkg/fault"
)

// domain stands in every ErrorInfo.
const domain = "claviger"

var codes = map[fault.Kind]connect.Code{
	fault.Internal:        connect.CodeInternal,
	fault.Invalid:         connect.CodeInvalidArgument,
	fault.Unauthenticated: connect.CodeUnauthenticated,
	fault.Denied:          connect.CodePermissionDenied,
	fault.NotFound:        connect.CodeNotFound,
	fault.Conflict:        connect.CodeAborted,
	fault.Precondition:    connect.CodeFailedPrecondition,
	fault.Exhausted:       connect.CodeResourceExhausted,
	fault.Unavailable:     connect.CodeUnavailable,
	fault.Canceled:        connect.CodeCanceled,
	fault.Timeout:         connect.CodeDeadlineExceeded,
}

// ToConnect turns err into what may leave the process: a fault with its reason, blame, hint and
// facts as google.rpc.ErrorInfo; anything else as "internal error" with the request id.
func ToConnect(ctx context.Context, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	if f, ok := fault.Of(err); ok {
		return fromFault(f).WithCause(err)
	}
	if ce, ok := errors.AsType[*connect.Error](err); ok && !ce.IsRemote() {
		return ce
	}
	switch {
	case errors.Is(err, context.Canceled):
		return connect.NewError(connect.CodeCanceled, "the caller went away").WithCause(err)
	case errors.Is(err, context.DeadlineExceeded):
		return connect.NewError(connect.CodeDeadlineExceeded, "the time ran out").WithCause(err)
	}
	internal := fault.New(fault.Internal, "INTERNAL", "internal error").With("request_id", RequestID(ctx)).
		Hinting("give the request id to whoever runs this installation")
	return fromFault(internal).WithCause(err)
}

func fromFault(f *fault.Error) *connect.Error {
	message := f.Message()
	if f.Hint() != "" {
		message += ": " + f.Hint()
	}
	facts := maps.Clone(f.Facts())
	if facts == nil {
		facts = map[string]string{}
	}
	facts["blame"] = string(f.Blame())
	if f.Hint() != "" {
		facts["hint"] = f.Hint()
	}
	ce := attach(connect.NewError(codes[f.Kind()], message), &errdetails.ErrorInfo{Reason: f.Reason(), Domain: domain, Metadata: facts})
	if len(f.Violations()) > 0 {
		bad := &errdetails.BadRequest{}
		for _, v := range f.Violations() {
			bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: v.Field, Description: v.Description})
		}
		ce = attach(ce, bad)
	}
	if f.RetryAfter() > 0 {
		ce = attach(ce, &errdetails.RetryInfo{RetryDelay: durationpb.New(f.RetryAfter())})
	}
	return ce
}

func attach(ce *connect.Error, detail proto.Message) *connect.Error {
	d, err := connectproto.NewErrorDetail(detail)
	if err != nil { // cannot happen for these messages; the error without its detail is still right
		return ce
	}
	return ce.WithDetail(d)
}

var kinds = func() map[connect.Code]fault.Kind {
	m := map[connect.Code]fault.Kind{}
	for kind, code := range codes {
		m[code] = kind
	}
	return m
}()

// FromConnect turns an error received from one of our services back into a fault, so that it can
// be passed on or compared. Errors that carry no reason stay as they are.
func FromConnect(err error) error {
	ce, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return err
	}
	var info *errdetails.ErrorInfo
	var retry time.Duration
	for _, d := range ce.Details() {
		msg, err := connectproto.UnmarshalErrorDetail(d)
		if err != nil {
			continue
		}
		switch m := msg.(type) {
		case *errdetails.ErrorInfo:
			info = m
		case *errdetails.RetryInfo:
			retry = m.GetRetryDelay().AsDuration()
		}
	}
	if info == nil || info.GetDomain() != domain {
		return err
	}
	f := fault.New(kinds[ce.Code()], info.GetReason(), ce.Message()).Because(err).RetryingAfter(retry)
	for name, value := range info.GetMetadata() {
		f = f.With(name, value)
	}
	return f
}
