package config

import (
	"regexp"
	"strings"

	"buf.build/go/protoyaml"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// mask stands where a secret is set.
const mask = "[secret]"

// Print returns the settings in effect as YAML, fit for a log: a secret shows that it is set and no
// more, and so do user and password in an url.
func Print(msg proto.Message) string {
	data, err := protoyaml.MarshalOptions{UseProtoNames: true, Indent: 2}.Marshal(msg)
	if err != nil {
		return "settings cannot be printed\n" // the cause may quote a value
	}
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil || document.Kind == 0 {
		return "settings cannot be printed\n"
	}
	if len(document.Content) > 0 {
		redactNode(document.Content[0], msg.ProtoReflect().Descriptor())
	}
	var b strings.Builder
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(&document); err != nil {
		return "settings cannot be printed\n"
	}
	return b.String()
}

// redactNode hides what must not be seen in the printed fields of m.
func redactNode(n *yaml.Node, m protoreflect.MessageDescriptor) {
	if n.Kind != yaml.MappingNode {
		hideURLs(n)
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		value := n.Content[i+1]
		f := m.Fields().ByTextName(n.Content[i].Value)
		switch {
		case f == nil || redacted(f): // f is always found; if not, say too little
			n.Content[i+1] = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: mask}
		case f.IsMap() && f.MapValue().Message() != nil:
			for j := 1; j < len(value.Content); j += 2 {
				redactNode(value.Content[j], f.MapValue().Message())
			}
		case f.IsList() && f.Message() != nil:
			for _, item := range value.Content {
				redactNode(item, f.Message())
			}
		case isGroup(f):
			redactNode(value, f.Message())
		default:
			hideURLs(value)
		}
	}
}

func hideURLs(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode {
		n.Value = hideURL(n.Value)
	}
	for _, child := range n.Content {
		hideURLs(child)
	}
}

// hideURL hides who logs in to the urls in a text, which may be several with commas. It hides too
// much rather than too little: a password may hold characters that do not belong into an url, and a
// user without a password may be a token.
func hideURL(text string) string {
	starts := append(urlStart.FindAllStringIndex(text, -1), []int{len(text), len(text)})
	var b strings.Builder
	b.WriteString(text[:starts[0][0]])
	for i := range len(starts) - 1 {
		part := text[starts[i][0]:starts[i+1][0]]
		scheme := starts[i][1] - starts[i][0]
		if at := strings.LastIndexByte(part, '@'); at >= scheme {
			part = part[:scheme] + mask + part[at:]
		}
		b.WriteString(secretParameter.ReplaceAllString(part, "${1}"+mask))
	}
	return b.String()
}

var (
	urlStart        = regexp.MustCompile(`[a-zA-Z][a-zA-Z0-9+.-]*://`)
	secretParameter = regexp.MustCompile(`(?i)([?&;][^=&;]*(?:password|passwd|secret|token|key)[^=&;]*=)[^&;\s]*`)
)

// Usage returns a help text: every key with its variable, what it takes, its comment in the contract
// if the binary has it, and its default, which is what msg holds.
func Usage(msg proto.Message) string {
	keys, err := keysOf(msg.ProtoReflect().Descriptor())
	if err != nil {
		return err.Error() + "\n"
	}
	var b strings.Builder
	b.WriteString(`Settings come from the command line (--key=value), the environment, a YAML file and the defaults; the first that has a key wins.

  --config FILE
      the YAML file; also CLAVIGER_CONFIG
  --check
      checks the settings and ends
  --help
      shows this text

`)
	for _, k := range keys {
		writeUsage(&b, k, msg.ProtoReflect())
	}
	return b.String()
}

func writeUsage(b *strings.Builder, k *key, root protoreflect.Message) {
	b.WriteString("  " + k.flag() + "\n")
	f := k.field()
	comment := strings.Join(strings.Fields(f.ParentFile().SourceLocations().ByDescriptor(f).LeadingComments), " ")
	if comment != "" {
		b.WriteString("      " + comment + "\n")
	}
	b.WriteString("      " + k.kind() + "; ")
	switch {
	case k.fileOnly():
		b.WriteString("in the file only")
	case k.secret:
		b.WriteString(k.env() + ", or a file named in " + k.env() + fileEnd)
	default:
		b.WriteString(k.env())
	}
	if text := k.shown(root); text != "" {
		b.WriteString("; default " + text)
	}
	b.WriteString("\n")
}

// shown returns the key's value for a reader, or nothing if it has none.
func (k *key) shown(root protoreflect.Message) string {
	m := root
	for _, f := range k.path[:len(k.path)-1] {
		m = m.Get(f).Message()
	}
	f := k.field()
	if !m.Has(f) {
		return ""
	}
	if k.secret {
		return mask
	}
	alone := m.New()
	alone.Set(f, m.Get(f))
	_, text, _ := strings.Cut(Print(alone.Interface()), ":")
	return strings.Join(strings.Fields(text), " ")
}
