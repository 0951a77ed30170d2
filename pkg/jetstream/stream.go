package jetstream

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	maxAge          = 7 * 24 * time.Hour
	duplicateWindow = time.Hour
)

// ErrStream is returned when a stream of our name exists and cannot be made what we need.
var ErrStream = errors.New("the stream USAGE exists with another storage or retention; rename or remove it")

// StreamConfig returns what the stream of usage frames has to be.
func StreamConfig(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        Stream,
		Description: "claviger usage frames, from routers to metering",
		Subjects:    []string{AllFrames},
		// A work queue forgets the ids of consumed messages after a restart, and a consumer that is
		// created again could not go back.
		Retention: jetstream.LimitsPolicy,
		Storage:   jetstream.FileStorage,
		// A full stream refuses the publisher, who keeps the frame; the default drops the oldest.
		Discard:     jetstream.DiscardNew,
		MaxAge:      maxAge,
		Duplicates:  duplicateWindow,
		Compression: jetstream.S2Compression,
		DenyDelete:  true,
		DenyPurge:   true,
		AllowDirect: true,
		Replicas:    max(replicas, 1),
	}
}

// EnsureStream makes the stream, or brings an older one up to what it has to be. What an operator has
// set besides, such as a size limit, a placement or a longer age, stays. Replicas 0 is 1 for a new
// stream and leaves an older one as it is.
func EnsureStream(ctx context.Context, js jetstream.JetStream, replicas int) error {
	want := StreamConfig(replicas)
	stream, err := js.Stream(ctx, Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = js.CreateStream(ctx, want)
		if !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return wrap(err)
		}
		stream, err = js.Stream(ctx, Stream) // another replica was faster
	}
	if err != nil {
		return wrap(err)
	}
	have := stream.CachedInfo().Config
	if have.Storage != want.Storage || have.Retention != want.Retention {
		return ErrStream
	}
	next := have
	next.Description, next.Subjects, next.Discard = want.Description, want.Subjects, want.Discard
	next.DenyDelete, next.DenyPurge, next.AllowDirect = true, true, true
	next.Compression = want.Compression
	next.Duplicates = max(have.Duplicates, want.Duplicates)
	if have.MaxAge != 0 { // zero keeps for ever
		next.MaxAge = max(have.MaxAge, want.MaxAge)
	}
	if replicas > 0 {
		next.Replicas = replicas
	}
	if reflect.DeepEqual(next, have) {
		return nil
	}
	_, err = js.UpdateStream(ctx, next)
	return wrap(err)
}

func wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("ensure stream: %w", err)
}
