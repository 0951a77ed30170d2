package demo

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Console prints a story for people: a line per step with the time it took.
type Console struct {
	out   io.Writer
	color bool
	live  bool
}

// NewConsole returns a console on out. Colours and lines that change are for terminals only.
func NewConsole(out io.Writer) *Console {
	terminal := IsTerminal(out)
	_, plain := os.LookupEnv("NO_COLOR")
	return &Console{out: out, color: terminal && !plain, live: terminal}
}

// IsTerminal reports whether somebody reads w as it is written.
func IsTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

const (
	bold  = "1"
	dim   = "2"
	red   = "31"
	green = "32"
	cyan  = "36"
)

func (c *Console) paint(style, text string) string {
	if !c.color || text == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// Title prints a headline.
func (c *Console) Title(title, rest string) {
	fmt.Fprintf(c.out, "\n%s  %s\n\n", c.paint(bold, title), c.paint(dim, rest))
}

// Step is one step of a story while it is told.
type Step struct {
	console *Console
	begun   time.Time
	notes   []string
	// written says that the step has printed text of its own below its name.
	written bool
	name    string
}

// Note adds a line below the step's.
func (s *Step) Note(format string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

// Table adds lines whose parts stand below each other.
func (s *Step) Table(rows [][]string) {
	widths := map[int]int{}
	for _, row := range rows {
		for i, part := range row {
			widths[i] = max(widths[i], len([]rune(part)))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, part := range row {
			line.WriteString(part)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-len([]rune(part))+3))
			}
		}
		s.Note("%s", line.String())
	}
}

// indent is where notes and text begin.
const indent = "             "

// Writer begins a block of text that is printed as it comes, such as an answer that streams.
func (s *Step) Writer() io.Writer {
	s.written = true
	c := s.console
	c.clear()
	fmt.Fprintf(c.out, "  %s          %s\n", c.paint(cyan, "›"), s.name)
	return &block{console: c}
}

// Step runs do and prints how it went.
func (c *Console) Step(name string, do func(*Step) error) error {
	s := &Step{console: c, begun: time.Now(), name: name}
	if c.live {
		fmt.Fprintf(c.out, "  %s          %s", c.paint(dim, "·"), name)
	}
	err := do(s)
	took := duration(time.Since(s.begun))
	if s.written {
		fmt.Fprintln(c.out)
		name = "The answer is whole"
	} else {
		c.clear()
	}
	mark := c.paint(green, "✓")
	if err != nil {
		mark = c.paint(red, "✗")
	}
	fmt.Fprintf(c.out, "  %s %s  %s\n", mark, c.paint(dim, fmt.Sprintf("%7s", took)), name)
	for _, note := range s.notes {
		fmt.Fprintf(c.out, "%s%s\n", indent, c.paint(dim, note))
	}
	if err != nil {
		fmt.Fprintf(c.out, "%s%s\n", indent, c.paint(red, err.Error()))
	}
	return err
}

// clear takes away the line of a step that is under way.
func (c *Console) clear() {
	if c.live {
		fmt.Fprint(c.out, "\r\x1b[2K")
	}
}

// Block prints lines under a headline.
func (c *Console) Block(title string, lines ...string) {
	fmt.Fprintf(c.out, "\n  %s\n", c.paint(bold, title))
	for _, line := range lines {
		fmt.Fprintf(c.out, "    %s\n", line)
	}
}

// Example prints something to copy, without anything that would be copied with it.
func (c *Console) Example(title, text string) {
	fmt.Fprintf(c.out, "\n  %s\n\n%s\n", c.paint(bold, title), strings.TrimRight(text, "\n"))
}

// duration is d as it is read at a glance.
func duration(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return "< 1 ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// block indents text and breaks its lines between words.
type block struct {
	console *Console
	column  int
	space   bool // between the last word and the next
}

const width = 72

// Write prints p.
func (b *block) Write(p []byte) (int, error) {
	for i, line := range strings.Split(string(p), "\n") {
		if i > 0 {
			b.end()
		}
		for word := range strings.SplitAfterSeq(line, " ") {
			b.word(word)
		}
	}
	return len(p), nil
}

func (b *block) word(word string) {
	text := strings.TrimSuffix(word, " ")
	length := len([]rune(text))
	if b.space && b.column+1+length > width {
		b.end()
	}
	if text != "" {
		if b.column == 0 {
			fmt.Fprintf(b.console.out, "%s%s ", indent, b.console.paint(dim, "│"))
		} else if b.space {
			fmt.Fprint(b.console.out, " ")
			b.column++
		}
		fmt.Fprint(b.console.out, text)
		b.column += length
		b.space = false
	}
	b.space = b.space || len(text) < len(word)
}

func (b *block) end() {
	fmt.Fprintln(b.console.out)
	b.column, b.space = 0, false
}
