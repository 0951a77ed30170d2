package chat

import "strings"

const (
	thinkOpens  = "<think>"
	thinkCloses = "</think>"
)

// thinker parts thinking that stands in the text, between <think> and </think> at its beginning, from the
// answer, however both are cut into pieces.
type thinker struct {
	place thinkingPlace
	held  string // which may be part of a mark
}

type thinkingPlace uint8

const (
	beforeAll thinkingPlace = iota
	thinking
	afterThinking // where line breaks are left out
	answering
)

// take parts the next piece of text.
func (t *thinker) take(text string) (answer, thought string) {
	switch t.place {
	case answering:
		return text, ""
	case afterThinking:
		return t.begin(text), ""
	case beforeAll, thinking:
	}
	text = t.held + text
	t.held = ""
	if t.place == beforeAll {
		begun := strings.TrimLeft(text, " \t\r\n")
		if len(begun) < len(thinkOpens) && strings.HasPrefix(thinkOpens, begun) {
			t.held = text
			return "", ""
		}
		if !strings.HasPrefix(begun, thinkOpens) {
			t.place = answering
			return text, ""
		}
		t.place, text = thinking, begun[len(thinkOpens):]
	}
	if end := strings.Index(text, thinkCloses); end >= 0 {
		t.place = afterThinking
		return t.begin(text[end+len(thinkCloses):]), text[:end]
	}
	for n := min(len(thinkCloses)-1, len(text)); n > 0; n-- {
		if strings.HasSuffix(text, thinkCloses[:n]) {
			t.held = text[len(text)-n:]
			return "", text[:len(text)-n]
		}
	}
	return "", text
}

// rest is what was held back when the text ends.
func (t *thinker) rest() (answer, thought string) {
	held := t.held
	t.held = ""
	if t.place == thinking {
		return "", held
	}
	return held, ""
}

// begin leaves the line breaks between thinking and answer out.
func (t *thinker) begin(text string) string {
	text = strings.TrimLeft(text, "\r\n")
	if text != "" {
		t.place = answering
	}
	return text
}
