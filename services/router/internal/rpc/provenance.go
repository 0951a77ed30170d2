package rpc

import (
	"context"

	"connectrpc.com/connect/v2"

	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/services/router/internal/completion"
)

// provenanceOf tells what served an answer that has ended, as far as the API key may see it: in the message that
// it goes into, and in the trailing metadata, which is there whatever a client reads of messages. Nil is nothing.
func provenanceOf(ctx context.Context, level completion.Provenance, served completion.Served, final completion.Final) *routerv1.Provenance {
	told, ok := completion.Tell(level, requestIDOf(ctx), served, false)
	if !ok {
		return nil
	}
	told = told.Ending(final)
	if info, ok := connect.CallInfoForServerContext(ctx); ok {
		for name, value := range told.Headers() {
			info.ResponseTrailer().Add(name, value)
		}
	}
	out := &routerv1.Provenance{
		Provider: told.Provider, Model: told.Model, CredentialClass: eventsv1.CredentialClass(told.Class),
		CredentialId: told.CredentialID, CredentialRevision: int32(told.CredentialRevision),
		Policy: told.Policy, PolicyVersion: told.PolicyVersion, Line: int32(told.Line), ConfigVersion: told.ConfigVersion,
		CostNanoUsd: told.Cost, PriceVersion: told.PriceVersion,
	}
	for i := range told.Attempts {
		a := &told.Attempts[i]
		out.Attempts = append(out.Attempts, &routerv1.AttemptProvenance{
			AttemptId: a.AttemptID, Provider: a.Provider, Model: a.Model, ErrorClass: a.ErrorClass,
			CredentialId: a.Credential(), CredentialClass: eventsv1.CredentialClass(a.Class), DrillId: a.Drill,
		})
	}
	return out
}
