// Package router is the data plane: it answers completions through the providers that an
// organization's own rules allow, and records what each attempt took.
//
// It opens credentials and can seal none. It has no database: what it needs to know comes signed
// from keys and is kept on disk, and what it has to tell goes through its journal. On the request
// path it calls nobody of ours, but for the first opening of a credential.
package router
