package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// loadFile reads the file. It is false if the file could not be read, so that missing keys are no
// news.
func (l *loader) loadFile(flags *flags, src Source) bool {
	path, required := src.File, false
	if v := lookup(src.Environ, envConfig); v != "" {
		path, required = v, true
	}
	if flags.config != "" {
		path, required = flags.config, true
	}
	if path == "" {
		return true
	}
	data, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) && !required {
		return true
	}
	if err != nil {
		l.problem("file", "", "%v", err)
		return false
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return true // empty
	case err != nil:
		l.problem(filepath.Base(path), "", "%s", syntax(err))
		return false
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		l.problem(filepath.Base(path), "", "the file has more than one document")
		return false
	}
	f := &file{loader: l, name: filepath.Base(path)}
	f.group(document.Content[0], l.msg, "")
	return true
}

// syntax returns an error of the YAML reader without what it quotes from the file, which may be a
// secret that begins with a special character.
func syntax(err error) string {
	return quoted.ReplaceAllString(strings.TrimPrefix(err.Error(), "yaml: "), "'…'")
}

var quoted = regexp.MustCompile("'[^']*'|`[^`]*`|\"[^\"]*\"")

type file struct {
	*loader
	name string
}

func (f *file) at(n *yaml.Node) string { return fmt.Sprintf("%s:%d", f.name, n.Line) }

// group reads a mapping whose keys are the fields of m.
func (f *file) group(n *yaml.Node, m protoreflect.Message, prefix string) {
	if n.Tag == "!!null" {
		return
	}
	if n.Kind != yaml.MappingNode {
		group := strings.TrimSuffix(prefix, ".")
		f.problem(f.at(n), group, "must have keys and values")
		f.broken[group] = true
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		field := f.find(m.Descriptor(), name)
		if field == nil {
			f.unknown(name, prefix)
			continue
		}
		path := prefix + string(field.Name())
		switch {
		case seen[path]:
			f.problem(f.at(name), path, "stands here a second time")
		case !f.plain(value, path):
			f.broken[path] = true
		case isGroup(field):
			if value.Tag != "!!null" {
				f.group(value, m.Mutable(field).Message(), path+".")
			}
		case value.Tag != "!!null":
			f.set(f.byName[path], origin{where: f.at(name), as: path}, input{node: value})
		}
		seen[path] = true
	}
}

// find returns the field that a name in the file means: as the contract writes it, or as JSON does.
func (f *file) find(m protoreflect.MessageDescriptor, name *yaml.Node) protoreflect.FieldDescriptor {
	if name.Kind != yaml.ScalarNode {
		return nil
	}
	if field := m.Fields().ByName(protoreflect.Name(name.Value)); field != nil {
		return field
	}
	return m.Fields().ByJSONName(name.Value)
}

func (f *file) unknown(name *yaml.Node, prefix string) {
	if name.Kind != yaml.ScalarNode {
		f.problem(f.at(name), strings.TrimSuffix(prefix, "."), "a key must be a word")
		return
	}
	written := prefix + name.Value
	hint := ""
	if meant := nearest(written, f.groupsAndKeys()); meant != "" {
		hint = "; did you mean " + meant + "?"
	}
	f.problem(f.at(name), written, "unknown key%s", hint)
}

func (f *file) groupsAndKeys() []string {
	var names []string
	for _, k := range f.keys {
		names = append(names, k.name)
		for i := range k.name {
			if k.name[i] == '.' && !slices.Contains(names, k.name[:i]) {
				names = append(names, k.name[:i])
			}
		}
	}
	return names
}

// plain reports whether a value holds neither aliases, whose meaning is elsewhere, nor names twice.
func (f *file) plain(n *yaml.Node, path string) bool {
	if n.Kind == yaml.AliasNode {
		f.problem(f.at(n), path, "aliases are not supported; quote a value that begins with *")
		return false
	}
	seen := map[string]bool{}
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 && f.isMap(path) {
			if seen[child.Value] {
				f.problem(f.at(child), path, "has %q twice", child.Value)
				return false
			}
			seen[child.Value] = true
		}
		if !f.plain(child, path) {
			return false
		}
	}
	return true
}

func (f *file) isMap(path string) bool {
	k := f.byName[path]
	return k != nil && k.field().IsMap()
}
