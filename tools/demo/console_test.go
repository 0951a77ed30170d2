package demo_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/claviger/claviger/tools/demo"
)

func TestStreamedTextIsIndentedAndBrokenBetweenWords(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	err := demo.NewConsole(&out).Step("A step", func(s *demo.Step) error {
		w := s.Writer()
		for _, piece := range []string{"Hel", "lo", " there", ",", " ", strings.Repeat("word ", 20), "end.\nNew", " line"} {
			if _, err := io.WriteString(w, piece); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for line := range strings.Lines(out.String()) {
		if _, after, ok := strings.Cut(line, "│ "); ok {
			text = append(text, strings.TrimSuffix(after, "\n"))
		}
	}
	if got, want := strings.Join(text, "|"), "Hello there, "+strings.TrimSpace(strings.Repeat("word ", 12))+"|"+strings.Repeat("word ", 8)+"end.|New line"; got != want {
		t.Errorf("text\n got %q\nwant %q", got, want)
	}
}

func TestAFailedStepSaysWhy(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	wrong := errors.New("the door is locked")
	if err := demo.NewConsole(&out).Step("A step", func(*demo.Step) error { return wrong }); !errors.Is(err, wrong) {
		t.Fatalf("Step = %v", err)
	}
	if text := out.String(); !strings.Contains(text, "✗") || !strings.Contains(text, "the door is locked") {
		t.Errorf("output:\n%s", text)
	}
}
