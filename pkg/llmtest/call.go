package llmtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// call is one call while it is answered.
type call struct {
	p      *Provider
	w      http.ResponseWriter
	r      *http.Request
	form   form
	native native // of form other
	job    *mediaJob
	key    string
	model  string
	number int64
	begun  time.Time
	raw    []byte
	body   body
	script Script
	entry  Entry
	usage  Usage
	answer answer
}

// body is what is read of a request; the rest is checked by name only.
type body struct {
	Model               string          `json:"model"`
	Stream              bool            `json:"stream"`
	N                   int             `json:"n"`
	MaxTokens           *int            `json:"max_tokens"`
	MaxCompletionTokens *int            `json:"max_completion_tokens"`
	MaxOutputTokens     *int            `json:"max_output_tokens"`
	Tools               json.RawMessage `json:"tools"`
	ReasoningEffort     string          `json:"reasoning_effort"`
	Messages            json.RawMessage `json:"messages"`
	StreamOptions       *struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
}

// hasTools reports whether tools are given.
func (b *body) hasTools() bool {
	var tools []json.RawMessage
	return json.Unmarshal(b.Tools, &tools) == nil && len(tools) > 0
}

// answer is what a call will say, cut to the maximum of output tokens.
type answer struct {
	words   []string
	refusal bool
	tools   int
	finish  string // in OpenAI's words
}

// generate answers a generation call and keeps its entry.
func (p *Provider) generate(w http.ResponseWriter, r *http.Request, f form, provider string) {
	p.generateBy(w, r, func() *call { return p.newCall(w, r, f, provider) })
}

// generateBy answers the call that begin makes of the headers.
func (p *Provider) generateBy(w http.ResponseWriter, r *http.Request, begin func() *call) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return // the client is gone or far too long
	}
	if p.capture {
		p.mu.Lock()
		p.captured = append(p.captured, Request{Path: r.URL.Path, Header: r.Header.Clone(), Body: raw})
		p.mu.Unlock()
	}
	c := begin()
	c.raw = raw
	problem := c.understand(raw)
	if problem == nil {
		c.prepare(len(raw))
	}
	p.ledger.begin(&c.entry)
	defer func() {
		c.entry.Done, c.entry.Ended = true, p.now()
		c.entry.ClientGone = !c.entry.Complete && r.Context().Err() != nil
		p.ledger.end(&c.entry)
	}()
	if problem != nil {
		c.refuse(*problem)
		return
	}
	c.play()
}

// understand checks the call and finds its script.
func (c *call) understand(raw []byte) *wire {
	unread := c.read(raw) // the model's name stands in the ledger whatever else is wrong
	if problem := c.admit(http.MethodPost); problem != nil {
		return problem
	}
	if unread != nil {
		return unread
	}
	last, problem := c.check(raw)
	if problem != nil {
		return problem
	}
	var err error
	if c.script, err = c.p.find(c, last); err != nil {
		return &wire{status: 400, kind: "invalid_request_error", message: err.Error()}
	}
	return nil
}

// read decodes the body.
func (c *call) read(raw []byte) *wire {
	if c.native != nil {
		problem := c.native.read(c, raw)
		c.entry.Model, c.entry.Streamed = c.model, c.body.Stream
		return problem
	}
	if err := json.Unmarshal(raw, &c.body); err != nil {
		return &wire{status: 400, kind: "invalid_request_error", message: "We could not parse the JSON body of your request. (" + err.Error() + ")"}
	}
	c.model = c.body.Model
	c.entry.Model, c.entry.Streamed = c.model, c.body.Stream
	return nil
}

// check finds what the real API would refuse, and the last user message's text.
func (c *call) check(raw []byte) (last string, _ *wire) {
	if c.native != nil {
		return c.native.check(c, raw)
	}
	if c.form == openAI {
		return c.checkOpenAI()
	}
	return c.checkAnthropic(raw)
}

