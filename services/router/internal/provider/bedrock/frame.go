package bedrock

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
)

const (
	// maxFrame bounds a frame; what it says of its length is checked before memory is taken.
	maxFrame = 16 << 20
	// preludeSize are both lengths and their checksum, minFrame that and the checksum of the whole.
	preludeSize = 12
	minFrame    = preludeSize + 4
	// maxKinds bounds how many blocks of headers are remembered. A stream has about ten.
	maxKinds = 32
	// keptBuffer is the largest buffer that is kept for the next frame.
	keptBuffer = 256 << 10
)

// errFrame says that the bytes are no event stream, or not the one that was sent.
var errFrame = errors.New("a damaged frame")

// frame is one message of an event stream. Payload is valid until the next one is read.
type frame struct {
	kind
	Payload []byte
}

// kind is what the headers of a frame say.
type kind struct {
	// Message is "event", "exception" or "error"; Name is the event's or exception's type, or the
	// error's code. Text is the error's message.
	Message, Name, Text string
}

// frames reads an event stream. The AWS SDK's decoder reads each block of headers once; the blocks of a
// stream repeat, and the decoder takes some forty allocations for each frame. Lengths and checksums of
// every frame are checked here.
type frames struct {
	from  io.Reader
	buf   []byte
	known map[string]kind
}

func newFrames(from io.Reader) *frames {
	return &frames{from: from, buf: make([]byte, 4<<10), known: make(map[string]kind, 8)}
}

// next returns the next frame. It returns io.EOF only between frames; within one it is
// io.ErrUnexpectedEOF. What is damaged is errFrame.
func (f *frames) next() (frame, error) {
	if cap(f.buf) > keptBuffer {
		f.buf = make([]byte, 4<<10)
	}
	if _, err := io.ReadFull(f.from, f.buf[:preludeSize]); err != nil {
		return frame{}, err
	}
	total, headers := binary.BigEndian.Uint32(f.buf), binary.BigEndian.Uint32(f.buf[4:])
	if crc32.ChecksumIEEE(f.buf[:8]) != binary.BigEndian.Uint32(f.buf[8:]) || total < minFrame || total > maxFrame || headers > total-minFrame {
		return frame{}, errFrame
	}
	if err := f.fill(int(total)); err != nil {
		return frame{}, err
	}
	whole := f.buf[:total]
	end := total - 4
	if crc32.ChecksumIEEE(whole[:end]) != binary.BigEndian.Uint32(whole[end:]) {
		return frame{}, errFrame
	}
	k, err := f.kindOf(whole, whole[preludeSize:preludeSize+headers])
	if err != nil {
		return frame{}, err
	}
	return frame{kind: k, Payload: whole[preludeSize+headers : end]}, nil
}

// fill reads the rest of a frame. Memory grows with what has come, not with what was announced.
func (f *frames) fill(total int) error {
	for at := preludeSize; at < total; {
		if at == len(f.buf) {
			f.buf = append(f.buf, make([]byte, min(len(f.buf), total-at))...)
		}
		n, err := io.ReadFull(f.from, f.buf[at:min(total, len(f.buf))])
		at += n
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// kindOf reads the headers of a frame.
func (f *frames) kindOf(whole, headers []byte) (kind, error) {
	if k, ok := f.known[string(headers)]; ok {
		return k, nil
	}
	message, err := eventstream.NewDecoder().Decode(bytes.NewReader(whole), nil)
	if err != nil {
		return kind{}, errFrame
	}
	text := func(name string) string {
		if v, ok := message.Headers.Get(name).(eventstream.StringValue); ok {
			return string(v)
		}
		return ""
	}
	k := kind{Message: text(":message-type")}
	switch k.Message {
	case "event":
		k.Name = text(":event-type")
	case "exception":
		k.Name = text(":exception-type")
	case "error":
		k.Name, k.Text = text(":error-code"), text(":error-message")
	default:
		return kind{}, errFrame
	}
	if len(f.known) < maxKinds {
		f.known[string(headers)] = k
	}
	return k, nil
}
