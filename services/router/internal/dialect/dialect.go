// Package dialect is what the dialects below it share: how an answer that had to be converted is
// written, and how an error is told.
package dialect

import (
	"net/http"

	"github.com/claviger/claviger/services/router/internal/completion"
)

// Encoder writes one converted answer in a dialect. It appends to buffers of the caller's, and lives as
// long as the answer.
type Encoder interface {
	// AppendChunk appends the events of a piece of a streamed answer, possibly none.
	AppendChunk(dst []byte, c *completion.Chunk) []byte
	// AppendEnd appends what ends a streamed answer well.
	AppendEnd(dst []byte, f completion.Final) []byte
	// AppendWhole appends the body of an answer that is not streamed.
	AppendWhole(dst []byte, c *completion.Chunk, f completion.Final) []byte
}

// Failure is an error as the caller gets it.
type Failure interface {
	// Head are the status and the headers of an answer that is only this error.
	Head() (status int, header http.Header)
	// AppendBody appends the body of such an answer.
	AppendBody(dst []byte) []byte
	// AppendEvent appends the failure as the last event of a stream that has begun, which then does not
	// look whole.
	AppendEvent(dst []byte) []byte
}
