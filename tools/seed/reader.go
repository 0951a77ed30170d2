package seed

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"buf.build/go/protovalidate"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/claviger/claviger/pkg/spelling"
)

// reader walks the syntax tree of a file and gathers every mistake, where a decoder stops at the first.
type reader struct {
	file     string
	lines    []string
	problems FileError
	warnings []Problem
}

// parse returns the root of the only document in text, nil if it cannot be read.
func (r *reader) parse(text []byte) ast.Node {
	tree, err := parser.ParseBytes(text, 0)
	if err != nil {
		message, at := "this is not YAML", &token.Position{Line: 1, Column: 1}
		if y, ok := errors.AsType[yaml.Error](err); ok {
			message = y.GetMessage()
			if t := y.GetToken(); t != nil && t.Position != nil {
				at = t.Position
			}
		}
		r.problems = append(r.problems, r.problem(at, "%s", message))
		return nil
	}
	if len(tree.Docs) != 1 || tree.Docs[0].Body == nil {
		r.problems = append(r.problems, r.problem(&token.Position{Line: 1, Column: 1}, "the file must hold one YAML document"))
		return nil
	}
	return tree.Docs[0].Body
}

func (r *reader) problem(at *token.Position, format string, args ...any) Problem {
	p := Problem{File: r.file, Line: at.Line, Column: at.Column, Message: fmt.Sprintf(format, args...)}
	if at.Line >= 1 && at.Line <= len(r.lines) {
		p.Source = mask(r.lines[at.Line-1])
	}
	return p
}

func (r *reader) fail(n ast.Node, format string, args ...any) {
	r.problems = append(r.problems, r.problem(position(n), format, args...))
}

func (r *reader) warn(n ast.Node, format string, args ...any) {
	r.warnings = append(r.warnings, r.problem(position(n), format, args...))
}

// position is where a person would look for n: at the first key of a mapping, not at its colon.
func position(n ast.Node) *token.Position {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return n.Values[0].Key.GetToken().Position
		}
	case *ast.MappingValueNode:
		return n.Key.GetToken().Position
	}
	return n.GetToken().Position
}

// field is what may stand under a key.
type field struct {
	read     func(value ast.Node)
	required bool
}

// object reads a mapping: every key once through its field. It returns where each key stands.
func (r *reader) object(n ast.Node, what string, fields map[string]field) map[string]ast.Node {
	mapping, ok := n.(ast.MapNode)
	if !ok {
		r.fail(n, "%s must be an object with %s", what, words(fields))
		return nil
	}
	places := map[string]ast.Node{}
	for i := mapping.MapRange(); i.Next(); {
		key := i.Key()
		name := key.GetToken().Value
		f, known := fields[name]
		if !known {
			if meant := spelling.Nearest(name, slices.Collect(maps.Keys(fields))); meant != "" {
				r.fail(key, "unknown key %q in %s: did you mean %q?", name, what, meant)
			} else {
				r.fail(key, "unknown key %q in %s: it knows %s", name, what, words(fields))
			}
			continue
		}
		places[name] = i.Value()
		if empty(i.Value()) {
			r.fail(key, "%q has no value", name)
			continue
		}
		f.read(i.Value())
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if fields[name].required && places[name] == nil {
			r.fail(n, "%s has no %q", what, name)
		}
	}
	return places
}

func empty(n ast.Node) bool {
	_, null := n.(*ast.NullNode)
	return null
}

func words(fields map[string]field) string {
	names := slices.Sorted(maps.Keys(fields))
	for i, name := range names {
		names[i] = strconv.Quote(name)
	}
	return strings.Join(names, ", ")
}

// list reads a sequence.
func (r *reader) list(n ast.Node, what string, each func(ast.Node)) {
	sequence, ok := n.(*ast.SequenceNode)
	if !ok {
		r.fail(n, "%s must be a list", what)
		return
	}
	for _, item := range sequence.Values {
		each(item)
	}
}

// text reads a string into to. Plain scalars that YAML takes for something else are texts as they
// stand in the file, so a password of digits needs no quotes.
func (r *reader) text(to *string) field {
	return field{read: func(n ast.Node) {
		switch n := n.(type) {
		case *ast.StringNode:
			*to = n.Value
		case *ast.LiteralNode:
			*to = n.Value.Value
		case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
			*to = n.GetToken().Value
		default:
			r.fail(n, "this must be a text")
		}
	}}
}

