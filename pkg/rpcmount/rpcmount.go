// Package rpcmount puts one connect.Server behind google.golang.org/grpc and
// carries Connect clients over a grpc.ClientConn, so handlers and interceptors
// are written once and served on both stacks.
package rpcmount

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"strings"
	"time"

	"connectrpc.com/connect/v2"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

const anyPrefix = "type.googleapis.com/"

// Mount registers every procedure of s on r. Call it once all handlers are on s.
func Mount(r grpc.ServiceRegistrar, s *connect.Server) {
	services := map[string]*grpc.ServiceDesc{}
	for spec := range s.Specs() {
		service, method, _ := strings.Cut(strings.TrimPrefix(spec.Procedure, "/"), "/")
		desc := services[service]
		if desc == nil {
			desc = &grpc.ServiceDesc{ServiceName: service, HandlerType: (*any)(nil)}
			if m, ok := spec.Schema.(protoreflect.MethodDescriptor); ok {
				desc.Metadata = m.ParentFile().Path() // lets grpc reflection find the file
			}
			services[service] = desc
		}
		desc.Streams = append(desc.Streams, streamDesc(spec, method, func(_ any, stream grpc.ServerStream) error {
			if spec.StreamType&connect.StreamTypeServer == 0 {
				return serve(s, spec, stream)
			}
			return watched(stream, func(stream grpc.ServerStream) error { return serve(s, spec, stream) })
		}))
	}
	for _, desc := range services {
		r.RegisterService(desc, nil)
	}
}

func streamDesc(spec connect.Spec, method string, h grpc.StreamHandler) grpc.StreamDesc {
	return grpc.StreamDesc{
		StreamName:    method,
		Handler:       h,
		ServerStreams: spec.StreamType&connect.StreamTypeServer != 0,
		ClientStreams: spec.StreamType&connect.StreamTypeClient != 0,
	}
}

func serve(s *connect.Server, spec connect.Spec, stream grpc.ServerStream) error {
	ctx := stream.Context()
	info := &connect.CallInfo{Spec: spec, Protocol: "grpc", Codec: "proto"}
	if p, ok := peer.FromContext(ctx); ok {
		info.PeerAddr = p.Addr.String()
		if t, ok := p.AuthInfo.(credentials.TLSInfo); ok {
			info.TransportInfo = &ServerInfo{tls: &t.State}
		}
	}
	md, _ := metadata.FromIncomingContext(ctx)
	fromMD(info.RequestHeader(), md)
	out := &serverStream{stream: stream, info: info}
	err := s.Call(ctx, spec.Procedure, info, out)
	if !out.sent {
		_ = stream.SetHeader(toMD(info.ResponseHeader()))
	}
	stream.SetTrailer(toMD(info.ResponseTrailer()))
	return toStatus(err)
}

// stallTime is how long a message may wait for a caller who does not read.
const stallTime = 60 * time.Second

// watched ends a streaming call whose caller has stopped reading. A message that waits for room waits until the
// call ends, and a call ends when its handler returns: so the handler works beside, and who waits for it here leaves
// it alone. The message then fails, and with it the handler.
func watched(stream grpc.ServerStream, handle func(grpc.ServerStream) error) error {
	w := &watchedStream{ServerStream: stream, stalled: make(chan struct{})}
	w.timer = time.AfterFunc(stallTime, func() { close(w.stalled) })
	w.timer.Stop()
	done := make(chan error, 1)
	go func() { done <- handle(w) }()
	select {
	case err := <-done:
		return err
	case <-w.stalled:
		return status.Error(codes.DeadlineExceeded, "the caller has stopped reading")
	}
}

type watchedStream struct {
	grpc.ServerStream
	timer   *time.Timer
	stalled chan struct{}
}

func (w *watchedStream) SendMsg(msg any) error {
	w.timer.Reset(stallTime)
	defer w.timer.Stop()
	return w.ServerStream.SendMsg(msg)
}

// ServerInfo is the CallInfo.TransportInfo of calls that came over grpc-go with TLS.
type ServerInfo struct{ tls *tls.ConnectionState }

// TLS returns the connection's state.
func (i *ServerInfo) TLS() *tls.ConnectionState { return i.tls }

type serverStream struct {
	stream grpc.ServerStream
	info   *connect.CallInfo
	sent   bool
}

func (s *serverStream) Receive(msg any) error { return s.stream.RecvMsg(msg) }

func (s *serverStream) SendHeaders() error {
	if s.sent {
		return nil
	}
	s.sent = true
	return s.stream.SendHeader(toMD(s.info.ResponseHeader()))
}

