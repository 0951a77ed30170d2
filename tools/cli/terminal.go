package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/claviger/claviger/pkg/secret"
)

// common are the flags of every command that talks to an installation.
type common struct {
	Context string `placeholder:"NAME" complete:"context" help:"Context to use instead of the current one; also CLAVIGER_CONTEXT."`
	Output  string `short:"o" enum:"table,json,yaml" default:"table" help:"Form of the output: table, json (one object per line) or yaml."`
	Quiet   bool   `short:"q" help:"Print ids only."`
}

// AfterApply makes the flags known to everything that prints.
func (c *common) AfterApply(t *terminal) error {
	t.common = *c
	return nil
}

// terminal is what a command works with: where it reads and writes, and how.
type terminal struct {
	Streams
	common
	program string
}

// connect returns a client for the context that the person means. The caller closes it.
func (t *terminal) connect() (*client, error) {
	p, err := t.place()
	if err != nil {
		return nil, err
	}
	if p.Session.Empty() {
		return nil, &failure{code: "NOT_SIGNED_IN", message: "you are not signed in to " + p.Name, hint: fmt.Sprintf("claviger sign-in --context %s", quoted(p.Name))}
	}
	if _, err := checkAddress(p.Address, p.Insecure); err != nil { // the file may have been edited
		return nil, err
	}
	return newClient(p), nil
}

// place is the context that the person means.
func (t *terminal) place() (place, error) {
	file, err := t.contextFile()
	if err != nil {
		return place{}, err
	}
	all, err := file.load()
	if err != nil {
		return place{}, err
	}
	name := t.wantedContext()
	if name == "" {
		name = all.Current
	}
	if name == "" {
		return place{}, &failure{code: "NOT_SIGNED_IN", message: "you are not signed in", hint: "claviger sign-in --address https://claviger.example.com --organization acme --email you@acme.example"}
	}
	p, ok := all.find(name)
	if !ok {
		return place{}, unknownContext(name, all)
	}
	return p, nil
}

// wantedContext is the context that was named for this command.
func (t *terminal) wantedContext() string {
	if t.Context != "" {
		return t.Context
	}
	return t.env("CLAVIGER_CONTEXT")
}

func unknownContext(name string, all *contexts) error {
	hint := "there are none: claviger sign-in makes one"
	if names := all.names(); len(names) > 0 {
		hint = "there are: " + strings.Join(names, ", ")
	}
	return &usageError{message: fmt.Sprintf("there is no context %q", name), hint: hint}
}

// note tells the person something beside the output proper. Programs are not told.
func (t *terminal) note(format string, args ...any) {
	if !t.structured() && !t.Quiet {
		fmt.Fprintln(t.Err, clean(fmt.Sprintf(format, args...)))
	}
}

// warn tells something that should not be missed.
func (t *terminal) warn(format string, args ...any) {
	fmt.Fprintf(t.Err, "%s %s\n", t.styled(t.Err)(yellow, "warning:"), clean(fmt.Sprintf(format, args...)))
}

// interactive reports whether somebody can be asked.
func (t *terminal) interactive() bool {
	_, ok := t.keyboard()
	return ok
}

func (t *terminal) keyboard() (*os.File, bool) {
	file, ok := t.In.(*os.File)
	return file, ok && term.IsTerminal(int(file.Fd()))
}

// ask reads one line. hidden does not show what is typed.
func (t *terminal) ask(ctx context.Context, question string, hidden bool) (string, error) {
	keyboard, ok := t.keyboard()
	if !ok {
		return "", errors.New("nobody can be asked")
	}
	fd := int(keyboard.Fd())
	read, prepare := readLine, term.GetState
	if hidden { // before the question appears, so that nothing is shown of who types at once
		read, prepare = readHidden, term.MakeRaw
	}
	before, err := prepare(fd)
	if err != nil {
		return "", err
	}
	fmt.Fprint(t.Err, question)
	type answer struct {
		text string
		err  error
	}
	answered := make(chan answer, 1)
	go func() { // a read from a terminal cannot be interrupted; the process ends soon after
		text, err := read(keyboard)
		answered <- answer{text, err}
	}()
	select {
	case <-ctx.Done():
		err := term.Restore(fd, before)
		fmt.Fprintln(t.Err)
		return "", errors.Join(ctx.Err(), err)
	case a := <-answered:
		if hidden {
			a.err = errors.Join(a.err, term.Restore(fd, before))
			fmt.Fprintln(t.Err)
		}
		if errors.Is(a.err, io.EOF) {
			a.err = &usageError{message: "nothing was entered"}
		}
		return a.text, a.err
	}
}

// readLine reads up to the end of a line and nothing after it.
func readLine(in io.Reader) (string, error) {
	var line strings.Builder
	one := make([]byte, 1)
	for {
		n, err := in.Read(one)
		switch {
		case n == 1 && one[0] == '\n':
			return strings.TrimRight(line.String(), "\r"), nil
		case n == 1:
			line.WriteByte(one[0])
		case err != nil:
			return "", err
		}
	}
}

