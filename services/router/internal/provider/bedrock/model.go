package bedrock

import (
	"regexp"
	"slices"
	"strings"
)

// maker is whose rules a model follows.
type maker uint8

const (
	others maker = iota
	claude
	nova
	nova2
	mistral
	cohere
	llama
	openWeights // OpenAI's that anybody may run
	openAI      // OpenAI's own, which are called in its form
)

// family is what the models whose names begin so can do through Converse. Models that are not in the
// table are taken to do everything: AWS says what they do not.
type family struct {
	prefix string
	maker  maker
	// geos are the prefixes of the inference profiles that exist. Most newer models are called by a
	// profile only; without any the bare name is called.
	geos []string
	// embeds: makes vectors. draws: makes pictures or videos. Neither converses.
	embeds, draws bool
	// What a family cannot do. folds: takes no system prompt, so that it stands before the user's first
	// words. wholeTools: tools, but not in a stream.
	noTools, noImages, noDocuments, folds, wholeTools bool
	// caches: knows cache points; audio and schemas: takes sound, answers by a schema.
	caches, audio, schemas bool
}

var (
	everywhere = []string{"us", "eu", "jp", "apac", "au", "global", "us-gov", "ca"}
	regional   = []string{"us", "eu", "apac", "us-gov"}
	newClaude  = []string{"us", "eu", "jp", "au", "global", "us-gov"}
	american   = []string{"us"}
	atlantic   = []string{"us", "eu"}
)

// families are matched by the longest prefix.
var families = []family{
	{prefix: "anthropic.claude-", maker: claude, geos: newClaude, caches: true, schemas: true},
	{prefix: "anthropic.claude-v2", maker: claude, noTools: true, noImages: true},
	{prefix: "anthropic.claude-instant", maker: claude, noTools: true, noImages: true},
	{prefix: "anthropic.claude-3-", maker: claude, geos: regional, caches: true},
	{prefix: "anthropic.claude-3-haiku", maker: claude},
	{prefix: "anthropic.claude-3-sonnet", maker: claude},
	{prefix: "anthropic.claude-3-5-sonnet-20240620", maker: claude},
	{prefix: "anthropic.claude-sonnet-4-20250514", maker: claude, geos: []string{"us", "eu", "apac", "global"}, caches: true},
	{prefix: "anthropic.claude-opus-4-20250514", maker: claude, geos: american, caches: true},
	{prefix: "anthropic.claude-opus-4-1-20250805", maker: claude, geos: american, caches: true},
	{prefix: "amazon.nova-", maker: nova, geos: regional, caches: true},
	{prefix: "amazon.nova-micro", maker: nova, geos: regional, caches: true, noImages: true, noDocuments: true},
	{prefix: "amazon.nova-premier", maker: nova, geos: american, caches: true},
	{prefix: "amazon.nova-2-", maker: nova2, geos: []string{"us", "eu", "jp", "global"}, caches: true},
	{prefix: "amazon.nova-2-multimodal-embeddings", embeds: true},
	{prefix: "amazon.nova-canvas", draws: true},
	{prefix: "amazon.nova-reel", draws: true},
	{prefix: "amazon.titan-image", draws: true},
	{prefix: "amazon.titan-text", noTools: true, noImages: true, folds: true},
	{prefix: "amazon.titan-embed", embeds: true},
	{prefix: "stability.", draws: true},
	{prefix: "luma.", draws: true},
	{prefix: "twelvelabs.marengo-embed", embeds: true},
	{prefix: "cohere.command", maker: cohere, noImages: true},
	{prefix: "cohere.embed", embeds: true},
	{prefix: "cohere.embed-v4", embeds: true, geos: []string{"us", "eu", "global"}},
	{prefix: "deepseek.", schemas: true, noImages: true},
	{prefix: "deepseek.r1", geos: american, noTools: true, noImages: true},
	{prefix: "meta.llama3-8b", maker: llama, noTools: true, noImages: true},
	{prefix: "meta.llama3-70b", maker: llama, noTools: true, noImages: true},
	{prefix: "meta.llama3-1", maker: llama, geos: american, wholeTools: true, noImages: true},
	{prefix: "meta.llama3-2", maker: llama, geos: atlantic, wholeTools: true},
	{prefix: "meta.llama3-3", maker: llama, geos: american, wholeTools: true, noImages: true},
	{prefix: "meta.llama4", maker: llama, geos: american, wholeTools: true},
	{prefix: "mistral.", maker: mistral, schemas: true},
	{prefix: "mistral.mistral-7b", maker: mistral, folds: true, noTools: true, noImages: true},
	{prefix: "mistral.mixtral-8x7b", maker: mistral, folds: true, noTools: true, noImages: true},
	{prefix: "mistral.pixtral-large", maker: mistral, geos: atlantic, schemas: true},
	{prefix: "mistral.voxtral", maker: mistral, audio: true, schemas: true},
	{prefix: "openai.", maker: openWeights, noImages: true, schemas: true},
	{prefix: "openai.gpt-", maker: openAI},
	{prefix: "openai.gpt-oss", maker: openWeights, noImages: true, schemas: true},
	{prefix: "writer.palmyra", geos: american, noImages: true},
	{prefix: "qwen.", schemas: true},
	{prefix: "moonshotai.", schemas: true},
	{prefix: "minimax.", schemas: true},
	{prefix: "google.", schemas: true},
	{prefix: "nvidia.", schemas: true},
}

// familyOf returns the family of a model by its name without region.
func familyOf(bare string) family {
	var found family
	for _, f := range families {
		if strings.HasPrefix(bare, f.prefix) && len(f.prefix) > len(found.prefix) {
			found = f
		}
	}
	return found
}

