package gemini

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// maxHops is how many requests one answer may take.
const maxHops = 16

// continued is an answer that a model gives in several requests, since it is longer than one may be: the
// same request again, with a token for where to go on. The caller sees one answer, and its usage is that of
// all requests.
type continued struct {
	format *format
	stream bool
	// again sends the request once more.
	again func(ctx context.Context, token string) (completion.Answer, error)
	ctx   context.Context //nolint:containedctx // the call's

	// taken is what the requests before this one took, last what this one took so far.
	taken, last usage.Tokens
	// told says that this request told all that it took, lacks that one before it did not.
	told, lacks bool
	hops        int
	merged      bool // an answer that is not streamed has been given

	mu      sync.Mutex
	current completion.Answer
	cancel  context.CancelFunc // of a request that is being sent again
	closed  bool
}

var _ completion.Answer = (*continued)(nil)

// Head says what the provider named so far. It names its answers in their bodies.
func (c *continued) Head() completion.AnswerHead {
	c.mu.Lock()
	defer c.mu.Unlock()
	head := c.current.Head()
	if head.RequestID == "" {
		head.RequestID = c.format.id
	}
	if head.Model == "" {
		head.Model = c.format.model
	}
	return head
}

// Close ends the request that is under way.
func (c *continued) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.cancel != nil {
		c.cancel()
	}
	return c.current.Close()
}

// Next returns the next piece, of whichever request. An answer that ended for a reason that is a failure
// says so after its usage.
func (c *continued) Next() (completion.Chunk, error) {
	if c.stream {
		return c.next()
	}
	if c.merged {
		return completion.Chunk{}, io.EOF
	}
	c.merged = true
	whole, err := c.next()
	for err == nil && c.format.token != "" {
		var more completion.Chunk
		if more, err = c.next(); err == nil {
			merge(&whole, &more)
		} else if more.Usage != nil {
			whole.Usage = more.Usage
		}
	}
	return whole, err
}

// next returns the next piece of this request, or of the next one if this one is to be continued.
func (c *continued) next() (completion.Chunk, error) {
	for {
		chunk, err := c.current.Next()
		if chunk.Usage != nil {
			c.last, c.told = chunk.Usage.Tokens, chunk.Usage.Final
			add(&chunk.Usage.Tokens, &c.taken)
			chunk.Usage.Final = c.told && !c.lacks && c.format.token == ""
		}
		switch {
		case err == nil:
			return chunk, nil
		case c.format.failed != nil:
			return chunk, c.format.failed
		case !errors.Is(err, io.EOF) || c.format.token == "":
			return chunk, err
		}
		if err := c.hop(); err != nil {
			return completion.Chunk{}, err
		}
	}
}

// hop sends the request again.
func (c *continued) hop() error {
	add(&c.taken, &c.last)
	c.lacks = c.lacks || !c.told
	c.last, c.told = usage.Tokens{}, false
	token := c.format.token
	c.hops++
	c.format.token, c.format.finished, c.format.mayGoOn = "", false, c.hops+1 < maxHops
	ctx, cancel := context.WithCancel(c.ctx)
	c.mu.Lock()
	c.cancel = cancel
	closed, before := c.closed, c.current
	c.mu.Unlock()
	if closed {
		cancel()
	}
	_ = before.Close() // it came to its end
	next, err := c.again(ctx, token)
	if err != nil {
		if failure, ok := errors.AsType[*completion.ProviderError](err); ok {
			failure.Sent, failure.Unbilled = true, false // what came before is billed
		}
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current = next
	if c.closed {
		return errors.Join(context.Canceled, next.Close())
	}
	return nil
}

func add(to, more *usage.Tokens) {
	to.InputTotal += more.InputTotal
	to.InputUncached += more.InputUncached
	to.CacheRead += more.CacheRead
	to.OutputTotal += more.OutputTotal
	to.Reasoning += more.Reasoning
	to.AudioIn += more.AudioIn
	to.AudioOut += more.AudioOut
	to.ImageIn += more.ImageIn
	to.ImageOut += more.ImageOut
}

// merge puts the answers of two requests together.
func merge(whole, more *completion.Chunk) {
	d, m := &whole.Delta, &more.Delta
	d.Text += m.Text
	d.Reasoning += m.Reasoning
	d.Refusal += m.Refusal
	d.ToolCalls = append(d.ToolCalls, m.ToolCalls...)
	d.Logprobs = append(d.Logprobs, m.Logprobs...)
	d.Citations = append(d.Citations, m.Citations...)
	if m.State != nil || len(m.Thoughts) > 0 {
		d.State, d.Thoughts = m.State, m.Thoughts // the last request's alone are asked for again
	}
	whole.PieceBytes += more.PieceBytes
	whole.Finish = more.Finish
	if more.Usage != nil { // else it stays what it is: not all
		whole.Usage = more.Usage
	}
}
