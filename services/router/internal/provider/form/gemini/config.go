package gemini

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

func (e *encoder) tools() error {
	var functions []wireFunction
	for i, t := range e.prompt.Tools {
		schema := json.RawMessage(strings.TrimSpace(t.Parameters))
		if len(schema) > 0 && (jsonscan.KindOf(schema) != jsonscan.ObjectKind || !json.Valid(schema)) {
			return e.refuse(fmt.Sprintf("tools[%d].parameters", i), "it is not a JSON object")
		}
		if !callable(t.Name) {
			return e.refuse(fmt.Sprintf("tools[%d].name", i), "it must begin with a letter or an underscore, and hold letters, digits and _.:- only")
		}
		functions = append(functions, wireFunction{Name: t.Name, Description: t.Description, Parameters: schema})
	}
	if len(functions) == 0 {
		return nil
	}
	e.w.Tools = []wireTools{{functions}}
	switch c := e.prompt.ToolChoice; c.Mode {
	case "none", "auto":
		e.w.ToolConfig = &wireChoice{wireCalling{Mode: strings.ToUpper(c.Mode)}}
	case "required":
		e.w.ToolConfig = &wireChoice{wireCalling{Mode: "ANY"}}
	case "named":
		e.w.ToolConfig = &wireChoice{wireCalling{Mode: "ANY", Allowed: []string{c.Name}}}
	}
	return nil
}

// callable reports whether a function may be called so.
func callable(name string) bool {
	for i, c := range []byte(name) {
		letter := c == '_' || (c|0x20 >= 'a' && c|0x20 <= 'z')
		other := (c >= '0' && c <= '9') || c == '.' || c == ':' || c == '-'
		if !letter && (i == 0 || !other) {
			return false
		}
	}
	return name != "" && len(name) <= 128
}

// maxStop is how many texts may end an answer.
const maxStop = 5

// config sets the numbers.
func (e *encoder) config() error {
	p := e.prompt
	if len(p.Stop) > maxStop {
		return e.refuse("stop", fmt.Sprintf("it takes %d at most", maxStop))
	}
	if p.Seed != nil && (*p.Seed > math.MaxInt32 || *p.Seed < math.MinInt32) {
		return e.refuse("seed", "it takes numbers of 32 bits")
	}
	c := wireConfig{
		MaxOutputTokens: p.MaxOutputTokens, Temperature: p.Temperature, TopP: p.TopP, TopK: p.TopK, Seed: p.Seed,
		PresencePenalty: p.PresencePenalty, FrequencyPenalty: p.FrequencyPenalty,
		ResponseLogprobs: p.Logprobs, Logprobs: p.TopLogprobs,
	}
	for _, s := range p.Stop {
		if s != "" {
			c.StopSequences = append(c.StopSequences, s)
		}
	}
	if !p.Logprobs {
		c.Logprobs = 0
	}
	if p.MaxOutputTokens != nil || p.Temperature != nil || p.TopP != nil || p.TopK != nil || p.Seed != nil ||
		p.PresencePenalty != nil || p.FrequencyPenalty != nil || p.Logprobs || len(c.StopSequences) > 0 {
		e.w.Config = &c
	}
	return nil
}

func (e *encoder) format() error {
	f := e.prompt.ResponseFormat
	if f.Kind != "json_object" && f.Kind != "json_schema" {
		return nil
	}
	if len(e.w.Tools) > 0 && !e.model.together {
		return e.refuse("response_format", "this model does not take a form of the answer together with tools")
	}
	e.settings().ResponseMimeType = "application/json"
	if f.Kind == "json_object" {
		return nil
	}
	schema := json.RawMessage(strings.TrimSpace(f.Schema))
	if !json.Valid(schema) {
		return e.refuse("response_format.json_schema.schema", "it is not JSON")
	}
	e.settings().ResponseJSONSchema = schema
	return nil
}

// think says how much to think, in the way that the model is told.
func (e *encoder) think() error {
	p := e.prompt
	if p.ReasoningEffort == "" && p.ReasoningBudget == nil && !p.ShowReasoning {
		return nil
	}
	t := wireThinking{IncludeThoughts: p.ShowReasoning}
	switch e.model.thinking {
	case never:
		if p.ReasoningEffort != "" && p.ReasoningEffort != "none" {
			return e.refuse(string(completion.FeatureReasoningEffort), "this model does not reason")
		}
		if p.ReasoningBudget != nil && *p.ReasoningBudget != 0 {
			return e.refuse(string(completion.FeatureReasoningBudget), "this model does not reason")
		}
		return nil
	case byBudget:
		if p.ReasoningBudget != nil {
			t.Budget = new(e.model.budget(*p.ReasoningBudget))
		} else if p.ReasoningEffort != "" {
			t.Budget = new(e.model.effortBudget(p.ReasoningEffort))
		}
	case byLevel:
		if p.ReasoningEffort != "" {
			t.Level = e.model.level(p.ReasoningEffort)
		} else if p.ReasoningBudget != nil {
			t.Level = e.model.budgetLevel(*p.ReasoningBudget)
		}
	}
	if t != (wireThinking{}) {
		e.settings().Thinking = &t
	}
	return nil
}

// tier names the service tier, where the provider takes it in the body.
func (e *encoder) tier() error {
	switch t := strings.ToLower(e.prompt.ServiceTier); t {
	case "", "auto", "default":
	case "standard", "flex", "priority":
		if !e.o.Tiers {
			return e.refuse(string(completion.FeatureServiceTier), "it is not chosen by the request")
		}
		e.w.ServiceTier = t
	default:
		return e.refuse(string(completion.FeatureServiceTier), `it takes "standard", "flex" and "priority"`)
	}
	return nil
}
