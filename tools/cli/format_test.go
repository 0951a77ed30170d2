package cli_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/claviger/claviger/tools/cli"
)

func TestMoneyIsExactAndShort(t *testing.T) {
	t.Parallel()
	for nano, want := range map[int64]string{
		0: "$0.00", 1: "$0.000000001", 10: "$0.00000001", 29_100: "$0.0000291", 500_000_000: "$0.50", 1_000_000_000: "$1.00",
		1_234_567_890_123_456_789: "$1,234,567,890.123456789", -2_500_000_000: "-$2.50", 9_223_372_036_854_775_807: "$9,223,372,036.854775807",
		-9_223_372_036_854_775_808: "-$9,223,372,036.854775808",
	} {
		if got := cli.Money(nano); got != want {
			t.Errorf("money(%d) = %q, want %q", nano, got, want)
		}
	}
	if got, want := fmt.Sprintf("%q", cli.Amounts([]string{"$1.00", "unknown", "$0.0025"})), `["$1.00  " "unknown" "$0.0025"]`; got != want {
		t.Errorf("amounts = %s, want %s", got, want)
	}
}

func TestTimesAreReadAtAGlance(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		0: "now", 3 * time.Second: "3 s ago", 90 * time.Second: "1 min ago", 5 * time.Hour: "5 h ago", 72 * time.Hour: "3 days ago",
		-90 * time.Minute: "in 1 h", -90 * 24 * time.Hour: "in 90 days", 100 * 24 * time.Hour: now.Add(-100 * 24 * time.Hour).Local().Format(time.DateOnly),
	} {
		if got := cli.Relative(now.Add(-d), now); got != want {
			t.Errorf("relative(%s before) = %q, want %q", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		363 * time.Microsecond: "363 µs", 139 * time.Millisecond: "139 ms", 1035 * time.Millisecond: "1.03 s", 75 * time.Second: "75.0 s", 3 * time.Minute: "3m0s",
	} {
		if got := cli.Took(d); got != want {
			t.Errorf("took(%d) = %q, want %q", d, got, want)
		}
	}
}

func TestTimesAreWrittenInManyWays(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"now": now, "24h": now.Add(-24 * time.Hour), "7d": now.Add(-7 * 24 * time.Hour), "1d12h": now.Add(-36 * time.Hour), "2w": now.Add(-14 * 24 * time.Hour),
		"2026-11-01": time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), "2026-11-01T08:30": time.Date(2026, 11, 1, 8, 30, 0, 0, time.UTC),
		"2026-11-01T08:30:00+02:00": time.Date(2026, 11, 1, 6, 30, 0, 0, time.UTC),
	} {
		if got, err := cli.Instant(text, now, false); err != nil || !got.Equal(want) {
			t.Errorf("instant(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	if got, err := cli.Instant("90d", now, true); err != nil || !got.Equal(now.Add(90*24*time.Hour)) {
		t.Errorf("instant(90d, forwards) = %v, %v", got, err)
	}
	for _, text := range []string{"", "d", "7", "-7d", "7x", "2026-13-01", "99999999d", "0h"} {
		if got, err := cli.Instant(text, now, false); err == nil {
			t.Errorf("instant(%q) = %v, want an error", text, got)
		}
	}
}

func TestNamesOfOthersCannotMoveTheCursor(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"main": "main", "a\x1b[2Jb": "a�[2Jb", "a\nb": "a b", "a\rb": "a�b", "a\u202eb": "a�b", "a\u009bb": "a�b", "日本": "日本", "e\u0301": "e\u0301",
	} {
		if got := cli.Clean(text); got != want {
			t.Errorf("clean(%q) = %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]int{"abc": 3, "日本": 4, "e\u0301": 1, "": 0} {
		if got := cli.Cells(text); got != want {
			t.Errorf("cells(%q) = %d, want %d", text, got, want)
		}
	}
	for text, want := range map[string]string{"abcdef": "abc…", "abcd": "abcd", "日本語": "日…"} {
		if got := cli.Cut(text, 4); got != want {
			t.Errorf("cut(%q, 4) = %q, want %q", text, got, want)
		}
	}
}

// FuzzWordsAreTakenApartAsBashDoes holds quoting and its reverse together, for any text.
func FuzzWordsAreTakenApartAsBashDoes(f *testing.F) {
	for _, text := range []string{"main", "main key", "it's", `a"b`, "a$b", "ä", `back\slash`, "~x", "a=b:c", "日本"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if text == "" || strings.ContainsAny(text, "\n\r\t\x00") || !utf8.ValidString(text) {
			return // no name has them
		}
		line := "claviger " + cli.Escaped(text)
		words, _, quote := cli.ShellWords(line)
		if len(words) != 2 || words[1] != text || quote != 0 {
			t.Fatalf("%q is taken apart to %q, %q", line, words, quote)
		}
	})
}

func TestBashAgreesAboutQuoting(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"main key", "it's", `a"b`, "a$b;c", "ä&|", `back\slash`, "~x", "a=b:c", "{a,b}", "日本", "!x", "#x", "*"} {
		out, err := exec.CommandContext(t.Context(), "bash", "-c", "printf %s "+cli.Escaped(text)).Output()
		if err != nil || string(out) != text {
			t.Errorf("bash reads %s as %q, %v, want %q", cli.Escaped(text), out, err, text)
		}
	}
}
