package sse_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/services/router/internal/sse"
)

type event struct{ Name, Data string }

// pieces gives a source in reads of the sizes that next says.
type pieces struct {
	data []byte
	next func() int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), max(1, p.next()))], p.data)
	p.data = p.data[n:]
	return n, nil
}

// readAll returns the events, all bytes that were handed out, and the error at the end.
func readAll(src io.Reader) (events []event, raw string, err error) {
	r := sse.NewReader(src)
	defer r.Release()
	var all strings.Builder
	var c sse.Cursor
	for {
		run, err := r.Next()
		all.Write(run)
		c.Reset(run)
		for {
			e, ok := c.Next()
			if !ok {
				break
			}
			events = append(events, event{string(e.Name), string(e.Data)})
		}
		if err != nil {
			return events, all.String(), err
		}
	}
}

// reference reads the whole stream at once, as the specification words it.
func reference(stream string) (events []event) {
	stream = strings.TrimPrefix(stream, "\uFEFF")
	stream = strings.ReplaceAll(strings.ReplaceAll(stream, "\r\n", "\n"), "\r", "\n")
	var e event
	var data []string
	for _, line := range append(strings.Split(stream, "\n"), "") {
		if line == "" {
			if data != nil {
				events = append(events, event{e.Name, strings.Join(data, "\n")})
			}
			e, data = event{}, nil
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "data":
			data = append(data, value)
		case "event":
			e.Name = value
		}
	}
	return events
}

var streams = []string{
	"",
	"\n",
	"data: a\n\n",
	"data: a\n\ndata: b\n\n",
	"data:a\r\n\r\ndata:  b\r\n\r\n",
	"data: a\r\rdata: b\r\r",
	"data: a\n\r\ndata: b\r\n\ndata: c\n\rdata: d\r\r\n",
	"\uFEFFdata: a\n\n",
	": comment\n\nevent: ping\ndata: {}\n\nevent: nothing\n\ndata: x\n\n",
	": keep-alive\ndata: a\n: more\ndata: b\nid: 7\nretry: 10\n\n",
	"data\n\ndata:\n\ndata: \n\n",
	"datax: no\ndata: yes\n\n",
	"data: unfinished",
	"data: a\n\ndata: unfinished\n",
	"data: a\n\n\n\n\n",
	"data: a\n\n\uFEFFdata: b\n\ndata: c\n\n",
	"data: a\n\n: comment",
	"event: message_start\ndata: {\"type\":\"message_start\"}\n\ndata: [DONE]\n\n",
}

func TestEventsDoNotDependOnReads(t *testing.T) {
	t.Parallel()
	for _, stream := range streams {
		want := reference(stream)
		for size := 1; size <= len(stream)+1; size++ {
			got, raw, err := readAll(&pieces{data: []byte(stream), next: func() int { return size }})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%q in reads of %d (-want +got):\n%s", stream, size, diff)
			}
			if raw != stream {
				t.Errorf("%q in reads of %d: bytes %q", stream, size, raw)
			}
			if !errors.Is(err, io.EOF) && !errors.Is(err, sse.ErrUnfinished) {
				t.Errorf("%q: error %v", stream, err)
			}
		}
	}
}

func TestUnfinishedEventIsMarked(t *testing.T) {
	t.Parallel()
	for stream, want := range map[string]error{
		"data: a\n\ndata: b": sse.ErrUnfinished, "data: a\n\ndata: b\n": sse.ErrUnfinished,
		"data: a\n\n": io.EOF, "data: a\n\n\n": io.EOF, "data: a\r\n\r\n": io.EOF, "data: a\n\n\r": io.EOF,
	} {
		if _, _, err := readAll(strings.NewReader(stream)); !errors.Is(err, want) {
			t.Errorf("%q: error %v, want %v", stream, err, want)
		}
	}
}

func TestErrorsOfTheSourceArePassedOn(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	got, _, err := readAll(io.MultiReader(strings.NewReader("data: a\n\ndata: b"), iotest.ErrReader(broken)))
	if len(got) != 1 || !errors.Is(err, broken) {
		t.Errorf("events %v, error %v", got, err)
	}
	// What a cut connection left is no event.
	got, raw, err := readAll(io.MultiReader(strings.NewReader("data: a\n\ndata: b"), iotest.ErrReader(io.ErrUnexpectedEOF)))
	if len(got) != 1 || raw != "data: a\n\n" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("events %v, bytes %q, error %v", got, raw, err)
	}
	got, _, err = readAll(iotest.DataErrReader(strings.NewReader("data: a\n\n")))
	if len(got) != 1 || !errors.Is(err, io.EOF) {
		t.Errorf("data with EOF: events %v, error %v", got, err)
	}
}