func (s *serverStream) Send(msg any) error {
	if !s.sent {
		s.sent = true
		if err := s.stream.SetHeader(toMD(s.info.ResponseHeader())); err != nil {
			return err
		}
	}
	return s.stream.SendMsg(msg)
}

// NewTransport carries a Connect client's calls over cc.
func NewTransport(cc grpc.ClientConnInterface) connect.Transport { return transport{cc} }

type transport struct{ cc grpc.ClientConnInterface }

func (t transport) NewClientStream(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
	info, _ := connect.CallInfoForClientContext(ctx)
	ctx, cancel := context.WithCancel(ctx)
	return &clientStream{ctx: ctx, cancel: cancel, cc: t.cc, spec: spec, info: info}, nil
}

// clientStream opens the gRPC stream on first use, when request headers are complete.
type clientStream struct {
	ctx    context.Context //nolint:containedctx // a stream is one call, and this is the call's
	cancel context.CancelFunc
	cc     grpc.ClientConnInterface
	spec   connect.Spec
	info   *connect.CallInfo
	stream grpc.ClientStream
	header bool
}

func (c *clientStream) SendHeaders() error {
	if c.stream != nil {
		return nil
	}
	desc := streamDesc(c.spec, "", nil)
	stream, err := c.cc.NewStream(metadata.NewOutgoingContext(c.ctx, toMD(c.info.RequestHeader())), &desc, c.spec.Procedure)
	c.stream = stream
	return fromStatus(err)
}

func (c *clientStream) Send(msg any) error {
	if err := c.SendHeaders(); err != nil {
		return err
	}
	return fromStatus(c.stream.SendMsg(msg))
}

func (c *clientStream) CloseSend() error {
	if err := c.SendHeaders(); err != nil {
		return err
	}
	return fromStatus(c.stream.CloseSend())
}

func (c *clientStream) Receive(msg any) error {
	if err := c.SendHeaders(); err != nil {
		return err
	}
	err := c.stream.RecvMsg(msg)
	if !c.header {
		c.header = true
		md, _ := c.stream.Header()
		fromMD(c.info.ResponseHeader(), md)
	}
	if err != nil {
		fromMD(c.info.ResponseTrailer(), c.stream.Trailer())
		c.cancel()
	}
	return fromStatus(err)
}

func (c *clientStream) Close() error { c.cancel(); return nil }

// Connect keeps "-bin" values base64-encoded; grpc-go keeps them raw.
func toMD(h *connect.Header) metadata.MD {
	md := metadata.MD{}
	for k, vs := range h.All() {
		for _, v := range vs {
			if strings.HasSuffix(strings.ToLower(k), "-bin") {
				if raw, err := connect.DecodeBinaryHeader(v); err == nil {
					v = string(raw)
				}
			}
			md.Append(k, v)
		}
	}
	return md
}

func fromMD(h *connect.Header, md metadata.MD) {
	for k, vs := range md {
		for _, v := range vs {
			if strings.HasSuffix(k, "-bin") {
				v = connect.EncodeBinaryHeader([]byte(v))
			}
			h.Add(k, v)
		}
	}
}

// toStatus follows the rule of connecthttp: only errors authored here reach the wire.
func toStatus(err error) error {
	if err == nil {
		return nil
	}
	st := &statuspb.Status{}
	if ce, ok := errors.AsType[*connect.Error](err); ok && !ce.IsRemote() {
		st.Code, st.Message = int32(ce.Code()), ce.Message()
		for _, d := range ce.Details() {
			st.Details = append(st.Details, &anypb.Any{TypeUrl: anyPrefix + d.Type, Value: d.Value})
		}
		return status.ErrorProto(st)
	}
	switch {
	case errors.Is(err, context.Canceled):
		st.Code = int32(connect.CodeCanceled)
	case errors.Is(err, context.DeadlineExceeded):
		st.Code = int32(connect.CodeDeadlineExceeded)
	case connect.CodeOf(err) == connect.CodeUnknown:
		st.Code = int32(connect.CodeUnknown)
	default:
		st.Code = int32(connect.CodeInternal)
	}
	return status.ErrorProto(st)
}

func fromStatus(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	st := status.Convert(err)
	ce := connect.NewError(connect.Code(st.Code()), st.Message()).WithRemote()
	for _, d := range st.Proto().GetDetails() {
		ce = ce.WithDetail(&connect.ErrorDetail{Type: strings.TrimPrefix(d.GetTypeUrl(), anyPrefix), Value: d.GetValue()})
	}
	return ce
}
