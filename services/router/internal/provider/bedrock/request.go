package bedrock

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// who is what callers know the vendor as.
const who = "Bedrock"

func uncarried(param, why string) *fault.Error { return provider.Uncarried(who, param, why) }

// carried are the features that Converse has a field for. Some models refuse some of them: see refuse.
var carried = []completion.Feature{
	completion.FeatureTemperature, completion.FeatureTopP, completion.FeatureTopK, completion.FeatureStop,
	completion.FeatureServiceTier, completion.FeatureReasoningEffort, completion.FeatureReasoningBudget,
	completion.FeatureTools, completion.FeatureToolChoice, completion.FeatureJSONObject, completion.FeatureJSONSchema,
	completion.FeatureImages, completion.FeatureToolImages, completion.FeatureDocuments, completion.FeatureAudio,
}

// encoder converts one prompt to Converse.
type encoder struct {
	prompt *completion.Prompt
	model  model
	w      wireRequest
	names  names
	// called are the tools that the conversation calls, by their own names.
	called []string
	// documents are the names of documents so far, which must differ.
	documents map[string]bool
}

// encode converts a prompt, and says what tools are called in the answer.
func encode(p *completion.Prompt, m model) (*wireRequest, names, error) {
	e := &encoder{prompt: p, model: m, names: names{}, documents: map[string]bool{}}
	for _, step := range []func() error{e.refuse, e.numbers, e.conversation, e.tools, e.format, e.tier, e.think, e.order} {
		if err := step(); err != nil {
			return nil, nil, err
		}
	}
	return &e.w, e.names, nil
}

