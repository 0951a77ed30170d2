package cli

import (
	"cmp"
	"context"
	_ "embed" // the scripts
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/claviger/claviger/pkg/keyform"
	"github.com/claviger/claviger/pkg/pricing"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
)

// completeCommand is what the completion scripts call: the shell's name and then, for bash, the line up
// to the cursor and the characters that break words, for others the words up to the cursor.
const completeCommand = "__complete"

// hurry bounds how long a person waits for names from the installation.
const hurry = 1500 * time.Millisecond

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"The shell: bash, zsh or fish."`
}

// Help is the long help.
func (completionCommand) Help() string {
	return `The script completes commands, flags and live names: contexts, credentials, policies, API keys, groups and members.

Put one of these into the start file of your shell:

    source <(claviger completion bash)                 # ~/.bashrc
    source <(claviger completion zsh)                  # ~/.zshrc, after compinit
    claviger completion fish | source                  # ~/.config/fish/config.fish`
}

var (
	//go:embed completion/claviger.bash
	bashScript string
	//go:embed completion/claviger.zsh
	zshScript string
	//go:embed completion/claviger.fish
	fishScript string
)

// Run prints the script.
func (c *completionCommand) Run(t *terminal) error {
	_, err := fmt.Fprint(t.Out, map[string]string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}[c.Shell])
	return err
}

// candidate is something that may stand where the cursor is.
type candidate struct{ value, help string }

// candidates are what may stand where the cursor is.
type candidates struct {
	list []candidate
	// files says that the name of a file belongs there.
	files bool
	// open says that the value goes on after the candidate, as in "openai/gpt-4o-mini=".
	open bool
}

// complete answers a completion script. Whatever goes wrong, it prints nothing and says nothing: a
// person who presses Tab does not want to read errors.
func complete(ctx context.Context, t *terminal, root *kong.Node, args []string) {
	if len(args) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, hurry)
	defer cancel()
	t.Quiet = true
	if args[0] == "bash" {
		if len(args) == 3 {
			completeBash(ctx, t, root, args[1], args[2])
		}
		return
	}
	if len(args) < 3 { // the program's own name and the word at the cursor
		return
	}
	word := args[len(args)-1]
	found := (&completer{t: t}).at(ctx, root, args[2:])
	for _, c := range found.matching(word) {
		fmt.Fprintf(t.Out, "%s\t%s\n", c.value, clean(c.help))
	}
	if found.files {
		fmt.Fprintln(t.Out, ":files")
	}
	if found.open {
		fmt.Fprintln(t.Out, ":open")
	}
}

// completeBash does for bash what others do themselves: it takes the line apart, quotes, and leaves out
// what stands before the last character that breaks words, because bash replaces only what is behind it.
func completeBash(ctx context.Context, t *terminal, root *kong.Node, line, breaks string) {
	words, raw, quote := shellWords(line)
	if len(words) < 2 {
		return
	}
	word := words[len(words)-1]
	found := (&completer{t: t}).at(ctx, root, words[1:])
	matching := found.matching(word)
	for _, c := range matching {
		value := c.value
		if quote == 0 {
			value = escaped(value)
			cut := 0 // bash replaces what follows the last break that is not quoted
			for i := range len(raw) {
				if strings.IndexByte(breaks, raw[i]) >= 0 && raw[i] != '\\' && (i == 0 || raw[i-1] != '\\') {
					cut = i + 1
				}
			}
			if !strings.HasPrefix(value, raw[:cut]) {
				continue
			}
			value = value[cut:]
		}
		fmt.Fprintln(t.Out, value)
	}
	if found.files {
		fmt.Fprintln(t.Out, ":files")
	}
	if found.open {
		fmt.Fprintln(t.Out, ":open")
	}
}

// shellWords takes a line of bash apart as far as completing needs it. raw is the last word as it was
// written, quote the quotation mark that is open in it.
func shellWords(line string) (words []string, raw string, quote byte) {
	var word strings.Builder
	begin, inside := len(line), false
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
			if !inside {
				begin, inside = i, true
			}
		case c == '\\' && quote != '\'' && i+1 < len(line):
			if !inside {
				begin, inside = i, true
			}
			i++
			word.WriteByte(line[i])
		case quote == 0 && (c == ' ' || c == '\t'):
			if inside {
				words = append(words, word.String())
				word.Reset()
			}
			begin, inside = len(line), false
		default:
			if !inside {
				begin, inside = i, true
			}
			word.WriteByte(c)
		}
	}
	return append(words, word.String()), line[begin:], quote
}

