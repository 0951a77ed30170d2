package serve_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"

	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/intercept"
	"github.com/claviger/claviger/pkg/rpcmount"
	"github.com/claviger/claviger/pkg/serve"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/proto/gen/claviger/router/v1/routerv1connect"
)

// echo answers completions with what it was asked, or fails as the model's name says.
type echo struct {
	routerv1connect.UnimplementedCompletionServiceHandler
}

var errTeapot = fault.New(fault.Conflict, "TEAPOT", "I am a teapot").With("kind", "short").Hinting("try coffee elsewhere")

func (echo) Complete(ctx context.Context, req *routerv1.CompleteRequest) (*routerv1.CompleteResponse, error) {
	switch req.GetInput().GetModel() {
	case "fault":
		return nil, errTeapot.Because(errors.New("secret cause"))
	case "panic":
		panic("secret panic")
	case "plain":
		return nil, fmt.Errorf("secret detail")
	}
	return &routerv1.CompleteResponse{Model: authn.FromContext(ctx).APIKeyID, RequestId: intercept.RequestID(ctx)}, nil
}

func (echo) StreamCompletion(_ context.Context, req *routerv1.StreamCompletionRequest, out routerv1connect.CompletionServiceStreamCompletionServerStream) error {
	for i := range 3 {
		if err := out.Send(&routerv1.StreamCompletionResponse{Event: &routerv1.StreamCompletionResponse_Text{Text: fmt.Sprint(i)}}); err != nil {
			return err
		}
	}
	if req.GetInput().GetModel() == "fault" {
		return errTeapot
	}
	return nil
}

func (echo) ListModels(context.Context, *routerv1.ListModelsRequest) (*routerv1.ListModelsResponse, error) {
	return &routerv1.ListModelsResponse{}, nil
}

func (echo) Embed(context.Context, *routerv1.EmbedRequest) (*routerv1.EmbedResponse, error) {
	return &routerv1.EmbedResponse{}, nil
}

func (echo) CountTokens(context.Context, *routerv1.CountTokensRequest) (*routerv1.CountTokensResponse, error) {
	return &routerv1.CountTokensResponse{}, nil
}

// start serves echo on all listeners and returns a transport for each way to reach it.
func start(t *testing.T) map[string]connect.Transport {
	t.Helper()
	server := connect.NewServer(intercept.Chain(intercept.Options{
		Log: slog.New(slog.DiscardHandler),
		Authenticate: func(_ context.Context, info *connect.CallInfo) (authn.Principal, error) {
			key, ok := intercept.Bearer(info)
			if !ok {
				return authn.Principal{}, intercept.ErrUnauthenticated
			}
			return authn.Principal{Kind: authn.APIKey, OrgID: "org_a", APIKeyID: key}, nil
		},
	})...)
	routerv1connect.RegisterCompletionServiceHandler(server, echo{})
	log := slog.New(slog.DiscardHandler)
	httpLn, err := serve.Listen(t.Context(), "http", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	grpcLn, err := serve.Listen(t.Context(), "grpc", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- serve.Until(ctx, log, time.Second, nil,
			serve.OnHTTP("http", httpLn, serve.HTTP(serve.Mux(1<<20, nil, server), nil, log)),
			serve.OnGRPC("grpc", grpcLn, serve.GRPC(1<<20, nil, server)))
	}()
	cc := dial(t, grpcLn.Addr().String())
	overHTTP := dial(t, httpLn.Addr().String())
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Until = %v", err)
		}
	})
	base := "http://" + httpLn.Addr().String()
	h2 := new(http.Protocols)
	h2.SetUnencryptedHTTP2(true)
	return map[string]connect.Transport{
		"connect":         connecthttp.NewTransport(http.DefaultClient, base),
		"connect-json":    connecthttp.NewTransport(http.DefaultClient, base, connecthttp.WithProtoJSON()),
		"grpc-web":        connecthttp.NewTransport(http.DefaultClient, base, connecthttp.WithGRPCWeb()),
		"grpc on http":    connecthttp.NewTransport(&http.Client{Transport: &http.Transport{Protocols: h2}}, base, connecthttp.WithGRPC()),
		"grpc-go":         rpcmount.NewTransport(cc),
		"grpc-go on http": rpcmount.NewTransport(overHTTP),
	}
}

func dial(t *testing.T, addr string) *grpc.ClientConn {
	t.Helper()
	cc, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	if _, err := healthpb.NewHealthClient(cc).Check(t.Context(), &healthpb.HealthCheckRequest{Service: "claviger.router.v1.CompletionService"}); err != nil {
		t.Fatalf("health of %s: %v", addr, err)
	}
	return cc
}

func input(model string) *routerv1.CompletionInput {
	return &routerv1.CompletionInput{Model: model, Messages: []*routerv1.Message{{
		Role: routerv1.MessageRole_MESSAGE_ROLE_USER, Parts: []*routerv1.Part{{Content: &routerv1.Part_Text{Text: "hi"}}},
	}}}
}