// heeded refuses, by name, what a policy's line overrides and Claude does not take.
func heeded(o *completion.Overrides, w *wireRequest) error {
	n := w.Inference
	switch {
	case o == nil:
	case o.Temperature != nil && (n == nil || n.Temperature == nil):
		return uncarried(string(completion.FeatureTemperature), "this model does not take it, or not while it thinks")
	case o.TopP != nil && (n == nil || n.TopP == nil):
		return uncarried(string(completion.FeatureTopP), "this model does not take it, or not together with temperature or while it thinks")
	}
	return nil
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, completion.ErrUnsupported.Saying("the request cannot be encoded for %s", who).Because(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// refuse names what the API or the model has no counterpart for.
func (e *encoder) refuse() error {
	for _, f := range e.prompt.Features() {
		switch {
		case !slices.Contains(carried, f):
			return uncarried(string(f), "it has no counterpart there")
		case !e.model.knows(f):
			return uncarried(string(f), "the model "+e.model.bare+" does not know it")
		}
	}
	return nil
}

// knows reports whether a model knows something that Converse has a field for.
func (m model) knows(f completion.Feature) bool {
	switch f {
	case completion.FeatureTools:
		return !m.noTools
	case completion.FeatureImages, completion.FeatureToolImages:
		return !m.noImages
	case completion.FeatureDocuments:
		return !m.noDocuments
	case completion.FeatureAudio:
		return m.audio || m.prefix == ""
	case completion.FeatureJSONSchema:
		return m.schemas || m.prefix == ""
	case completion.FeatureTopK:
		return m.maker != llama && m.maker != openWeights
	default:
		return true
	}
}

// numbers sets the limits and how the model draws its words. Claude's follow its own rules.
func (e *encoder) numbers() error {
	p := e.prompt
	n := wireInference{MaxTokens: p.MaxOutputTokens, TopP: p.TopP}
	for _, s := range p.Stop {
		if strings.TrimSpace(s) != "" { // such ones are refused
			n.StopSequences = append(n.StopSequences, s)
		}
	}
	if p.Temperature != nil { // OpenAI's go up to 2
		t := min(*p.Temperature, 1)
		n.Temperature = &t
	}
	e.w.Inference = &n
	if p.TopK != nil {
		switch e.model.maker {
		case nova, nova2:
			e.additional().Inference = &wireNovaInference{TopK: *p.TopK}
		case cohere:
			e.additional().K = p.TopK
		default:
			e.additional().TopK = p.TopK
		}
	}
	return nil
}

func (e *encoder) additional() *wireAdditional {
	if e.w.Additional == nil {
		e.w.Additional = &wireAdditional{}
	}
	return e.w.Additional
}

// hint adds an instruction for what a field cannot say.
func (e *encoder) hint(text string) { e.w.System = append(e.w.System, wireSystem{Text: text}) }

// format asks for JSON.
func (e *encoder) format() error {
	f := e.prompt.ResponseFormat
	switch f.Kind {
	case "json_object":
		if e.model.maker == claude {
			return nil // see asClaude
		}
		e.hint("Answer with one JSON object and nothing else.")
	case "json_schema":
		if !json.Valid([]byte(f.Schema)) {
			return uncarried("response_format.json_schema.schema", "it is not JSON")
		}
		e.w.Output = &wireOutput{Format: &wireFormat{
			Type: "json_schema", Structure: wireStructure{Schema: wireJSONSchema{Name: f.Name, Schema: f.Schema}},
		}}
	}
	return nil
}

// tiers are how fast and dear a call is, by the words of OpenAI and Anthropic besides AWS's own; empty is
// the default of the account.
var tiers = map[string]string{
	"auto": "", "default": "default", "standard_only": "default", "priority": "priority", "flex": "flex", "reserved": "reserved",
}

func (e *encoder) tier() error {
	if e.prompt.ServiceTier == "" {
		return nil
	}
	tier, known := tiers[e.prompt.ServiceTier]
	if !known {
		return uncarried("service_tier", "it knows default, priority, flex and reserved")
	}
	if tier != "" {
		e.w.Tier = &wireTyped{Type: tier}
	}
	return nil
}

// order makes the whole what AWS takes: a conversation begins with the user, and instructions stand
// before it, or in it for a model that knows none.
func (e *encoder) order() error {
	if len(e.w.Messages) == 0 {
		return uncarried("messages", "it holds nothing but instructions or empty texts")
	}
	if e.w.Messages[0].Role != roleUser {
		// Some clients begin with a greeting.
		e.w.Messages = slices.Insert(e.w.Messages, 0, wireMessage{Role: roleUser, Content: []wireBlock{{Text: "Begin."}}})
	}
	if e.model.folds {
		var before []wireBlock
		for _, s := range e.w.System {
			if s.Text != "" {
				before = append(before, wireBlock{Text: s.Text})
			}
		}
		e.w.System = nil
		e.w.Messages[0].Content = append(before, e.w.Messages[0].Content...)
	}
	if n := e.w.Inference; n.MaxTokens == nil && n.Temperature == nil && n.TopP == nil && n.StopSequences == nil {
		e.w.Inference = nil
	}
	return nil
}

// object is JSON text that must be an object; empty is the given one.
func object(text, instead string) (json.RawMessage, bool) {
	v := json.RawMessage(strings.TrimSpace(text))
	if len(v) == 0 {
		return json.RawMessage(instead), true
	}
	return v, jsonscan.KindOf(v) == jsonscan.ObjectKind && json.Valid(v)
}

// tools says which tools may be called. A conversation that holds calls needs them, also when none may
// be called any more; that can only be said in words.
func (e *encoder) tools() error {
	p := e.prompt
	forbidden := p.ToolChoice.Mode == "none"
	if forbidden && len(e.called) == 0 || len(p.Tools) == 0 && len(e.called) == 0 {
		return nil
	}
	e.w.Tools = &wireToolConfig{}
	for i, t := range p.Tools {
		schema, ok := object(t.Parameters, `{"type":"object","properties":{}}`)
		if !ok {
			return uncarried(fmt.Sprintf("tools[%d].parameters", i), "it is not a JSON object")
		}
		e.w.Tools.Tools = append(e.w.Tools.Tools, wireTool{Spec: &wireSpec{
			Name: e.names.tool(t.Name), Description: t.Description, Schema: wireSchema{JSON: schema}, Strict: t.Strict,
		}})
		if mark := e.mark(t.CacheTTL); mark != nil && e.model.maker == claude {
			e.w.Tools.Tools = append(e.w.Tools.Tools, wireTool{Cache: mark})
		}
	}
	for _, name := range e.called {
		if !slices.ContainsFunc(p.Tools, func(t completion.Tool) bool { return t.Name == name }) {
			e.w.Tools.Tools = append(e.w.Tools.Tools, wireTool{Spec: &wireSpec{
				Name: e.names.tool(name), Schema: wireSchema{JSON: json.RawMessage(`{"type":"object"}`)},
			}})
		}
	}
	if forbidden || len(p.Tools) == 0 {
		e.hint("Answer without calling a tool.")
		return nil
	}
	switch p.ToolChoice.Mode {
	case "auto":
		e.w.Tools.Choice = &wireChoice{Auto: &struct{}{}}
	case "required":
		e.w.Tools.Choice = &wireChoice{Any: &struct{}{}}
	case "named":
		e.w.Tools.Choice = &wireChoice{Tool: &wireNamed{Name: e.names.tool(p.ToolChoice.Name)}}
	}
	return nil
}

// mark is a cache point, nil for none and for models that know none.
func (e *encoder) mark(ttl string) *wireCache {
	if ttl == "" || !e.model.caches {
		return nil
	}
	if ttl == "5m" || e.model.maker != claude {
		ttl = "" // the default, and all that others know
	}
	return &wireCache{Type: "default", TTL: ttl}
}