// escaped is a word as bash takes it without quotation marks.
func escaped(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r < 0x80 && !strings.ContainsRune("-_./:@=+,%~", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// matching are the candidates that begin as what is written does.
func (c *candidates) matching(word string) []candidate {
	return slices.DeleteFunc(c.list, func(c candidate) bool {
		return !strings.HasPrefix(c.value, word) || strings.ContainsAny(c.value, "\n\t\r")
	})
}

// completer finds candidates in the parser's own model, so that they never differ from what it takes.
type completer struct {
	t *terminal
	// given are the flags before the cursor.
	given map[string]bool
	// word is the value at the cursor, as far as it is written.
	word string
}

// at returns what may stand at the place of the last word.
func (c *completer) at(ctx context.Context, node *kong.Node, words []string) *candidates {
	c.given = map[string]bool{}
	last := words[len(words)-1]
	c.word = last
	positional, ended := 0, false
	var waiting *kong.Flag
	for _, word := range words[:len(words)-1] {
		switch {
		case node.Passthrough:
			return &candidates{files: true}
		case waiting != nil:
			c.take(waiting, word)
			waiting = nil
		case word == "--" && !ended:
			ended = true
		case strings.HasPrefix(word, "-") && len(word) > 1 && !ended:
			waiting = c.flag(node, word)
		default:
			if child := childOf(node, word); child != nil && positional == 0 {
				node = child
				continue
			}
			positional++
		}
	}
	switch name, value, isFlag := strings.Cut(last, "="); {
	case node.Passthrough:
		return &candidates{files: true}
	case waiting != nil:
		return c.values(ctx, waiting.Value)
	case !ended && strings.HasPrefix(last, "--") && isFlag:
		flag := findFlag(node, strings.TrimPrefix(name, "--"))
		if flag == nil || flag.IsBool() {
			return &candidates{}
		}
		c.word = value
		found := c.values(ctx, flag.Value)
		for i := range found.list {
			found.list[i].value = name + "=" + found.list[i].value
		}
		return found
	case !ended && strings.HasPrefix(last, "-"):
		return c.flags(node)
	default:
		return c.words(ctx, node, positional)
	}
}

// flag notes a flag that is given. It returns the flag if its value is the next word.
func (c *completer) flag(node *kong.Node, word string) *kong.Flag {
	name, value, inline := strings.Cut(strings.TrimLeft(word, "-"), "=")
	var flag *kong.Flag
	if strings.HasPrefix(word, "--") {
		flag = findFlag(node, name)
	} else if len(name) == 1 {
		flag = findShort(node, rune(name[0]))
	}
	switch {
	case flag == nil || flag.IsBool():
		if flag != nil {
			c.given[flag.Name] = true
		}
		return nil
	case inline:
		c.take(flag, value)
		return nil
	}
	c.given[flag.Name] = true
	return flag
}

func (c *completer) take(flag *kong.Flag, value string) {
	c.given[flag.Name] = true
	if flag.Name == "context" {
		c.t.Context = value
	}
}

func childOf(node *kong.Node, name string) *kong.Node {
	i := slices.IndexFunc(node.Children, func(n *kong.Node) bool { return n.Name == name || slices.Contains(n.Aliases, name) })
	if i < 0 {
		return nil
	}
	return node.Children[i]
}

func eachFlag(node *kong.Node) []*kong.Flag {
	var all []*kong.Flag
	for _, group := range node.AllFlags(false) {
		all = append(all, group...)
	}
	return all
}

func findFlag(node *kong.Node, name string) *kong.Flag {
	for _, f := range eachFlag(node) {
		if f.Name == name {
			return f
		}
	}
	return nil
}

func findShort(node *kong.Node, short rune) *kong.Flag {
	for _, f := range eachFlag(node) {
		if f.Short == short {
			return f
		}
	}
	return nil
}

// flags are the flags that may still be given.
func (c *completer) flags(node *kong.Node) *candidates {
	found := &candidates{}
	for _, f := range eachFlag(node) {
		if !f.Hidden && (!c.given[f.Name] || f.IsSlice()) {
			found.list = append(found.list, candidate{"--" + f.Name, f.Help})
		}
	}
	slices.SortFunc(found.list, func(a, b candidate) int { return cmp.Compare(a.value, b.value) })
	return found
}

// words are the commands below node, or the values of its next argument.
func (c *completer) words(ctx context.Context, node *kong.Node, positional int) *candidates {
	if positional < len(node.Positional) {
		return c.values(ctx, node.Positional[positional])
	}
	found := &candidates{}
	for _, child := range node.Children {
		if !child.Hidden {
			found.list = append(found.list, candidate{child.Name, child.Help})
		}
	}
	return found
}

// values are what a flag or an argument takes.
func (c *completer) values(ctx context.Context, of *kong.Value) *candidates {
	found := &candidates{files: of.Tag.Type == "path" || of.Tag.Type == "existingfile"}
	for _, value := range of.EnumSlice() {
		if value != "" {
			found.list = append(found.list, candidate{value: value})
		}
	}
	add := func(value, help string) { found.list = append(found.list, candidate{value, help}) }
	switch what := of.Tag.Get("complete"); what {
	case "context":
		if file, err := c.t.contextFile(); err == nil {
			if all, err := file.load(); err == nil {
				for _, p := range all.Places {
					add(p.Name, p.Email+" at "+p.Address)
				}
			}
		}
	case "dimension":
		for _, d := range dimensionWords {
			add(d, "")
		}
	case "provider":
		for _, p := range keyform.Providers() {
			add(p, writtenAs[keyform.KindOf(p)])
		}
	case "model", "target":
		c.models(found, what == "target")
	case "route":
		c.models(found, false)
		c.live(ctx, "policy", func(value, help string) { add("policy/"+value, help) })
	case "credential", "key", "policy", "member", "group", "drill":
		c.live(ctx, what, add)
	}
	return found
}

// writtenAs says how credentials of a form are written.
var writtenAs = map[keyform.Kind]string{
	keyform.Key:        "an API key",
	keyform.AzureList:  "a JSON list of deployments",
	keyform.AWSObject:  "a JSON object with a region",
	keyform.GoogleFile: "the JSON file of a service account",
}

// models offers models in steps: there are many.
func (c *completer) models(found *candidates, target bool) {
	model, _, used := strings.Cut(c.word, "=")
	switch {
	case target && used:
		found.list = append(found.list, candidate{model + "=own", "a key of the organization serves"}, candidate{model + "=platform", "a key of the operator serves"}, candidate{model + "=credential:", "one credential serves"})
	case !strings.Contains(c.word, "/"):
		found.open = true
		for _, p := range providers() {
			found.list = append(found.list, candidate{value: p + "/"})
		}
	default:
		found.open = target
		for _, m := range pricing.Book().Models() {
			if target {
				m += "="
			}
			found.list = append(found.list, candidate{value: m})
		}
	}
}

// providers are the slugs of the providers whose models have a price.
func providers() []string {
	var all []string
	for _, m := range pricing.Book().Models() {
		slug, _, _ := strings.Cut(m, "/")
		all = append(all, slug)
	}
	return slices.Compact(all) // the models are sorted
}

// live asks the installation. One that does not answer at once has no names to offer.
func (c *completer) live(ctx context.Context, what string, add func(value, help string)) {
	api, err := c.t.connect()
	if err != nil {
		return
	}
	defer api.close()
	switch what {
	case "credential":
		for o, err := range api.eachCredential(ctx) {
			if err != nil {
				return
			}
			add(o.GetLabel(), o.GetProvider()+", "+word(o.GetState()))
		}
	case "policy":
		for o, err := range api.eachPolicy(ctx) {
			if err != nil {
				return
			}
			add(o.GetName(), strings.Join(lineTexts(specOf(o)), ", then "))
		}
	case "key":
		keys, err := collect(api.eachKey(ctx))
		if err != nil {
			return
		}
		for _, o := range slices.DeleteFunc(keys, func(k *keysv1.ApiKey) bool { return k.GetRevokeTime() != nil }) {
			add(o.GetName(), o.GetId())
		}
	case "group":
		for o, err := range api.eachGroup(ctx) {
			if err != nil {
				return
			}
			add(o.GetName(), o.GetId())
		}
	case "drill":
		for o, err := range api.eachDrill(ctx) {
			if err != nil {
				return
			}
			add(o.GetId(), word(o.GetFault())+", "+ago(o.GetStartTime(), time.Now()))
		}
	case "member":
		for o, err := range api.eachMember(ctx) {
			if err != nil {
				return
			}
			add(o.GetEmail(), word(o.GetRole()))
		}
	}
}
