package usage

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/claviger/claviger/pkg/jetstream"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
)

// unfinished is an attempt that has an intent and no result.
type unfinished struct {
	attemptID  string
	partition  int
	event      []byte // the intent; after conclude, the result
	checkpoint []byte
}

// conclude turns the intent into a result: outcome RouterCrash, input as estimated before the call,
// output as of the last checkpoint.
func (u *unfinished) conclude(now time.Time) error {
	var e eventsv1.UsageEvent
	if err := proto.Unmarshal(u.event, &e); err != nil {
		return fmt.Errorf("decode intent: %w", err)
	}
	u.partition = jetstream.Partition(e.GetOrgId())
	e.Outcome = eventsv1.Outcome_OUTCOME_ROUTER_CRASH
	e.EndedTime = timestamppb.New(now)
	e.UsageSource = eventsv1.UsageSource_USAGE_SOURCE_ESTIMATED
	if u.checkpoint != nil {
		var c eventsv1.UsageEvent
		if err := proto.Unmarshal(u.checkpoint, &c); err != nil {
			return fmt.Errorf("decode checkpoint: %w", err)
		}
		e.Tokens, e.UsageSource = c.GetTokens(), c.GetUsageSource()
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(&e)
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	u.event = raw
	return nil
}

// attemptID reads the attempt id, the first field of an encoded event.
func attemptID(encoded []byte) (string, bool) {
	field, kind, n := protowire.ConsumeTag(encoded)
	if n < 0 || field != 1 || kind != protowire.BytesType {
		return "", false
	}
	id, m := protowire.ConsumeBytes(encoded[n:])
	return string(id), m >= 0
}
