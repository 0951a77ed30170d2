package httpapi

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/sse"
)

var errInclude = fault.New(fault.Invalid, "INCLUDE_INVALID", "the header x-claviger-include names something that there is not").
	Hinting(`"provenance" is what there is`)

// included reports whether a caller asks to be told in the stream what serves.
func included(r *http.Request) (bool, error) {
	asked := false
	for _, value := range r.Header["X-Claviger-Include"] {
		for name := range strings.SplitSeq(value, ",") {
			if strings.TrimSpace(name) != "provenance" {
				return false, errInclude
			}
			asked = true
		}
	}
	return asked, nil
}

// teller adds what served an answer to the last event of its stream, as one more member of it. All other
// bytes go as they come: the last event alone waits, and it holds nothing that a reader waits for.
//
// A chat completion ends with "[DONE]", which is no object. The last event before it is taken if it holds
// the usage alone; else a chunk without choices comes in between, as SDKs know it from usage.
type teller struct {
	dialect completion.Dialect
	cursor  sse.Cursor
	held    []byte // what waits
	at      int    // where in it the member goes; -1 is nowhere
	ready   []byte // room for what goes out
	head    []byte // of a chunk of this stream
}

// newTeller returns nil for dialects whose streams have no such end.
func newTeller(d completion.Dialect) *teller {
	switch d {
	case completion.OpenAIChat, completion.OpenAIResponses, completion.AnthropicMessages:
		return &teller{dialect: d, at: -1}
	case completion.OpenAIEmbeddings, completion.OpenAIImages, completion.OpenAIVideos, completion.AnthropicCount, completion.Typed:
	}
	return nil
}

// place says what an event is at the end of a stream.
type place uint8

const (
	inside place = iota
	atEnd        // may be the last one that is an object
	mark         // ends the stream, and is no object
)

func (t *teller) placeOf(e sse.Event) place {
	kind, _ := jsonscan.Text(jsonscan.Get(e.Data, "type"))
	switch {
	case t.dialect == completion.OpenAIChat && string(e.Data) == "[DONE]":
		return mark
	case t.dialect == completion.OpenAIChat && usageAlone(e.Data),
		t.dialect == completion.OpenAIResponses && (kind == "response.completed" || kind == "response.incomplete"),
		t.dialect == completion.AnthropicMessages && kind == "message_stop":
		return atEnd
	}
	return inside
}

// usageAlone reports whether a chunk of a chat completion holds the usage and no piece of an answer.
func usageAlone(chunk []byte) bool {
	choices := jsonscan.Get(chunk, "choices")
	if jsonscan.KindOf(choices) != jsonscan.ArrayKind || jsonscan.KindOf(jsonscan.Get(chunk, "usage")) != jsonscan.ObjectKind {
		return false
	}
	list := jsonscan.Array(choices)
	return !list.Next()
}

// pass takes whole events and returns those that go out now, valid until the next call.
func (t *teller) pass(events []byte) []byte {
	waits, from, at := len(t.held) > 0, -1, -1
	t.cursor.Reset(events)
	for e, ok := t.cursor.Next(); ok; e, ok = t.cursor.Next() {
		if t.dialect == completion.OpenAIChat && t.head == nil {
			t.head = headOf(e.Data)
		}
		switch t.placeOf(e) {
		case inside:
			waits, from, at = false, -1, -1
		case atEnd:
			waits, from, at = false, e.Start, -1
			if jsonscan.Valid(e.Data) {
				at = bytes.LastIndexByte(events[e.Start:e.End], '}')
			}
		case mark:
			if !waits && from < 0 {
				from = e.Start
			}
		}
	}
	switch {
	case waits:
		t.held = append(t.held, events...)
		return nil
	case len(t.held) == 0 && from < 0:
		return events
	case from < 0:
		from = len(events)
	}
	t.ready = append(append(t.ready[:0], t.held...), events[:from]...)
	t.held, t.at = append(t.held[:0], events[from:]...), at
	return t.ready
}

// end returns what waited, with the member in it.
func (t *teller) end(member []byte) []byte {
	out := make([]byte, 0, len(t.held)+len(t.head)+len(member)+64)
	switch {
	case t.at >= 0:
		out = append(append(out, t.held[:t.at]...), ',')
		out = append(append(out, member...), t.held[t.at:]...)
	case t.dialect == completion.OpenAIChat:
		if out = append(out, t.head...); t.head == nil {
			out = append(out, `data: {"id":"","object":"chat.completion.chunk","created":0,"model":"",`...)
		}
		out = append(append(append(out, `"choices":[],`...), member...), "}\n\n"...)
		out = append(out, t.held...)
	default:
		out = append(out, t.held...)
	}
	return out
}

// headOf is how chunks of a stream begin, as the first one that is named does: SDKs put together only what
// has one name.
func headOf(chunk []byte) []byte {
	id := jsonscan.Get(chunk, "id")
	if jsonscan.TextLen(id) == 0 {
		return nil
	}
	head := append([]byte(`data: {"id":`), id...)
	head = append(head, `,"object":"chat.completion.chunk","created":`...)
	created, _ := jsonscan.Int(jsonscan.Get(chunk, "created"))
	head = strconv.AppendInt(head, created, 10)
	model, _ := jsonscan.Text(jsonscan.Get(chunk, "model"))
	head = append(head, `,"model":`...)
	return append(jsonscan.AppendText(head, model), ',')
}

// appendTold appends the member that tells what served.
func appendTold(dst []byte, told *completion.Told) []byte {
	text := func(name, value string) {
		if value != "" {
			dst = append(append(append(dst, `,"`...), name...), `":`...)
			dst = jsonscan.AppendText(dst, value)
		}
	}
	number := func(name string, n int64) {
		dst = append(append(append(dst, `,"`...), name...), `":`...)
		dst = strconv.AppendInt(dst, n, 10)
	}
	dst = append(dst, `"`+dialect.RoutingField+`":{"request_id":`...)
	dst = jsonscan.AppendText(dst, told.RequestID)
	text("model", told.Model)
	text("credential_class", told.Class.String())
	if !told.Full {
		return append(dst, '}')
	}
	text("provider", told.Provider)
	if told.CredentialID != "" {
		text("credential_id", told.CredentialID)
		number("credential_revision", int64(told.CredentialRevision))
	}
	if told.Policy != "" {
		text("policy", told.Policy)
		number("policy_version", told.PolicyVersion)
		number("line", int64(told.Line))
	}
	number("config_version", told.ConfigVersion)
	if told.Cost != nil { // what is unknown is not there
		number("cost_nano_usd", *told.Cost)
	}
	text("price_version", told.PriceVersion)
	dst = append(dst, `,"attempts":[`...)
	for i := range told.Attempts {
		if i > 0 {
			dst = append(dst, ',')
		}
		a := &told.Attempts[i]
		dst = append(dst, `{"attempt_id":`...)
		dst = jsonscan.AppendText(dst, a.AttemptID)
		text("provider", a.Provider)
		text("model", a.Model)
		text("credential_class", a.Class.String())
		text("credential_id", a.Credential())
		text("error_class", a.ErrorClass)
		text("drill_id", a.Drill)
		dst = append(dst, '}')
	}
	return append(dst, "]}"...)
}
