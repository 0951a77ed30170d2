package responses

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// Encoder writes a converted answer as a response, or as the events of its stream. It appends to buffers
// of the caller's, and keeps what came, since the last event of a stream holds the whole answer.
type Encoder struct {
	// requestID is the request's without what marks it as one.
	requestID, model string
	created          time.Time
	echo             echo

	begun  bool
	number int // of the next event
	// items are the items that are done, by their index; nil for those that are not.
	items [][]byte
	open  kind
	// at is the index of the open item, part that of its open part.
	at, part int
	// thought is the text of the open reasoning, as JSON without its quotes; said is the open message.
	thought []byte
	said    message
	// inText and inRefusal say which part of the open message is being written; cited counts its
	// annotations.
	inText, inRefusal bool
	cited             int
	// calls are the function calls, by the index that they have in the answer.
	calls []call
}

var _ dialect.Encoder = (*Encoder)(nil)

// kind is an item that is written piece by piece and ends when another one begins.
type kind uint8

const (
	none kind = iota
	reasoningItem
	messageItem
)

// call is a function call being written. Pieces of several may come by turns.
type call struct {
	at        int // of its item
	id, name  string
	arguments []byte // as they came
	done      bool
}

// NewEncoder returns the writer of one answer: the request, and the slug of the model that serves.
func NewEncoder(req *completion.Request, model string, created time.Time) *Encoder {
	return &Encoder{requestID: strings.TrimPrefix(req.ID, "req_"), model: model, created: created, echo: newEcho(req.Raw)}
}

// echo are members of the request that the response repeats, as they came.
type echo struct {
	instructions, maxOutputTokens, metadata, parallel, reasoning, safety, serviceTier, temperature,
	text, toolChoice, tools, topP, truncation, user []byte
}

func newEcho(body []byte) echo {
	var e echo
	m := jsonscan.Object(body)
	for m.Next() {
		if !jsonscan.Given(m.Value) {
			continue
		}
		for _, known := range [...]struct {
			name string
			into *[]byte
		}{
			{"instructions", &e.instructions},
			{"max_output_tokens", &e.maxOutputTokens},
			{"metadata", &e.metadata},
			{"parallel_tool_calls", &e.parallel},
			{"reasoning", &e.reasoning},
			{"safety_identifier", &e.safety},
			{"service_tier", &e.serviceTier},
			{"temperature", &e.temperature},
			{"text", &e.text},
			{"tool_choice", &e.toolChoice},
			{"tools", &e.tools},
			{"top_p", &e.topP},
			{"truncation", &e.truncation},
			{"user", &e.user},
		} {
			if string(m.Name) == known.name {
				*known.into = oneLine(m.Value)
			}
		}
	}
	return e
}

// oneLine takes the line ends out of a value, which stand between its parts only: an event is one line.
func oneLine(v []byte) []byte {
	if !bytes.ContainsAny(v, "\r\n") {
		return v
	}
	return bytes.Map(func(r rune) rune {
		if r == '\n' || r == '\r' {
			return -1
		}
		return r
	}, v)
}

// appendResponse appends the object around an answer: its status, how it ended, and its items. Usage is
// null where it is not known, or not yet.
func (e *Encoder) appendResponse(dst []byte, status string, items [][]byte, tokens *usage.Tokens) []byte {
	dst = append(dst, `{"id":`...)
	dst = appendID(dst, "resp_", e.requestID, -1)
	dst = append(dst, `,"object":"response","created_at":`...)
	dst = strconv.AppendInt(dst, e.created.Unix(), 10)
	dst = append(dst, `,"status":"`...)
	switch status {
	case "max_output_tokens", "content_filter":
		dst = append(dst, `incomplete","incomplete_details":{"reason":"`...)
		dst = append(dst, status...)
		dst = append(dst, `"}`...)
	default:
		dst = append(dst, status...)
		dst = append(dst, `","incomplete_details":null`...)
	}
	dst = append(dst, `,"error":null,"background":false,"store":false,"previous_response_id":null,"model":`...)
	dst = jsonscan.AppendText(dst, e.model)
	for _, m := range [...]struct {
		name      string
		value     []byte
		otherwise string
	}{
		{`,"instructions":`, e.echo.instructions, "null"},
		{`,"max_output_tokens":`, e.echo.maxOutputTokens, "null"},
		{`,"metadata":`, e.echo.metadata, "{}"},
		{`,"parallel_tool_calls":`, e.echo.parallel, "true"},
		{`,"reasoning":`, e.echo.reasoning, `{"effort":null,"summary":null}`},
		{`,"safety_identifier":`, e.echo.safety, "null"},
		{`,"service_tier":`, e.echo.serviceTier, `"default"`},
		{`,"temperature":`, e.echo.temperature, "1"},
		{`,"text":`, e.echo.text, `{"format":{"type":"text"}}`},
		{`,"tool_choice":`, e.echo.toolChoice, `"auto"`},
		{`,"tools":`, e.echo.tools, "[]"},
		{`,"top_p":`, e.echo.topP, "1"},
		{`,"truncation":`, e.echo.truncation, `"disabled"`},
		{`,"user":`, e.echo.user, "null"},
	} {
		dst = append(dst, m.name...)
		if m.value != nil {
			dst = append(dst, m.value...)
		} else {
			dst = append(dst, m.otherwise...)
		}
	}
	dst = append(dst, `,"output":[`...)
	for i, item := range items {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, item...)
	}
	dst = append(dst, `],"usage":`...)
	if tokens == nil {
		return append(dst, "null}"...)
	}
	return append(appendUsage(dst, tokens), '}')
}

