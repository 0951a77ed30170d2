package llmtest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// AWS Bedrock:
//
//	POST {base}/model/{id}/converse                       one object
//	POST {base}/model/{id}/converse-stream                event stream frames
//	POST {base}/model/{id}/invoke                         Claude: Anthropic's message; Titan, Cohere: vectors; Stability: a picture
//	POST {base}/model/{id}/invoke-with-response-stream    Claude: Anthropic's events, each in a frame
//	POST {base}/model/{id}/count-tokens
//	GET  {base}/foundation-models, {base}/inference-profiles
//
// Calls are signed, with a secret that AWSSecret derives from the access key id, or carry a bearer key.
// A key that holds what no access key id may hold, such as a script, becomes one by AWSKeyID. Pings are
// deltas without text, and a stream that never sends usage ends with metrics alone.
type bedrock struct {
	model, op string
	bearer    bool
	raw       []byte
	converse  converseBody
	texts     []string // of a call for vectors
	size      int      // of the vectors
	draws     bool     // a picture
}

// BedrockURL is the base address of both of Bedrock's hosts, as adapters are given it.
func (s *Server) BedrockURL() string { return s.URL + "/bedrock" }

// The operations.
const (
	opConverse       = "converse"
	opConverseStream = "converse-stream"
	opInvoke         = "invoke"
	opInvokeStream   = "invoke-with-response-stream"
	opCount          = "count-tokens"
)

// serveBedrock answers Bedrock's paths.
func serveBedrock(p *Provider, w http.ResponseWriter, r *http.Request) bool {
	path := r.URL.EscapedPath()
	for _, list := range []string{"/foundation-models", "/inference-profiles"} {
		if before, ok := strings.CutSuffix(path, list); ok {
			p.bedrockList(w, r, list, strings.Trim(before, "/"))
			return true
		}
	}
	before, rest, found := strings.Cut(path, "/model/")
	id, op, hasOp := strings.Cut(rest, "/")
	if !found || !hasOp {
		return false
	}
	model, err := url.PathUnescape(id)
	if err != nil {
		return false
	}
	b := &bedrock{model: model, op: op}
	provider := strings.Trim(before, "/")
	switch op {
	case opConverse, opConverseStream, opInvoke, opInvokeStream:
		p.generateNative(w, r, b, provider)
	case opCount:
		p.bedrockCount(w, r, b, provider)
	default:
		p.newNative(w, r, b, provider).refuse(wire{status: 404, kind: "UnknownOperationException", message: "Unknown operation"})
	}
	return true
}

func (b *bedrock) provider() string { return "bedrock" }

func (b *bedrock) key(r *http.Request) string {
	authorization := r.Header.Get("Authorization")
	if key, ok := strings.CutPrefix(authorization, "Bearer "); ok {
		b.bearer = true
		return key
	}
	return awsKey(signatureOf(authorization).keyID)
}

func (b *bedrock) headers(c *call) {
	c.w.Header().Set("X-Amzn-Requestid", c.entry.RequestID)
}

// admit verifies the signature.
func (b *bedrock) admit(c *call) *wire {
	if b.bearer {
		return nil
	}
	return verifySignature(c.r, b.raw, c.begun)
}

