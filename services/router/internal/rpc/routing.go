package rpc

import (
	"fmt"
	"slices"

	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect"
)

// routingOf reads what a request asks of its route. Providers go by every name that bodies may use, too.
func routingOf(in *routerv1.Routing) (completion.Routing, error) {
	if in == nil {
		return completion.Routing{}, nil
	}
	out := completion.Routing{
		Models: in.GetModels(), Sort: in.GetSort(), NoFallbacks: in.AllowFallbacks != nil && !in.GetAllowFallbacks(),
		RequireParameters: in.GetRequireParameters(),
	}
	if bounds := in.GetMaxPrice(); bounds != nil {
		out.MaxInput, out.MaxOutput = bounds.InputNanoUsdPerMillion, bounds.OutputNanoUsdPerMillion
	}
	for _, list := range []struct {
		name  string
		given []string
		into  *[]string
	}{{"order", in.GetOrder(), &out.Order}, {"only", in.GetOnly(), &out.Only}, {"ignore", in.GetIgnore(), &out.Ignore}} {
		for i, name := range list.given {
			slug, err := dialect.Provider(fmt.Sprintf("routing.%s[%d]", list.name, i), name)
			if err != nil {
				return completion.Routing{}, err
			}
			if !slices.Contains(*list.into, slug) {
				*list.into = append(*list.into, slug)
			}
		}
	}
	return out, nil
}

// statesOf are the formats of the states that a conversation carries.
func statesOf(p *completion.Prompt) (found []completion.StateFormat) {
	for i := range p.Messages {
		m := &p.Messages[i]
		for j := range m.Parts {
			if r := m.Parts[j].Reasoning; r != nil && (r.Signature != "" || r.Encrypted != "") {
				found = dialect.WithFormat(found, r.Format)
			}
		}
		for j := range m.ToolCalls {
			if m.ToolCalls[j].Signature != "" {
				found = dialect.WithFormat(found, m.ToolCalls[j].Format)
			}
		}
	}
	return found
}