// appendUsage appends the counts as OpenAI names them: cached and reasoning tokens are parts of the totals.
func appendUsage(dst []byte, t *usage.Tokens) []byte {
	half, twelve := t.CacheWrite5m+t.CacheWrite30m, t.CacheWrite1h+t.CacheWrite12h
	for _, m := range [...]struct {
		before string
		n      int64
	}{
		{`{"input_tokens":`, t.InputTotal},
		{`,"input_tokens_details":{"cached_tokens":`, t.CacheRead},
		{`,"cache_write_tokens":`, half + twelve},
		{`},"output_tokens":`, t.OutputTotal},
		{`,"output_tokens_details":{"reasoning_tokens":`, t.Reasoning},
		{`},"total_tokens":`, t.InputTotal + t.OutputTotal},
	} {
		dst = append(dst, m.before...)
		dst = strconv.AppendInt(dst, m.n, 10)
	}
	return append(dst, '}')
}

// ended is the status of an answer that ended so.
func ended(f completion.FinishReason) string {
	switch f {
	case completion.Length:
		return "max_output_tokens"
	case completion.ContentFilter:
		return "content_filter"
	case completion.Stop, completion.ToolCalls:
	}
	return "completed"
}

// itemStatus is that of an item at the end of an answer with such a status.
func itemStatus(status string) string {
	if status == "completed" {
		return status
	}
	return "incomplete"
}

// AppendWhole implements dialect.Encoder.
func (e *Encoder) AppendWhole(dst []byte, c *completion.Chunk, f completion.Final) []byte {
	d, status := &c.Delta, ended(f.Finish)
	var items [][]byte
	rest := dialect.InOrder(d, func(t *completion.Reasoning) {
		if state := carry(t); t.Text != "" || state != "" {
			items = append(items, appendReasoning(nil, e.requestID, len(items), quoted(t.Text), state))
		}
	}, func(text string) {
		items = append(items, appendMessage(nil, e.requestID, len(items), "completed", &message{text: jsonscan.AppendText(nil, text)}))
	})
	if rest != "" || d.Refusal != "" || d.Text == "" && len(d.ToolCalls) == 0 {
		var m message
		if rest != "" || d.Refusal == "" {
			m.text, m.logprobs = jsonscan.AppendText(nil, rest), appendLogprobs(nil, d.Logprobs, false, false)
			for i := range d.Citations {
				if i > 0 {
					m.annotations = append(m.annotations, ',')
				}
				m.annotations = appendAnnotation(m.annotations, &d.Citations[i])
			}
		}
		if d.Refusal != "" {
			m.refusal = jsonscan.AppendText(nil, d.Refusal)
		}
		items = append(items, appendMessage(nil, e.requestID, len(items), itemStatus(status), &m))
	}
	for i := range d.ToolCalls {
		t := &d.ToolCalls[i]
		if t.Signature != "" {
			items = append(items, appendReasoning(nil, e.requestID, len(items), nil, callState(t)))
		}
		items = append(items, appendCall(nil, e.requestID, len(items), "completed", t.ID, t.Name, jsonscan.AppendText(nil, t.Arguments)))
	}
	return append(e.appendResponse(dst, status, items, f.Tokens), '\n')
}

// quoted is a text as JSON; nothing for none.
func quoted(text string) []byte {
	if text == "" {
		return nil
	}
	return jsonscan.AppendText(nil, text)
}

// callState is the state of a tool call, for the empty item of reasoning before it.
func callState(t *completion.ToolCallDelta) string {
	return dialect.Wrap(completion.OpenAIState, t.Format+callSuffix, t.Signature)
}
