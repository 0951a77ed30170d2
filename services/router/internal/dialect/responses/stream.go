package responses

import (
	"bytes"
	"strconv"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

// event begins an event: its name, which its data repeats, and its number.
func (e *Encoder) event(dst []byte, name string) []byte {
	dst = append(dst, "event: response."...)
	dst = append(dst, name...)
	dst = append(dst, "\ndata: {\"type\":\"response."...)
	dst = append(dst, name...)
	dst = append(dst, `","sequence_number":`...)
	dst = strconv.AppendInt(dst, int64(e.number), 10)
	e.number++
	return dst
}

// itemEvent begins an event about a part of an item.
func (e *Encoder) itemEvent(dst []byte, name, kind string, at int, where string, part int) []byte {
	dst = e.event(dst, name)
	dst = append(dst, `,"item_id":`...)
	dst = appendID(dst, kind, e.requestID, at)
	dst = append(dst, `,"output_index":`...)
	dst = strconv.AppendInt(dst, int64(at), 10)
	if where != "" {
		dst = append(dst, `,"`...)
		dst = append(dst, where...)
		dst = append(dst, `":`...)
		dst = strconv.AppendInt(dst, int64(part), 10)
	}
	return dst
}

func endEvent(dst []byte) []byte { return append(dst, "}\n\n"...) }

// AppendChunk implements dialect.Encoder.
func (e *Encoder) AppendChunk(dst []byte, c *completion.Chunk) []byte {
	d := &c.Delta
	if d.Empty() && c.Finish == "" {
		return dst
	}
	dst = e.begin(dst)
	dst = e.thoughts(dst, d)
	if d.Text != "" {
		dst = e.text(dst, d)
	}
	for i := range d.Citations {
		dst = e.citation(dst, &d.Citations[i])
	}
	if d.Refusal != "" {
		dst = e.refusal(dst, d.Refusal)
	}
	for i := range d.ToolCalls {
		dst = e.call(dst, &d.ToolCalls[i])
	}
	return dst
}

func (e *Encoder) begin(dst []byte) []byte {
	if e.begun {
		return dst
	}
	e.begun = true
	for _, name := range [...]string{"created", "in_progress"} {
		dst = e.event(dst, name)
		dst = append(dst, `,"response":`...)
		dst = e.appendResponse(dst, "in_progress", nil, nil)
		dst = endEvent(dst)
	}
	return dst
}

// item begins an item and returns its index. The item follows, and then the end of the event.
func (e *Encoder) item(dst []byte) ([]byte, int) {
	at := len(e.items)
	e.items = append(e.items, nil)
	dst = e.event(dst, "output_item.added")
	dst = append(dst, `,"output_index":`...)
	dst = strconv.AppendInt(dst, int64(at), 10)
	return append(dst, `,"item":`...), at
}

// done ends an item.
func (e *Encoder) done(dst []byte, at int, item []byte) []byte {
	e.items[at] = item
	dst = e.event(dst, "output_item.done")
	dst = append(dst, `,"output_index":`...)
	dst = strconv.AppendInt(dst, int64(at), 10)
	dst = append(dst, `,"item":`...)
	dst = append(dst, item...)
	return endEvent(dst)
}

// unquoted appends a text as the inside of a JSON string.
func unquoted(dst []byte, text string) []byte {
	start := len(dst)
	dst = jsonscan.AppendText(dst, text)
	copy(dst[start:], dst[start+1:])
	return dst[:len(dst)-2]
}

// thoughts appends reasoning, and the state that ends a block of it.
func (e *Encoder) thoughts(dst []byte, d *completion.Delta) []byte {
	for i := range d.Thoughts {
		dst = e.stop(dst, "completed")
		dst = e.reasoning(dst, d.Thoughts[i].Text)
		dst = e.state(dst, &d.Thoughts[i])
	}
	if len(d.Thoughts) > 0 {
		return dst
	}
	dst = e.reasoning(dst, d.Reasoning)
	if d.State != nil {
		dst = e.state(dst, d.State)
	}
	return dst
}

func (e *Encoder) reasoning(dst []byte, text string) []byte {
	if text == "" {
		return dst
	}
	if e.open != reasoningItem {
		dst = e.think(dst)
	}
	if len(e.thought) == 0 {
		dst = e.itemEvent(dst, "reasoning_summary_part.added", "rs_", e.at, "summary_index", 0)
		dst = endEvent(append(dst, `,"part":{"type":"summary_text","text":""}`...))
	}
	e.thought = unquoted(e.thought, text)
	dst = e.itemEvent(dst, "reasoning_summary_text.delta", "rs_", e.at, "summary_index", 0)
	dst = append(dst, `,"delta":`...)
	return endEvent(jsonscan.AppendText(dst, text))
}

// think begins an item of reasoning.
func (e *Encoder) think(dst []byte) []byte {
	dst = e.stop(dst, "completed")
	dst, e.at = e.item(dst)
	dst = endEvent(appendReasoning(dst, e.requestID, e.at, nil, ""))
	e.open, e.thought = reasoningItem, e.thought[:0]
	return dst
}

// state ends the item of reasoning, or is one by itself.
func (e *Encoder) state(dst []byte, r *completion.Reasoning) []byte {
	carried := carry(r)
	if e.open != reasoningItem {
		if carried == "" {
			return dst
		}
		dst = e.think(dst)
	}
	return e.thoughtDone(dst, carried)
}

func (e *Encoder) thoughtDone(dst []byte, state string) []byte {
	e.open = none
	var text []byte
	if len(e.thought) > 0 {
		text = quote(e.thought)
		dst = e.itemEvent(dst, "reasoning_summary_text.done", "rs_", e.at, "summary_index", 0)
		dst = endEvent(append(append(dst, `,"text":`...), text...))
		dst = e.itemEvent(dst, "reasoning_summary_part.done", "rs_", e.at, "summary_index", 0)
		dst = append(append(dst, `,"part":{"type":"summary_text","text":`...), text...)
		dst = endEvent(append(dst, '}'))
	}
	return e.done(dst, e.at, appendReasoning(nil, e.requestID, e.at, text, state))
}

// quote is a text that is JSON but for its quotes, with them.
func quote(inside []byte) []byte {
	out := make([]byte, 0, len(inside)+2)
	out = append(out, '"')
	out = append(out, inside...)
	return append(out, '"')
}

// message makes sure that a message is open.
func (e *Encoder) message(dst []byte) []byte {
	if e.open == messageItem {
		return dst
	}
	dst = e.stop(dst, "completed")
	dst, e.at = e.item(dst)
	dst = endEvent(appendMessage(dst, e.requestID, e.at, "in_progress", nil))
	e.open, e.part, e.inText, e.inRefusal, e.cited = messageItem, 0, false, false, 0
	e.said = message{}
	return dst
}

// texts makes sure that a part of text is open.
func (e *Encoder) texts(dst []byte) []byte {
	if e.open == messageItem && e.inRefusal { // what comes after a refusal is another message
		dst = e.stop(dst, "completed")
	}
	dst = e.message(dst)
	if e.inText {
		return dst
	}
	e.inText = true
	dst = e.itemEvent(dst, "content_part.added", "msg_", e.at, "content_index", e.part)
	dst = append(dst, `,"part":`...)
	return endEvent(appendTextPart(dst, &message{text: []byte(`""`)}))
}

func (e *Encoder) text(dst []byte, d *completion.Delta) []byte {
	dst = e.texts(dst)
	e.said.text = unquoted(e.said.text, d.Text)
	dst = e.itemEvent(dst, "output_text.delta", "msg_", e.at, "content_index", e.part)
	dst = append(dst, `,"delta":`...)
	dst = jsonscan.AppendText(dst, d.Text)
	dst = append(dst, `,"logprobs":[`...)
	dst = appendLogprobs(dst, d.Logprobs, false, false)
	e.said.logprobs = appendLogprobs(e.said.logprobs, d.Logprobs, len(e.said.logprobs) > 0, false)
	return endEvent(append(dst, ']'))
}

func (e *Encoder) citation(dst []byte, c *completion.Citation) []byte {
	dst = e.texts(dst)
	if e.cited > 0 {
		e.said.annotations = append(e.said.annotations, ',')
	}
	e.said.annotations = appendAnnotation(e.said.annotations, c)
	dst = e.itemEvent(dst, "output_text.annotation.added", "msg_", e.at, "content_index", e.part)
	dst = append(dst, `,"annotation_index":`...)
	dst = strconv.AppendInt(dst, int64(e.cited), 10)
	e.cited++
	dst = append(dst, `,"annotation":`...)
	return endEvent(appendAnnotation(dst, c))
}

func (e *Encoder) refusal(dst []byte, text string) []byte {
	dst = e.message(dst)
	if !e.inRefusal {
		dst = e.textDone(dst)
		e.inRefusal = true
		dst = e.itemEvent(dst, "content_part.added", "msg_", e.at, "content_index", e.part)
		dst = append(dst, `,"part":`...)
		dst = endEvent(appendRefusalPart(dst, []byte(`""`)))
	}
	e.said.refusal = unquoted(e.said.refusal, text)
	dst = e.itemEvent(dst, "refusal.delta", "msg_", e.at, "content_index", e.part)
	dst = append(dst, `,"delta":`...)
	return endEvent(jsonscan.AppendText(dst, text))
}

// textDone ends the part of text, if one is open.
func (e *Encoder) textDone(dst []byte) []byte {
	if !e.inText {
		return dst
	}
	e.inText = false
	e.said.text = quote(e.said.text)
	dst = e.itemEvent(dst, "output_text.done", "msg_", e.at, "content_index", e.part)
	dst = append(append(dst, `,"text":`...), e.said.text...)
	dst = append(append(dst, `,"logprobs":[`...), e.said.logprobs...)
	dst = endEvent(append(dst, ']'))
	dst = e.itemEvent(dst, "content_part.done", "msg_", e.at, "content_index", e.part)
	dst = append(dst, `,"part":`...)
	dst = endEvent(appendTextPart(dst, &e.said))
	e.part++
	return dst
}

func (e *Encoder) refusalDone(dst []byte) []byte {
	if !e.inRefusal {
		return dst
	}
	e.inRefusal = false
	e.said.refusal = quote(e.said.refusal)
	dst = e.itemEvent(dst, "refusal.done", "msg_", e.at, "content_index", e.part)
	dst = endEvent(append(append(dst, `,"refusal":`...), e.said.refusal...))
	dst = e.itemEvent(dst, "content_part.done", "msg_", e.at, "content_index", e.part)
	dst = append(dst, `,"part":`...)
	return endEvent(appendRefusalPart(dst, e.said.refusal))
}

// call appends a piece of a function call.
func (e *Encoder) call(dst []byte, c *completion.ToolCallDelta) []byte {
	if c.Index < 0 || c.Index > len(e.calls) {
		return dst // no provider counts like that
	}
	if c.Index == len(e.calls) {
		dst = e.stop(dst, "completed")
		if c.Signature != "" {
			dst = e.think(dst)
			dst = e.thoughtDone(dst, callState(c))
		}
		t := call{id: c.ID, name: c.Name}
		dst, t.at = e.item(dst)
		dst = endEvent(appendCall(dst, e.requestID, t.at, "in_progress", t.id, t.name, []byte(`""`)))
		e.calls = append(e.calls, t)
	}
	t := &e.calls[c.Index]
	if c.Arguments == "" || t.done {
		return dst
	}
	t.arguments = append(t.arguments, c.Arguments...)
	dst = e.itemEvent(dst, "function_call_arguments.delta", "fc_", t.at, "", 0)
	dst = append(dst, `,"delta":`...)
	return endEvent(jsonscan.AppendText(dst, c.Arguments))
}

func (e *Encoder) callDone(dst []byte, t *call, status string) []byte {
	t.done = true
	arguments := jsonscan.AppendText(nil, string(t.arguments))
	dst = e.itemEvent(dst, "function_call_arguments.done", "fc_", t.at, "", 0)
	dst = append(dst, `,"name":`...)
	dst = jsonscan.AppendText(dst, t.name)
	dst = endEvent(append(append(dst, `,"arguments":`...), arguments...))
	return e.done(dst, t.at, appendCall(nil, e.requestID, t.at, status, t.id, t.name, arguments))
}

// stop ends what is open, but for function calls whose arguments are not whole.
func (e *Encoder) stop(dst []byte, status string) []byte {
	switch e.open {
	case none:
	case reasoningItem:
		dst = e.thoughtDone(dst, "")
	case messageItem:
		e.open = none
		dst = e.textDone(dst)
		dst = e.refusalDone(dst)
		dst = e.done(dst, e.at, appendMessage(nil, e.requestID, e.at, status, &e.said))
	}
	for i := range e.calls {
		if t := &e.calls[i]; !t.done && len(t.arguments) > 0 && jsonscan.Valid(bytes.TrimSpace(t.arguments)) {
			dst = e.callDone(dst, t, "completed")
		}
	}
	return dst
}

// AppendEnd implements dialect.Encoder.
func (e *Encoder) AppendEnd(dst []byte, f completion.Final) []byte {
	status := ended(f.Finish)
	dst = e.begin(dst)
	if len(e.items) == 0 { // an answer without any content is a message without any
		dst = e.texts(dst)
	}
	dst = e.stop(dst, itemStatus(status))
	for i := range e.calls { // one without arguments, or what a model broke off
		if t := &e.calls[i]; !t.done {
			dst = e.callDone(dst, t, itemStatus(status))
		}
	}
	name := "completed"
	if status != "completed" {
		name = "incomplete"
	}
	dst = e.event(dst, name)
	dst = append(dst, `,"response":`...)
	dst = e.appendResponse(dst, status, e.items, f.Tokens)
	return endEvent(dst)
}
