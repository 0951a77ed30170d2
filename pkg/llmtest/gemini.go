package llmtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// The Gemini form, as Google AI Studio and Vertex AI speak it:
//
//	POST {base}/v1beta/models/{model}:generateContent            one object
//	POST {base}/v1beta/models/{model}:streamGenerateContent      alt=sse: data lines and no mark of the end;
//	                                                             else one JSON array
//	POST {base}/v1beta/models/{model}:countTokens
//	POST {base}/v1beta/models/{model}:embedContent, :batchEmbedContents
//	GET  {base}/v1beta/models, /v1beta/models/{model}
//
// Vertex's paths are in vertex.go. In this form a refusal is a blocked prompt, pings are chunks without
// content, an error in the stream is a bare JSON object if the script says nodone, and reasoning comes
// with a thoughtSignature that has to come back with the tool call.
type gemini struct {
	model, method string
	vertex        *vertexPlace // nil is AI Studio
	token         string       // what Vertex's bearer stands for
	body          *geminiBody  // once it was read
}

// GeminiURL is the base address of the Gemini form, as adapters are given it.
func (s *Server) GeminiURL() string { return s.URL + "/google-ai-studio/v1beta" }

// GeminiSignature is the thoughtSignature of every first tool call and of thinking.
const GeminiSignature = "c2lnbmF0dXJlLW9mLXRob3VnaHQ="

// geminiSkip is what stands for a signature that a caller does not have.
const geminiSkip = "skip_thought_signature_validator"

var geminiModels = []string{
	"gemini-4-argon", "gemini-3.8-flash", "gemini-3.5-flash-lite", "gemini-2.5-flash", "gemini-3.1-flash-image", "gemini-embedding-001",
}

// serveGemini answers AI Studio's paths.
func serveGemini(p *Provider, w http.ResponseWriter, r *http.Request) bool {
	before, rest, found := strings.Cut(r.URL.Path, "/v1beta/models")
	if !found || strings.Contains(rest, "/publishers/") {
		return false
	}
	provider := strings.Trim(before, "/")
	if rest == "" || !strings.Contains(rest, ":") {
		p.geminiList(w, r, provider, strings.Trim(rest, "/"))
		return true
	}
	model, method, _ := strings.Cut(strings.TrimPrefix(rest, "/"), ":")
	p.geminiCall(w, r, &gemini{model: model, method: method}, provider)
	return true
}

// geminiCall answers a call of a model.
func (p *Provider) geminiCall(w http.ResponseWriter, r *http.Request, g *gemini, provider string) {
	switch g.method {
	case "generateContent", "streamGenerateContent", "embedContent", "batchEmbedContents", "predict":
		p.generateNative(w, r, g, provider)
	case "countTokens":
		p.geminiCount(w, r, g, provider)
	default:
		p.newNative(w, r, g, provider).refuse(wire{status: 404, kind: "NOT_FOUND", message: "Method " + g.method + " not found."})
	}
}

func (g *gemini) provider() string {
	if g.vertex != nil {
		return "vertex"
	}
	return "google-ai-studio"
}

func (g *gemini) key(r *http.Request) string {
	if g.token != "" {
		return g.token
	}
	if key := r.Header.Get("X-Goog-Api-Key"); key != "" {
		return key
	}
	return r.URL.Query().Get("key")
}

func (g *gemini) headers(c *call) {
	h := c.w.Header()
	h.Set("Vary", "Origin, X-Origin, Referer")
	h.Set("Server", "scaffolding on HTTPServer2")
	h.Set("X-Xss-Protection", "0")
	h.Set("Server-Timing", "gfet4t7; dur=12")
}

// admit refuses two credentials at once.
func (g *gemini) admit(c *call) *wire {
	if c.r.Header.Get("X-Goog-Api-Key") != "" && c.r.Header.Get("Authorization") != "" {
		return &wire{status: 400, kind: "INVALID_ARGUMENT", message: "Multiple authentication credentials received. Please pass only one."}
	}
	return nil
}

