package bedrock

import (
	"encoding/json"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/form/messages"
)

// think says how much to reason, in the way that the model is told.
func (e *encoder) think() error {
	if e.model.maker == claude {
		return e.asClaude()
	}
	effort := e.effort()
	switch {
	case effort == "":
		return nil
	case e.model.maker == nova2:
		e.additional().Reasoning = &wireNovaReasoning{Type: "enabled", Effort: effort}
		if effort == "none" {
			e.additional().Reasoning = &wireNovaReasoning{Type: "disabled"}
		}
	case e.model.maker == openWeights:
		if effort == "none" {
			effort = "low" // it cannot be switched off
		}
		e.additional().ReasoningEffort = effort
	case effort != "none":
		param := completion.FeatureReasoningEffort
		if e.prompt.ReasoningEffort == "" {
			param = completion.FeatureReasoningBudget
		}
		return uncarried(string(param), "the model "+e.model.bare+" is not told how much to reason")
	}
	return nil
}

// effort is how much to reason in the words of the models that know three of them, or "none".
func (e *encoder) effort() string {
	switch e.prompt.ReasoningEffort {
	case "none", "low", "medium":
		return e.prompt.ReasoningEffort
	case "minimal":
		return "low"
	case "high", "xhigh", "max":
		return "high"
	}
	if b := e.prompt.ReasoningBudget; b != nil {
		return provider.EffortOf(*b)
	}
	return ""
}

// asClaude takes what Anthropic's own API would be told for this model besides the conversation: how it
// draws its words, thinks and chooses tools. The rules stand with that form.
func (e *encoder) asClaude() error {
	body, _, err := messages.Body(e.outline(), e.model.claudeName(), false)
	if err != nil {
		return err
	}
	var own struct {
		MaxTokens   int64           `json:"max_tokens"`
		Temperature *float64        `json:"temperature"`
		TopP        *float64        `json:"top_p"`
		TopK        *int64          `json:"top_k"`
		Thinking    json.RawMessage `json:"thinking"`
		Output      *struct {
			Effort json.RawMessage `json:"effort"`
		} `json:"output_config"`
		Choice *struct {
			Type string `json:"type"`
			Name string `json:"name"`
		} `json:"tool_choice"`
		System []struct {
			Text string `json:"text"`
		} `json:"system"`
	}
	if err := json.Unmarshal(body, &own); err != nil {
		return completion.ErrUnsupported.Saying("the request cannot be encoded for %s", who).Because(err)
	}
	n := e.w.Inference
	n.Temperature, n.TopP, n.MaxTokens = own.Temperature, own.TopP, nil
	if e.prompt.MaxOutputTokens != nil || jsonscan.Given(jsonscan.Get(own.Thinking, "budget_tokens")) {
		n.MaxTokens = &own.MaxTokens
	}
	e.w.Additional = nil
	if own.Output != nil && own.Output.Effort != nil {
		e.additional().OutputConfig = append(append(json.RawMessage(`{"effort":`), own.Output.Effort...), '}')
	}
	if own.Thinking != nil || own.TopK != nil {
		e.additional().Thinking, e.additional().TopK = own.Thinking, own.TopK
	}
	for _, s := range own.System {
		e.hint(s.Text)
	}
	if own.Choice != nil && e.w.Tools != nil && e.w.Tools.Choice != nil {
		switch own.Choice.Type {
		case "auto":
			e.w.Tools.Choice = &wireChoice{Auto: &struct{}{}}
		case "any":
			e.w.Tools.Choice = &wireChoice{Any: &struct{}{}}
		case "tool":
			e.w.Tools.Choice = &wireChoice{Tool: &wireNamed{Name: own.Choice.Name}}
		}
	}
	return nil
}

// outline is the prompt without what Converse carries by itself: instructions, texts, files and schemas.
// Tools have the names that they are sent as.
func (e *encoder) outline() *completion.Prompt {
	p := e.prompt
	out := *p
	if p.ToolChoice.Name != "" {
		out.ToolChoice.Name = e.names.tool(p.ToolChoice.Name)
	}
	out.ServiceTier, out.User, out.CacheKey = "", "", ""
	out.Messages = make([]completion.Message, 0, len(p.Messages))
	for _, m := range p.Messages {
		if m.Role == completion.System {
			continue
		}
		turn := completion.Message{Role: m.Role, ToolCallID: m.ToolCallID}
		for _, part := range m.Parts {
			if part.Reasoning != nil {
				turn.Parts = append(turn.Parts, completion.Part{Reasoning: part.Reasoning})
				continue
			}
			turn.Parts = append(turn.Parts, completion.Part{Text: "-"})
		}
		for _, c := range m.ToolCalls {
			turn.ToolCalls = append(turn.ToolCalls, completion.ToolCall{ID: c.ID, Name: e.names.tool(c.Name)})
		}
		out.Messages = append(out.Messages, turn)
	}
	out.Tools = make([]completion.Tool, len(p.Tools))
	for i, t := range p.Tools {
		out.Tools[i] = completion.Tool{Name: e.names.tool(t.Name)}
	}
	if out.ResponseFormat.Kind == "json_schema" {
		out.ResponseFormat.Schema = "{}"
	}
	return &out
}
