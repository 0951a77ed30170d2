package bedrock_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/services/router/internal/provider/bedrock"
)

// examples are frames that AWS's own encoder made.
var examples = []struct{ kind, payload, frame string }{
	{"event messageStart", `{"role":"assistant"}`, "000000760000005296d5fade0b3a6576656e742d7479706507000c6d65737361676553746172740d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b22726f6c65223a22617373697374616e74227d6fa8c599"},
	{"event contentBlockDelta", `{"contentBlockIndex":0,"delta":{"text":"Hi"}}`, "0000009400000057b4ab9aee0b3a6576656e742d74797065070011636f6e74656e74426c6f636b44656c74610d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b22636f6e74656e74426c6f636b496e646578223a302c2264656c7461223a7b2274657874223a224869227d7d1f944657"},
	{"event messageStop", `{"stopReason":"end_turn"}`, "0000007a00000051ca2c46650b3a6576656e742d7479706507000b6d65737361676553746f700d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b2273746f70526561736f6e223a22656e645f7475726e227d5fbf09fc"},
	{"event metadata", `{"usage":{"inputTokens":9,"outputTokens":2,"totalTokens":11}}`, "0000009b0000004e5290a5ff0b3a6576656e742d747970650700086d657461646174610d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b227573616765223a7b22696e707574546f6b656e73223a392c226f7574707574546f6b656e73223a322c22746f74616c546f6b656e73223a31317d7dbbd3c8cf"},
	{"exception throttlingException", `{"message":"slow down"}`, "0000008800000061de0175f40f3a657863657074696f6e2d747970650700137468726f74746c696e67457863657074696f6e0d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d74797065070009657863657074696f6e7b226d657373616765223a22736c6f7720646f776e227d832ee072"},
}

func example(t testing.TB, n int) []byte {
	t.Helper()
	b, err := hex.DecodeString(examples[n].frame)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFramesAreRead(t *testing.T) {
	t.Parallel()
	var all []byte
	for range 3 { // their headers repeat
		for n := range examples {
			all = append(all, example(t, n)...)
		}
	}
	kinds, payloads, err := bedrock.Frames(bytes.NewReader(all))
	if !errors.Is(err, io.EOF) || len(kinds) != 3*len(examples) {
		t.Fatalf("%d frames, %v", len(kinds), err)
	}
	for i, kind := range kinds {
		if want := examples[i%len(examples)]; kind != want.kind || string(payloads[i]) != want.payload {
			t.Errorf("frame %d is %s %s, want %s %s", i, kind, payloads[i], want.kind, want.payload)
		}
	}
}

// TestDamagedFramesAreNeverRead changes every bit.
func TestDamagedFramesAreNeverRead(t *testing.T) {
	t.Parallel()
	good := example(t, 1)
	for i := range good {
		for bit := range 8 {
			bad := slices.Clone(good)
			bad[i] ^= 1 << bit
			kinds, _, err := bedrock.Frames(bytes.NewReader(bad))
			if len(kinds) != 0 || err == nil || errors.Is(err, io.EOF) {
				t.Fatalf("bit %d of byte %d changed: %v, %v", bit, i, kinds, err)
			}
		}
	}
}

// prelude is the beginning of a frame with a good checksum.
func prelude(total, headers uint32) []byte {
	b := binary.BigEndian.AppendUint32(nil, total)
	b = binary.BigEndian.AppendUint32(b, headers)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

// TestLengthsAreBoundedBeforeMemoryIsTaken: what a frame says of its length is not believed. It measures
// memory, so nothing runs beside it.
func TestLengthsAreBoundedBeforeMemoryIsTaken(t *testing.T) {
	for _, lengths := range [][2]uint32{{0, 0}, {15, 0}, {16, 1}, {100, 85}, {100, 1 << 31}, {16<<20 + 1, 0}, {1<<32 - 1, 0}, {1<<32 - 1, 1<<32 - 17}} {
		_, _, err := bedrock.Frames(bytes.NewReader(append(prelude(lengths[0], lengths[1]), make([]byte, 200)...)))
		if !errors.Is(err, bedrock.ErrFrame) {
			t.Errorf("lengths %v: %v", lengths, err)
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, _, err := bedrock.Frames(bytes.NewReader(prelude(16<<20, 0))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
		t.Errorf("%d bytes taken for a frame of which nothing came", got)
	}
	payload := bytes.Repeat([]byte("x"), 3<<20)
	_, payloads, err := bedrock.Frames(bytes.NewReader(append(llmtest.AWSEvent("chunk", payload), example(t, 0)...)))
	if !errors.Is(err, io.EOF) || len(payloads) != 2 || !bytes.Equal(payloads[0], payload) {
		t.Errorf("a large frame: %d frames, %v", len(payloads), err)
	}
}

// FuzzFrames compares with the AWS SDK's decoder: what is read here is what it reads, and what it refuses is
// refused. Chunking changes nothing.
func FuzzFrames(f *testing.F) {
	for n := range examples {
		f.Add(example(f, n), uint64(n))
	}
	f.Add(append(example(f, 0), example(f, 4)...), uint64(1))
	f.Add(append(prelude(40, 24), make([]byte, 28)...), uint64(2))
	f.Add(prelude(16<<20, 16<<20-16), uint64(3))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		kinds, payloads, err := bedrock.Frames(bytes.NewReader(data))
		again, payloadsAgain, errAgain := bedrock.Frames(&chunks{data, rand.New(rand.NewPCG(seed, 1))})
		if !slices.Equal(kinds, again) || !errors.Is(errAgain, err) || !slices.EqualFunc(payloads, payloadsAgain, bytes.Equal) {
			t.Fatalf("in one: %v %v; in pieces: %v %v", kinds, err, again, errAgain)
		}
		from := bytes.NewReader(data)
		for i, kind := range kinds {
			message, err := eventstream.NewDecoder().Decode(from, nil)
			if err != nil || !bytes.Equal(message.Payload, payloads[i]) {
				t.Fatalf("frame %d is %s here; the SDK says %v", i, kind, err)
			}
		}
	})
}

// chunks are bytes that come in pieces of any size.
type chunks struct {
	data   []byte
	random *rand.Rand
}

func (c *chunks) Read(b []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), 1+c.random.IntN(40))], c.data)
	c.data = c.data[n:]
	return n, nil
}
