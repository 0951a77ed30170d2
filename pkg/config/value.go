package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"buf.build/go/protoyaml"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// input is a value as it was written: a node of the file, or texts from elsewhere.
type input struct {
	node *yaml.Node
	text []string // more than one when a flag was repeated
}

// texts returns all texts in the value.
func (v input) texts() []string {
	if v.node == nil {
		return v.text
	}
	var all []string
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		if n.Kind == yaml.ScalarNode {
			all = append(all, n.Value)
		}
		for _, child := range n.Content {
			walk(child)
		}
	}
	walk(v.node)
	return all
}

// assign reads the value and sets it in the message. It returns what is wrong with it, or nothing.
// Protoyaml does the reading, from a document of this one field, so that a value is written the same
// way everywhere: "30s", "8Gi".
func (k *key) assign(root protoreflect.Message, v input) (wrong string) {
	literal := ""
	if v.node != nil {
		literal = literalOf(v.node)
	} else if literal, wrong = k.literalOfText(v.text); wrong != "" {
		return wrong
	}
	parent := root
	for _, f := range k.path[:len(k.path)-1] {
		parent = parent.Mutable(f).Message()
	}
	f, fresh := k.field(), parent.New()
	document := quote(f.TextName()) + ": " + literal
	if err := protoyaml.Unmarshal([]byte(document), fresh.Interface()); err != nil {
		return k.reason(err)
	}
	if !fresh.Has(f) {
		parent.Clear(f) // zero was written, which may replace a default
		return ""
	}
	parent.Set(f, fresh.Get(f))
	return ""
}

// reason returns why protoyaml did not take the value, without the line it shows.
func (k *key) reason(err error) string {
	if k.secret {
		return "is not " + k.kind() // the causes quote the value
	}
	causes := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		causes = joined.Unwrap()
	}
	var texts []string
	for _, cause := range causes {
		if inner := errors.Unwrap(cause); inner != nil {
			cause = inner
		}
		texts = append(texts, strings.TrimSpace(cause.Error()))
	}
	return "is not " + k.kind() + ": " + strings.Join(texts, "; ")
}

// literalOfText writes texts from a variable or flags as YAML.
func (k *key) literalOfText(texts []string) (literal, wrong string) {
	f := k.field()
	switch {
	case k.fileOnly():
		return "", "can stand in the file only"
	case f.IsMap():
		var entries []string
		for _, item := range split(texts) {
			name, value, ok := strings.Cut(item, "=")
			if !ok {
				return "", "is not " + k.kind()
			}
			entries = append(entries, scalar(f.MapKey(), strings.TrimSpace(name))+": "+scalar(f.MapValue(), strings.TrimSpace(value)))
		}
		return "{" + strings.Join(entries, ", ") + "}", ""
	case f.IsList():
		var items []string
		for _, item := range split(texts) {
			items = append(items, scalar(f, item))
		}
		return "[" + strings.Join(items, ", ") + "]", ""
	}
	return scalar(f, texts[len(texts)-1]), ""
}

func split(texts []string) (items []string) {
	for _, text := range texts {
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				items = append(items, item)
			}
		}
	}
	return items
}

func scalar(f protoreflect.FieldDescriptor, text string) string {
	if isBool(f) && (text == "true" || text == "false") {
		return text
	}
	return quote(text)
}

func isBool(f protoreflect.FieldDescriptor) bool {
	return f.Kind() == protoreflect.BoolKind || f.Message() != nil && f.Message().FullName() == "google.protobuf.BoolValue"
}

// literalOf writes a node of the file as YAML that has one reading only: quoted, in flow style.
func literalOf(n *yaml.Node) string {
	var b strings.Builder
	switch n.Kind {
	case yaml.SequenceNode:
		for i, item := range n.Content {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(literalOf(item))
		}
		return "[" + b.String() + "]"
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(quote(n.Content[i].Value) + ": " + literalOf(n.Content[i+1]))
		}
		return "{" + b.String() + "}"
	case yaml.ScalarNode, yaml.DocumentNode, yaml.AliasNode: // the last two were refused before
	}
	if n.Tag == "!!bool" || n.Tag == "!!null" {
		return strings.ToLower(n.Value)
	}
	return quote(n.Value)
}

// quote writes a text as a JSON string, which is YAML too.
func quote(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		return `""` // a string always marshals
	}
	return string(quoted)
}

// kind says in words what a key takes.
func (k *key) kind() string {
	f := k.field()
	switch {
	case k.fileOnly():
		return "a structure"
	case f.IsMap():
		return "a list like name=value,name=value"
	case f.IsList():
		return "a list, with commas, of " + plural(f)
	}
	return kindOf(f)
}

func kindOf(f protoreflect.FieldDescriptor) string {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return "true or false"
	case protoreflect.StringKind:
		return "a text"
	case protoreflect.BytesKind:
		return "base64"
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return "a number"
	case protoreflect.EnumKind:
		var names []string
		for i := range f.Enum().Values().Len() {
			names = append(names, string(f.Enum().Values().Get(i).Name()))
		}
		return "one of " + strings.Join(names, ", ")
	case protoreflect.MessageKind, protoreflect.GroupKind:
		switch f.Message().Name() {
		case "Duration":
			return `a duration such as "30s"`
		case "Timestamp":
			return `a time such as "2026-11-22T10:00:00Z"`
		case "BoolValue", "StringValue", "BytesValue", "FloatValue", "DoubleValue", "Int32Value", "Int64Value", "UInt32Value", "UInt64Value":
			return kindOf(f.Message().Fields().ByName("value"))
		}
		return "a structure"
	default:
		return "a whole number"
	}
}

func plural(f protoreflect.FieldDescriptor) string {
	if f.Kind() == protoreflect.StringKind {
		return "texts"
	}
	return fmt.Sprintf("values, each %s", kindOf(f))
}