// prepare decides what the answer says and declares.
func (c *call) prepare(bodyBytes int) {
	s := &c.script
	c.answer = answer{finish: "stop", refusal: s.Refusal}
	switch {
	case s.Tool != "":
		c.answer.tools, c.answer.finish = max(1, s.Calls), "tool_calls"
		c.answer.words = words(s.Text, s.Tokens)
		if s.Text == "" && s.Tokens == 0 {
			c.answer.words = nil
		}
	case s.Refusal && s.Text == "":
		c.answer.words = words("I can not help with that.", s.Tokens)
	default:
		c.answer.words = words(s.Text, s.Tokens)
	}
	if s.Refusal && c.form != openAI {
		c.answer.finish = "content_filter"
	}
	if limit := c.maxOutput(); limit > 0 && s.Reasoning+len(c.answer.words) > limit {
		c.answer.words = c.answer.words[:max(0, limit-s.Reasoning)]
		c.answer.finish = "length"
	}
	if s.Finish != "" {
		c.answer.finish = s.Finish
	}
	c.usage = Usage{
		Input: s.Input, Cached: s.Cached, CacheWrite: s.CacheWrite, CacheWrite1h: s.CacheWrite1h, Audio: s.Audio,
		Output: s.Output, Reasoning: s.Reasoning,
	}
	if c.usage.Input == 0 {
		c.usage.Input = max(1, bodyBytes/4) + s.Cached + s.CacheWrite + s.CacheWrite1h
	}
	if c.usage.Output == 0 {
		c.usage.Output = s.Reasoning + c.choices()*len(c.answer.words) + c.answer.tools*toolTokens
	}
	if d, ok := c.native.(declarer); ok {
		d.declare(c)
	}
	if c.job == nil && !s.NoUsage && (s.Error == "" || s.InStream) {
		declared := c.usage
		c.entry.Declared = &declared
	}
}

// toolTokens is what one tool call is declared to take.
const toolTokens = 12

// choices is how many answers were asked for.
func (c *call) choices() int { return max(1, c.body.N) }

func (c *call) maxOutput() int {
	for _, limit := range []*int{c.body.MaxCompletionTokens, c.body.MaxTokens, c.body.MaxOutputTokens} {
		if limit != nil {
			return *limit
		}
	}
	return 0
}

// story is what a call says when nobody asks for anything else.
var story = strings.SplitAfter("The keeper of the keys opens one door at a time and writes down who went through. ", " ")

// words are the tokens of an answer: those of text, or n of the story.
func words(text string, n int) []string {
	from := story[:len(story)-1]
	if text != "" {
		from = strings.SplitAfter(text, " ")
	}
	if n == 0 || (text != "" && n == len(from)) {
		return from
	}
	out := make([]string, n)
	for i := range out {
		out[i] = from[i%len(from)]
	}
	return out
}

// play answers as the script says.
func (c *call) play() {
	s := &c.script
	if s.Early && c.body.Stream && (s.Error == "" || s.InStream) {
		c.streamHeaders()
		if err := http.NewResponseController(c.w).Flush(); err != nil {
			return
		}
	}
	if s.Hang {
		c.hang()
		return
	}
	if !c.wait(s.FirstByte) {
		return
	}
	if c.foreignState() {
		s.Error, s.InStream = ErrState, false
	}
	if s.Error != "" && !s.InStream {
		c.refuse(c.failure())
		return
	}
	out := newSink(c)
	defer out.release()
	switch {
	case c.body.Stream && c.native != nil:
		c.native.stream(c, out)
	case c.body.Stream && c.form == openAI:
		c.streamOpenAI(out)
	case c.body.Stream:
		c.streamAnthropic(out)
	default:
		c.unary(out)
	}
	c.entry.Bytes = out.sent
	if out.cut {
		c.abort()
	}
}

