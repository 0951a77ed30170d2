package usage

import (
	"time"

	"github.com/claviger/claviger/services/metering/internal/spool"
)

// Batch is what one transaction applies: all of it or nothing.
type Batch struct {
	// Attempts are to be counted, in the order they came.
	Attempts []Attempt
	// Waiting are events that cannot be judged until newer configuration has come.
	Waiting []Waiting
	// Judged are events that waited and no longer do.
	Judged []WaitingKey
	// Quarantine are messages and events that are kept and not counted.
	Quarantine []Quarantined
	// Sequences are the numbers that are dealt with, per router, epoch and partition.
	Sequences map[spool.Key][]spool.Range
	// Position is how far the stream is dealt with; nil leaves it.
	Position *Position
	// At is when this was decided.
	At time.Time
}

// Position is a place in a stream: everything up to and including Sequence is applied. A stream that
// was made again has another creation time, and its numbers begin anew.
type Position struct {
	StreamCreated time.Time
	Sequence      uint64
}

// Origin says where an event came from.
type Origin struct {
	spool.Key
	Sequence int64
}

// WaitingKey names an event that waits.
type WaitingKey struct {
	OrgID, AttemptID string
	Revision         int
}

// Waiting is an event that names something our configuration does not know, under a configuration
// newer than ours.
type Waiting struct {
	WaitingKey
	Origin
	// Entry is the encoded event, as it came.
	Entry []byte
	Since time.Time
}

// Reason says why something is not counted.
type Reason string

// The reasons.
const (
	ReasonSubject           Reason = "subject"             // a subject that is no frame's
	ReasonCRC               Reason = "crc"                 // the checksum is missing or wrong
	ReasonTooLarge          Reason = "too_large"           // larger than a frame may be
	ReasonDecode            Reason = "decode"              // cannot be decoded
	ReasonSchema            Reason = "schema"              // a form that we do not know
	ReasonRouterMismatch    Reason = "router_mismatch"     // the frame names another router than its subject
	ReasonPartitionMismatch Reason = "partition_mismatch"  // the frame or organization belongs to another partition
	ReasonSequence          Reason = "sequence"            // numbers that do not increase from 1
	ReasonID                Reason = "bad_id"              // an id that is none
	ReasonTime              Reason = "bad_time"            // no time, or one before 1970
	ReasonLate              Reason = "late"                // ended too long ago
	ReasonCounts            Reason = "bad_counts"          // counts out of bounds
	ReasonValue             Reason = "bad_value"           // another field out of bounds
	ReasonUnknownOrg        Reason = "unknown_org"         // no such organization
	ReasonForeignKey        Reason = "foreign_key"         // the API key is not the organization's
	ReasonForeignMember     Reason = "foreign_member"      // the member is not the organization's
	ReasonForeignPolicy     Reason = "foreign_policy"      // the policy is not the organization's
	ReasonForeignCredential Reason = "foreign_credential"  // the credential belongs to somebody else
	ReasonClassMismatch     Reason = "class_mismatch"      // the credential's class is another
	ReasonProviderMismatch  Reason = "provider_mismatch"   // the credential is another provider's
	ReasonStore             Reason = "refused_by_database" // the database cannot take it, now or later
)

// Quarantined is something that was not counted: a whole message, or one event of a frame.
type Quarantined struct {
	// ID is derived from the content, so that the same thing is kept once, however often it comes.
	ID     string
	Reason Reason
	Detail string
	// Subject is where the message came from.
	Subject string
	// Payload is the message, or the encoded entry of a frame.
	Payload []byte
	// Entry says that Payload is an entry of a frame; OrgID, AttemptID and Origin are then known.
	Entry            bool
	OrgID, AttemptID string
	Origin
}

// Applied is what a transaction did.
type Applied struct {
	// Counted is how many attempts are new, Revised how many replaced an earlier revision, Duplicate
	// how many were there before.
	Counted, Revised, Duplicate int
	// Counters are the highest number of each organization of the batch, see Counted.
	Counters map[string]int64
	// Marks are the watermarks of the batch's sequences, as they are now.
	Marks map[spool.Key]spool.Mark
}