// geminiBody is what is read of a request.
type geminiBody struct {
	Contents          []geminiContent `json:"contents"`
	SystemInstruction *geminiContent  `json:"systemInstruction"`
	Tools             []struct {
		FunctionDeclarations []struct {
			Name                 string          `json:"name"`
			Parameters           json.RawMessage `json:"parameters"`
			ParametersJSONSchema json.RawMessage `json:"parametersJsonSchema"`
		} `json:"functionDeclarations"`
	} `json:"tools"`
	GenerationConfig struct {
		MaxOutputTokens  *int     `json:"maxOutputTokens"`
		StopSequences    []string `json:"stopSequences"`
		ResponseMimeType string   `json:"responseMimeType"`
		ResponseLogprobs bool     `json:"responseLogprobs"`
		Modalities       []string `json:"responseModalities"`
		Thinking         struct {
			Budget *int   `json:"thinkingBudget"`
			Level  string `json:"thinkingLevel"`
		} `json:"thinkingConfig"`
	} `json:"generationConfig"`

	// Embeddings: one content, many requests, or Vertex's instances.
	Content  *geminiContent `json:"content"`
	Requests []struct {
		Model                string         `json:"model"`
		Content              *geminiContent `json:"content"`
		OutputDimensionality int            `json:"outputDimensionality"`
	} `json:"requests"`
	Instances []struct {
		Content string `json:"content"`
	} `json:"instances"`
	Parameters struct {
		OutputDimensionality int `json:"outputDimensionality"`
	} `json:"parameters"`
	OutputDimensionality int `json:"outputDimensionality"`
	EmbedContentConfig   struct {
		OutputDimensionality int `json:"outputDimensionality"`
	} `json:"embedContentConfig"`
	GenerateContentRequest *geminiBody `json:"generateContentRequest"`
}

type geminiContent struct {
	Role  string `json:"role"`
	Parts []struct {
		Text         *string `json:"text"`
		Signature    string  `json:"thoughtSignature"`
		FunctionCall *struct {
			ID   string          `json:"id"`
			Name string          `json:"name"`
			Args json.RawMessage `json:"args"`
		} `json:"functionCall"`
		FunctionResponse *struct {
			ID       string          `json:"id"`
			Name     string          `json:"name"`
			Response json.RawMessage `json:"response"`
		} `json:"functionResponse"`
		InlineData *struct {
			MimeType string `json:"mimeType"`
			Data     []byte `json:"data"`
		} `json:"inlineData"`
		FileData *struct {
			MimeType string `json:"mimeType"`
			FileURI  string `json:"fileUri"`
		} `json:"fileData"`
	} `json:"parts"`
}

// geminiFields are the top-level fields of bodies; any other is refused, as the real API does.
var geminiFields = []string{
	"contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "safetySettings", "cachedContent", "serviceTier", "store",
	"continuationToken", "content", "requests", "taskType", "title", "outputDimensionality", "model",
}

var vertexFields = []string{
	"contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "safetySettings", "cachedContent", "continuationToken", "labels",
	"modelArmorConfig", "content", "embedContentConfig", "instances", "parameters",
}

func (g *gemini) read(c *call, _ []byte) *wire {
	c.model = g.model
	c.body.Stream = g.method == "streamGenerateContent"
	return nil
}

func (g *gemini) invalid(format string, args ...any) *wire {
	return &wire{status: 400, kind: "INVALID_ARGUMENT", message: fmt.Sprintf(format, args...)}
}

func (g *gemini) check(c *call, raw []byte) (last string, _ *wire) {
	b, problem := g.decode(raw)
	if problem != nil {
		return "", problem
	}
	g.body = b
	if g.method != "generateContent" && g.method != "streamGenerateContent" {
		texts, problem := g.embedded(b)
		if problem != nil {
			return "", problem
		}
		return texts[len(texts)-1], nil
	}
	c.body.MaxTokens = b.GenerationConfig.MaxOutputTokens
	if problem := g.checkConfig(b); problem != nil {
		return "", problem
	}
	return g.checkContents(b)
}

func (g *gemini) decode(raw []byte) (*geminiBody, *wire) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, g.invalid("Invalid JSON payload received. %s", err)
	}
	allowed := geminiFields
	if g.vertex != nil {
		allowed = vertexFields
	}
	for name := range fields {
		if !slices.Contains(allowed, name) && (name != "generateContentRequest" || g.method != "countTokens") {
			return nil, g.invalid("Invalid JSON payload received. Unknown name %q: Cannot find field.", name)
		}
	}
	var b geminiBody
	if err := json.Unmarshal(raw, &b); err != nil {
		return nil, g.invalid("Invalid JSON payload received. %s", err)
	}
	return &b, nil
}