func TestOneServerAnswersAlikeOnEveryTransport(t *testing.T) {
	t.Parallel()
	for name, transport := range start(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := routerv1connect.NewCompletionServiceClient(connect.NewClient(transport))
			ctx, info := connect.NewClientContext(t.Context())
			info.RequestHeader().Set("Authorization", "Bearer key_a")
			res, err := client.Complete(ctx, &routerv1.CompleteRequest{Input: input("m")})
			if err != nil || res.GetModel() != "key_a" || res.GetRequestId() == "" || res.GetRequestId() != info.ResponseHeader().Get("x-request-id") {
				t.Fatalf("Complete = %v, %v, header %q", res, err, info.ResponseHeader().Get("x-request-id"))
			}
			for model, want := range map[string]struct {
				code   connect.Code
				reason string
			}{
				"fault": {connect.CodeAborted, "TEAPOT"},
				"panic": {connect.CodeInternal, "INTERNAL"},
				"plain": {connect.CodeInternal, "INTERNAL"},
			} {
				ctx, info := connect.NewClientContext(t.Context())
				info.RequestHeader().Set("Authorization", "Bearer key_a")
				_, err := client.Complete(ctx, &routerv1.CompleteRequest{Input: input(model)})
				expectFault(t, model, err, want.code, want.reason)
			}
			_, err = client.Complete(t.Context(), &routerv1.CompleteRequest{Input: input("m")})
			expectFault(t, "no key", err, connect.CodeUnauthenticated, "UNAUTHENTICATED")
			ctx, info = connect.NewClientContext(t.Context())
			info.RequestHeader().Set("Authorization", "Bearer key_a")
			_, err = client.Complete(ctx, &routerv1.CompleteRequest{})
			expectFault(t, "no input", err, connect.CodeInvalidArgument, "FIELDS_INVALID")
		})
	}
}

func TestAStreamEndsWithItsErrorOnEveryTransport(t *testing.T) {
	t.Parallel()
	for name, transport := range start(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := routerv1connect.NewCompletionServiceClient(connect.NewClient(transport))
			for model, want := range map[string]connect.Code{"m": 0, "fault": connect.CodeAborted} {
				ctx, info := connect.NewClientContext(t.Context())
				info.RequestHeader().Set("Authorization", "Bearer key_a")
				stream, err := client.StreamCompletion(ctx, &routerv1.StreamCompletionRequest{Input: input(model)})
				if err != nil {
					t.Fatal(err)
				}
				text := ""
				for {
					msg, receiveErr := stream.Receive()
					if receiveErr != nil {
						err = receiveErr
						break
					}
					text += msg.GetText()
				}
				if text != "012" {
					t.Errorf("%s: text = %q, want 012", model, text)
				}
				if want == 0 && !errors.Is(err, io.EOF) {
					t.Errorf("%s: end = %v, want io.EOF", model, err)
				}
				if want != 0 {
					expectFault(t, model, err, want, "TEAPOT")
				}
			}
		})
	}
}

func expectFault(t *testing.T, what string, err error, code connect.Code, reason string) {
	t.Helper()
	f, ok := fault.Of(intercept.FromConnect(err))
	if connect.CodeOf(err) != code || !ok || f.Reason() != reason {
		t.Errorf("%s: error = %v, want %v with reason %s", what, err, code, reason)
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		if s := fmt.Sprint(e); strings.Contains(s, "secret") {
			t.Errorf("%s: the error tells %q", what, s)
		}
	}
}

func TestReflectionNamesHealthAndItselfOnBothStacks(t *testing.T) {
	t.Parallel()
	transports := start(t)
	for _, name := range []string{"grpc-go", "grpc-go on http"} {
		var got []string
		for _, message := range reflect(t, transports[name], &reflectionpb.ServerReflectionRequest{
			MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{},
		}).GetListServicesResponse().GetService() {
			got = append(got, message.GetName())
		}
		slices.Sort(got)
		want := []string{
			"claviger.router.v1.CompletionService", "grpc.health.v1.Health",
			"grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: services = %v, want %v", name, got, want)
		}
		for _, service := range want {
			answer := reflect(t, transports[name], &reflectionpb.ServerReflectionRequest{
				MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: service},
			})
			if len(answer.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
				t.Errorf("%s: %s is listed and cannot be described: %v", name, service, answer.GetErrorResponse())
			}
		}
	}
}

func reflect(t *testing.T, transport connect.Transport, req *reflectionpb.ServerReflectionRequest) *reflectionpb.ServerReflectionResponse {
	t.Helper()
	ctx, _ := connect.NewClientContext(t.Context())
	stream, err := transport.NewClientStream(ctx, connect.Spec{
		Procedure: "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", StreamType: connect.StreamTypeBidi,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	answer := &reflectionpb.ServerReflectionResponse{}
	if err := errors.Join(stream.Send(req), stream.CloseSend(), stream.Receive(answer)); err != nil {
		t.Fatal(err)
	}
	return answer
}