func TestLongEventsAreBounded(t *testing.T) {
	t.Parallel()
	long := "data: " + strings.Repeat("x", sse.MaxEvent-8) + "\n\n"
	for _, stream := range []string{long, "data: first\n\n" + long + "data: last\n\n"} {
		got, raw, err := readAll(strings.NewReader(stream))
		if !errors.Is(err, io.EOF) || raw != stream || len(got) != strings.Count(stream, "data") {
			t.Errorf("event of the largest size: %d events, %v", len(got), err)
		}
	}
	if _, _, err := readAll(strings.NewReader("data: " + strings.Repeat("x", sse.MaxEvent))); !errors.Is(err, sse.ErrTooLong) {
		t.Errorf("event beyond the largest size: %v", err)
	}
}

func TestEventsCanBeCutOutOfARun(t *testing.T) {
	t.Parallel()
	run := []byte(": note\n\nevent: a\ndata: 1\n\n: in b\ndata: 2\n\ndata: 3\n\n")
	var c sse.Cursor
	c.Reset(run)
	for {
		e, ok := c.Next()
		if !ok {
			t.Fatal("no second event")
		}
		if string(e.Data) == "2" {
			rest := string(run[:e.Start]) + string(run[e.End:])
			if want := ": note\n\nevent: a\ndata: 1\n\ndata: 3\n\n"; rest != want {
				t.Errorf("left %q, want %q", rest, want)
			}
			return
		}
	}
}

func TestReleasedReaderGivesNothing(t *testing.T) {
	t.Parallel()
	r := sse.NewReader(strings.NewReader("data: a\n\n"))
	r.Release()
	r.Release()
	if _, err := r.Next(); err == nil {
		t.Error("a released reader still reads")
	}
}

func TestReadingAllocatesNothing(t *testing.T) {
	chunk := "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hello\"},\"finish_reason\":null}]}\n\n"
	src := &pieces{data: []byte(strings.Repeat(chunk, 2000)), next: func() int { return len(chunk) }}
	r := sse.NewReader(src)
	defer r.Release()
	var c sse.Cursor
	n := testing.AllocsPerRun(1000, func() {
		run, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		c.Reset(run)
		if _, ok := c.Next(); !ok {
			t.Fatal("no event")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations per event, want none", n)
	}
}

func FuzzReader(f *testing.F) {
	for i, stream := range streams {
		f.Add([]byte(stream), uint64(i))
	}
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 1))
		got, raw, _ := readAll(&pieces{data: stream, next: func() int { return random.IntN(7) + 1 }})
		if raw != string(stream) {
			t.Fatalf("bytes %q, want %q", raw, stream)
		}
		if diff := cmp.Diff(reference(string(stream)), got); diff != "" {
			t.Fatalf("%q (-want +got):\n%s", stream, diff)
		}
	})
}

func BenchmarkReader(b *testing.B) {
	chunk := []byte(`data: {"id":"chatcmpl-0","object":"chat.completion.chunk","created":1790000000,"model":"gpt-4o-mini","choices":[{"index":0,"delta":{"content":"hello"},"logprobs":null,"finish_reason":null}],"usage":null}` + "\n\n")
	for _, perRead := range []int{1, 16} {
		b.Run(fmt.Sprintf("events=%d", perRead), func(b *testing.B) {
			one := bytes.Repeat(chunk, perRead)
			src := &pieces{}
			src.next = func() int { return len(one) }
			r := sse.NewReader(src)
			defer r.Release()
			var c sse.Cursor
			b.SetBytes(int64(len(one)))
			b.ReportAllocs()
			for b.Loop() {
				src.data = one
				run, err := r.Next()
				if err != nil {
					b.Fatal(err)
				}
				c.Reset(run)
				for {
					if _, ok := c.Next(); !ok {
						break
					}
				}
			}
		})
	}
}
