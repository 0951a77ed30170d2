package responses

import (
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
)

// Reasons reports whether a model of OpenAI's is a reasoning model, by its name or what an account calls a
// deployment of it: o1 and later of that line, GPT-5 and later.
func Reasons(model string) bool {
	if strings.HasPrefix(model, "gpt-5-chat") {
		return false
	}
	rest, isGPT := strings.CutPrefix(model, "gpt-")
	if !isGPT {
		var isO bool
		if rest, isO = strings.CutPrefix(model, "o"); !isO {
			return false
		}
	}
	digits := 0
	for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
		digits++
	}
	if digits == 0 || digits < len(rest) && rest[digits] != '.' && rest[digits] != '-' {
		return false
	}
	return !isGPT || digits > 1 || rest[0] >= '5'
}

// Only reports whether a model of OpenAI's answers in no other form.
func Only(model string) bool {
	if !Reasons(model) {
		return false
	}
	for _, name := range []string{"gpt-6-cyber", "gpt-6-rosalind"} {
		if strings.HasPrefix(model, name) {
			return true
		}
	}
	for _, part := range []string{"-pro", "-codex", "-deep-research"} {
		if i := strings.Index(model, part); i >= 0 && (i+len(part) == len(model) || model[i+len(part)] == '-') {
			return true
		}
	}
	return false
}

// Preferred decides in which form a conversation is sent to a vendor that has both. What passes keeps its
// form. What is converted becomes a response for models that reason: chat completions refuse tools there
// unless the model does not think, and lose its thoughts between turns. A prompt with something that only
// chat completions have goes there, such as a bound of the answer that is too low for responses. The call
// that comes back decodes its prompt at most once.
func (p *Form) Preferred(call completion.Call) (bool, completion.Call, error) {
	if call.Raw {
		return call.Request.Dialect == completion.OpenAIResponses, call, nil
	}
	if !p.vendor.Reasons(call.Model) {
		return false, call, nil
	}
	prompt, err := call.Prompt()
	if err != nil {
		return false, call, err
	}
	request := *call.Request
	request.Decode = func() (*completion.Prompt, error) { return prompt, nil }
	call.Request = &request
	short := prompt.MaxOutputTokens != nil && *prompt.MaxOutputTokens < minOutputTokens && len(prompt.Tools) == 0
	return Only(call.Model) || !short && p.Carries(prompt), call, nil
}

// minOutputTokens is the least bound of an answer that OpenAI takes in this form.
const minOutputTokens = 16
