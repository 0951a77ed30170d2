package azure

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/claviger/claviger/pkg/keyform"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// Test lists the models at each endpoint with each of its keys, which takes no tokens. The list says nothing
// of deployments: no key can list them. The verdict names the entries that fail, counted from 1; the models
// are those whose entries do not.
func (p *Provider) Test(ctx context.Context, at completion.Place) completion.Verdict {
	list, err := keyform.ParseAzure(at.Secret)
	if err != nil {
		return completion.Verdict{State: "rejected", Reason: "the credential is not in Azure's form; write it again"}
	}
	var doors []door
	var good, silent []string
	var failures []string
	state := ""
	for i, d := range list {
		at := listing(d).URL
		found := slices.IndexFunc(doors, func(o door) bool { return o.url == at && o.key.Equal(d.Key) })
		if found < 0 {
			found = len(doors)
			doors = append(doors, door{at, d.Key, p.ask(ctx, d)})
		}
		verdict := doors[found].verdict
		name := fmt.Sprintf("entry %d (%s)", i+1, d.ModelSlug)
		switch verdict.State {
		case "active":
			good = append(good, d.ModelSlug)
		case "":
			silent = append(silent, name+": "+verdict.Reason)
		default:
			failures = append(failures, name+": "+verdict.Reason)
			state = worse(state, verdict.State)
		}
	}
	reasons := strings.Join(append(failures, silent...), "; ")
	switch {
	case len(failures) > 0 && len(good)+len(silent) > 0:
		return completion.Verdict{State: "degraded", Reason: provider.Bounded(reasons, 2000)}
	case len(failures) > 0:
		return completion.Verdict{State: state, Reason: provider.Bounded(reasons, 2000)}
	case len(good) == 0:
		return completion.Verdict{Reason: provider.Bounded(reasons, 2000)}
	case len(silent) > 0:
		return completion.Verdict{State: "active", Reason: provider.Bounded("Azure accepts the other keys; not tested: "+reasons, 2000)}
	}
	slices.Sort(good)
	return completion.Verdict{State: "active", Reason: "Azure accepts the key of each entry; that a deployment exists only a call can tell", Models: slices.Compact(good)}
}

// door is an endpoint that was asked with a key.
type door struct {
	url     string
	key     secret.Text
	verdict completion.Verdict
}

// worse is the state that says more of what has to be done.
func worse(a, b string) string {
	order := []string{"", "degraded", "quota_exhausted", "rejected"}
	if slices.Index(order, b) > slices.Index(order, a) {
		return b
	}
	return a
}

// listing is where an endpoint lists its models.
func listing(d keyform.AzureDeployment) provider.Route {
	switch d.API {
	case keyform.AzureClassic:
		return provider.Route{URL: d.Endpoint + "/openai/models?api-version=" + stableVersion, Auth: apiKey(d.Key)}
	case keyform.AzureModels:
		return route(d, "/info")
	case keyform.AzureV1, keyform.AzureProject, keyform.AzureServerless, keyform.AzureGateway, keyform.AzureAnthropic:
	}
	return route(d, "/models")
}

// ask judges one entry. An endpoint without a v1 API is asked in the classic way.
func (p *Provider) ask(ctx context.Context, d keyform.AzureDeployment) completion.Verdict {
	read := provider.Listed
	if d.API == keyform.AzureModels { // which tells of itself
		read = func(res *provider.Response) completion.Verdict {
			body, err := res.Whole()
			if err != nil {
				return provider.Later(provider.Reason(err))
			}
			if jsonscan.KindOf(bytes.TrimSpace(body)) != jsonscan.ObjectKind || !jsonscan.Valid(body) {
				return completion.Verdict{Reason: "the address answers, but not as Azure does; check the endpoint"}
			}
			return completion.Verdict{State: "active", Reason: "the provider accepts the key"}
		}
	}
	verdict := p.current.Ask(ctx, listing(d), read)
	if d.API == keyform.AzureV1 && verdict.State == "" {
		d.API = keyform.AzureClassic
		if classic := p.current.Ask(ctx, listing(d), read); classic.State != "" {
			return classic
		}
	}
	return verdict
}