var bedrockFailures = map[Failure]wire{
	ErrAuth:           {status: 403, kind: "UnrecognizedClientException", message: "The security token included in the request is invalid."},
	ErrScopes:         {status: 403, kind: "AccessDeniedException", message: "User: arn:aws:iam::123456789012:user/llmtest is not authorized to perform: bedrock:ListFoundationModels because no identity-based policy allows the bedrock:ListFoundationModels action"},
	ErrForbidden:      {status: 403, kind: "AccessDeniedException", message: "You don't have access to the model with the specified model ID."},
	ErrOrganizationIP: {status: 403, kind: "AccessDeniedException", message: "User: arn:aws:iam::123456789012:user/llmtest is not authorized to perform: bedrock:InvokeModel with an explicit deny in an identity-based policy"},
	ErrModel:          {status: 404, kind: "ResourceNotFoundException", message: "Could not resolve the foundation model from the provided model identifier: %MODEL%"},
	ErrRateLimit:      {status: 429, kind: "ThrottlingException", message: "Too many requests, please wait before trying again."},
	ErrSlowDown:       {status: 429, kind: "ThrottlingException", message: "Too many tokens, please wait before trying again."},
	ErrQuota:          {status: 400, kind: "ServiceQuotaExceededException", message: "Your request exceeds the service quota for your account."},
	ErrSpendLimit:     {status: 429, kind: "ThrottlingException", message: "Too many tokens per day, please wait before trying again."},
	ErrBilling:        {status: 403, kind: "AccessDeniedException", message: "Model access is denied due to INVALID_PAYMENT_INSTRUMENT: A valid payment instrument must be provided."},
	ErrBadRequest:     {status: 400, kind: "ValidationException", message: "1 validation error detected: Value '3.0' at 'inferenceConfig.temperature' failed to satisfy constraint: Member must have value less than or equal to 1"},
	ErrUnsupported:    {status: 400, kind: "ValidationException", message: "This model doesn't support tool use in streaming mode."},
	ErrContextLength:  {status: 400, kind: "ValidationException", message: "Input is too long for requested model."},
	ErrTooLarge:       {status: 413, message: "<html><head><title>413 Request Entity Too Large</title></head></html>"},
	ErrState:          {status: 400, kind: "ValidationException", message: "messages.1.content.0: Invalid `signature` in `thinking` block"},
	ErrContent:        {status: 400, kind: "ValidationException", message: "Output blocked by content filtering policy"},
	ErrTimeout:        {status: 408, kind: "ModelTimeoutException", message: "Model has timed out in processing the request. Try your request again."},
	ErrServer:         {status: 500, kind: "InternalServerException", message: "The system encountered an unexpected error during processing. Try your request again."},
	ErrOverloaded:     {status: 503, kind: "ServiceUnavailableException", message: "Bedrock is unable to process your request."},
	ErrGatewayHTML:    {status: 502, message: "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>"},
}

func (b *bedrock) failure(f Failure) wire {
	if f == ErrAuth && b.bearer {
		return wire{status: 403, kind: "AccessDeniedException", message: "Authentication failed: Please make sure your API Key is valid."}
	}
	w, known := bedrockFailures[f]
	if !known {
		w = bedrockFailures[ErrServer]
	}
	return w
}

// envelope: the name of an error stands in a header, as AWS writes it. Keys that are no signatures are
// refused in front of the service, without a name and with a capital letter.
func (b *bedrock) envelope(c *call, w wire) []byte {
	body := map[string]any{"message": w.message}
	if b.bearer && w.status == http.StatusForbidden && c.script.Error == ErrAuth {
		body = map[string]any{"Message": w.message}
	} else {
		c.w.Header().Set("X-Amzn-Errortype", w.kind+":http://internal.amazon.com/coral/com.amazon.bedrock/")
	}
	return mustJSON(body)
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // made here of strings and numbers
	}
	return b
}

func invalid(message string) *wire {
	return &wire{status: 400, kind: "ValidationException", message: message}
}

// read takes the body apart, as its operation has it.
func (b *bedrock) read(c *call, raw []byte) *wire {
	b.raw = raw
	c.model = b.model
	c.body.Stream = b.op == opConverseStream || b.op == opInvokeStream
	if b.op == opInvoke || b.op == opInvokeStream {
		if err := json.Unmarshal(raw, &c.body); err != nil {
			return invalid("Malformed input request: " + err.Error() + ", please reformat your input and try again.")
		}
		c.body.Model, c.body.Stream = "", b.op == opInvokeStream
		return nil
	}
	if problem := b.converse.decode(raw); problem != "" {
		return &wire{status: 400, kind: "SerializationException", message: problem}
	}
	c.body.MaxTokens = b.converse.Inference.MaxTokens
	return nil
}

