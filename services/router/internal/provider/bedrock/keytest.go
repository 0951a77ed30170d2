package bedrock

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
)

const (
	// maxPages bounds how many pages of inference profiles are read, and maxModels how many names are kept.
	maxPages  = 5
	maxModels = 1000
	// countedModel is a model whose tokens are counted for free, to try keys that may list nothing.
	countedModel = "anthropic.claude-haiku-4-5-20251001-v1:0"
)

// Test asks for the lists of models and of inference profiles, which take no tokens. A key that may not
// list them is genuine all the same; one that may count tokens may be used.
func (p *Provider) Test(ctx context.Context, at completion.Place) completion.Verdict {
	a, err := p.open(at.Secret, at.BaseURL)
	if err != nil {
		return completion.Verdict{State: "rejected", Reason: provider.Reason(err)}
	}
	body, err := p.list(ctx, a, "/foundation-models")
	if err != nil {
		return p.judge(ctx, a, err)
	}
	models := jsonscan.Get(body, "modelSummaries")
	if jsonscan.KindOf(models) != jsonscan.ArrayKind {
		return completion.Verdict{Reason: "the address answers, but not with a list of models; check the endpoint"}
	}
	names := named(nil, models, "modelId")
	next := "/inference-profiles?maxResults=1000"
	for range maxPages {
		body, err := p.list(ctx, a, next)
		if err != nil {
			break // optional: the table knows the profiles, too
		}
		names = named(names, jsonscan.Get(body, "inferenceProfileSummaries"), "inferenceProfileId")
		token, _ := jsonscan.Text(jsonscan.Get(body, "nextToken"))
		if token == "" {
			break
		}
		next = "/inference-profiles?maxResults=1000&nextToken=" + url.QueryEscape(token)
	}
	if len(names) > maxModels { // half a list would say that the other half may not be used
		names = nil
	}
	return completion.Verdict{State: "active", Reason: "AWS accepts the key in " + a.Region, Models: names}
}

// named adds the names that stand in a list.
func named(names []string, list []byte, member string) []string {
	if jsonscan.KindOf(list) != jsonscan.ArrayKind {
		return names
	}
	entries := jsonscan.Array(list)
	for entries.Next() {
		name, _ := jsonscan.Text(jsonscan.Get(entries.Value, member))
		if name != "" && provider.Bounded(name, 256) == name {
			names = append(names, name)
		}
	}
	return names
}

// list reads one page of a list.
func (p *Provider) list(ctx context.Context, a account, path string) ([]byte, error) {
	res, err := p.client.Send(ctx, provider.Outgoing{Method: http.MethodGet, URL: a.control + path, Auth: a.auth()})
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, a.refused(res)
	}
	return res.Whole()
}

// judge is the verdict on a key after the list did not come.
func (p *Provider) judge(ctx context.Context, a account, err error) completion.Verdict {
	failed, ok := errors.AsType[*completion.ProviderError](err)
	switch {
	case !ok || failed.Class == completion.CredentialError:
		return provider.Later(provider.Reason(err))
	case failed.Class == completion.Network && failed.Message == provider.Unresolved:
		return completion.Verdict{Reason: "there is no Bedrock in the region " + a.Region + "; check the region"}
	case failed.Status == 0:
		return provider.Later(failed.Message)
	case failed.Class == completion.AuthLimited && failed.Type != "" && p.counts(ctx, a):
		return completion.Verdict{State: "active", Reason: "AWS accepts the key in " + a.Region + "; it may not list models (bedrock:ListFoundationModels)"}
	}
	return provider.Judge(failed)
}

// counts reports whether the key may count tokens, or at least ask a model for something.
func (p *Provider) counts(ctx context.Context, a account) bool {
	res, err := p.client.Send(ctx, provider.Outgoing{
		Method: http.MethodPost, URL: a.runtime + "/model/" + address(countedModel) + "/count-tokens", Auth: a.auth(),
		Body: []byte(`{"input":{"converse":{"messages":[{"role":"user","content":[{"text":"hi"}]}]}}}`),
	})
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}
