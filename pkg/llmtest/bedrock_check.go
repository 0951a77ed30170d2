package llmtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// converseBody is a body of Converse. Fields that AWS does not know are refused, which AWS itself may not
// do everywhere.
type converseBody struct {
	Messages  []converseTurn  `json:"messages"`
	System    []converseBlock `json:"system"`
	Inference struct {
		MaxTokens   *int     `json:"maxTokens"`
		Temperature *float64 `json:"temperature"`
		TopP        *float64 `json:"topP"`
		Stop        []string `json:"stopSequences"`
	} `json:"inferenceConfig"`
	Tools *struct {
		Tools []struct {
			Spec *struct {
				Name        string `json:"name"`
				Description string `json:"description"`
				Schema      struct {
					JSON json.RawMessage `json:"json"`
				} `json:"inputSchema"`
				Strict *bool `json:"strict"`
			} `json:"toolSpec"`
			Cache *cachePoint `json:"cachePoint"`
		} `json:"tools"`
		Choice map[string]struct {
			Name string `json:"name"`
		} `json:"toolChoice"`
	} `json:"toolConfig"`
	Output struct {
		Format *struct {
			Type      string `json:"type"`
			Structure struct {
				Schema struct {
					Name        string `json:"name"`
					Description string `json:"description"`
					Schema      string `json:"schema"`
				} `json:"jsonSchema"`
			} `json:"structure"`
		} `json:"textFormat"`
		Effort *string `json:"effort"`
	} `json:"outputConfig"`
	Tier *struct {
		Type string `json:"type"`
	} `json:"serviceTier"`
	Additional map[string]json.RawMessage `json:"additionalModelRequestFields"`
	Paths      []string                   `json:"additionalModelResponseFieldPaths"`
	Metadata   map[string]string          `json:"requestMetadata"`
	Guardrail  json.RawMessage            `json:"guardrailConfig"`
	Latency    json.RawMessage            `json:"performanceConfig"`
}

type cachePoint struct {
	Type string `json:"type"`
	TTL  string `json:"ttl"`
}

type converseTurn struct {
	Role    string          `json:"role"`
	Content []converseBlock `json:"content"`
}

type converseFile struct {
	Format string `json:"format"`
	Name   string `json:"name"`
	Source struct {
		Bytes string          `json:"bytes"`
		Text  string          `json:"text"`
		S3    json.RawMessage `json:"s3Location"`
	} `json:"source"`
}

// converseBlock is one of its fields.
type converseBlock struct {
	Text     *string         `json:"text"`
	JSON     json.RawMessage `json:"json"`
	Image    *converseFile   `json:"image"`
	Document *converseFile   `json:"document"`
	Audio    *converseFile   `json:"audio"`
	Use      *struct {
		ID    string          `json:"toolUseId"`
		Name  string          `json:"name"`
		Input json.RawMessage `json:"input"`
	} `json:"toolUse"`
	Result *struct {
		ID      string          `json:"toolUseId"`
		Content []converseBlock `json:"content"`
		Status  string          `json:"status"`
	} `json:"toolResult"`
	Reasoning *struct {
		Text *struct {
			Text      *string `json:"text"`
			Signature string  `json:"signature"`
		} `json:"reasoningText"`
		Redacted string `json:"redactedContent"`
	} `json:"reasoningContent"`
	Cache *cachePoint `json:"cachePoint"`
}

func (b *converseBody) decode(raw []byte) string {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(b); err != nil {
		return "extraneous key or wrong type: " + err.Error()
	}
	return ""
}

var (
	toolUseID    = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)
	mistralID    = regexp.MustCompile(`^[a-zA-Z0-9]{9}$`)
	documentName = regexp.MustCompile(`^[a-zA-Z0-9()\[\] -]{1,200}$`)
)

