package llmtest

import "net/http"

// native is a wire form besides OpenAI's chat completions and Anthropic's messages. Each stands in files
// of its own and gets its paths by a line in natives.
type native interface {
	// provider is what the ledger calls it if the path does not say.
	provider() string
	// key is what the call is signed with.
	key(r *http.Request) string
	// headers sets those that every answer has.
	headers(c *call)
	// admit checks what the form requires besides a method and a key; nil is no problem.
	admit(c *call) *wire
	// read takes model, stream and maximum of output tokens out of path and body, also of a call that is
	// refused.
	read(c *call, raw []byte) *wire
	// check finds what the real API would refuse, and the last user message's text.
	check(c *call, raw []byte) (last string, _ *wire)
	// failure is what the form says of a failure.
	failure(f Failure) wire
	// envelope is the body of an error that has a kind.
	envelope(c *call, w wire) []byte
	// whole is an answer that is not streamed; stream writes one that is, and sets the entry's Complete.
	whole(c *call) []byte
	stream(c *call, out *sink)
}

// declarer is a form whose answers take other tokens than words and tool calls.
type declarer interface {
	// declare changes what prepare made of the script.
	declare(c *call)
}

// framer is a form whose streams have a framing of their own around each event.
type framer interface {
	// mediaType is what a stream says that it is.
	mediaType() string
	// framed appends an event, and reported an error that ends the stream.
	framed(dst []byte, data string) []byte
	reported(dst []byte, w wire) []byte
}

// natives answer the paths that are theirs, and are false for all others.
var natives = []func(p *Provider, w http.ResponseWriter, r *http.Request) bool{openAIForms, serveBedrock, serveGemini, serveVertex, serveFal, servePollo, serveGrokVideos}

// generateNative answers a generation call of a form.
func (p *Provider) generateNative(w http.ResponseWriter, r *http.Request, n native, provider string) {
	p.generateBy(w, r, func() *call { return p.newNative(w, r, n, provider) })
}

// newNative reads the headers of a call in a form and sets those that every answer has.
func (p *Provider) newNative(w http.ResponseWriter, r *http.Request, n native, provider string) *call {
	if provider == "" {
		provider = n.provider()
	}
	c := &call{p: p, w: w, r: r, form: other, native: n, key: n.key(r), begun: p.now(), number: p.requests.Add(1)}
	c.entry = Entry{
		Provider: provider, KeyHash: HashKey(c.key), Begun: c.begun,
		ClientRequestID: r.Header.Get("X-Client-Request-Id"),
		RequestID:       c.id("req_"),
	}
	n.headers(c)
	return c
}
