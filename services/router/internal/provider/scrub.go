package provider

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/claviger/claviger/pkg/secret"
)

// maxMessage bounds what a provider's message may take.
const maxMessage = 2 << 10

// keyLike matches what looks like a key, also one of somebody else: providers' own prefixes, what
// follows "Bearer", and long runs of letters and digits.
var keyLike = regexp.MustCompile(`(?i:bearer)\s+[^\s"',;]+|\b(?:sk|pk|rk|clv|gsk|xai|key)[-_][A-Za-z0-9_*.-]{6,}|AIza[A-Za-z0-9_-]{20,}|[A-Za-z0-9+/_]{32,}={0,2}`)

const scrubbed = "[removed]"

// Together is several secrets as one key for Scrub, each on a line of its own.
func Together(secrets ...secret.Text) secret.Text {
	lines := make([]string, len(secrets))
	for i, s := range secrets {
		lines[i] = s.Reveal()
	}
	return secret.New(strings.Join(lines, "\n"))
}

// Scrub takes secrets out of a text that a provider wrote, the call's own key first, and bounds it. A key of
// several secrets has each on a line of its own. What does not print goes before that: else its removal could
// put a key together again.
func Scrub(text string, key secret.Text) string {
	plain := key.Reveal()
	if len(text) > 16*maxMessage { // before the expensive part, and so that no half of a secret is left
		text = text[:16*maxMessage]
		begun := 0
		for line := range strings.SplitSeq(plain, "\n") {
			for n := min(len(line)-1, len(text)); n > begun; n-- {
				if strings.HasSuffix(text, line[:n]) {
					begun = n
				}
			}
		}
		text = text[:len(text)-begun]
	}
	text = printable(text)
	for line := range strings.SplitSeq(plain, "\n") {
		if len(line) >= 4 {
			text = strings.ReplaceAll(text, line, scrubbed)
		}
	}
	return Bounded(keyLike.ReplaceAllLiteralString(text, scrubbed), maxMessage)
}

// holds reports whether one of a key's secrets stands in a text.
func holds(text string, key secret.Text) bool {
	for line := range strings.SplitSeq(key.Reveal(), "\n") {
		if len(line) >= 4 && strings.Contains(text, line) {
			return true
		}
	}
	return false
}

// printable takes out what is no printable UTF-8.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || (r < ' ' && r != '\n' && r != '\t') || r == 0x7f {
			return -1
		}
		return r
	}, text)
}

// Bounded cuts a text to so many bytes, and takes out what is no printable UTF-8.
func Bounded(text string, limit int) string {
	text = printable(text)
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit]
}
