package gemini

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// The wire form of a generateContent request.
type (
	wireRequest struct {
		Model             string        `json:"model,omitempty"` // of a count only
		SystemInstruction *wireContent  `json:"systemInstruction,omitempty"`
		Contents          []wireContent `json:"contents"`
		Tools             []wireTools   `json:"tools,omitempty"`
		ToolConfig        *wireChoice   `json:"toolConfig,omitempty"`
		Config            *wireConfig   `json:"generationConfig,omitempty"`
		ServiceTier       string        `json:"serviceTier,omitempty"`
		ContinuationToken string        `json:"continuationToken,omitempty"`
	}
	wireContent struct {
		Role  string     `json:"role,omitempty"`
		Parts []wirePart `json:"parts"`
	}
	wirePart struct {
		Text             *string       `json:"text,omitempty"`
		InlineData       *wireBlob     `json:"inlineData,omitempty"`
		FileData         *wireFile     `json:"fileData,omitempty"`
		FunctionCall     *wireCall     `json:"functionCall,omitempty"`
		FunctionResponse *wireResponse `json:"functionResponse,omitempty"`
		ThoughtSignature string        `json:"thoughtSignature,omitempty"`
	}
	wireBlob struct {
		MimeType string `json:"mimeType"`
		Data     []byte `json:"data"`
	}
	wireFile struct {
		MimeType string `json:"mimeType,omitempty"`
		FileURI  string `json:"fileUri"`
	}
	wireCall struct {
		ID   string          `json:"id,omitempty"`
		Name string          `json:"name"`
		Args json.RawMessage `json:"args"`
	}
	wireResponse struct {
		ID       string            `json:"id,omitempty"`
		Name     string            `json:"name"`
		Response map[string]string `json:"response"`
		Parts    []wirePart        `json:"parts,omitempty"`
		place    int               // of its call among all calls
	}
	wireTools struct {
		Functions []wireFunction `json:"functionDeclarations"`
	}
	wireFunction struct {
		Name        string          `json:"name"`
		Description string          `json:"description,omitempty"`
		Parameters  json.RawMessage `json:"parametersJsonSchema,omitempty"`
	}
	wireChoice struct {
		Calling wireCalling `json:"functionCallingConfig"`
	}
	wireCalling struct {
		Mode    string   `json:"mode"`
		Allowed []string `json:"allowedFunctionNames,omitempty"`
	}
	wireConfig struct {
		MaxOutputTokens    *int64          `json:"maxOutputTokens,omitempty"`
		Temperature        *float64        `json:"temperature,omitempty"`
		TopP               *float64        `json:"topP,omitempty"`
		TopK               *int64          `json:"topK,omitempty"`
		Seed               *int64          `json:"seed,omitempty"`
		PresencePenalty    *float64        `json:"presencePenalty,omitempty"`
		FrequencyPenalty   *float64        `json:"frequencyPenalty,omitempty"`
		StopSequences      []string        `json:"stopSequences,omitempty"`
		ResponseLogprobs   bool            `json:"responseLogprobs,omitempty"`
		Logprobs           int             `json:"logprobs,omitempty"`
		ResponseMimeType   string          `json:"responseMimeType,omitempty"`
		ResponseJSONSchema json.RawMessage `json:"responseJsonSchema,omitempty"`
		Modalities         []string        `json:"responseModalities,omitempty"`
		Image              *wireImage      `json:"imageConfig,omitempty"`
		Thinking           *wireThinking   `json:"thinkingConfig,omitempty"`
	}
	wireThinking struct {
		IncludeThoughts bool   `json:"includeThoughts,omitempty"`
		Budget          *int64 `json:"thinkingBudget,omitempty"`
		Level           string `json:"thinkingLevel,omitempty"`
	}
	wireImage struct {
		AspectRatio string `json:"aspectRatio,omitempty"`
		ImageSize   string `json:"imageSize,omitempty"`
	}
)

