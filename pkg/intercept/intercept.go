// Package intercept holds the server side of every RPC that is not business: request ids, errors,
// panics, the log line, deadlines, the access rule and the field rules. Chain fixes their order.
//
// Access and field rules stand in the contracts, so that no handler can forget them.
package intercept

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"strings"
	"time"

	"buf.build/go/protovalidate"
	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"

	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/pkg/telemetry"
)

// Authenticate says who is calling, from headers or the connection. It returns a fault of kind
// Unauthenticated when nobody known is.
type Authenticate func(ctx context.Context, info *connect.CallInfo) (authn.Principal, error)

// Options configures Chain.
type Options struct {
	// Log receives one line per failed call, and per call at debug level.
	Log *slog.Logger
	// Authenticate is asked once per call, except for public methods.
	Authenticate Authenticate
	// UnaryTimeout bounds unary calls whose caller set no shorter deadline. Zero sets none.
	UnaryTimeout time.Duration
	// Telemetry gets a span and the duration of each call. Nil is none.
	Telemetry *telemetry.Telemetry
}

// Chain returns the interceptors in their order, outermost first: request id, trace and measurements,
// errors and log, panics, deadline, access, fields. The trace is outside of the log, whose line names
// it, and sees what the caller gets; access says whose call it is.
func Chain(o Options) []connect.ServerInterceptor {
	return []connect.ServerInterceptor{
		requestID,
		observe(o.Telemetry),
		translateErrors(o.Log),
		recoverPanics,
		deadline(o.UnaryTimeout),
		access(o.Authenticate),
		validate,
	}
}

type requestIDKey struct{}

// RequestID returns the id of the call, "req_…". It is also in the answer's x-request-id.
func RequestID(ctx context.Context) string {
	s, _ := ctx.Value(requestIDKey{}).(string)
	return s
}

// WithRequestID returns ctx with a request id, for edges that are not RPCs.
func WithRequestID(ctx context.Context, requestID string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, requestID)
}

func requestID(next connect.ServerFunc) connect.ServerFunc {
	return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
		rid := id.New("req")
		if info, ok := connect.CallInfoForServerContext(ctx); ok {
			info.ResponseHeader().Set("x-request-id", rid)
		}
		return next(WithRequestID(ctx, rid), spec, stream)
	}
}

func translateErrors(log *slog.Logger) connect.ServerInterceptor {
	return func(next connect.ServerFunc) connect.ServerFunc {
		return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
			begin := time.Now()
			err := next(ctx, spec, stream)
			level := slog.LevelDebug
			if err != nil {
				level = levelOf(err)
			}
			if log.Enabled(ctx, level) {
				attrs := []slog.Attr{
					slog.String("procedure", spec.Procedure), slog.String("request_id", RequestID(ctx)),
					slog.Duration("took", time.Since(begin)),
				}
				if from := client(ctx); from != "" {
					attrs = append(attrs, slog.String("client", from))
				}
				if err != nil {
					attrs = append(attrs, slog.String("error", err.Error()))
				}
				log.LogAttrs(ctx, level, "call", attrs...)
			}
			return ToConnect(ctx, err)
		}
	}
}

// client is the address of whoever calls, without the port; "" in process.
func client(ctx context.Context) string {
	info, ok := connect.CallInfoForServerContext(ctx)
	if !ok {
		return ""
	}
	host, _, err := net.SplitHostPort(info.PeerAddr)
	if err != nil {
		return ""
	}
	return host
}

// levelOf tells what an operator should look at from what is a caller's own business.
func levelOf(err error) slog.Level {
	switch fault.KindOf(err) {
	case fault.Internal:
		if ce, ok := errors.AsType[*connect.Error](err); ok && !ce.IsRemote() && ce.Code() != connect.CodeInternal {
			return slog.LevelInfo
		}
		if errors.Is(err, context.Canceled) {
			return slog.LevelInfo
		}
		return slog.LevelError
	case fault.Unavailable:
		return slog.LevelWarn
	default:
		return slog.LevelInfo
	}
}

func recoverPanics(next connect.ServerFunc) connect.ServerFunc {
	return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) (err error) {
		defer func() {
			if p := recover(); p != nil {
				// The value may hold anything that was being worked on: only its type is told.
				err = fmt.Errorf("panic of type %T in %s\n%s", p, spec.Procedure, debug.Stack())
			}
		}()
		return next(ctx, spec, stream)
	}
}

func deadline(timeout time.Duration) connect.ServerInterceptor {
	return func(next connect.ServerFunc) connect.ServerFunc {
		if timeout <= 0 {
			return next
		}
		return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
			if spec.StreamType != connect.StreamTypeUnary {
				return next(ctx, spec, stream)
			}
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			return next(ctx, spec, stream)
		}
	}
}

// ErrFields is the error of a request that breaks its contract's field rules.
var ErrFields = fault.New(fault.Invalid, "FIELDS_INVALID", "the request breaks the rules of its fields")

func validate(next connect.ServerFunc) connect.ServerFunc {
	return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
		return next(ctx, spec, validatingStream{stream})
	}
}

type validatingStream struct{ connect.ServerStream }

func (s validatingStream) Receive(msg any) error {
	if err := s.ServerStream.Receive(msg); err != nil {
		return err
	}
	m, ok := msg.(proto.Message)
	if !ok {
		return fmt.Errorf("validate: %T is no message", msg)
	}
	return Fields(m)
}

// Fields checks m against the field rules of its contract and names every violation.
func Fields(m proto.Message) error {
	err := protovalidate.Validate(m)
	if err == nil {
		return nil
	}
	broken, ok := errors.AsType[*protovalidate.ValidationError](err)
	if !ok {
		return fmt.Errorf("validate: %w", err)
	}
	out, words := ErrFields, make([]string, 0, len(broken.Violations))
	for _, v := range broken.Violations {
		field := protovalidate.FieldPathString(v.Proto.GetField())
		out = out.Violating(fault.Violation{Field: field, Description: v.Proto.GetMessage()})
		words = append(words, strings.TrimSpace(field+" "+v.Proto.GetMessage()))
	}
	return out.Saying("%s", strings.Join(words, "; "))
}
