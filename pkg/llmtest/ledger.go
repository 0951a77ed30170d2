package llmtest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"
)

// Usage are the token counts that an answer declares, all classes. The input classes are parts of
// Input, Reasoning and ImageOut are parts of Output.
type Usage struct {
	Input        int `json:"input"`
	Cached       int `json:"cached,omitempty"`
	CacheWrite   int `json:"cache_write,omitempty"`
	CacheWrite1h int `json:"cache_write_1h,omitempty"`
	Audio        int `json:"audio,omitempty"`
	ImageIn      int `json:"image_in,omitempty"`
	Output       int `json:"output"`
	Reasoning    int `json:"reasoning,omitempty"`
	ImageOut     int `json:"image_out,omitempty"`
}

// Entry is the record of one generation call.
type Entry struct {
	// Seq counts the calls from 1. In a file each call has a line when it starts and, unless the
	// process was killed, one with Done when it ends.
	Seq  int64 `json:"seq"`
	Done bool  `json:"done"`
	// Provider is the first path element, or "openai" or "anthropic" by the path's form.
	Provider string `json:"provider"`
	// ClientRequestID is the header x-client-request-id that came with the call.
	ClientRequestID string `json:"client_request_id,omitempty"`
	// RequestID is the provider's own name for the call, as in its answer's headers.
	RequestID string `json:"request_id"`
	Model     string `json:"model"`
	Streamed  bool   `json:"streamed"`
	Status    int    `json:"status"`
	// KeyHash is HashKey of the key that came.
	KeyHash string `json:"key_hash"`
	// Declared is the usage that the answer declares, nil if it declares none.
	Declared *Usage `json:"declared,omitempty"`
	// Job is the media job that the call submitted.
	Job string `json:"job,omitempty"`
	// Units are what the answer of a media job declares, once that was given.
	Units map[string]float64 `json:"units,omitempty"`
	// UsageSent says that the event or body that declares the final usage was wholly written.
	UsageSent bool `json:"usage_sent"`
	// Written counts the tokens whose events were wholly written to the socket.
	Written int `json:"written"`
	// Bytes counts the body's bytes written.
	Bytes int `json:"bytes"`
	// Complete says that the whole answer was written, to its regular end.
	Complete bool `json:"complete"`
	// ClientGone says that the client went away first.
	ClientGone bool      `json:"client_gone,omitempty"`
	Begun      time.Time `json:"begun"`
	Ended      time.Time `json:"ended,omitzero"`
}

// HashKey is how the ledger names a key: the first 16 hex digits of its SHA-256.
func HashKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:8])
}

// ledger keeps the entries in the order of their start.
type ledger struct {
	mu      sync.Mutex
	entries []*Entry
	dropped int64 // entries that are not kept any more
	limit   int   // how many to keep at least, 0 for all
	file    *os.File
	err     error // the first failed write to file
}

func (l *ledger) open(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	l.file = f
	return nil
}

func (l *ledger) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		if err := l.file.Close(); err != nil && l.err == nil {
			l.err = err
		}
		l.file = nil
	}
	return l.err
}

// begin and end store a copy, so that a reader never sees an entry that is being written.
func (l *ledger) begin(e *Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.Seq = l.dropped + int64(len(l.entries)) + 1
	stored := *e
	l.entries = append(l.entries, &stored)
	if l.limit > 0 && len(l.entries) >= 2*l.limit {
		l.dropped += int64(len(l.entries) - l.limit)
		l.entries = append([]*Entry(nil), l.entries[len(l.entries)-l.limit:]...)
	}
	l.append(e)
}

func (l *ledger) end(e *Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := e.Seq - 1 - l.dropped; at >= 0 {
		if e.Units == nil {
			e.Units = l.entries[at].Units
		}
		*l.entries[at] = *e
	}
	l.append(e)
}

// amend adds to the entry of a call what became known after it.
func (l *ledger) amend(e *Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := e.Seq - 1 - l.dropped
	if at < 0 {
		return
	}
	amended := *l.entries[at]
	amended.Units = e.Units
	l.entries[at] = &amended
	l.append(&amended)
}

// append writes one line in one call, so that a kill leaves whole lines only.
func (l *ledger) append(e *Entry) {
	if l.file == nil {
		return
	}
	line, err := json.Marshal(e)
	if err == nil {
		_, err = l.file.Write(append(line, '\n'))
	}
	if err != nil && l.err == nil {
		l.err = fmt.Errorf("write ledger: %w", err)
	}
}

func (l *ledger) all() []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Entry, len(l.entries))
	for i, e := range l.entries {
		out[i] = *e
	}
	return out
}
