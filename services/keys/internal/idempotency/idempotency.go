// Package idempotency says how a retry is recognised: the first answer to a key is kept, in the
// transaction of the change, and given again to the same request of the same caller.
package idempotency

import (
	"time"

	"github.com/claviger/claviger/pkg/fault"
)

// Retention is how long a first answer is kept.
const Retention = 7 * 24 * time.Hour

// ErrReused means that the key has been used for something else.
var ErrReused = fault.New(fault.Conflict, "IDEMPOTENCY_KEY_REUSED", "this idempotency key was used for another request").
	Hinting("use a fresh idempotency key for each new request")

// Key names one intended change. The zero Key is of a change that cannot be retried safely.
type Key struct {
	// Method is the method that was called.
	Method string
	// Value is the client's idempotency key, unique per organization and method.
	Value string
	// Digest tells requests and callers apart. No secret goes into it.
	Digest string
}

// None reports whether there is no key.
func (k Key) None() bool { return k.Value == "" }

// Check reports whether a kept answer with the given digest answers this request.
func (k Key) Check(digest string) error {
	if digest != k.Digest {
		return ErrReused
	}
	return nil
}
