package transittest

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/vault/api"
)

// command is one line of a shell block of deploy/vault/README.md. Only the forms that the page uses
// are understood; any other is an error, so that nothing on it goes unchecked.
type command struct {
	line   string
	words  []string       // without flags and fields: "vault", "write", "transit/config/keys"
	flags  []string       // "-f"
	fields map[string]any // "disable_upsert": "true"
	policy string         // the file of a policy
}

// readCommands returns the page's commands up to the section on rotation, for Environment in place
// of "prod".
func readCommands(folder string) ([]command, error) {
	page, err := os.ReadFile(filepath.Join(folder, "README.md"))
	if err != nil {
		return nil, err
	}
	text, _, found := strings.Cut(string(page), "\n## Rotation\n")
	if !found {
		return nil, errors.New("README.md has no section on rotation")
	}
	var commands []command
	for i, part := range strings.Split(text, "\n```") {
		block, shell := strings.CutPrefix(part, "sh\n")
		if i%2 == 0 || !shell { // prose, or the end of a block
			continue
		}
		for line := range strings.Lines(block) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				commands = append(commands, parseCommand(line))
			}
		}
	}
	if len(commands) == 0 {
		return nil, errors.New("README.md has no commands")
	}
	return commands, nil
}

func parseCommand(line string) command {
	c := command{line: line, fields: map[string]any{}}
	text := strings.ReplaceAll(line, "claviger-prod", "claviger-"+Environment)
	if rest, ok := strings.CutPrefix(text, "sed 's/{{environment}}/prod/g' "); ok {
		c.policy, text, _ = strings.Cut(rest, " | ")
	}
	pepper := make([]byte, 32)
	_, _ = rand.Read(pepper)
	text = strings.ReplaceAll(text, "$(openssl rand -base64 32)", base64.StdEncoding.EncodeToString(pepper))
	for word := range strings.FieldsSeq(text) {
		name, value, isField := strings.Cut(word, "=")
		switch {
		case strings.HasPrefix(word, "-") && word != "-":
			c.flags = append(c.flags, word)
		case isField:
			c.fields[name] = value
		default:
			c.words = append(c.words, word)
		}
	}
	return c
}

func (c command) run(client *api.Client, folder string) error {
	if len(c.words) < 3 || c.words[0] != "vault" {
		return errors.New("not understood")
	}
	switch verb, rest := c.words[1], c.words[2:]; {
	case verb == "secrets" && rest[0] == "enable" && len(rest) == 2:
		return c.enable(client, rest[1])
	case verb == "auth" && rest[0] == "enable" && len(rest) == 2:
		return client.Sys().EnableAuthWithOptions(rest[1], &api.EnableAuthOptions{Type: rest[1]})
	case verb == "policy" && rest[0] == "write" && len(rest) == 3 && rest[2] == "-":
		text, err := os.ReadFile(filepath.Join(folder, c.policy))
		if err != nil {
			return err
		}
		return client.Sys().PutPolicy(rest[1], strings.ReplaceAll(string(text), "{{environment}}", Environment))
	case verb == "write" && len(rest) == 1:
		_, err := client.Logical().Write(rest[0], c.fields)
		return err
	case verb == "read" && len(rest) == 1:
		_, err := client.Logical().Read(rest[0])
		return err
	case verb == "kv" && rest[0] == "put" && len(rest) == 2:
		mount, path, _ := strings.Cut(rest[1], "/")
		_, err := client.Logical().Write(mount+"/data/"+path, map[string]any{"data": c.fields})
		return err
	}
	return errors.New("not understood")
}

func (c command) enable(client *api.Client, kind string) error {
	path, input := kind, &api.MountInput{Type: kind}
	for _, flag := range c.flags {
		name, value, _ := strings.Cut(flag, "=")
		switch name {
		case "-path":
			path = value
		case "-version":
			input.Options = map[string]string{"version": value}
		default:
			return fmt.Errorf("flag %s is not understood", name)
		}
	}
	return client.Sys().Mount(path, input)
}
