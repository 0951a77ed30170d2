package cli_test

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/claviger/claviger/tools/cli"
	"github.com/claviger/claviger/tools/seed"
)

// commandOf is the first command of ours in a line of a shell, without what it is piped or written to.
func commandOf(line string) []string {
	words, _, _ := cli.ShellWords(line)
	i := slices.Index(words, "claviger")
	if i < 0 {
		i = slices.IndexFunc(words, func(w string) bool { return strings.HasSuffix(w, "(claviger") || strings.HasSuffix(w, "/claviger") })
	}
	if i < 0 {
		return nil
	}
	var args []string
	for _, word := range words[i+1:] {
		if word == "" || word == "|" || word == ">" || word == ";" || strings.HasPrefix(word, "#") {
			break
		}
		word, ended := strings.CutSuffix(word, ";")
		if !strings.Contains(word, "(") {
			word = strings.TrimSuffix(word, ")")
		}
		if args = append(args, word); ended {
			break
		}
	}
	return args
}

// TestEveryExampleIsACommandThatExists parses each example of the help texts and of the first page.
func TestEveryExampleIsACommandThatExists(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	sources := map[string]string{"README.md": string(readme)}
	var visit func(of reflect.Type)
	visit = func(of reflect.Type) {
		for i := range of.NumField() {
			field := of.Field(i).Type
			if helped, ok := reflect.TypeAssert[interface{ Help() string }](reflect.New(field)); ok {
				sources[field.Name()] = helped.Help()
			}
			if _, isCommand := of.Field(i).Tag.Lookup("cmd"); isCommand {
				visit(field)
			}
		}
	}
	visit(reflect.TypeFor[cli.Commands]())
	examples := 0
	for name, text := range sources {
		for line := range strings.Lines(text) {
			if name == "README.md" && !strings.HasPrefix(line, "claviger ") || name != "README.md" && !regexp.MustCompile(`^    .*claviger `).MatchString(line) {
				continue
			}
			args := commandOf(strings.TrimSpace(line))
			if len(args) == 0 {
				continue
			}
			examples++
			if err := cli.Parses(args); err != nil {
				t.Errorf("%s: claviger %s: %v", name, strings.Join(args, " "), err)
			}
		}
	}
	if examples < 80 {
		t.Errorf("there are %d examples", examples)
	}
}

// TestShownPolicyFilesAreFiles reads the policies that the help and the first page show.
func TestShownPolicyFilesAreFiles(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(readme), "```yaml\n")
	shown, _, _ = strings.Cut(shown, "```")
	_, helped, _ := strings.Cut(cli.PolicyFileHelp, "\n\n")
	for name, text := range map[string]string{"README.md": shown, "help": strings.ReplaceAll("\n"+helped, "\n    ", "\n")} {
		policy, err := seed.ParsePolicy(name, []byte(text))
		if err != nil || policy.Name != "main" || len(policy.Spec.GetGroups()) != 2 {
			t.Errorf("%s: %v, %v\n%s", name, policy, err, text)
		}
	}
}

func TestLiveNamesOfRoutingAreCompleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ready()
	p := w.owner
	p.run("", "group", "create", "research").ok()
	for _, c := range []struct {
		words []string
		want  string
	}{
		{[]string{"group", "get", ""}, "research\t"},
		{[]string{"key", "update", "app", "--group", ""}, "research\t"},
		{[]string{"explain", "policy/"}, "policy/main\topenai/gpt-4o-mini=own"},
		{[]string{"explain", "openai/gpt-4o-m"}, "openai/gpt-4o-mini\t"},
		{[]string{"policy", "create", "x", "--target", "openai/gpt-4o="}, "openai/gpt-4o=credential:\t"},
		{[]string{"policy", "create", "x", "--strategy", ""}, "lowest-cost\t"},
		{[]string{"drill", "start", ""}, "main\topenai"},
		{[]string{"drill", "start", "main", "--fault", ""}, "unauthorized\t"},
		{[]string{"credential", ""}, "promote\t"},
		{[]string{"routing", "update", "--order", ""}, "anthropic\t"},
	} {
		p.run("", append([]string{"__complete", "zsh", "claviger"}, c.words...)...).ok().says(c.want)
	}
}