// check refuses what AWS refuses.
func (b *bedrock) check(c *call, raw []byte) (last string, _ *wire) {
	if needsProfile(b.model) {
		return "", invalid("Invocation of model ID " + b.model + " with on-demand throughput isn’t supported. Retry your request with the ID or ARN of an inference profile that contains this model.")
	}
	switch {
	case b.op == opConverse || b.op == opConverseStream:
		last, problem := b.converse.check(bareModel(b.model))
		if problem != "" {
			return "", invalid(problem)
		}
		return last, nil
	case strings.HasPrefix(bareModel(b.model), "anthropic.claude"):
		return b.checkClaude(c, raw)
	case b.op == opInvoke && strings.HasPrefix(b.model, "stability."):
		return b.checkPicture(raw)
	case b.op == opInvoke:
		if problem := b.checkEmbeddings(raw); problem != "" {
			return "", invalid(problem)
		}
		return b.texts[len(b.texts)-1], nil
	}
	return "", invalid("The model is unsupported for streaming.")
}

// checkClaude checks a body of Anthropic's in Bedrock's envelope.
func (b *bedrock) checkClaude(c *call, raw []byte) (last string, _ *wire) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return "", invalid("Malformed input request: " + err.Error())
	}
	for _, name := range []string{"model", "stream"} {
		if fields[name] != nil {
			return "", invalid(name + ": Extra inputs are not permitted")
		}
	}
	var version string
	if err := json.Unmarshal(fields["anthropic_version"], &version); err != nil || version == "" {
		return "", invalid("anthropic_version: Field required")
	}
	if version != "bedrock-2023-05-31" && !newerThanSampling(claudeModel(b.model)) {
		return "", invalid("Invalid API version")
	}
	delete(fields, "anthropic_version")
	delete(fields, "anthropic_beta")
	c.model = claudeModel(b.model)
	defer func() { c.model = b.model }()
	last, problem := c.checkAnthropic(mustJSON(fields))
	if problem != nil {
		problem.kind = "ValidationException"
	}
	return last, problem
}

// onDemand are the models that are called by their bare names.
var onDemand = []string{
	"anthropic.claude-3-haiku", "anthropic.claude-3-sonnet", "amazon.nova-micro", "amazon.nova-lite", "amazon.nova-pro",
}

// needsProfile reports whether a model is called by an inference profile only.
func needsProfile(id string) bool {
	if !strings.HasPrefix(id, "anthropic.claude") && !strings.HasPrefix(id, "amazon.nova-") && !strings.HasPrefix(id, "meta.llama4") {
		return false
	}
	return !slices.ContainsFunc(onDemand, func(prefix string) bool { return strings.HasPrefix(id, prefix) })
}

// bareModel is a model's name without ARN and region.
func bareModel(id string) string {
	id = id[strings.LastIndexByte(id, '/')+1:]
	for _, geo := range []string{"us.", "eu.", "apac.", "jp.", "au.", "us-gov.", "global."} {
		if bare, ok := strings.CutPrefix(id, geo); ok {
			return bare
		}
	}
	return id
}

// claudeModel is a model's name as Anthropic writes it.
func claudeModel(id string) string { return strings.TrimPrefix(bareModel(id), "anthropic.") }

// bedrockModels are the models of the lists, with whether the bare name is called.
var bedrockModels = []string{
	"anthropic.claude-haiku-4-5-20251001-v1:0", "anthropic.claude-sonnet-5", "anthropic.claude-opus-5-5", "amazon.nova-lite-v1:0",
	"amazon.nova-2-lite-v1:0", "openai.gpt-oss-120b-1:0", "amazon.titan-embed-text-v2:0", "cohere.embed-v4:0",
}

