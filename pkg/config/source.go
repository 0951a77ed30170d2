package config

import (
	"regexp"
	"slices"
	"strings"
)

// loadEnviron reads the variables. One that is empty counts as not set: that is how compose files
// and charts pass what nobody has chosen.
func (l *loader) loadEnviron(environ []string) {
	taken := map[string]string{} // key name → variable
	for _, variable := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, envPrefix) || value == "" || notOurs(name, value) {
			continue
		}
		k, fromFile := l.byVariable(name)
		if k == nil {
			if name != envConfig {
				l.unknownVariable(name)
			}
			continue
		}
		if other := taken[k.name]; other != "" {
			l.problem(inEnvironment, name, "%s is set too; keep one of them", other)
			continue
		}
		taken[k.name] = name
		if fromFile {
			content, err := readFile(value)
			if err != nil {
				l.broken[k.name] = true
				l.problem(inEnvironment, name, "%v", err)
				continue
			}
			value = strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r")
		}
		l.set(k, origin{where: inEnvironment, as: name}, input{text: []string{value}})
	}
}

// byVariable returns the key that a variable sets, and whether it names a file with the value. A key
// that itself ends with _file comes first.
func (l *loader) byVariable(name string) (k *key, fromFile bool) {
	for _, k := range l.keys {
		if k.env() == name {
			return k, false
		}
	}
	for _, k := range l.keys {
		if k.secret && k.env()+fileEnd == name {
			return k, true
		}
	}
	return nil, false
}

func (l *loader) byFlat(flat string) *key {
	for _, k := range l.keys {
		if k.flat() == flat {
			return k
		}
	}
	return nil
}

func (l *loader) unknownVariable(name string) {
	candidates := []string{envConfig}
	for _, k := range l.keys {
		candidates = append(candidates, k.env())
		if k.secret {
			candidates = append(candidates, k.env()+fileEnd)
		}
	}
	if plain, ok := strings.CutSuffix(name, fileEnd); ok && slices.Contains(candidates, plain) {
		l.problem(inEnvironment, name, "unknown variable; only secrets come from files, this one is %s", plain)
		return
	}
	if meant := nearest(name, candidates); meant != "" {
		l.problem(inEnvironment, name, "unknown variable; did you mean %s?", meant)
		return
	}
	l.problem(inEnvironment, name, "unknown variable")
}

// notOurs reports whether a variable has our prefix by accident: Kubernetes sets some for every
// service in the namespace, such as CLAVIGER_KEYS_PORT_8443_TCP_ADDR for "claviger-keys".
func notOurs(name, value string) bool {
	return strings.HasPrefix(name, envPrefix+"TEST_") || serviceLink.MatchString(name) ||
		strings.HasSuffix(name, "_PORT") && linkValue.MatchString(value)
}

var (
	serviceLink = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)
	linkValue   = regexp.MustCompile(`^(tcp|udp|sctp)://`)
)

func lookup(environ []string, name string) string {
	for _, variable := range environ {
		if n, value, ok := strings.Cut(variable, "="); ok && n == name {
			return value
		}
	}
	return ""
}

// flags are the words of the command line.
type flags struct {
	config      string
	check, help bool
	order       []*key
	values      map[*key][]string
	written     map[*key]string
}

// parseFlags reads the command line: --key=value or --key value, the words of a key joined by any of
// ".", "-" and "_". A boolean key may stand alone.
func (l *loader) parseFlags(args []string) *flags {
	out := &flags{values: map[*key][]string{}, written: map[*key]string{}}
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if !strings.HasPrefix(arg, "-") || strings.Trim(arg, "-") == "" {
			l.problem(onCommandLine, "", "unexpected argument; settings are written --key=value")
			if !strings.Contains(arg, "=") { // else it may hold a value, which may be a secret
				l.problems[len(l.problems)-1].Key = arg
			}
			continue
		}
		name, value, hasValue := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-"), "=")
		next := func() bool {
			if !hasValue && i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
				i++
				value, hasValue = args[i], true
			}
			return hasValue
		}
		k := l.byFlat(flatten(name))
		switch {
		case k != nil && !hasValue && isBool(k.field()) && !k.field().IsList():
			out.add(k, "--"+name, "true")
		case k != nil && next():
			out.add(k, "--"+name, value)
		case k != nil:
			l.broken[k.name] = true
			l.problem(onCommandLine, "--"+name, "needs a value: %s; write --%s=value", k.kind(), name)
		case name == "help" || name == "h":
			out.help = true
		case name == "check":
			out.check = true
		case name == "config" && next() && value != "":
			out.config = value
		case name == "config":
			l.problem(onCommandLine, "--config", "needs the name of a file")
		default:
			l.unknownFlag(name)
			if !hasValue && i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
				i++ // most likely its value
			}
		}
	}
	return out
}

func (f *flags) add(k *key, written, value string) {
	if f.values[k] == nil {
		f.order = append(f.order, k)
	}
	f.values[k] = append(f.values[k], value)
	f.written[k] = written
}

func (l *loader) unknownFlag(name string) {
	candidates := []string{"config", "check", "help"}
	for _, k := range l.keys {
		candidates = append(candidates, k.name)
	}
	if meant := nearest(name, candidates); meant != "" {
		l.problem(onCommandLine, "--"+name, "unknown flag; did you mean --%s?", meant)
		return
	}
	l.problem(onCommandLine, "--"+name, "unknown flag")
}

func (l *loader) loadFlags(f *flags) {
	for _, k := range f.order {
		l.set(k, origin{where: onCommandLine, as: f.written[k]}, input{text: f.values[k]})
	}
}
