// Package config reads settings: one proto message per service, filled from a YAML file, the
// environment and the command line, each key by the same name everywhere.
//
// It promises that whoever mistypes something sees every mistake at once, with the place where it
// was made, before anything starts; that no error and no printout holds a secret (a field with
// debug_redact); and that an unknown name is never passed over in silence. Besides, it holds what
// turns settings into keys and TLS identities.
package config

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// What a command line may ask for besides settings. Both are for main to answer, and neither is a
// failure.
var (
	// ErrHelp is returned for --help. Nothing was read.
	ErrHelp = errors.New("help is asked for")
	// ErrCheck is returned for --check when the settings are good.
	ErrCheck = errors.New("the settings are good")
)

// Source says where settings come from, beside the defaults that the message holds already.
type Source struct {
	Args    []string // the command line without the program's name
	Environ []string // as os.Environ returns it
	File    string   // read if it exists and neither --config nor CLAVIGER_CONFIG names another
}

// Load fills msg: the command line wins over the environment, that over the file, and that over what
// msg holds. A key that a source has replaces the whole value; lists and maps are not merged. The
// error, an *Error, lists every mistake; msg must not be used after it.
func Load(msg proto.Message, src Source) error {
	l, err := newLoader(msg)
	if err != nil {
		return err
	}
	flags := l.parseFlags(src.Args)
	if flags.help {
		return ErrHelp
	}
	complete := l.loadFile(flags, src)
	l.loadEnviron(src.Environ)
	l.loadFlags(flags)
	if complete {
		l.validate()
	}
	if err := l.err(); err != nil {
		return err
	}
	if flags.check {
		return ErrCheck
	}
	return nil
}

// Problem is one mistake.
type Problem struct {
	Where string // "keys.yaml:12", "environment", "command line", "not set", or "together" for several keys
	Key   string // as the user writes it there
	What  string // what is wrong
}

// String returns the problem on one line.
func (p Problem) String() string {
	if p.Key == "" {
		return p.Where + ": " + p.What
	}
	return p.Where + ": " + p.Key + ": " + p.What
}

// Error holds every mistake of the settings.
type Error struct{ Problems []Problem }

// Error lists the mistakes, one a line.
func (e *Error) Error() string {
	var b strings.Builder
	if len(e.Problems) == 1 {
		b.WriteString("a mistake in the settings:")
	} else {
		fmt.Fprintf(&b, "%d mistakes in the settings:", len(e.Problems))
	}
	for _, p := range e.Problems {
		b.WriteString("\n  " + p.String())
	}
	return b.String()
}

// The places a mistake can be in, besides a line of the file.
const (
	inEnvironment = "environment"
	onCommandLine = "command line"
	notSet        = "not set"
)

// origin is where the value of a key comes from.
type origin struct{ where, as string }

type loader struct {
	msg      protoreflect.Message
	keys     []*key
	byName   map[string]*key
	origins  map[string]origin // by key name
	problems []Problem
	broken   map[string]bool // names of keys and groups whose value could not be read
	secrets  []string        // texts that no problem may show
}

func newLoader(msg proto.Message) (*loader, error) {
	keys, err := keysOf(msg.ProtoReflect().Descriptor())
	if err != nil {
		return nil, err
	}
	l := &loader{
		msg: msg.ProtoReflect(), keys: keys, byName: map[string]*key{},
		origins: map[string]origin{}, broken: map[string]bool{},
	}
	for _, k := range keys {
		l.byName[k.name] = k
	}
	return l, nil
}

func (l *loader) problem(where, key, format string, args ...any) {
	l.problems = append(l.problems, Problem{Where: where, Key: key, What: fmt.Sprintf(format, args...)})
}

// set gives a key the value that was read, or notes why it could not be read.
func (l *loader) set(k *key, from origin, v input) {
	if k.secret {
		l.secrets = append(l.secrets, v.texts()...)
	}
	l.origins[k.name] = from
	if what := k.assign(l.msg, v); what != "" {
		l.broken[k.name] = true
		l.problem(from.where, from.as, "%s", what)
	}
}

// validate checks the rules of the message, for keys that could be read.
func (l *loader) validate() {
	err := protovalidate.Validate(l.msg.Interface())
	invalid, ok := errors.AsType[*protovalidate.ValidationError](err)
	if !ok {
		if err != nil {
			l.problem("rules", "", "%v", err)
		}
		return
	}
	for _, v := range invalid.Violations {
		path := protovalidate.FieldPathString(v.Proto.GetField())
		if l.isBroken(path) {
			continue
		}
		what := strings.TrimSuffix(v.Proto.GetMessage(), ".")
		if what == "" {
			what = "breaks the rule " + v.Proto.GetRuleId()
		}
		k := l.keyOf(path)
		switch {
		case k == nil && v.Proto.GetRuleId() == "required": // a group of keys, such as tls
			l.problem(notSet, path, "is needed%s", l.groupHint(path))
		case k == nil: // a rule over several keys
			l.problem("together", path, "%s", what)
		case l.origins[k.name] == origin{}:
			if rule := v.Proto.GetRuleId(); rule == "string.min_len" || rule == "required" {
				what = "is needed"
			}
			l.problem(notSet, path, "%s; set %s", what, k.ways())
		default:
			from := l.origins[k.name]
			l.problem(from.where, from.as+strings.TrimPrefix(path, k.name), "%s", what)
		}
	}
}

// keyOf returns the key that a violation is about: the path may go on into its list or map.
func (l *loader) keyOf(path string) *key {
	for name := path; ; {
		if k := l.byName[name]; k != nil {
			return k
		}
		i := strings.LastIndexAny(name, "[.")
		if i <= 0 {
			return nil
		}
		name = name[:i]
	}
}

// isBroken reports whether a path leads to, through or towards something that could not be read.
func (l *loader) isBroken(path string) bool {
	for name := range l.broken {
		if name == path || strings.HasPrefix(path, name+".") || strings.HasPrefix(path, name+"[") || strings.HasPrefix(name, path+".") {
			return true
		}
	}
	return false
}

func (l *loader) groupHint(group string) string {
	for _, k := range l.keys {
		if strings.HasPrefix(k.name, group+".") {
			return "; set its keys, such as " + k.ways()
		}
	}
	return ""
}

// err returns the problems in the order in which a user would look, without secrets.
func (l *loader) err() error {
	if len(l.problems) == 0 {
		return nil
	}
	for i := range l.problems {
		for _, text := range l.secrets {
			if len(text) >= minSecret {
				l.problems[i].What = strings.ReplaceAll(l.problems[i].What, text, mask)
			}
		}
	}
	return &Error{Problems: l.problems}
}

// minSecret is the shortest text that is looked for in problems: hiding every "a" would hide the
// problem too.
const minSecret = 4

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxFile {
		return nil, fmt.Errorf("the file is larger than %d bytes", maxFile)
	}
	data, err := os.ReadFile(path)
	if cause, ok := errors.AsType[*os.PathError](err); ok {
		return nil, fmt.Errorf("%s: %w", path, cause.Err)
	}
	return data, err
}

const maxFile = 1 << 20