// generation is the family's number, such as 2.5 of "gemini-2.5-flash"; 0 if it has none.
func (g *gemini) generation() float64 {
	_, rest, _ := strings.Cut(g.model, "gemini-")
	number, _, _ := strings.Cut(rest, "-")
	n, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0
	}
	return n
}

// checkConfig finds what does not go together.
func (g *gemini) checkConfig(b *geminiBody) *wire {
	config, declared := b.GenerationConfig, 0
	for _, t := range b.Tools {
		for _, f := range t.FunctionDeclarations {
			declared++
			if f.Parameters != nil && f.ParametersJSONSchema != nil {
				return g.invalid("parameters and parametersJsonSchema cannot both be set.")
			}
			if bad := strings.IndexFunc(f.Name, func(r rune) bool {
				return !strings.ContainsRune("_.:-", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
			}); f.Name == "" || bad >= 0 || len(f.Name) > 128 {
				return g.invalid("Invalid function name %q.", f.Name)
			}
		}
	}
	switch generation := g.generation(); {
	case len(config.StopSequences) > 5:
		return g.invalid("The number of stop sequences must be at most 5.")
	case config.Thinking.Budget != nil && config.Thinking.Level != "":
		return g.invalid("You can only set only one of thinking budget and thinking level.")
	case config.Thinking.Budget != nil && generation >= 3.5:
		return g.invalid("Thinking budget is not supported for this model.")
	case config.Thinking.Level != "" && generation < 3:
		return g.invalid("Thinking level is not supported for this model.")
	case config.Thinking.Level == "MINIMAL" && generation >= 3.7:
		return g.invalid("Thinking level MINIMAL is not supported for this model.")
	case config.Thinking.Level != "" && !slices.Contains([]string{"MINIMAL", "LOW", "MEDIUM", "HIGH"}, config.Thinking.Level):
		return g.invalid("Invalid value at 'generation_config.thinking_config.thinking_level'")
	case config.ResponseMimeType != "" && declared > 0 && generation < 3:
		return g.invalid("Function calling with a response mime type: '%s' is unsupported", config.ResponseMimeType)
	}
	return nil
}

// checkContents checks roles, parts and that every tool call has its answer, by name and in number.
func (g *gemini) checkContents(b *geminiBody) (last string, _ *wire) {
	if len(b.Contents) == 0 {
		return "", g.invalid("* GenerateContentRequest.contents: contents is not specified")
	}
	turn := 0 // where the current turn begins
	for i, c := range b.Contents {
		if len(c.Parts) == 0 {
			return "", g.invalid("* GenerateContentRequest.contents[%d].parts: contents.parts must not be empty.", i)
		}
		if c.Role == "user" && c.Parts[0].FunctionResponse == nil {
			turn = i
		}
	}
	var waiting []string // names of the calls that want an answer
	for i, c := range b.Contents {
		if c.Role != "user" && c.Role != "model" && (c.Role != "" || g.vertex != nil) {
			return "", g.invalid("Please use a valid role: user, model.")
		}
		var calls, answers []string
		for _, p := range c.Parts {
			switch {
			case p.FunctionCall != nil:
				if !bytes.HasPrefix(bytes.TrimSpace(p.FunctionCall.Args), []byte("{")) {
					return "", g.invalid("Invalid value at 'contents[%d].parts[0].function_call.args' (type.googleapis.com/google.protobuf.Struct)", i)
				}
				if len(calls) == 0 && p.Signature == "" && i > turn && g.generation() >= 3 {
					return "", g.invalid("Function call is missing a thought_signature in functionCall parts. This is required for tools to work correctly.")
				}
				calls = append(calls, p.FunctionCall.Name)
			case p.FunctionResponse != nil:
				if p.FunctionResponse.Name == "" {
					return "", g.invalid("* GenerateContentRequest.contents[%d].parts[0].function_response.name: Name cannot be empty.", i)
				}
				if !bytes.HasPrefix(bytes.TrimSpace(p.FunctionResponse.Response), []byte("{")) {
					return "", g.invalid("Invalid value at 'contents[%d].parts[0].function_response.response' (type.googleapis.com/google.protobuf.Struct)", i)
				}
				answers = append(answers, p.FunctionResponse.Name)
			case p.InlineData != nil && (p.InlineData.MimeType == "" || len(p.InlineData.Data) == 0):
				return "", g.invalid("Unable to process input image. Please retry or report in the developer forum")
			case p.FileData != nil && p.FileData.FileURI == "":
				return "", g.invalid("fileUri must not be empty")
			case p.Text != nil && c.Role != "model":
				last = *p.Text
			}
			if p.Signature != "" && !strings.HasPrefix(p.Signature, strings.TrimRight(GeminiSignature, "=")) && p.Signature != geminiSkip {
				return "", g.invalid("Thought signature is not valid.")
			}
		}
		if !slices.Equal(waiting, answers) {
			return "", g.invalid("Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.")
		}
		waiting = calls
	}
	return last, nil
}

func (g *gemini) failure(f Failure) wire {
	if w, other := vertexFailures[f]; other && g.vertex != nil {
		return w
	}
	if w, known := geminiFailures[f]; known {
		return w
	}
	return geminiFailures[ErrServer]
}

func (g *gemini) envelope(c *call, w wire) []byte {
	details := []any{}
	if w.code != "" {
		details = append(details, map[string]any{
			"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": w.code, "domain": "googleapis.com",
			"metadata": map[string]any{"service": "generativelanguage.googleapis.com"},
		})
	}
	if w.param != "" { // a quota
		details = append(details, map[string]any{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": []any{map[string]any{
			"quotaMetric": "generativelanguage.googleapis.com/generate_content_requests", "quotaId": w.param,
			"quotaDimensions": map[string]any{"location": "global", "model": c.model}, "quotaValue": "250",
		}}})
	}
	if d := c.script.RetryAfter; d > 0 {
		c.w.Header().Del("Retry-After") // it says so here alone
		details = append(details, map[string]any{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": d.String()})
	}
	inner := map[string]any{"code": w.status, "message": w.message, "status": w.kind}
	if len(details) > 0 {
		inner["details"] = details
	}
	b, err := json.MarshalIndent(map[string]any{"error": inner}, "", "  ")
	if err != nil {
		panic(err) // built here of strings and numbers
	}
	return b
}

// geminiFailures are the failures in Google's words. What stands at param is the id of the quota.
var geminiFailures = map[Failure]wire{
	ErrAuth:           {400, "INVALID_ARGUMENT", "API_KEY_INVALID", "", "API key not valid. Please pass a valid API key."},
	ErrScopes:         {403, "PERMISSION_DENIED", "API_KEY_SERVICE_BLOCKED", "", "Requests to this API method are blocked."},
	ErrForbidden:      {400, "FAILED_PRECONDITION", "", "", "User location is not supported for the API use."},
	ErrOrganizationIP: {403, "PERMISSION_DENIED", "API_KEY_IP_ADDRESS_BLOCKED", "", "The provided API key has an IP address restriction."},
	ErrModel:          {404, "NOT_FOUND", "", "", "models/%MODEL% is not found for API version v1beta, or is not supported for generateContent."},
	ErrRateLimit:      {429, "RESOURCE_EXHAUSTED", "", "GenerateRequestsPerMinutePerProjectPerModel", "You exceeded your current quota, please check your plan and billing details."},
	ErrSlowDown:       {429, "RESOURCE_EXHAUSTED", "", "", "Resource has been exhausted (e.g. check quota)."},
	ErrQuota:          {429, "RESOURCE_EXHAUSTED", "", "GenerateRequestsPerDayPerProjectPerModel-FreeTier", "You exceeded your current quota, please check your plan and billing details."},
	ErrSpendLimit:     {429, "RESOURCE_EXHAUSTED", "", "", "Your project has exceeded its monthly spending cap."},
	ErrBilling:        {403, "PERMISSION_DENIED", "BILLING_DISABLED", "", "This API method requires billing to be enabled."},
	ErrBadRequest:     {400, "INVALID_ARGUMENT", "", "", "Invalid value at 'generation_config.temperature' (TYPE_FLOAT), 3"},
	ErrUnsupported:    {400, "INVALID_ARGUMENT", "", "", "Penalty is not enabled for models/%MODEL%"},
	ErrContextLength:  {400, "INVALID_ARGUMENT", "", "", "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."},
	ErrTooLarge:       {413, "", "", "", "<!DOCTYPE html><html lang=en><title>Error 413 (Request Entity Too Large)!!1</title></html>"},
	ErrState:          {400, "INVALID_ARGUMENT", "", "", "Thought signature is not valid."},
	ErrContent:        {400, "INVALID_ARGUMENT", "", "", "The prompt could not be submitted. This prompt contains sensitive words that violate Google's Responsible AI practices."},
	ErrTimeout:        {504, "DEADLINE_EXCEEDED", "", "", "Deadline expired before operation could complete."},
	ErrOverloaded:     {503, "UNAVAILABLE", "", "", "The model is overloaded. Please try again later."},
	ErrGatewayHTML:    {502, "", "", "", "<!DOCTYPE html><html lang=en><title>Error 502 (Server Error)!!1</title></html>"},
	ErrServer:         {500, "INTERNAL", "", "", "An internal error has occurred. Please retry or report in https://developers.generativeai.google/guide/troubleshooting"},
}

// vertexFailures are those for which Vertex AI has other words.
var vertexFailures = map[Failure]wire{
	ErrAuth:   {401, "UNAUTHENTICATED", "ACCESS_TOKEN_EXPIRED", "", "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential."},
	ErrScopes: {403, "PERMISSION_DENIED", "IAM_PERMISSION_DENIED", "", "Permission 'aiplatform.endpoints.predict' denied on resource (or it may not exist)."},
}

// geminiList serves the list of models, or one of them.
func (p *Provider) geminiList(w http.ResponseWriter, r *http.Request, provider, one string) {
	g := &gemini{model: one}
	c := p.newNative(w, r, g, provider)
	if problem := c.admit(http.MethodGet); problem != nil {
		c.refuse(*problem)
		return
	}
	if _, text, ok := splitScript(c.key); ok && !c.playList(text) {
		return
	}
	models := []any{}
	for _, name := range geminiModels {
		methods := []string{"generateContent", "countTokens"}
		if strings.Contains(name, "embedding") {
			methods = []string{"embedContent", "countTokens"}
		}
		model := map[string]any{
			"name": "models/" + name, "version": "001", "displayName": name, "inputTokenLimit": 1048576, "outputTokenLimit": 65536,
			"supportedGenerationMethods": methods, "thinking": len(methods[0]) > 12, "temperature": 1, "topP": 0.95, "topK": 64, "maxTemperature": 2,
		}
		if name == one {
			writeJSON(w, http.StatusOK, model)
			return
		}
		models = append(models, model)
	}
	if one != "" {
		c.model = one
		c.script.Error = ErrModel
		c.refuse(c.failure())
		return
	}
	first, size := 0, 50
	if n, err := strconv.Atoi(r.URL.Query().Get("pageSize")); err == nil && n > 0 {
		size = n
	}
	if n, err := strconv.Atoi(r.URL.Query().Get("pageToken")); err == nil {
		first = min(max(n, 0), len(models))
	}
	end := min(first+size, len(models))
	page := map[string]any{"models": models[first:end]}
	if end < len(models) {
		page["nextPageToken"] = strconv.Itoa(end)
	}
	writeJSON(w, http.StatusOK, page)
}

// geminiCount serves :countTokens.
func (p *Provider) geminiCount(w http.ResponseWriter, r *http.Request, g *gemini, provider string) {
	c := p.newNative(w, r, g, provider)
	c.model = g.model
	if problem := c.admit(http.MethodPost); problem != nil {
		c.refuse(*problem)
		return
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return
	}
	b, problem := g.decode(raw)
	if problem == nil && b.GenerateContentRequest != nil {
		b = b.GenerateContentRequest
	}
	last := ""
	if problem == nil {
		last, problem = g.checkContents(b)
	}
	if problem != nil {
		c.refuse(*problem)
		return
	}
	if c.script, err = p.find(c, last); err != nil {
		c.refuse(*g.invalid("%s", err))
		return
	}
	if c.script.Error != "" {
		c.refuse(c.failure())
		return
	}
	tokens := c.script.Input
	if tokens == 0 {
		tokens = max(1, len(raw)/4)
	}
	answer := map[string]any{"totalTokens": tokens, "promptTokensDetails": []any{map[string]any{"modality": "TEXT", "tokenCount": tokens}}}
	if g.vertex != nil {
		answer["totalBillableCharacters"] = 4 * tokens
	}
	writeJSON(w, http.StatusOK, answer)
}

// embedded are the texts of a call for vectors.
func (g *gemini) embedded(b *geminiBody) ([]string, *wire) {
	var texts []string
	add := func(c *geminiContent) {
		if c != nil && len(c.Parts) > 0 && c.Parts[0].Text != nil {
			texts = append(texts, *c.Parts[0].Text)
		}
	}
	switch g.method {
	case "predict":
		for _, i := range b.Instances {
			texts = append(texts, i.Content)
		}
		if len(texts) > 1 && strings.HasPrefix(g.model, "gemini-embedding") {
			return nil, g.invalid("Only one instance is supported per request for this model.")
		}
	case "batchEmbedContents":
		for _, r := range b.Requests {
			if r.Model != "models/"+g.model {
				return nil, g.invalid("* BatchEmbedContentsRequest.requests[0].model: unexpected model name format")
			}
			add(r.Content)
		}
		if len(texts) > 100 {
			return nil, g.invalid("* BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch")
		}
	default:
		add(b.Content)
	}
	if len(texts) == 0 {
		return nil, g.invalid("* EmbedContentRequest.content: contents is not specified")
	}
	return texts, nil
}

// GeminiVector is the vector of a text, of so many dimensions.
func GeminiVector(text string, dimensions int) []float64 {
	out := make([]float64, dimensions)
	seed := uint64(14695981039346656037)
	for _, b := range []byte(text) {
		seed = (seed ^ uint64(b)) * 1099511628211
	}
	for i := range out {
		seed = seed*6364136223846793005 + 1442695040888963407
		out[i] = math.Round((float64(seed>>40)/float64(1<<24)-0.5)*1e6) / 1e6
	}
	return out
}

// embeds reports whether the call is for vectors.
func (g *gemini) embeds() bool {
	return g.method != "generateContent" && g.method != "streamGenerateContent"
}

const (
	// pictureIn and pictureOut are how many tokens a picture is.
	pictureIn  = 258
	pictureOut = 1290
)

// declare counts pictures, and what vectors take. AI Studio does not say the latter.
func (g *gemini) declare(c *call) {
	if !g.embeds() {
		if g.draws() {
			c.usage.ImageOut = pictureOut
			c.usage.Output = max(c.usage.Output, c.usage.Reasoning) + pictureOut
		}
		for _, content := range g.body.Contents {
			for _, part := range content.Parts {
				if part.InlineData != nil && strings.HasPrefix(part.InlineData.MimeType, "image/") {
					c.usage.ImageIn += pictureIn
					c.usage.Input += pictureIn
				}
			}
		}
		return
	}
	c.usage = Usage{Input: c.usage.Input}
	c.script.NoUsage = c.script.NoUsage || g.vertex == nil
	if g.method == "predict" {
		c.usage.Input = 0
		for i, instance := range g.body.Instances {
			c.usage.Input += g.instanceTokens(c, i, instance.Content)
		}
	}
}

// instanceTokens are one text's; a script gives those of the first.
func (g *gemini) instanceTokens(c *call, i int, text string) int {
	if i == 0 && c.script.Input > 0 {
		return c.script.Input
	}
	return max(1, len(text)/4)
}

// vectors is the answer to a call for vectors.
func (g *gemini) vectors(c *call) []byte {
	b := g.body
	texts, _ := g.embedded(b) // was checked
	size := b.OutputDimensionality + b.Parameters.OutputDimensionality + b.EmbedContentConfig.OutputDimensionality
	if len(b.Requests) > 0 {
		size += b.Requests[0].OutputDimensionality
	}
	if size == 0 {
		size = 8
	}
	each := []any{}
	for i, text := range texts {
		vector := map[string]any{"values": GeminiVector(text, size)}
		if g.method == "predict" {
			if !c.script.NoUsage {
				vector["statistics"] = map[string]any{"token_count": g.instanceTokens(c, i, text), "truncated": false}
			}
			vector = map[string]any{"embeddings": vector}
		}
		each = append(each, vector)
	}
	var answer map[string]any
	switch g.method {
	case "predict":
		answer = map[string]any{"predictions": each, "metadata": map[string]any{"billableCharacterCount": 4 * c.usage.Input}}
	case "batchEmbedContents":
		answer = map[string]any{"embeddings": each}
	default:
		answer = map[string]any{"embedding": each[0]}
		if !c.script.NoUsage {
			answer["usageMetadata"] = map[string]any{"promptTokenCount": c.usage.Input, "totalTokenCount": c.usage.Input}
		}
	}
	out, err := json.Marshal(answer)
	if err != nil {
		panic(err) // built here of numbers
	}
	return out
}