// claudes are the irregular spellings of Claude's names, for callers who use Anthropic's. Newer ones are
// spelled alike, after "anthropic.".
var claudes = map[string]string{
	"claude-3-haiku":             "claude-3-haiku-20240307-v1:0",
	"claude-3-haiku-20240307":    "claude-3-haiku-20240307-v1:0",
	"claude-3-5-haiku":           "claude-3-5-haiku-20241022-v1:0",
	"claude-3-5-haiku-20241022":  "claude-3-5-haiku-20241022-v1:0",
	"claude-3-7-sonnet":          "claude-3-7-sonnet-20250219-v1:0",
	"claude-3-7-sonnet-20250219": "claude-3-7-sonnet-20250219-v1:0",
	"claude-sonnet-4-0":          "claude-sonnet-4-20250514-v1:0",
	"claude-sonnet-4-20250514":   "claude-sonnet-4-20250514-v1:0",
	"claude-opus-4-0":            "claude-opus-4-20250514-v1:0",
	"claude-opus-4-20250514":     "claude-opus-4-20250514-v1:0",
	"claude-opus-4-1":            "claude-opus-4-1-20250805-v1:0",
	"claude-opus-4-1-20250805":   "claude-opus-4-1-20250805-v1:0",
	"claude-haiku-4-5":           "claude-haiku-4-5-20251001-v1:0",
	"claude-haiku-4-5-20251001":  "claude-haiku-4-5-20251001-v1:0",
	"claude-sonnet-4-5":          "claude-sonnet-4-5-20250929-v1:0",
	"claude-sonnet-4-5-20250929": "claude-sonnet-4-5-20250929-v1:0",
	"claude-opus-4-5":            "claude-opus-4-5-20251101-v1:0",
	"claude-opus-4-5-20251101":   "claude-opus-4-5-20251101-v1:0",
	"claude-opus-4-6":            "claude-opus-4-6-v1",
}

// model is a model as a call names it.
type model struct {
	family
	// id is what stands in the address: the caller's own spelling, or an inference profile.
	id string
	// bare is the name without region, by which families and tokens are told.
	bare string
}

// modelOf finds the model of a name. A name with a region, or an ARN, is the organization's own choice
// and stays; a bare one becomes the profile that a region calls it by. Listed are the names that the
// credential's last test found, if it did: what is among them goes before what the table says.
func modelOf(name, region string, listed []string) model {
	m := model{id: name, bare: bareName(name)}
	if m.bare != name {
		m.family = familyOf(m.bare)
		return m
	}
	if short, ok := strings.CutPrefix(strings.TrimPrefix(name, "anthropic."), "claude-"); ok {
		m.bare = "claude-" + short
		if spelled, ok := claudes[m.bare]; ok {
			m.bare = spelled
		}
		m.bare = "anthropic." + m.bare
	}
	m.family = familyOf(m.bare)
	m.id = profile(m.family, m.bare, region, listed)
	m.bare = bareName(m.id)
	return m
}

// profile is the name by which a region calls a model.
func profile(f family, bare, region string, listed []string) string {
	candidates := geosOf(region)
	if f.geos != nil || f.prefix == "" {
		for _, geo := range candidates {
			if id := spelled(geo+"."+bare, listed); id != "" {
				return id
			}
		}
	}
	for _, geo := range candidates {
		if slices.Contains(f.geos, geo) {
			return geo + "." + bare
		}
	}
	return bare
}

// version is what ends the names of some models and not of others.
var version = regexp.MustCompile(`^(-[0-9]{8})?(-v[0-9]+(:[0-9]+)?)?$`)

// spelled is how a list spells a name: as it is, or with a date and a version behind it. Empty if it is not
// there.
func spelled(name string, listed []string) string {
	found := ""
	for _, id := range listed {
		if rest, ok := strings.CutPrefix(id, name); ok && version.MatchString(rest) && (found == "" || len(id) < len(found)) {
			found = id
		}
	}
	return found
}

// geosOf are the prefixes of profiles that a region may call, the nearest first.
func geosOf(region string) []string {
	area, rest, _ := strings.Cut(region, "-")
	switch {
	case strings.HasPrefix(region, "us-gov-"):
		return []string{"us-gov"}
	case area == "us":
		return []string{"us", "global"}
	case area == "eu":
		return []string{"eu", "global"}
	case rest == "northeast-1" && area == "ap", rest == "northeast-3" && area == "ap":
		return []string{"jp", "apac", "global"}
	case rest == "southeast-2" && area == "ap", rest == "southeast-4" && area == "ap":
		return []string{"au", "apac", "global"}
	case area == "ap":
		return []string{"apac", "global"}
	case area == "ca":
		return []string{"ca", "global"}
	case area == "cn", area == "eusc": // apart from all others
		return nil
	}
	return []string{"global"}
}

// bareName takes ARN and region off a model's name.
func bareName(name string) string {
	if strings.HasPrefix(name, "arn:") {
		name = name[strings.LastIndexByte(name, '/')+1:]
	}
	if geo, rest, ok := strings.Cut(name, "."); ok && slices.Contains(everywhere, geo) {
		return rest
	}
	return name
}

// claudeName is a Claude's name as Anthropic writes it, without Bedrock's version.
func (m model) claudeName() string {
	name := strings.TrimPrefix(m.bare, "anthropic.")
	if at := strings.LastIndex(name, "-v"); at > 0 && strings.Trim(name[at+2:], "0123456789:") == "" && len(name) > at+2 {
		name = name[:at]
	}
	return name
}

// address is a model's part of a call's address: one segment, with everything escaped that is not plain.
func address(id string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(id) + 8)
	for i := range len(id) {
		c := id[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.', c == '~':
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}