// carried is what of a prompt has a counterpart.
var carried = []completion.Feature{
	completion.FeatureTemperature, completion.FeatureTopP, completion.FeatureTopK, completion.FeatureFrequencyPenalty,
	completion.FeaturePresencePenalty, completion.FeatureStop, completion.FeatureSeed, completion.FeatureLogprobs,
	completion.FeatureServiceTier, completion.FeatureReasoningEffort, completion.FeatureReasoningBudget, completion.FeatureTools,
	completion.FeatureToolChoice, completion.FeatureJSONObject, completion.FeatureJSONSchema, completion.FeatureImages,
	completion.FeatureToolImages, completion.FeatureDocuments, completion.FeatureAudio,
}

// skipSignature stands for the signature of a tool call that this provider did not make.
const skipSignature = "skip_thought_signature_validator"

// picture fetches a picture by its address.
type picture func(ctx context.Context, address string) (data []byte, mediaType string, err error)

type encoder struct {
	prompt *completion.Prompt
	o      Options
	model  model
	fetch  picture
	ctx    context.Context //nolint:containedctx // lives as long as one encoding
	w      wireRequest
	// calls are the tool calls, by their ids.
	calls map[string]called
}

// called is a tool call: the function, and its place among all calls.
type called struct {
	name  string
	place int
}

// encode converts a prompt.
func (f *Form) encode(ctx context.Context, p *completion.Prompt, name string) (*encoder, error) {
	e := &encoder{prompt: p, o: f.options, model: modelOf(name), fetch: f.client.ForCall().Picture, ctx: ctx, calls: map[string]called{}}
	if err := provider.Carry(p, e.o.Who, carried...); err != nil {
		return nil, err
	}
	for _, step := range []func() error{e.contents, e.tools, e.config, e.format, e.think, e.tier} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return e, nil
}

func (e *encoder) refuse(param, why string) *fault.Error {
	return provider.Uncarried(e.o.Who, param, why)
}