// number reads a whole number into to.
func (r *reader) number(to *int32) field {
	return field{read: func(n ast.Node) {
		if value, ok := r.whole(n, 32); ok {
			*to = int32(value)
		}
	}}
}

// count is a large whole number.
func (r *reader) count(to *int64) field {
	return field{read: func(n ast.Node) { *to, _ = r.whole(n, 64) }}
}

func (r *reader) whole(n ast.Node, bits int) (int64, bool) {
	value, err := strconv.ParseInt(n.GetToken().Value, 10, bits)
	if _, ok := n.(*ast.IntegerNode); !ok || err != nil {
		r.fail(n, "this must be a whole number")
		return 0, false
	}
	return value, true
}

// decimal reads a number, such as 0.7.
func (r *reader) decimal(to **float64) field {
	return field{read: func(n ast.Node) {
		value, err := strconv.ParseFloat(n.GetToken().Value, 64)
		switch n.(type) {
		case *ast.IntegerNode, *ast.FloatNode:
			if err == nil {
				*to = &value
				return
			}
		default:
		}
		r.fail(n, "this must be a number")
	}}
}

// flag reads true or false.
func (r *reader) flag(to *bool) field {
	return field{read: func(n ast.Node) {
		value, ok := n.(*ast.BoolNode)
		if !ok {
			r.fail(n, "this must be true or false")
			return
		}
		*to = value.Value
	}}
}

// duration reads a time span, such as "250ms" or "1m30s".
func (r *reader) duration(to **durationpb.Duration) field {
	return field{read: func(n ast.Node) {
		value, err := time.ParseDuration(n.GetToken().Value)
		if err != nil {
			r.fail(n, `this must be a time span such as "250ms", "5s" or "1m30s"`)
			return
		}
		*to = durationpb.New(value)
	}}
}

// moment reads a date or a point in time.
func (r *reader) moment(to *time.Time) field {
	return field{read: func(n ast.Node) {
		for _, layout := range []string{time.RFC3339, time.DateOnly} {
			if at, err := time.Parse(layout, n.GetToken().Value); err == nil {
				*to = at
				return
			}
		}
		r.fail(n, `this must be a date such as "2027-01-31", or a time such as "2027-01-31T08:30:00Z"`)
	}}
}

// texts reads a list of texts, or one text.
func (r *reader) texts(what string, to *[]string) field {
	return field{read: func(n ast.Node) {
		var one string
		if _, scalar := n.(ast.ScalarNode); scalar {
			r.text(&one).read(n)
			*to = []string{one}
			return
		}
		*to = []string{}
		r.list(n, what, func(n ast.Node) {
			r.text(&one).read(n)
			*to = append(*to, one)
		})
	}}
}

// choice reads one of several words.
func choice[E any](r *reader, name string, to *E, words map[string]E) field {
	return field{read: func(n ast.Node) {
		value, ok := words[n.GetToken().Value]
		if !ok {
			quoted := slices.Sorted(maps.Keys(words))
			for i, w := range quoted {
				quoted[i] = strconv.Quote(w)
			}
			last := len(quoted) - 1
			r.fail(n, "%s must be %s or %s", name, strings.Join(quoted[:last], ", "), quoted[last])
			return
		}
		*to = value
	}}
}

func required(f field) field {
	f.required = true
	return f
}

// check applies the rules of the contract to what the file will become, so that they are written down
// once. Places are where fields stand, by their path in the message. Fields without a place have been
// reported already.
func (r *reader) check(message proto.Message, places map[string]ast.Node) {
	var invalid *protovalidate.ValidationError
	if err := protovalidate.Validate(message); !errors.As(err, &invalid) {
		return
	}
	for _, v := range invalid.Violations {
		for path := protovalidate.FieldPathString(v.Proto.GetField()); path != ""; path = parent(path) {
			place, known := places[path]
			if !known {
				continue
			}
			if place != nil && !empty(place) {
				r.fail(place, "%s %s", strings.TrimPrefix(lastName(path), "owner_"), v.Proto.GetMessage())
			}
			break
		}
	}
}

// parent is a path without its last part, be that a field or an index.
func parent(path string) string { return path[:max(0, strings.LastIndexAny(path, ".["))] }

// lastName is the last field of a path, without an index.
func lastName(path string) string {
	name := path[strings.LastIndexByte(path, '.')+1:]
	name, _, _ = strings.Cut(name, "[")
	return name
}
