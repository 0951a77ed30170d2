package suite

import (
	"context"
	"errors"
	"io"

	"connectrpc.com/connect/v2"
)

// inProcess is a transport to a server in this process. The library's own answers a bare io.EOF to
// Send when the server has refused the call already; the reason then comes from Receive.
type inProcess struct{ connect.Transport }

// NewClientStream begins a call.
func (t inProcess) NewClientStream(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
	stream, err := t.Transport.NewClientStream(ctx, spec)
	if err != nil {
		return nil, err
	}
	return refusable{stream}, nil
}

type refusable struct{ connect.ClientStream }

// Send sends msg.
func (s refusable) Send(msg any) error {
	if err := s.ClientStream.Send(msg); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// later is a transport to a server that is opened later than who calls it.
type later struct{ open func() connect.Transport }

// NewClientStream begins a call.
func (t later) NewClientStream(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
	return t.open().NewClientStream(ctx, spec)
}