// check refuses what AWS refuses, and returns the last text of the user.
func (b *converseBody) check(model string) (last, problem string) {
	for i, s := range b.System {
		if s.Text != nil && strings.TrimSpace(*s.Text) == "" {
			return "", fmt.Sprintf("The text field in the SystemContentBlock object at system.%d is blank. Add text to the text field, and try again.", i)
		}
	}
	if len(b.System) > 0 && (strings.HasPrefix(model, "amazon.titan-text") || strings.HasPrefix(model, "mistral.mistral-7b")) {
		return "", "This model doesn't support the system field. Remove system and try again."
	}
	if len(b.Messages) == 0 || b.Messages[0].Role != "user" {
		return "", "A conversation must start with a user message. Try again with a conversation that starts with a user message."
	}
	if last, problem = b.checkTurns(model); problem != "" {
		return "", problem
	}
	if problem = b.checkNumbers(); problem == "" {
		problem = b.checkTools()
	}
	if problem == "" && strings.HasPrefix(model, "anthropic.claude") {
		problem = b.checkAsClaude(claudeModel(model))
	}
	return last, problem
}

func (b *converseBody) checkNumbers() string {
	n := b.Inference
	switch {
	case n.MaxTokens != nil && *n.MaxTokens < 1:
		return "1 validation error detected: Value at 'inferenceConfig.maxTokens' failed to satisfy constraint: Member must have value greater than or equal to 1"
	case n.Temperature != nil && (*n.Temperature < 0 || *n.Temperature > 1):
		return fmt.Sprintf("1 validation error detected: Value '%v' at 'inferenceConfig.temperature' failed to satisfy constraint: Member must have value less than or equal to 1", *n.Temperature)
	case n.TopP != nil && (*n.TopP < 0 || *n.TopP > 1):
		return "1 validation error detected: Value at 'inferenceConfig.topP' failed to satisfy constraint: Member must have value less than or equal to 1"
	case slices.Contains(n.Stop, ""):
		return "1 validation error detected: Value at 'inferenceConfig.stopSequences' failed to satisfy constraint: Member must have length greater than or equal to 1"
	case b.Tier != nil && !slices.Contains([]string{"default", "priority", "flex", "reserved"}, b.Tier.Type):
		return "1 validation error detected: Value at 'serviceTier.type' failed to satisfy constraint: Member must satisfy enum value set: [priority, default, flex, reserved]"
	case b.Output.Format != nil && (b.Output.Format.Type != "json_schema" || !json.Valid([]byte(b.Output.Format.Structure.Schema.Schema))):
		return "The JSON schema at outputConfig.textFormat.structure.jsonSchema.schema is not valid JSON."
	}
	return ""
}

func (b *converseBody) checkTools() string {
	if b.Tools == nil {
		return ""
	}
	var names []string
	for i, t := range b.Tools.Tools {
		switch {
		case t.Cache != nil:
			if problem := t.Cache.check(); problem != "" {
				return problem
			}
		case t.Spec == nil:
			return fmt.Sprintf("The Tool object at toolConfig.tools.%d must set one of its members.", i)
		case !toolUseID.MatchString(t.Spec.Name):
			return fmt.Sprintf("1 validation error detected: Value '%s' at 'toolConfig.tools.%d.member.toolSpec.name' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_-]+", t.Spec.Name, i+1)
		case !bytes.HasPrefix(bytes.TrimSpace(t.Spec.Schema.JSON), []byte("{")):
			return fmt.Sprintf("The value at toolConfig.tools.%d.toolSpec.inputSchema.json is not a JSON object.", i)
		case slices.Contains(names, t.Spec.Name):
			return "The toolConfig holds two tools of the name " + t.Spec.Name + "."
		default:
			names = append(names, t.Spec.Name)
		}
	}
	if len(names) == 0 {
		return "1 validation error detected: Value at 'toolConfig.tools' failed to satisfy constraint: Member must have length greater than or equal to 1"
	}
	if len(b.Tools.Choice) > 1 {
		return "The toolChoice must set one of its members."
	}
	for kind, choice := range b.Tools.Choice {
		if !slices.Contains([]string{"auto", "any", "tool"}, kind) || kind == "tool" && !slices.Contains(names, choice.Name) {
			return "The tool " + choice.Name + " in toolChoice is not among the tools."
		}
	}
	return ""
}

func (c *cachePoint) check() string {
	if c.Type != "default" || c.TTL != "" && c.TTL != "5m" && c.TTL != "1h" {
		return "1 validation error detected: Value at 'cachePoint' failed to satisfy constraint: Member must satisfy enum value set: [default]"
	}
	return ""
}

