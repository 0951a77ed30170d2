// Package etag names the states of an object, so that a change which builds on an old reading is
// refused.
package etag

import (
	"strconv"

	"github.com/claviger/claviger/pkg/fault"
)

// ErrMismatch means that somebody else was faster.
var ErrMismatch = fault.New(fault.Conflict, "ETAG_MISMATCH", "the object has changed since it was read").Hinting("read it again")

// Of returns the etag of an object's version.
func Of(version int64) string { return strconv.FormatInt(version, 10) }

// Check reports whether given is the etag of version. Noun names the object in the error.
func Check(noun string, version int64, given string) error {
	if given != Of(version) {
		return ErrMismatch.Saying("the %s has changed since it was read", noun)
	}
	return nil
}
