package usage

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
	span := e.GetSpanId()
	e.SpanId = ""
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(&e)
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	u.event = appendString(raw, spanIDField, span) // last, where traced looks for it
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

// recover reads what earlier processes left and returns the attempts without a result.
func (j *Journal) recover() ([]unfinished, error) {
	paths, err := filepath.Glob(filepath.Join(j.dir, "*.seg"))
	if err != nil {
		return nil, fmt.Errorf("list journal: %w", err)
	}
	slices.Sort(paths)
	pending := map[string]*unfinished{}
	for _, path := range paths {
		var number int64
		if _, err := fmt.Sscanf(strings.TrimSuffix(filepath.Base(path), ".seg"), "%x", &number); err != nil {
			return nil, fmt.Errorf("journal holds a foreign file %s: %w", filepath.Base(path), err)
		}
		s, err := j.recoverSegment(path, number, pending)
		if err != nil {
			return nil, err
		}
		j.segments = append(j.segments, s)
		j.total += s.size
	}
	out := make([]unfinished, 0, len(pending))
	for _, u := range pending {
		if err := u.conclude(j.now()); err != nil {
			j.log.Error("journal holds an intent that cannot be read", "error", err)
			continue
		}
		out = append(out, *u)
	}
	slices.SortFunc(out, func(a, b unfinished) int { return cmp.Compare(a.attemptID, b.attemptID) })
	return out, nil
}

func (j *Journal) recoverSegment(path string, number int64, pending map[string]*unfinished) (*segment, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open journal segment: %w", err)
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("read journal segment: %w", err)
	}
	s := &segment{number: number, path: path, size: int64(len(raw))}
	if len(raw) < headerSize || string(raw[:len(magic)]) != magic {
		j.corrupt += int64(len(raw)) // a kill between creating and writing the header leaves it empty
		return s, nil
	}
	s.epoch = string(raw[len(magic):headerSize])
	j.corrupt += int64(scan(raw[headerSize:], func(t recordType, payload []byte) {
		switch t {
		case typeIntent:
			if id, ok := attemptID(payload); ok {
				pending[id] = &unfinished{attemptID: id, event: slices.Clone(payload)}
				s.open++
			}
		case typeCheckpoint:
			if id, ok := attemptID(payload); ok && pending[id] != nil {
				pending[id].checkpoint = slices.Clone(payload)
			}
		case typeResult:
			p, e := result(payload)
			if p < partitions {
				s.last[p] = max(s.last[p], e.sequence)
				if s.first[p] == 0 || e.sequence < s.first[p] {
					s.first[p] = e.sequence
				}
				if s.began.IsZero() {
					s.began = endOf(e.event)
				}
			}
			if id, ok := attemptID(e.event); ok {
				delete(pending, id)
			}
		}
	}))
	return s, nil
}
