package llmtest

import (
	"encoding/binary"
	"hash/crc32"
)

// awsFrame appends a message of an event stream: lengths, their checksum, headers as pairs of name and
// text, payload, and the checksum of all of it.
func awsFrame(dst []byte, headers [][2]string, payload []byte) []byte {
	begin := len(dst)
	dst = append(dst, make([]byte, 12)...)
	for _, h := range headers {
		dst = append(append(dst, byte(len(h[0]))), h[0]...)
		dst = append(dst, 7) // a text
		dst = append(binary.BigEndian.AppendUint16(dst, uint16(len(h[1]))), h[1]...)
	}
	prelude := dst[begin:]
	binary.BigEndian.PutUint32(prelude[4:], uint32(len(prelude)-12))
	binary.BigEndian.PutUint32(prelude, uint32(len(prelude)+len(payload)+4))
	binary.BigEndian.PutUint32(prelude[8:], crc32.ChecksumIEEE(prelude[:8]))
	dst = append(dst, payload...)
	return binary.BigEndian.AppendUint32(dst, crc32.ChecksumIEEE(dst[begin:]))
}

// AWSEvent is an event in a frame, as streams of Bedrock hold it.
func AWSEvent(name string, payload []byte) []byte {
	return awsFrame(nil, [][2]string{{":event-type", name}, {":content-type", "application/json"}, {":message-type", "event"}}, payload)
}

// AWSException is an exception in a frame, by its name in small letters.
func AWSException(name string, payload []byte) []byte {
	return awsFrame(nil, [][2]string{{":exception-type", name}, {":content-type", "application/json"}, {":message-type", "exception"}}, payload)
}
