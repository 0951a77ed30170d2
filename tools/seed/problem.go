package seed

import (
	"fmt"
	"regexp"
	"strings"
)

// Problem is one mistake of a file, or a warning about it.
type Problem struct {
	File    string
	Line    int
	Column  int
	Message string
	// Source is the line, with whatever may be a secret masked.
	Source string
}

// String is the problem with its place and its line.
func (p Problem) String() string {
	head := fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
	if p.Source == "" {
		return head
	}
	number := fmt.Sprintf("%5d", p.Line)
	return fmt.Sprintf("%s\n%s | %s\n%s | %s^", head, number, p.Source, strings.Repeat(" ", len(number)), strings.Repeat(" ", max(p.Column-1, 0)))
}

// FileError lists every mistake of a file.
type FileError []Problem

// Error lists the mistakes.
func (e FileError) Error() string {
	lines := make([]string, len(e))
	for i, problem := range e {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

var (
	// inline matches what may hold a secret: the text after such a key, but for the other forms.
	inline = regexp.MustCompile(`(?i)((?:secret|password|value)["']?\s*:\s*)([^\s{].*)$`)
	// readable matches lines that begin like ours do; others may be the inside of a long secret.
	readable = regexp.MustCompile(`^\s*(-\s*)*([{\[}\]#]|["']?[A-Za-z_]+["']?\s*:)`)
)

// mask returns a source line as it may be shown.
func mask(line string) string {
	line = strings.ReplaceAll(strings.TrimRight(line, "\r"), "\t", " ")
	if !readable.MatchString(line) {
		return ""
	}
	return inline.ReplaceAllString(line, "${1}[secret]")
}