// checkAsClaude checks the rules that Claude has everywhere.
func (b *converseBody) checkAsClaude(model string) string {
	if b.Messages[len(b.Messages)-1].Role == "assistant" && !continues(model) {
		return "This model does not support assistant message prefill. The conversation must end with a user message."
	}
	fields := map[string]json.RawMessage{}
	put := func(name string, given bool, v any) {
		if given {
			fields[name] = mustJSON(v)
		}
	}
	n := b.Inference
	put("max_tokens", n.MaxTokens != nil, n.MaxTokens)
	put("temperature", n.Temperature != nil, n.Temperature)
	put("top_p", n.TopP != nil, n.TopP)
	put("stop_sequences", n.Stop != nil, n.Stop)
	for name, v := range b.Additional {
		if !slices.Contains([]string{"thinking", "output_config", "top_k", "anthropic_beta", "tool_choice"}, name) {
			return "The model returned the following errors: " + name + ": Extra inputs are not permitted"
		}
		fields[name] = v
	}
	if b.Tools != nil {
		for kind := range b.Tools.Choice {
			put("tool_choice", true, map[string]string{"type": kind})
		}
	}
	if newerThanSampling(model) {
		for _, name := range []string{"temperature", "top_p", "top_k"} {
			if fields[name] != nil {
				return "The model returned the following errors: `" + name + "` is not supported by this model."
			}
		}
	}
	if problem := checkOptions(fields, model); problem != "" {
		return "The model returned the following errors: " + problem
	}
	return ""
}

// checkTurns checks roles, content, and that every tool call has its result in the next turn.
func (b *converseBody) checkTurns(model string) (last, problem string) {
	var open []string
	names := map[string]bool{}
	for i, t := range b.Messages {
		if t.Role != "user" && t.Role != "assistant" {
			return "", "1 validation error detected: Value '" + t.Role + "' at 'messages' failed to satisfy constraint: Member must satisfy enum value set: [user, assistant]"
		}
		if i > 0 && b.Messages[i-1].Role == t.Role {
			return "", "A conversation must alternate between user and assistant roles. Make sure the conversation alternates between user and assistant roles and try again."
		}
		if len(t.Content) == 0 {
			return "", fmt.Sprintf("The content field in the Message object at messages.%d is empty. Add a ContentBlock object to the content field and try again.", i)
		}
		turn := turnChecker{at: fmt.Sprintf("messages.%d", i), role: t.Role, model: model, tools: b.Tools != nil, open: open, documents: names}
		for j := range t.Content {
			if problem := turn.check(&t.Content[j], j); problem != "" {
				return "", problem
			}
		}
		if problem := turn.end(); problem != "" {
			return "", problem
		}
		open = turn.calls
		if turn.last != "" {
			last = turn.last
		}
	}
	if len(open) > 0 {
		return "", "Expected toolResult blocks at the end of the conversation for the following Ids: " + strings.Join(open, ", ")
	}
	return last, ""
}

// turnChecker checks one turn.
type turnChecker struct {
	at, role, model, last string
	tools, text, file     bool
	open, answered, calls []string
	documents             map[string]bool
}

func (t *turnChecker) check(c *converseBlock, n int) string {
	at := fmt.Sprintf("%s.content.%d", t.at, n)
	switch {
	case c.Text != nil:
		if strings.TrimSpace(*c.Text) == "" {
			return "The text field in the ContentBlock object at " + at + " is blank. Add text to the text field, and try again."
		}
		t.text = true
		if t.role == "user" {
			t.last = *c.Text
		}
	case c.Image != nil:
		return t.picture(c.Image, at)
	case c.Document != nil:
		return t.document(c.Document, at)
	case c.Audio != nil:
		if _, err := decodeBytes(c.Audio.Source.Bytes); err != nil || c.Audio.Format == "" {
			return "The audio at " + at + " is not valid."
		}
	case c.Use != nil:
		return t.use(c, at)
	case c.Result != nil:
		return t.result(c, at)
	case c.Reasoning != nil:
		if t.role != "assistant" || c.Reasoning.Text != nil && (c.Reasoning.Text.Text == nil || !strings.HasPrefix(c.Reasoning.Text.Signature, strings.TrimRight(BedrockSignature, "="))) {
			return "The reasoningContent at " + at + " is not valid: Invalid `signature` in `thinking` block"
		}
	case c.Cache != nil:
		if n == 0 {
			return "The cachePoint at " + at + " must follow the content that it marks."
		}
		return c.Cache.check()
	default:
		return "The ContentBlock object at " + at + " must set one of its members."
	}
	return ""
}