// body is the request as JSON.
func body(w any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(w); err != nil {
		return nil, completion.ErrUnsupported.Saying("the request cannot be encoded").With("param", "messages").Because(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// settings is the generation config, made when it is first needed.
func (e *encoder) settings() *wireConfig {
	if e.w.Config == nil {
		e.w.Config = &wireConfig{}
	}
	return e.w.Config
}

// contents folds the system's messages into one field, and the others into contents of alternating roles.
func (e *encoder) contents() error {
	for i := range e.prompt.Messages {
		m := &e.prompt.Messages[i]
		at := fmt.Sprintf("messages[%d]", i)
		var err error
		switch m.Role {
		case completion.System:
			err = e.system(at, m)
		case completion.Assistant:
			err = e.assistant(at, m, i)
		case completion.ToolRole:
			err = e.toolAnswer(at, m)
		case completion.User:
			err = e.user(at, m)
		}
		if err != nil {
			return err
		}
	}
	if len(e.w.Contents) == 0 {
		return e.refuse("messages", "it holds nothing but instructions or empty texts")
	}
	return nil
}

func (e *encoder) system(at string, m *completion.Message) error {
	for i, p := range m.Parts {
		if p.Text == "" {
			if p.IsImage() || p.Document != nil || p.Audio != nil {
				return e.refuse(fmt.Sprintf("%s.content[%d]", at, i), "instructions are texts")
			}
			continue
		}
		if e.w.SystemInstruction == nil {
			e.w.SystemInstruction = &wireContent{}
		}
		e.w.SystemInstruction.Parts = append(e.w.SystemInstruction.Parts, wirePart{Text: &p.Text})
	}
	return nil
}

// add puts parts to the conversation. Neighbours of one role are one content; answers of tools begin one
// of their own, since they are counted against the calls before them.
func (e *encoder) add(role string, parts []wirePart) {
	if len(parts) == 0 {
		return
	}
	if last := len(e.w.Contents) - 1; last >= 0 && e.w.Contents[last].Role == role {
		before := e.w.Contents[last].Parts
		if (before[0].FunctionResponse != nil) == (parts[0].FunctionResponse != nil) {
			e.w.Contents[last].Parts = append(before, parts...)
			return
		}
	}
	e.w.Contents = append(e.w.Contents, wireContent{Role: role, Parts: parts})
}

const (
	roleUser  = "user"
	roleModel = "model"
)

func (e *encoder) user(at string, m *completion.Message) error {
	parts, err := e.parts(at, m.Parts)
	e.add(roleUser, parts)
	return err
}

// parts converts content that is not the model's own.
func (e *encoder) parts(at string, content []completion.Part) ([]wirePart, error) {
	var out []wirePart
	for i := range content {
		p := &content[i]
		at := fmt.Sprintf("%s.content[%d]", at, i)
		var part wirePart
		var err error
		switch {
		case p.IsImage():
			part, err = e.image(at, p)
		case p.Document != nil:
			part, err = e.document(at, p.Document)
		case p.Audio != nil:
			part, err = e.audio(at, p.Audio)
		case p.Text == "": // also reasoning, which only the model's own content has
			continue
		default:
			part.Text = &p.Text
		}
		if err != nil {
			return nil, err
		}
		out = append(out, part)
	}
	return out, nil
}

// image takes the bytes along: addresses work with some models only. What lies at Google is named.
func (e *encoder) image(at string, p *completion.Part) (wirePart, error) {
	if p.ImageData != nil {
		return wirePart{InlineData: &wireBlob{p.MediaType, p.ImageData}}, nil
	}
	if e.stored(p.ImageURL) {
		return wirePart{FileData: &wireFile{MimeType: mediaTypeOf(p.ImageURL), FileURI: p.ImageURL}}, nil
	}
	if !strings.HasPrefix(p.ImageURL, "https://") && !strings.HasPrefix(p.ImageURL, "http://") {
		return wirePart{}, e.refuse(at, "the picture's address is not one of the web")
	}
	data, mediaType, err := e.fetch(e.ctx, p.ImageURL)
	if err != nil {
		return wirePart{}, err
	}
	return wirePart{InlineData: &wireBlob{mediaType, data}}, nil
}

// stored reports whether an address is of a file that the provider itself keeps.
func (e *encoder) stored(address string) bool {
	return e.o.Files != "" && strings.HasPrefix(address, e.o.Files)
}

// mediaTypes are by the end of an address, where a file's type is not given.
var mediaTypes = map[string]string{
	"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif", "heic": "image/heic", "heif": "image/heif",
	"pdf": "application/pdf", "txt": "text/plain", "html": "text/html", "csv": "text/csv", "md": "text/markdown",
}

func mediaTypeOf(address string) string {
	end := address[strings.LastIndexByte(address, '.')+1:]
	return mediaTypes[strings.ToLower(end)]
}

func (e *encoder) document(at string, d *completion.Document) (wirePart, error) {
	mediaType := d.MediaType
	if mediaType == "" {
		mediaType = mediaTypeOf(d.Name)
	}
	if mediaType == "" {
		mediaType = mediaTypeOf(d.URL)
	}
	switch {
	case mediaType == "":
		return wirePart{}, e.refuse(at, "its media type is not given")
	case d.Data != nil:
		return wirePart{InlineData: &wireBlob{mediaType, d.Data}}, nil
	case e.stored(d.URL) || strings.HasPrefix(d.URL, "https://"):
		return wirePart{FileData: &wireFile{MimeType: mediaType, FileURI: d.URL}}, nil
	}
	return wirePart{}, e.refuse(at, "the document's address is not one that it reads")
}

func (e *encoder) audio(at string, a *completion.Audio) (wirePart, error) {
	switch a.Format {
	case "wav", "mp3", "aiff", "aac", "ogg", "flac":
		return wirePart{InlineData: &wireBlob{"audio/" + a.Format, a.Data}}, nil
	}
	return wirePart{}, e.refuse(at, "it hears WAV, MP3, AIFF, AAC, OGG and FLAC only")
}

// assistant converts what the model said: texts with the signatures that belong to them, and tool calls.
// The texts of its thoughts are not wanted back.
func (e *encoder) assistant(at string, m *completion.Message, index int) error {
	var out []wirePart
	signature := "" // waits for the text it belongs to
	flush := func() {
		if signature != "" { // it came with an empty text
			out = append(out, wirePart{Text: new(string), ThoughtSignature: signature})
			signature = ""
		}
	}
	for i := range m.Parts {
		p := &m.Parts[i]
		switch {
		case p.IsImage() || p.Document != nil || p.Audio != nil:
			return e.refuse(fmt.Sprintf("%s.content[%d]", at, i), "what the assistant said is texts")
		case p.Reasoning != nil:
			if p.Reasoning.Format == completion.GoogleState && p.Reasoning.Signature != "" {
				flush()
				signature = p.Reasoning.Signature
			}
		case p.Text != "":
			out = append(out, wirePart{Text: &p.Text, ThoughtSignature: signature})
			signature = ""
		}
	}
	flush()
	for i := range m.ToolCalls {
		part, err := e.call(fmt.Sprintf("%s.tool_calls[%d].function.arguments", at, i), &m.ToolCalls[i])
		if err != nil {
			return err
		}
		if i == 0 && part.ThoughtSignature == "" && e.model.signed && e.currentTurn(index) {
			part.ThoughtSignature = skipSignature
		}
		out = append(out, part)
	}
	e.add(roleModel, out)
	return nil
}

// currentTurn reports whether no message of the user comes after a message.
func (e *encoder) currentTurn(index int) bool {
	for _, m := range e.prompt.Messages[index+1:] {
		if m.Role == completion.User {
			return false
		}
	}
	return true
}

func (e *encoder) call(at string, c *completion.ToolCall) (wirePart, error) {
	args := json.RawMessage(strings.TrimSpace(c.Arguments))
	if len(args) == 0 {
		args = json.RawMessage("{}")
	}
	if jsonscan.KindOf(args) != jsonscan.ObjectKind || !json.Valid(args) {
		return wirePart{}, e.refuse(at, "it is not a JSON object")
	}
	e.calls[c.ID] = called{c.Name, len(e.calls)}
	part := wirePart{FunctionCall: &wireCall{Name: c.Name, Args: args}}
	if e.o.CallIDs {
		part.FunctionCall.ID = c.ID
	}
	if c.Format == completion.GoogleState {
		part.ThoughtSignature = c.Signature
	}
	return part, nil
}

// toolAnswer converts the answer of a tool. It is found by the function's name, and among calls of one
// function by its place; so it is put where its call stands.
func (e *encoder) toolAnswer(at string, m *completion.Message) error {
	made, known := e.calls[m.ToolCallID]
	if !known {
		return e.refuse(at+".tool_call_id", "there is no such tool call before it")
	}
	text, media := "", []wirePart(nil)
	for i := range m.Parts {
		p := &m.Parts[i]
		if !p.IsImage() && p.Document == nil && p.Audio == nil {
			text += p.Text
			continue
		}
		at := fmt.Sprintf("%s.content[%d]", at, i)
		if !e.model.pictures {
			return e.refuse(at, "the tools of this model answer with texts only")
		}
		parts, err := e.parts(at, m.Parts[i:i+1])
		if err != nil {
			return err
		}
		media = append(media, parts...)
	}
	key := "output"
	if m.ToolFailed {
		key = "error"
	}
	answer := &wireResponse{Name: made.name, Response: map[string]string{key: text}, Parts: media, place: made.place}
	if e.o.CallIDs {
		answer.ID = m.ToolCallID
	}
	e.add(roleUser, []wirePart{{FunctionResponse: answer}})
	slices.SortStableFunc(e.w.Contents[len(e.w.Contents)-1].Parts, func(a, b wirePart) int {
		return a.FunctionResponse.place - b.FunctionResponse.place
	})
	return nil
}