// unary sends the whole answer.
func (c *call) unary(out *sink) {
	for range len(c.answer.words) { // a streamed answer would have taken as long
		if c.script.Delay == 0 || !c.wait(c.script.Delay) {
			break
		}
	}
	var b []byte
	switch {
	case c.native != nil:
		b = c.native.whole(c)
	case c.form == openAI:
		b = c.wholeOpenAI()
	default:
		b = c.wholeAnthropic()
	}
	c.w.Header().Set("Content-Type", "application/json")
	c.w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	c.entry.Status = http.StatusOK
	c.status(http.StatusOK)
	tokens := c.choices()*len(c.answer.words) + c.answer.tools*toolTokens
	if out.put(b, tokens, !c.script.NoUsage) && out.flush() {
		c.entry.Complete = true
	}
}

// status writes the status line. Sending it twice would be a mistake of this package.
func (c *call) status(code int) { c.w.WriteHeader(code) }

// streamHeaders begins a stream.
func (c *call) streamHeaders() {
	if c.entry.Status != 0 {
		return
	}
	h := c.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	if f, framed := c.native.(framer); framed {
		h.Set("Content-Type", f.mediaType())
	}
	c.entry.Status = http.StatusOK
	c.status(http.StatusOK)
}

// wait is false if the client went away or the server closes.
func (c *call) wait(d time.Duration) bool {
	if d <= 0 {
		return c.r.Context().Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.r.Context().Done():
	case <-c.p.closing:
	}
	return false
}

func (c *call) hang() {
	select {
	case <-c.r.Context().Done():
	case <-c.p.closing:
	}
	if c.entry.Status == 0 { // net/http would answer 200 to whoever still waits
		c.abort()
	}
}

// abort breaks the connection off.
func (c *call) abort() {
	if c.script.Reset {
		if conn, _, err := http.NewResponseController(c.w).Hijack(); err == nil {
			if tcp, ok := conn.(interface{ SetLinger(sec int) error }); ok {
				_ = tcp.SetLinger(0) // a reset instead of a regular end
			}
			_ = conn.Close()
			return
		}
	}
	panic(http.ErrAbortHandler)
}

// id makes an id that no other call of this provider has.
func (c *call) id(prefix string) string {
	return fmt.Sprintf("%s%012x%012x", prefix, c.begun.UnixMicro()&0xffffffffffff, c.number)
}

// commonHeaders are on every answer.
func (c *call) commonHeaders() {
	h := c.w.Header()
	if c.form == openAI {
		h.Set("X-Request-Id", c.entry.RequestID)
		h.Set("Openai-Organization", "org-llmtest")
		h.Set("Openai-Version", "2020-10-01")
		h.Set("Openai-Processing-Ms", "12")
		h.Set("X-Ratelimit-Limit-Requests", "5000")
		h.Set("X-Ratelimit-Remaining-Requests", "4999")
		h.Set("X-Ratelimit-Reset-Requests", "12ms")
		h.Set("X-Ratelimit-Limit-Tokens", "2000000")
		h.Set("X-Ratelimit-Remaining-Tokens", "1999000")
		h.Set("X-Ratelimit-Reset-Tokens", "30ms")
		return
	}
	h.Set("Request-Id", c.entry.RequestID)
	h.Set("Anthropic-Organization-Id", "00000000-0000-4000-8000-000000000000")
	reset := c.begun.Add(time.Second).UTC().Format(time.RFC3339)
	for _, kind := range []string{"Requests", "Input-Tokens", "Output-Tokens", "Tokens"} {
		h.Set("Anthropic-Ratelimit-"+kind+"-Limit", "4000")
		h.Set("Anthropic-Ratelimit-"+kind+"-Remaining", "3999")
		h.Set("Anthropic-Ratelimit-"+kind+"-Reset", reset)
	}
}

// versions of the Anthropic API that exist.
var versions = []string{"2023-06-01", "2026-10-21"}

// version checks the header that Anthropic requires.
func (c *call) version() *wire {
	version := c.r.Header.Get("Anthropic-Version")
	if slices.Contains(versions, version) {
		return nil
	}
	message := "anthropic-version: header is required"
	if version != "" {
		message = fmt.Sprintf("anthropic-version: %q is not a valid version", version)
	}
	return &wire{status: 400, kind: "invalid_request_error", message: message}
}
