// Package jetstream holds what router and metering agree on when usage travels over NATS: names, the
// stream, the checks of a frame, and how to connect.
//
// It promises that a connection never gives up and never pretends to have sent: while the server is
// away a publish fails at once and the caller keeps the frame. It does not know what is in a frame.
package jetstream

import (
	"hash/fnv"
	"strconv"
)

const (
	// Stream is the name of the stream of usage frames.
	Stream = "USAGE"
	// AllFrames matches the subjects of all frames.
	AllFrames = framePrefix + ">"
	// AllHeads matches the heartbeats of all routers.
	AllHeads = headPrefix + "*"
	// Partitions is the number of partitions. It is part of the contract between router and metering
	// and of every frame that waits in a journal, so it cannot change.
	Partitions = 16

	framePrefix   = "usage.v1."
	headPrefix    = "spool.v1.head."
	appliedPrefix = "spool.v1.applied."

	maxRouterName = 63
)

// Subject returns where a router publishes the frames of one partition.
func Subject(partition int, router string) string {
	return framePrefix + strconv.Itoa(partition) + "." + router
}

// PartitionSubjects matches one partition's frames of all routers.
func PartitionSubjects(partition int) string {
	return framePrefix + strconv.Itoa(partition) + ".*"
}

// HeadSubject returns where a router says how far its journal goes.
func HeadSubject(router string) string { return headPrefix + router }

// AppliedSubject returns where metering tells a router what is applied.
func AppliedSubject(router string) string { return appliedPrefix + router }

// Partition returns the partition of an organization: all its events go through one writer.
func Partition(orgID string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(orgID)) // never fails
	return int(h.Sum32() % Partitions)
}

// ValidRouter reports whether name can be a router's: 1 to 63 of a-z, 0-9 and "-", not beginning
// with "-". Such a name is one token of a subject.
func ValidRouter(name string) bool {
	if name == "" || len(name) > maxRouterName || name[0] == '-' {
		return false
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