// readHidden reads a line from a terminal that neither shows nor interprets what is typed.
func readHidden(in io.Reader) (string, error) {
	const (
		interrupt = 3
		end       = 4
		backspace = 8
		eraseLine = 21
		del       = 127
	)
	var line []rune
	keys := bufio.NewReaderSize(oneByte{in}, 1)
	for {
		key, _, err := keys.ReadRune()
		switch {
		case err != nil:
			return "", err
		case key == '\r' || key == '\n' || key == end && len(line) > 0:
			return string(line), nil
		case key == interrupt:
			return "", context.Canceled
		case key == end:
			return "", io.EOF
		case key == backspace || key == del:
			line = line[:max(0, len(line)-1)]
		case key == eraseLine:
			line = line[:0]
		case len(line) < longest:
			line = append(line, key)
		}
	}
}

// oneByte reads byte by byte, so that nothing is taken of what follows a line.
type oneByte struct{ in io.Reader }

// Read reads a byte.
func (o oneByte) Read(p []byte) (int, error) { return o.in.Read(p[:min(1, len(p))]) }

// confirmed asks before something that cannot be undone.
func (t *terminal) confirmed(ctx context.Context, yes bool, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	if yes {
		return nil
	}
	if !t.interactive() {
		return &usageError{message: what + ", and nobody is there to ask", hint: "add --yes if that is meant"}
	}
	answer, err := t.ask(ctx, clean(what)+". Go on? [y/N] ", false)
	if err != nil {
		return err
	}
	if !agreed(answer) {
		return &failure{code: "NOT_CONFIRMED", message: "nothing was done"}
	}
	return nil
}

func agreed(answer string) bool {
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes"
}

// source is where a secret comes from. A secret in an argument would be seen by everybody on the
// machine who lists processes, and would stay in the shell's history.
type source struct {
	what  string // "password", as it is asked for
	flag  string // the flags are --<flag>-stdin and --<flag>-file
	stdin bool
	file  string
	// twice asks again, because a mistake would be noticed late.
	twice bool
}

// longest is the size of the largest secret that any method takes, and a little more.
const longest = 66 << 10

func (t *terminal) secret(ctx context.Context, from source) (secret.Text, error) {
	switch {
	case from.stdin && t.interactive():
		return t.askSecret(ctx, from)
	case from.stdin:
		return readSecret(t.In, from.what, "standard input")
	case from.file != "":
		file, err := os.Open(from.file)
		if err != nil {
			return secret.Text{}, &usageError{message: err.Error()}
		}
		defer file.Close()
		if info, err := file.Stat(); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
			t.warn("others on this machine can read %s (mode %04o)", from.file, info.Mode().Perm())
		}
		return readSecret(file, from.what, from.file)
	case t.interactive():
		return t.askSecret(ctx, from)
	default:
		return secret.Text{}, &usageError{
			message: fmt.Sprintf("the %s is missing, and nobody is there to ask", from.what),
			hint:    fmt.Sprintf("pass it by --%s-stdin or --%s-file FILE", from.flag, from.flag),
		}
	}
}

func (t *terminal) askSecret(ctx context.Context, from source) (secret.Text, error) {
	typed, err := t.ask(ctx, upper(from.what)+": ", true)
	if err != nil {
		return secret.Text{}, err
	}
	if typed == "" {
		return secret.Text{}, &usageError{message: fmt.Sprintf("the %s is empty", from.what)}
	}
	if from.twice {
		again, err := t.ask(ctx, upper(from.what)+", again: ", true)
		if err != nil {
			return secret.Text{}, err
		}
		if again != typed {
			return secret.Text{}, &usageError{message: "the two are not the same"}
		}
	}
	return secret.New(typed), nil
}

func readSecret(in io.Reader, what, name string) (secret.Text, error) {
	text, err := io.ReadAll(io.LimitReader(bufio.NewReader(in), longest+1))
	if err != nil {
		return secret.Text{}, fmt.Errorf("read the %s from %s: %w", what, name, err)
	}
	plain := strings.TrimRight(string(text), "\r\n")
	switch {
	case len(text) > longest:
		return secret.Text{}, &usageError{message: fmt.Sprintf("the %s from %s is too long to be one", what, name)}
	case plain == "":
		return secret.Text{}, &usageError{message: fmt.Sprintf("the %s from %s is empty", what, name)}
	}
	return secret.New(plain), nil
}

// refuseSecretArgument explains why a secret is not taken from the command line. It does not repeat it.
func refuseSecretArgument(what string) error {
	return &usageError{
		message: what + ": secrets are not taken from the command line, where every user of this machine can see them and the shell's history keeps them",
		hint:    "treat it as known to others and replace it; then pass the new one by a -stdin or -file flag, or type it when asked",
	}
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
