package llmtest

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Script says how a call is answered. The zero value answers a short text.
type Script struct {
	// Tokens is the number of content tokens, one per chunk; Text gives them instead, word by word.
	Tokens int
	Text   string

	// Declared usage. Input is the whole prompt, the other input counts are parts of it. Zero Input
	// is a quarter of the body's bytes. Output replaces the count of what the answer holds.
	Input, Output, Cached, CacheWrite, CacheWrite1h, Reasoning, Audio int
	// Think shows the text of the reasoning tokens too.
	Think bool

	// Tool is the name of a tool to call, Calls how often (default once), with Args.
	Tool, Args string
	Calls      int
	Refusal    bool
	Finish     string

	// Seconds is the length of a film, Polls after how many questions its job is over.
	Seconds, Polls int

	// FirstByte is waited before anything is sent, or before the first event if Early; Delay before
	// each content chunk.
	FirstByte, Delay time.Duration
	Early            bool

	// Error answers with an error; in the stream after At content chunks if InStream.
	Error               Failure
	InStream            bool
	At                  int
	Status              int
	Type, Code, Message string
	RetryAfter          time.Duration
	Echo                bool

	// CutBytes and CutChunks break the connection off; zero never. Reset does so with a TCP reset.
	CutBytes, CutChunks int
	Reset               bool

	NoUsage, NoDone, NoFinish, Hang bool

	// Huge is the size of the first content chunk, Split of each write, Trickle the wait between.
	Huge, Split int
	Trickle     time.Duration
	CRLF, Pings bool

	// Bound binds the states of reasoning (signatures, and what is encrypted) to the key that is called: those
	// of another key are refused.
	Bound bool

	// Objects gives a tool call's arguments as an object, where the vendor may (Mistral).
	Objects bool
}

const prefix = "script:"

// setting is one key of the grammar. Exactly one of its targets is set.
type setting struct {
	key  string
	n    *int
	s    *string
	d    *time.Duration
	flag *bool
}

func (s *Script) settings() []setting {
	return []setting{
		{key: "tokens", n: &s.Tokens},
		{key: "text", s: &s.Text},
		{key: "in", n: &s.Input},
		{key: "out", n: &s.Output},
		{key: "cached", n: &s.Cached},
		{key: "write", n: &s.CacheWrite},
		{key: "write1h", n: &s.CacheWrite1h},
		{key: "reasoning", n: &s.Reasoning},
		{key: "audio", n: &s.Audio},
		{key: "think", flag: &s.Think},
		{key: "tool", s: &s.Tool},
		{key: "args", s: &s.Args},
		{key: "calls", n: &s.Calls},
		{key: "refusal", flag: &s.Refusal},
		{key: "finish", s: &s.Finish},
		{key: "seconds", n: &s.Seconds},
		{key: "polls", n: &s.Polls},
		{key: "first", d: &s.FirstByte},
		{key: "early", flag: &s.Early},
		{key: "delay", d: &s.Delay},
		{key: "error", s: (*string)(&s.Error)},
		{key: "status", n: &s.Status},
		{key: "type", s: &s.Type},
		{key: "code", s: &s.Code},
		{key: "message", s: &s.Message},
		{key: "retry", d: &s.RetryAfter},
		{key: "echo", flag: &s.Echo},
		{key: "cut", n: &s.CutBytes},
		{key: "cutat", n: &s.CutChunks},
		{key: "reset", flag: &s.Reset},
		{key: "nousage", flag: &s.NoUsage},
		{key: "nodone", flag: &s.NoDone},
		{key: "nofinish", flag: &s.NoFinish},
		{key: "hang", flag: &s.Hang},
		{key: "huge", n: &s.Huge},
		{key: "split", n: &s.Split},
		{key: "trickle", d: &s.Trickle},
		{key: "crlf", flag: &s.CRLF},
		{key: "pings", flag: &s.Pings},
		{key: "bound", flag: &s.Bound},
		{key: "objects", flag: &s.Objects},
	}
}

// String builds the script's text form, for a model's name, a message or a key.
func (s Script) String() string {
	var b strings.Builder
	b.WriteString(prefix)
	put := func(key, value string) {
		if b.Len() > len(prefix) {
			b.WriteByte(',')
		}
		b.WriteString(key)
		if value != "" {
			b.WriteByte('=')
			b.WriteString(url.QueryEscape(value))
		}
	}
	for _, set := range s.settings() {
		switch {
		case set.n != nil && *set.n != 0:
			put(set.key, strconv.Itoa(*set.n))
		case set.s != nil && *set.s != "":
			put(set.key, *set.s)
		case set.d != nil && *set.d != 0:
			put(set.key, set.d.String())
		case set.flag != nil && *set.flag:
			put(set.key, "")
		}
	}
	if s.InStream {
		put("at", strconv.Itoa(s.At))
	}
	return b.String()
}

// ParseScript reads the text form, with or without the leading "script:".
func ParseScript(text string) (Script, error) {
	var s Script
	settings := s.settings()
	for field := range strings.SplitSeq(strings.TrimPrefix(text, prefix), ",") {
		key, raw, _ := strings.Cut(field, "=")
		value, err := url.QueryUnescape(raw)
		if err != nil {
			return Script{}, fmt.Errorf("script setting %q: %w", field, err)
		}
		if key == "" && value == "" {
			continue
		}
		if key == "at" {
			s.InStream = true
			if s.At, err = strconv.Atoi(value); err != nil {
				return Script{}, fmt.Errorf("script setting %q: %w", field, err)
			}
			continue
		}
		if err := apply(settings, key, value); err != nil {
			return Script{}, fmt.Errorf("script setting %q: %w", field, err)
		}
	}
	if s.Error != "" {
		if _, known := failures[s.Error]; !known {
			return Script{}, fmt.Errorf("script setting error=%s: no such error", s.Error)
		}
	}
	return s, nil
}

func apply(settings []setting, key, value string) (err error) {
	for _, set := range settings {
		if set.key != key {
			continue
		}
		switch {
		case set.n != nil:
			*set.n, err = strconv.Atoi(value)
			if err == nil && *set.n < 0 {
				err = fmt.Errorf("must not be negative")
			}
		case set.d != nil:
			*set.d, err = time.ParseDuration(value)
		case set.s != nil:
			*set.s = value
		default:
			*set.flag = true
		}
		return err
	}
	return fmt.Errorf("no such setting")
}

// splitScript takes a script out of a text that may hold one, up to the first blank.
func splitScript(text string) (rest, script string, found bool) {
	before, after, found := strings.Cut(text, prefix)
	if !found {
		return text, "", false
	}
	if end := strings.IndexAny(after, " \t\r\n"); end >= 0 {
		after = after[:end]
	}
	return strings.TrimRight(before, "-:/@+ "), after, true
}