func (t *turnChecker) picture(f *converseFile, at string) string {
	if _, err := decodeBytes(f.Source.Bytes); err != nil || f.Source.Bytes == "" || !slices.Contains([]string{"png", "jpeg", "gif", "webp"}, f.Format) {
		return "The image at " + at + " is not valid: Could not process image"
	}
	return ""
}

func (t *turnChecker) document(f *converseFile, at string) string {
	formats := []string{"pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"}
	_, err := decodeBytes(f.Source.Bytes)
	switch {
	case err != nil || f.Source.Bytes == "" || !slices.Contains(formats, f.Format):
		return "The document at " + at + " is not valid."
	case !documentName.MatchString(f.Name) || strings.Contains(f.Name, "  "):
		return "The document file name can only contain alphanumeric characters, whitespace characters, hyphens, parentheses, and square brackets. The name can't contain more than one consecutive whitespace character."
	case t.documents[f.Name]:
		return "The request holds two documents of the name " + f.Name + "."
	}
	t.documents[f.Name] = true
	t.file = true
	return ""
}

func (t *turnChecker) use(c *converseBlock, at string) string {
	switch {
	case !t.tools:
		return "The toolConfig field must be defined when using toolUse and toolResult content blocks."
	case !toolUseID.MatchString(c.Use.ID) || !toolUseID.MatchString(c.Use.Name):
		return "1 validation error detected: Value '" + c.Use.ID + "' at '" + at + ".toolUse.toolUseId' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_-]+"
	case strings.HasPrefix(t.model, "mistral.") && !mistralID.MatchString(c.Use.ID):
		return "The model returned the following errors: Tool call id was " + c.Use.ID + " but must be a-z, A-Z, 0-9, with a length of 9."
	case !bytes.HasPrefix(bytes.TrimSpace(c.Use.Input), []byte("{")):
		return "The format of the value at " + at + ".toolUse.input is invalid. Provide a json object for the field and try again."
	}
	t.calls = append(t.calls, c.Use.ID)
	return ""
}

func (t *turnChecker) result(c *converseBlock, at string) string {
	switch {
	case !t.tools:
		return "The toolConfig field must be defined when using toolUse and toolResult content blocks."
	case t.role != "user" || !slices.Contains(t.open, c.Result.ID):
		return "The toolResult at " + at + " has no toolUse in the previous turn: " + c.Result.ID
	case len(c.Result.Content) == 0:
		return "The content at " + at + ".toolResult is empty."
	case c.Result.Status != "" && c.Result.Status != "success" && c.Result.Status != "error":
		return "1 validation error detected: Value at '" + at + ".toolResult.status' failed to satisfy constraint: Member must satisfy enum value set: [success, error]"
	}
	t.answered = append(t.answered, c.Result.ID)
	for i := range c.Result.Content {
		r := &c.Result.Content[i]
		switch {
		case r.Text != nil:
			if strings.TrimSpace(*r.Text) == "" {
				return "The text field at " + at + ".toolResult.content is blank."
			}
		case r.Image != nil:
			if problem := t.picture(r.Image, at); problem != "" {
				return problem
			}
		case r.Document == nil && r.JSON == nil:
			return "The ToolResultContentBlock object at " + at + " must set one of its members."
		}
	}
	return ""
}

// end checks what a turn must hold.
func (t *turnChecker) end() string {
	for _, id := range t.open {
		if !slices.Contains(t.answered, id) {
			return "Expected toolResult blocks at " + t.at + ".content for the following Ids: " + id
		}
	}
	if t.file && !t.text {
		return "A text block is required in " + t.at + " when a document is present."
	}
	return ""
}
