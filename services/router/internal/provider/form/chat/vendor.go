package chat

import (
	"slices"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// Vendor says how a vendor's chat completions differ from OpenAI's. The zero value is the form as
// OpenAI and servers that are compatible with it speak it.
type Vendor struct {
	// Name is what callers know the vendor as.
	Name string

	// MaxTokens is what the vendor calls the bound of the answer, "max_tokens" or "max_completion_tokens";
	// empty goes by the address. Seed is "random_seed" if that is what it calls the seed.
	MaxTokens, Seed string
	// Efforts are the words of reasoning_effort that it knows, from the least; none is all.
	Efforts []string
	// Lacks are the features of a prompt that have no counterpart there.
	Lacks []completion.Feature
	// Of says what is different for a model.
	Of func(model string) Model
	// Extra gives members of the vendor's own, for what the prompt says in OpenAI's words.
	Extra func(model string, p *completion.Prompt) []Member
	// DocumentURLs says that documents go by address, also those of which there are bytes.
	DocumentURLs bool

	// Fields are the edits of a body that passes, by the member's name. Only, if given, are all members
	// that the vendor knows: every other one counts as Refused.
	Fields map[string]Edit
	Only   []string
	// InMessages are the edits of the members of its messages, Roles what roles are called there.
	InMessages map[string]Edit
	Roles      map[string]string
	// ToolID makes an id of another vendor's tool call one that this vendor takes. The same id always
	// becomes the same, so that call and result still belong together.
	ToolID func(id string) string
	// CleanSchemas says that "$schema" in the parameters of tools confuses models, so that it is taken out.
	CleanSchemas bool
	// InlineImages says that pictures are not fetched there, so that the router has to.
	InlineImages bool
	// NoStreamOptions says that usage comes unasked, and that asking is refused.
	NoStreamOptions bool

	// ThinkTags says that thinking stands in the text, between <think> and </think>.
	ThinkTags bool
	// Apart says when reasoning tokens are not part of the completion tokens.
	Apart Apart
	// CachedApart says that cached tokens, if there are more of them than prompt tokens, were not counted in.
	CachedApart bool
	// Cost reads what the vendor says that a call costs from its usage, in billionths of a dollar.
	Cost func(usage []byte) (nano int64, ok bool)
	// Errors are looked through before the common rules; the first that fits decides.
	Errors []Rule
}

// Model is what is different for a model.
type Model struct {
	// Lacks are features that it lacks besides those of the vendor.
	Lacks []completion.Feature
	// FixedSampling says that temperature, top_p and penalties are fixed, and refused if they are given:
	// they are left out.
	FixedSampling bool
	// Efforts are in place of the vendor's; NoEffort says that it takes none at all.
	Efforts  []string
	NoEffort bool
	// History is how its thinking goes back with the conversation.
	History History
	// NeedsReasoning says that an assistant's message with tool calls is refused without its thinking.
	NeedsReasoning bool
}

// Member is a member of a body.
type Member struct {
	Name  string
	Value any
}

// History is how thinking goes back.
type History uint8

// The ways.
const (
	// Forgotten thinking does not go back.
	Forgotten History = iota
	// AsReasoningContent is the member "reasoning_content" of the message.
	AsReasoningContent
	// AsReasoning is the member "reasoning".
	AsReasoning
	// AsParts are parts of the type "thinking" in its content.
	AsParts
)

// Apart says when reasoning tokens are not part of the completion tokens.
type Apart uint8

// The answers.
const (
	// Never is OpenAI's way: they are a part.
	Never Apart = iota
	// ByTotal adds them, unless the total shows that they are a part.
	ByTotal
	// IfMore adds them if there are more of them than completion tokens.
	IfMore
	// Always adds them.
	Always
)

// Edit is what happens to a member of a body that passes.
type Edit struct {
	refused, tidied bool
	to              string
}

// The edits.
var (
	// Dropped members are hints: without them the answer is no other.
	Dropped = Edit{}
	// Refused members are dropped if their value says nothing (null, false, nothing in it, a count of one),
	// and refused by name else.
	Refused = Edit{refused: true}
	// Tidied members are dropped if their value says nothing, and pass else.
	Tidied = Edit{tidied: true}
)

// String says what happens, for the docs.
func (e Edit) String() string {
	switch {
	case e.refused:
		return "refused"
	case e.tidied:
		return "dropped if they say nothing"
	case e.to != "":
		return "becomes `" + e.to + "`"
	}
	return "dropped"
}

// RenamedTo gives a member the vendor's name for it.
func RenamedTo(name string) Edit { return Edit{to: name} }

// Rule gives errors a class.
type Rule struct {
	// Status is the status it must have; 0 is any.
	Status int
	// Words are types or codes of which it must have one, Text what its message must mention one of, in
	// lower case; none is any.
	Words, Text []string
	Class       completion.Class
}

func (r *Rule) fits(e *completion.ProviderError) bool {
	return (r.Status == 0 || r.Status == e.Status) &&
		(len(r.Words) == 0 || slices.Contains(r.Words, e.Type) || slices.Contains(r.Words, e.Code)) &&
		(len(r.Text) == 0 || mentions(e, r.Text...))
}

// Judge gives an error of another form of the vendor's the class that its own words say.
func (v *Vendor) Judge(e *completion.ProviderError) {
	for i := range v.Errors {
		if e.Status != 0 && v.Errors[i].fits(e) {
			e.Class = v.Errors[i].Class
			return
		}
	}
}

// name is what callers know the vendor as.
func (v *Vendor) name() string {
	if v.Name == "" {
		return "OpenAI"
	}
	return v.Name
}

// of is what is different for a model.
func (v *Vendor) of(model string) Model {
	if v.Of == nil {
		return Model{}
	}
	return v.Of(model)
}

// features are all that a prompt of this form can carry. Those that few vendors have are in the Lacks of
// the others.
var features = []completion.Feature{
	completion.FeatureTemperature, completion.FeatureTopP, completion.FeatureTopK, completion.FeatureFrequencyPenalty,
	completion.FeaturePresencePenalty, completion.FeatureStop, completion.FeatureSeed, completion.FeatureLogprobs,
	completion.FeatureVerbosity, completion.FeatureServiceTier, completion.FeatureReasoningEffort,
	completion.FeatureReasoningBudget, completion.FeatureTools, completion.FeatureToolChoice,
	completion.FeatureParallelToolCalls, completion.FeatureJSONObject, completion.FeatureJSONSchema,
	completion.FeatureImages, completion.FeatureDocuments, completion.FeatureAudio, completion.FeatureName,
}

// lacks is what the zero Vendor lacks: OpenAI has no top_k.
var lacks = []completion.Feature{completion.FeatureTopK}

// carried are the features that a model of the vendor carries.
func (v *Vendor) carried(m Model) []completion.Feature {
	missing := v.Lacks
	if v.Name == "" {
		missing = lacks
	}
	return slices.DeleteFunc(slices.Clone(features), func(f completion.Feature) bool {
		return slices.Contains(missing, f) || slices.Contains(m.Lacks, f)
	})
}

// ladder are the efforts from the least.
var ladder = []string{"none", "minimal", "low", "medium", "high", "xhigh", "max"}

// effort is the effort that a prompt asks for, in words that are known.
func effort(p *completion.Prompt, known []string) string {
	asked := p.ReasoningEffort
	if asked == "" && p.ReasoningBudget != nil {
		asked = provider.EffortOf(*p.ReasoningBudget)
	}
	if asked == "" || len(known) == 0 || slices.Contains(known, asked) {
		return asked
	}
	at := slices.Index(ladder, asked)
	if at < 0 {
		return asked // a word of the vendor's own
	}
	best, distance := known[0], len(ladder)
	for _, word := range known {
		if d := slices.Index(ladder, word) - at; max(d, -d) < distance {
			best, distance = word, max(d, -d)
		}
	}
	return best
}
