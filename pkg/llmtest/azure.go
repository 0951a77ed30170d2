package llmtest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// azureForm is Azure OpenAI's chat completions: /azure/<resource>/openai/v1/…, the classic API's
// …/openai/deployments/<deployment>/…?api-version=, a project's, the model inference API, a serverless
// deployment and a gateway. A resource whose name holds "classic" has no v1 API. A deployment whose name
// holds "missing" is not there, and names that hold "claude" are Anthropic's.
type azureForm struct {
	vendor
	deployment string
	version    string
	bearer     bool
}

// azureQuirks are what every way has in common.
var azureQuirks = quirks{
	answer: func(_ *call, a map[string]any) {
		choices, _ := a["choices"].([]any)
		for _, c := range choices {
			if choice, ok := c.(map[string]any); ok {
				choice["content_filter_results"] = map[string]any{"hate": map[string]any{"filtered": false, "severity": "safe"}}
			}
		}
		if a["object"] == "chat.completion" {
			a["prompt_filter_results"] = promptFilter
		}
	},
	failures: map[Failure]wire{
		ErrAuth:       {401, "gateway", "401", "", "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource."},
		ErrScopes:     {401, "gateway", "PermissionDenied", "", "The principal lacks the required data action to perform this operation."},
		ErrForbidden:  {403, "gateway", "403", "", "Access denied due to Virtual Network/Firewall rules."},
		ErrModel:      {404, "gateway", "DeploymentNotFound", "", "The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again."},
		ErrRateLimit:  {429, "gateway", "429", "", "Requests have exceeded token rate limit of your current pricing tier. Please retry after 6 seconds."},
		ErrSlowDown:   {429, "gateway", "too_many_requests", "", "The service is temporarily unable to process your request due to high demand."},
		ErrContent:    {400, "filter", "content_filter", "prompt", "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."},
		ErrServer:     {500, "gateway", "InternalServerError", "", "The server failed."},
		ErrTimeout:    {408, "gateway", "Timeout", "", "The operation was timeout."},
		ErrOverloaded: {503, "gateway", "503", "", "The service is unavailable."},
	},
	failed: func(w wire) any {
		switch w.kind {
		case "gateway":
			return map[string]any{"error": map[string]any{"code": w.code, "message": w.message}}
		case "filter":
			return map[string]any{"error": map[string]any{
				"message": w.message, "type": nil, "param": w.param, "code": w.code, "status": w.status,
				"innererror": map[string]any{"code": "ResponsibleAIPolicyViolation", "content_filter_result": map[string]any{"jailbreak": map[string]any{"filtered": true, "detected": true}}},
			}}
		}
		return map[string]any{"error": map[string]any{"message": w.message, "type": w.kind, "param": orNil(w.param), "code": orNil(w.code)}}
	},
	headers: map[string]string{
		"Apim-Request-Id": "%ID%", "X-Ms-Region": "Sweden Central", "X-Ratelimit-Limit-Tokens": "30000", "X-Ratelimit-Remaining-Tokens": "29000",
		"X-Ratelimit-Remaining-Requests": "29", "X-Ratelimit-Reset-Tokens": "42",
	},
}

var promptFilter = []any{map[string]any{"prompt_index": 0, "content_filter_results": map[string]any{"jailbreak": map[string]any{"filtered": false, "detected": false}}}}

// serveAzure serves Azure's ways to chat and to list models; its other forms are OpenAI's and Anthropic's
// own.
func serveAzure(p *Provider, w http.ResponseWriter, r *http.Request) bool {
	path, ours := strings.CutPrefix(r.URL.Path, "/azure/")
	if !ours {
		return false
	}
	resource, path, _ := strings.Cut(path, "/")
	if resource == "chat" { // a gateway without a path of its own
		resource, path = "", resource+"/"+path
	}
	f := &azureForm{vendor: vendor{slug: "azure", its: azureQuirks}, version: r.URL.Query().Get("api-version")}
	parts := strings.Split(path, "/")
	dated := len(parts) > 1 && (parts[0] == "openai" && (parts[1] == "deployments" || parts[1] == "models") || parts[0] == "models")
	modern := strings.HasPrefix(path, "openai/v1") || strings.HasPrefix(path, "api/projects/")
	switch {
	case modern && strings.Contains(resource, "classic"), dated && f.version == "":
		f.get404(p, w, r)
	case path == "v1/chat/completions":
		f.bearer = true
		p.generateNative(w, r, f, "azure")
	case strings.HasSuffix(path, "/chat/completions") || path == "chat/completions":
		if at := slices.Index(parts, "deployments"); at >= 0 && at+1 < len(parts) {
			f.deployment = parts[at+1]
		}
		p.generateNative(w, r, f, "azure")
	case strings.HasSuffix(path, "/models"), path == "models/info":
		f.bearer = path == "v1/models"
		f.models = []string{"gpt-4o", "gpt-5.6-sol"}
		f.list(p, w, r)
	default:
		return false
	}
	return true
}

// get404 answers what is not there, whoever asks.
func (f *azureForm) get404(p *Provider, w http.ResponseWriter, r *http.Request) {
	c := p.newNative(w, r, f, "azure")
	c.refuse(wire{status: 404, kind: "gateway", code: "404", message: "Resource not found"})
}

func (f *azureForm) list(p *Provider, w http.ResponseWriter, r *http.Request) {
	c := p.newNative(w, r, f, "azure")
	if problem := c.admit(http.MethodGet); problem != nil {
		c.refuse(*problem)
		return
	}
	if _, text, ok := splitScript(c.key); ok && !c.playList(text) {
		return
	}
	writeJSON(w, http.StatusOK, f.vendor.list())
}

func (f *azureForm) key(r *http.Request) string {
	if f.bearer {
		return f.vendor.key(r)
	}
	return r.Header.Get("Api-Key")
}

func (f *azureForm) headers(c *call) {
	for name, value := range f.its.headers {
		c.w.Header().Set(name, strings.ReplaceAll(value, "%ID%", c.entry.RequestID))
	}
}

func (f *azureForm) read(c *call, raw []byte) *wire {
	problem := f.vendor.read(c, raw)
	if f.deployment != "" { // which wins over the body's model
		c.model, c.body.Model = f.deployment, f.deployment
	}
	return problem
}

func (f *azureForm) check(c *call, raw []byte) (last string, _ *wire) {
	if strings.Contains(c.model, "missing") {
		w := f.failure(ErrModel)
		return "", &w
	}
	var body map[string]json.RawMessage
	if err := json.Unmarshal(raw, &body); err == nil && f.version == "2024-10-21" && body["max_completion_tokens"] != nil {
		return "", refused("Unrecognized request argument supplied: max_completion_tokens", "", "")
	}
	return f.vendor.check(c, raw)
}

// stream begins with the verdict on the prompt, in a chunk without choices.
func (f *azureForm) stream(c *call, out *sink) {
	c.streamHeaders()
	s := &vendorStream{v: &f.vendor, c: c, out: out}
	if !c.script.InStream || c.script.At > 0 {
		first := map[string]any{"id": "", "object": "", "created": 0, "model": "", "choices": []any{}, "prompt_filter_results": promptFilter}
		if !s.send(first, 0, false) {
			return
		}
	}
	if s.run() && out.flush() {
		c.entry.Complete = !c.script.NoDone && !c.script.NoFinish
	}
}
