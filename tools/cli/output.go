package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"golang.org/x/term"
	"golang.org/x/text/width"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// The forms of output.
const (
	outputJSON = "json"
	outputYAML = "yaml"
)

// structured reports whether a program reads the output.
func (t *terminal) structured() bool { return t.Output == outputJSON || t.Output == outputYAML }

// field is something that is added to a message's JSON.
type field struct {
	name  string
	value any
}

// emit prints a message for programs: in JSON it is one line, the same object as in the API's own JSON.
func (t *terminal) emit(m proto.Message, extra ...field) error {
	raw, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return err
	}
	var line bytes.Buffer
	if err := json.Compact(&line, raw); err != nil { // protojson varies its spaces on purpose
		return err
	}
	for _, f := range extra {
		value, err := marshal(f.value)
		if err != nil {
			return err
		}
		line.Truncate(line.Len() - 1)
		if line.Len() > 1 {
			line.WriteByte(',')
		}
		fmt.Fprintf(&line, "%q:%s}", f.name, value)
	}
	return t.emitJSON(line.Bytes())
}

// marshal is the compact JSON of a value, which may be a message.
func marshal(value any) ([]byte, error) {
	m, ok := value.(proto.Message)
	if !ok {
		return json.Marshal(value)
	}
	raw, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	var compact bytes.Buffer
	err = json.Compact(&compact, raw)
	return compact.Bytes(), err
}

// emitValue prints a value of our own for programs.
func (t *terminal) emitValue(value any) error {
	line, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return t.emitJSON(line)
}

func (t *terminal) emitJSON(line []byte) error {
	if t.Output == outputYAML {
		text, err := yaml.JSONToYAML(line)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(t.Out, "---\n%s", text)
		return err
	}
	_, err := t.Out.Write(append(line, '\n'))
	return err
}

// print prints a line for people.
func (t *terminal) print(format string, args ...any) error {
	_, err := fmt.Fprintf(t.Out, format+"\n", args...)
	return err
}

// The styles.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

// styled returns how to style text on w: on terminals only, and not where NO_COLOR is set.
func (t *terminal) styled(w io.Writer) func(style, text string) string {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) || t.env("NO_COLOR") != "" || t.env("TERM") == "dumb" {
		return func(_, text string) string { return text }
	}
	return func(style, text string) string {
		if style == "" || text == "" {
			return text
		}
		return "\x1b[" + style + "m" + text + "\x1b[0m"
	}
}

// width is the room on a line, 0 if there is no end to it because a program or a file reads it.
func (t *terminal) width() int {
	file, ok := t.Out.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return 0
	}
	if columns, err := strconv.Atoi(t.env("COLUMNS")); err == nil && columns > 0 {
		return columns
	}
	columns, _, err := term.GetSize(int(file.Fd()))
	if err != nil || columns <= 0 {
		return 80
	}
	return columns
}

// clean is text as it may stand on a terminal: names come from other people, and control characters in
// them could move the cursor or change what was printed before.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return ' '
		case unicode.IsControl(r), r == utf8.RuneError, unicode.In(r, unicode.Bidi_Control), r == '\u2028', r == '\u2029':
			return '�'
		}
		return r
	}, text)
}

// column is a column of a table.
type column struct {
	title string
	right bool
	// shrink lets long cells be cut on a narrow terminal.
	shrink bool
	// drop lets the column be left out where it does not fit; higher goes first.
	drop int
	// least is the smallest width.
	least int
}

type cell struct{ text, style string }

func plain(text string) cell { return cell{text: text} }

// table is lines of aligned cells.
type table struct {
	columns []column
	rows    [][]cell
}

func (t *table) add(cells ...cell) {
	for i := range cells {
		cells[i].text = clean(cells[i].text)
	}
	t.rows = append(t.rows, cells)
}

// gap is between columns.
const gap = 2

// layout is how wide each column is; -1 is one that is left out.
func (t *table) layout(room int) []int {
	widths := make([]int, len(t.columns))
	for i, c := range t.columns {
		widths[i] = max(cells(c.title), c.least)
		for _, row := range t.rows {
			widths[i] = max(widths[i], cells(row[i].text))
		}
	}
	if room <= 0 {
		return widths
	}
	total := func() int {
		sum := -gap
		for _, w := range widths {
			if w >= 0 {
				sum += w + gap
			}
		}
		return sum
	}
	// Long texts give way to a readable length first, then whole columns do, then texts again.
	t.shrink(widths, total, room, 24)
	for total() > room {
		worst := -1
		for i, c := range t.columns {
			if widths[i] >= 0 && c.drop > 0 && (worst < 0 || c.drop > t.columns[worst].drop) {
				worst = i
			}
		}
		if worst < 0 {
			break
		}
		widths[worst] = -1
	}
	t.shrink(widths, total, room, 6)
	return widths
}

func (t *table) shrink(widths []int, total func() int, room, least int) {
	for total() > room {
		widest := -1
		for i, c := range t.columns {
			if c.shrink && widths[i] > least && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		widths[widest]--
	}
}

// line is one row as it is printed.
func (t *table) line(row []cell, widths []int, style func(style, text string) string) string {
	var b strings.Builder
	pending := 0
	for i, c := range t.columns {
		if widths[i] < 0 {
			continue
		}
		text := cut(row[i].text, widths[i])
		pad := widths[i] - cells(text)
		if c.right {
			pending += pad
			pad = 0
		}
		b.WriteString(strings.Repeat(" ", pending))
		b.WriteString(style(row[i].style, text))
		pending = pad + gap
	}
	return b.String()
}

func (t *table) head() []cell {
	row := make([]cell, len(t.columns))
	for i, c := range t.columns {
		row[i] = cell{c.title, dim}
	}
	return row
}

// printTable prints a table.
func (t *terminal) printTable(tab *table) error {
	style, widths := t.styled(t.Out), tab.layout(t.width())
	for _, row := range append([][]cell{tab.head()}, tab.rows...) {
		if err := t.print("%s", tab.line(row, widths, style)); err != nil {
			return err
		}
	}
	return nil
}

// printFacts prints names with their values, one a line. Values that are empty are left out.
func (t *terminal) printFacts(facts ...[2]string) error {
	longest := 0
	for _, f := range facts {
		longest = max(longest, len(f[0]))
	}
	style := t.styled(t.Out)
	for _, f := range facts {
		if f[1] == "" {
			continue
		}
		if err := t.print("%s  %s", style(dim, fmt.Sprintf("%-*s", longest, f[0])), clean(f[1])); err != nil {
			return err
		}
	}
	return nil
}

// cells is how many cells of a terminal text takes.
func cells(text string) int {
	n := 0
	for _, r := range text {
		n += runeCells(r)
	}
	return n
}

func runeCells(r rune) int {
	if r < 0x300 {
		return 1
	}
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	default:
		return 1
	}
}

// cut shortens text to a number of cells, with "…" in place of what is missing.
func cut(text string, room int) string {
	if cells(text) <= room {
		return text
	}
	var b strings.Builder
	used := 0
	for _, r := range text {
		if used+runeCells(r) > room-1 {
			break
		}
		used += runeCells(r)
		b.WriteRune(r)
	}
	return b.String() + "…"
}
