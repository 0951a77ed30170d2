package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// money is an amount in US dollars, exact to the billionth, without zeros that say nothing.
func money(nano int64) string {
	sign := ""
	if nano < 0 {
		sign, nano = "-", -nano
	}
	fraction := strings.TrimRight(fmt.Sprintf("%09d", uint64(nano)%1e9), "0")
	for len(fraction) < 2 {
		fraction += "0"
	}
	return sign + "$" + number(int64(uint64(nano)/1e9)) + "." + fraction
}

// amounts are amounts for a column that is aligned at the right: the points stand below each other.
func amounts(texts []string) []string {
	longest := 0
	after := func(text string) int {
		_, fraction, found := strings.Cut(text, ".")
		if !found {
			return -1
		}
		return len(fraction)
	}
	for _, text := range texts {
		longest = max(longest, after(text))
	}
	out := make([]string, len(texts))
	for i, text := range texts {
		out[i] = text
		if n := after(text); n >= 0 {
			out[i] += strings.Repeat(" ", longest-n)
		}
	}
	return out
}

// number is n with separators between thousands.
func number(n int64) string {
	text := strconv.FormatInt(n, 10)
	sign := ""
	if text[0] == '-' {
		sign, text = "-", text[1:]
	}
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return sign + text
}

// share is a part of a whole in percent.
func share(part, whole int64) string {
	if whole == 0 {
		return "0 %"
	}
	text := strconv.FormatFloat(float64(part)/float64(whole)*100, 'f', 1, 64)
	return strings.TrimSuffix(text, ".0") + " %"
}

// took is a duration as it is read at a glance.
func took(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	default:
		return d.Round(time.Second).String()
	}
}

func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

// ago is a moment in words, seen from now.
func ago(at *timestamppb.Timestamp, now time.Time) string {
	if at == nil || at.AsTime().IsZero() {
		return "never"
	}
	return relative(at.AsTime(), now)
}

func relative(at, now time.Time) string {
	d := now.Sub(at)
	form, distance := "%d %s ago", d
	if d < 0 {
		form, distance = "in %d %s", -d
	}
	switch {
	case distance < time.Second:
		return "now"
	case distance < time.Minute:
		return fmt.Sprintf(form, int(distance.Seconds()), "s")
	case distance < time.Hour:
		return fmt.Sprintf(form, int(distance.Minutes()), "min")
	case distance < 48*time.Hour:
		return fmt.Sprintf(form, int(distance.Hours()), "h")
	case distance < 60*24*time.Hour, d < 0 && distance < 400*24*time.Hour:
		return fmt.Sprintf(form, int((distance+12*time.Hour).Hours()/24), "days")
	default:
		return at.Local().Format(time.DateOnly)
	}
}

// moment is a time with its distance.
func moment(at *timestamppb.Timestamp, now time.Time) string {
	if at == nil {
		return ""
	}
	return at.AsTime().Local().Format("2006-01-02 15:04:05 MST") + ", " + ago(at, now)
}

// word is an enum value as people say it: "quota exhausted" of CREDENTIAL_STATE_QUOTA_EXHAUSTED.
func word(value interface {
	protoreflect.Enum
	String() string
},
) string {
	prefix := string(value.Descriptor().Values().Get(0).Name())
	prefix = strings.TrimSuffix(prefix, "UNSPECIFIED")
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(value.String(), prefix), "_", " "))
}

// enumOf is the enum value that a word names, the reverse of word. It is 0 for none.
func enumOf[E ~int32](values map[string]int32, prefix, name string) E {
	return E(values[prefix+strings.ToUpper(strings.NewReplacer("-", "_", " ", "_").Replace(name))])
}

// instant reads a point in time: a distance from now such as "24h" or "7d", a date, or a date and a time.
func instant(text string, now time.Time, forwards bool) (time.Time, error) {
	if text == "now" {
		return now, nil
	}
	if d, ok := distance(text); ok {
		if forwards {
			return now.Add(d), nil
		}
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if at, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return at, nil
		}
	}
	return time.Time{}, usagef("%q is no time: write 30m, 24h, 7d, 2w, 2026-11-01, 2026-11-01T08:30 or 2026-11-01T08:30:00Z", text)
}

// distance reads "90s", "30m", "24h", "7d", "2w" and sums of them such as "1d12h".
func distance(text string) (time.Duration, bool) {
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	var sum time.Duration
	for text != "" {
		digits := 0
		for digits < len(text) && text[digits] >= '0' && text[digits] <= '9' {
			digits++
		}
		if digits == 0 || digits > 6 || digits == len(text) {
			return 0, false
		}
		n, err := strconv.Atoi(text[:digits])
		unit, known := units[text[digits]]
		if err != nil || !known {
			return 0, false
		}
		sum += time.Duration(n) * unit
		text = text[digits+1:]
	}
	return sum, sum > 0
}

// quoted is a word as a shell takes it.
func quoted(text string) string {
	safe := func(r rune) bool {
		return r == '-' || r == '_' || r == '.' || r == '@' || r == ':' || r == '/' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	}
	if text != "" && strings.IndexFunc(text, func(r rune) bool { return !safe(r) }) < 0 {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