// bedrockList serves the lists.
func (p *Provider) bedrockList(w http.ResponseWriter, r *http.Request, list, provider string) {
	c := p.newNative(w, r, &bedrock{}, provider)
	if problem := c.admit(http.MethodGet); problem != nil {
		c.refuse(*problem)
		return
	}
	if _, text, ok := splitScript(c.key); ok && !c.playList(text) {
		return
	}
	if list == "/foundation-models" {
		models := []any{}
		for _, id := range bedrockModels {
			kind := "ON_DEMAND"
			if needsProfile(id) {
				kind = "INFERENCE_PROFILE"
			}
			maker, _, _ := strings.Cut(id, ".")
			models = append(models, map[string]any{
				"modelId": id, "modelArn": "arn:aws:bedrock:us-east-1::foundation-model/" + id, "modelName": id, "providerName": maker,
				"inputModalities": []string{"TEXT"}, "outputModalities": []string{"TEXT"}, "responseStreamingSupported": true,
				"inferenceTypesSupported": []string{kind}, "customizationsSupported": []string{}, "modelLifecycle": map[string]any{"status": "ACTIVE"},
			})
		}
		writeJSON(w, http.StatusOK, map[string]any{"modelSummaries": models})
		return
	}
	profiles := []any{}
	for _, id := range bedrockModels {
		for _, geo := range []string{"us.", "global."} {
			if needsProfile(id) {
				profiles = append(profiles, map[string]any{
					"inferenceProfileId": geo + id, "inferenceProfileArn": "arn:aws:bedrock:us-east-1:123456789012:inference-profile/" + geo + id,
					"inferenceProfileName": geo + id, "models": []any{}, "status": "ACTIVE", "type": "SYSTEM_DEFINED",
				})
			}
		}
	}
	// Two pages, so that clients have to ask again.
	first, _ := strconv.Atoi(r.URL.Query().Get("nextToken")) // none is the beginning
	end := min(first+4, len(profiles))
	page := map[string]any{"inferenceProfileSummaries": profiles[min(first, end):end]}
	if end < len(profiles) {
		page["nextToken"] = strconv.Itoa(end)
	}
	writeJSON(w, http.StatusOK, page)
}

// bedrockCount serves count-tokens, for Claude by its bare name.
func (p *Provider) bedrockCount(w http.ResponseWriter, r *http.Request, b *bedrock, provider string) {
	var raw bytes.Buffer
	if _, err := raw.ReadFrom(io.LimitReader(r.Body, maxBody)); err != nil {
		return
	}
	b.raw = raw.Bytes()
	c := p.newNative(w, r, b, provider)
	c.model = b.model
	if problem := c.admit(http.MethodPost); problem != nil {
		c.refuse(*problem)
		return
	}
	last, problem := b.counted(c)
	if problem != nil {
		c.refuse(*problem)
		return
	}
	var err error
	if c.script, err = p.find(c, last); err != nil {
		c.refuse(*invalid(err.Error()))
		return
	}
	switch {
	case c.script.Error != "":
		c.refuse(c.failure())
	case c.script.Input > 0:
		writeJSON(w, http.StatusOK, map[string]any{"inputTokens": c.script.Input})
	default:
		writeJSON(w, http.StatusOK, map[string]any{"inputTokens": max(1, raw.Len()/4)})
	}
}

// counted checks what is to be counted: a conversation, or a body of InvokeModel.
func (b *bedrock) counted(c *call) (last string, _ *wire) {
	var body struct {
		Input struct {
			Converse json.RawMessage `json:"converse"`
			Invoke   *struct {
				Body []byte `json:"body"`
			} `json:"invokeModel"`
		} `json:"input"`
	}
	if err := json.Unmarshal(b.raw, &body); err != nil {
		return "", invalid(err.Error())
	}
	if !strings.HasPrefix(b.model, "anthropic.claude") {
		return "", invalid("The provided model doesn't support counting tokens.")
	}
	if in := body.Input.Invoke; in != nil {
		if err := json.Unmarshal(in.Body, &c.body); err != nil {
			return "", invalid("Malformed input request: " + err.Error())
		}
		if c.body.MaxTokens == nil {
			return "", invalid("max_tokens: Field required")
		}
		return b.checkClaude(c, in.Body)
	}
	problem := b.converse.decode(body.Input.Converse)
	if problem == "" {
		last, problem = b.converse.check(bareModel(b.model))
	}
	if problem != "" {
		return "", invalid(problem)
	}
	return last, nil
}
