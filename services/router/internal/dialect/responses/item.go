package responses

import (
	"strconv"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

// The items of an answer as they stand in it. A part of a name is the request's id, so that no two answers
// have the same.

func appendID(dst []byte, kind, requestID string, n int) []byte {
	dst = append(dst, '"')
	dst = append(dst, kind...)
	dst = append(dst, requestID...)
	if n >= 0 {
		dst = append(dst, '_')
		dst = strconv.AppendInt(dst, int64(n), 10)
	}
	return append(dst, '"')
}

// carry is the state of a reasoning as it stands in an item; empty is none.
func carry(r *completion.Reasoning) string {
	switch {
	case r.Encrypted != "" && r.Format == completion.OpenAIState:
		return r.Encrypted
	case r.Encrypted != "":
		return dialect.Wrap(completion.OpenAIState, r.Format+encryptedSuffix, r.Encrypted)
	case r.Signature != "":
		return dialect.Wrap(completion.OpenAIState, r.Format, r.Signature)
	}
	return ""
}

// appendReasoning appends an item of reasoning. What is shown of it stands as its summary, which is where
// callers look.
func appendReasoning(dst []byte, requestID string, index int, text []byte, state string) []byte {
	dst = append(dst, `{"id":`...)
	dst = appendID(dst, "rs_", requestID, index)
	dst = append(dst, `,"type":"reasoning","summary":[`...)
	if len(text) > 0 {
		dst = append(dst, `{"type":"summary_text","text":`...)
		dst = append(dst, text...)
		dst = append(dst, '}')
	}
	dst = append(dst, ']')
	if state != "" {
		dst = append(dst, `,"encrypted_content":`...)
		dst = jsonscan.AppendText(dst, state)
	}
	return append(dst, '}')
}

// message is what stands in a message: texts are JSON already.
type message struct {
	text, refusal         []byte
	annotations, logprobs []byte // without brackets
}

// appendMessage appends a message in a state, "in_progress" without its content.
func appendMessage(dst []byte, requestID string, index int, status string, m *message) []byte {
	dst = append(dst, `{"id":`...)
	dst = appendID(dst, "msg_", requestID, index)
	dst = append(dst, `,"type":"message","status":"`...)
	dst = append(dst, status...)
	dst = append(dst, `","role":"assistant","content":[`...)
	if m == nil {
		return append(dst, "]}"...)
	}
	if m.text != nil {
		dst = appendTextPart(dst, m)
	}
	if m.refusal != nil {
		if m.text != nil {
			dst = append(dst, ',')
		}
		dst = appendRefusalPart(dst, m.refusal)
	}
	return append(dst, "]}"...)
}

func appendTextPart(dst []byte, m *message) []byte {
	dst = append(dst, `{"type":"output_text","text":`...)
	dst = append(dst, m.text...)
	dst = append(dst, `,"annotations":[`...)
	dst = append(dst, m.annotations...)
	dst = append(dst, `],"logprobs":[`...)
	dst = append(dst, m.logprobs...)
	return append(dst, "]}"...)
}

func appendRefusalPart(dst, refusal []byte) []byte {
	dst = append(dst, `{"type":"refusal","refusal":`...)
	dst = append(dst, refusal...)
	return append(dst, '}')
}

// appendCall appends a function call in a state. Arguments are JSON text, quoted.
func appendCall(dst []byte, requestID string, index int, status, id, name string, arguments []byte) []byte {
	dst = append(dst, `{"id":`...)
	dst = appendID(dst, "fc_", requestID, index)
	dst = append(dst, `,"type":"function_call","status":"`...)
	dst = append(dst, status...)
	dst = append(dst, `","call_id":`...)
	dst = jsonscan.AppendText(dst, id)
	dst = append(dst, `,"name":`...)
	dst = jsonscan.AppendText(dst, name)
	dst = append(dst, `,"arguments":`...)
	dst = append(dst, arguments...)
	return append(dst, '}')
}

// appendLogprobs appends probabilities without brackets; more says that some stand before.
func appendLogprobs(dst []byte, list []completion.Logprob, more, inner bool) []byte {
	for i := range list {
		if more {
			dst = append(dst, ',')
		}
		more = true
		dst = append(dst, `{"token":`...)
		dst = jsonscan.AppendText(dst, list[i].Token)
		dst = append(dst, `,"logprob":`...)
		dst = strconv.AppendFloat(dst, list[i].Logprob, 'g', -1, 64)
		dst = append(dst, `,"bytes":[`...)
		for k, b := range []byte(list[i].Token) {
			if k > 0 {
				dst = append(dst, ',')
			}
			dst = strconv.AppendUint(dst, uint64(b), 10)
		}
		dst = append(dst, ']')
		if !inner {
			dst = append(dst, `,"top_logprobs":[`...)
			dst = appendLogprobs(dst, list[i].Top, false, true)
			dst = append(dst, ']')
		}
		dst = append(dst, '}')
	}
	return dst
}

func appendAnnotation(dst []byte, c *completion.Citation) []byte {
	dst = append(dst, `{"type":"url_citation","url":`...)
	dst = jsonscan.AppendText(dst, c.URL)
	dst = append(dst, `,"title":`...)
	dst = jsonscan.AppendText(dst, c.Title)
	dst = append(dst, `,"start_index":`...)
	dst = strconv.AppendInt(dst, int64(c.Start), 10)
	dst = append(dst, `,"end_index":`...)
	dst = strconv.AppendInt(dst, int64(c.End), 10)
	return append(dst, '}')
}
