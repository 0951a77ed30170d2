package bedrock

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/form/messages"
)

const (
	// claudeVersion is the version of the messages API that all Claudes on Bedrock know, and plainVersion
	// the same one by Anthropic's name. Later ones allow less, and only newer models know them.
	claudeVersion = "bedrock-2023-05-31"
	plainVersion  = "2023-06-01"
)

// invoke passes a body of Anthropic's messages to a Claude.
func (p *Provider) invoke(ctx context.Context, call completion.Call, a account, m model) (completion.Answer, error) {
	body, err := invokeBody(call, m, "")
	if err != nil {
		return nil, err
	}
	path := "/invoke"
	if call.Request.Stream {
		path = "/invoke-with-response-stream"
	}
	res, err := p.send(ctx, call, a, a.runtime+"/model/"+address(m.id)+path, body, call.Request.Stream)
	if err != nil {
		return nil, err
	}
	if call.Request.Stream {
		if err := isStream(res); err != nil {
			return nil, err
		}
		res.Body = &unwrapped{body: res.Body, frames: newFrames(res.Body), account: a, res: res}
	}
	return messages.Passed(res, a.auth().Key, call.Request.Stream), nil
}

// invokeBody is the caller's body without what stands in the address, and with what is said in headers
// elsewhere; more are members to add, each with a comma before it. Every other member stays as it came,
// but for reasoning that is not Anthropic's.
func invokeBody(call completion.Call, m model, more string) ([]byte, error) {
	raw, err := messages.Raw(call)
	if err != nil {
		return nil, err
	}
	version, headers := claudeVersion, call.Request.Headers
	if v := headers["Anthropic-Version"]; v != "" && v != plainVersion && m.knowsVersions() {
		version = v
	}
	out := make([]byte, 0, len(raw)+64)
	out = jsonscan.AppendText(append(out, `{"anthropic_version":`...), version)
	betas := headers["Anthropic-Beta"]
	members := jsonscan.Object(raw)
	for members.Next() {
		switch string(members.Name) {
		case "model", "stream", "anthropic_version":
			continue
		case "anthropic_beta":
			if betas != "" {
				out = appendBetas(out, betas, members.Value)
				betas = ""
				continue
			}
		}
		out = append(append(out, ','), raw[members.NameAt:members.ValueAt+len(members.Value)]...)
	}
	if betas != "" {
		out = appendBetas(out, betas, nil)
	}
	return append(append(out, more...), '}'), nil
}

// appendBetas appends what a header says is on trial, and what the body itself says.
func appendBetas(out []byte, header string, own []byte) []byte {
	out = append(out, `,"anthropic_beta":[`...)
	start := len(out)
	next := func() {
		if len(out) > start {
			out = append(out, ',')
		}
	}
	for beta := range strings.SplitSeq(header, ",") {
		if beta = strings.TrimSpace(beta); beta != "" {
			next()
			out = jsonscan.AppendText(out, beta)
		}
	}
	if jsonscan.KindOf(own) == jsonscan.ArrayKind {
		betas := jsonscan.Array(own)
		for betas.Next() {
			next()
			out = append(out, betas.Value...)
		}
	}
	return append(out, ']')
}

// unversioned are the Claudes that know one version of the messages API.
var unversioned = []string{
	"claude-v2", "claude-2", "claude-instant", "claude-3", "claude-sonnet-4-2025", "claude-opus-4-2025", "claude-opus-4-1",
	"claude-haiku-4-5", "claude-sonnet-4-5", "claude-opus-4-5", "claude-sonnet-4-6", "claude-opus-4-6",
}

// knowsVersions reports whether a Claude knows the later versions of the messages API.
func (m model) knowsVersions() bool {
	name := m.claudeName()
	return !slices.ContainsFunc(unversioned, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// unwrapped is a stream of frames, each around one event, as the server-sent events that Anthropic's own
// API sends.
type unwrapped struct {
	body    io.ReadCloser
	frames  *frames
	account account
	res     *provider.Response
	// pending are bytes of buf that wait to be read; event is room for what a frame holds.
	buf, pending, event []byte
	ended               error
}

// Close closes the connection's body.
func (u *unwrapped) Close() error { return u.body.Close() }

// Read reads events. What AWS reports in place of one is its error.
func (u *unwrapped) Read(b []byte) (int, error) {
	for len(u.pending) == 0 {
		if u.ended == nil {
			u.ended = u.next()
		}
		if u.ended != nil {
			return 0, u.ended
		}
	}
	n := copy(b, u.pending)
	u.pending = u.pending[n:]
	return n, nil
}

// next makes the next frame pending.
func (u *unwrapped) next() error {
	f, err := u.frames.next()
	switch {
	case errors.Is(err, errFrame):
		return u.res.Failed("the provider sent a damaged frame")
	case err != nil:
		return err
	case f.Message != "event":
		return u.account.failedInStream(f, u.res.RequestID())
	case f.Name != "chunk":
		return nil
	}
	v := jsonscan.Get(f.Payload, "bytes")
	if jsonscan.KindOf(v) != jsonscan.String {
		return u.res.Failed("the provider sent an event that holds nothing")
	}
	u.event, err = base64.StdEncoding.AppendDecode(u.event[:0], v[1:len(v)-1])
	if err != nil || !jsonscan.Valid(u.event) {
		return u.res.Failed("the provider sent an event that is not JSON")
	}
	u.write(u.event)
	return nil
}

// write makes an event pending.
func (u *unwrapped) write(event []byte) {
	if bytes.ContainsAny(event, "\r\n") {
		var line bytes.Buffer
		if json.Compact(&line, event) == nil {
			event = line.Bytes()
		}
	}
	u.buf = u.buf[:0]
	if name := jsonscan.Get(event, "type"); jsonscan.TextLen(name) > 0 && bytes.IndexByte(name, '\\') < 0 {
		u.buf = append(append(append(u.buf, "event: "...), name[1:len(name)-1]...), '\n')
	}
	u.buf = append(append(append(u.buf, "data: "...), event...), "\n\n"...)
	u.pending = u.buf
}
