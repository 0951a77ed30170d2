package usage

import (
	"encoding/binary"
	"hash/crc32"
)

// A segment is a header and records. A record is its length, a CRC-32C of the rest, a type and a
// payload; all numbers are little-endian.
const (
	magic       = "CLVJRNL1"
	headerSize  = len(magic) + epochSize
	epochSize   = 16 // hex digits
	recordHead  = 4 + 4
	maxPayload  = 1 << 20
	sequenceEnd = 1 + 8 // a result's payload starts with its partition and sequence
)

type recordType byte

const (
	typeIntent     recordType = 1 // an encoded event, before the call
	typeCheckpoint recordType = 2 // an encoded event with attempt id, tokens and source only
	typeResult     recordType = 3 // partition, sequence, an encoded event
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// beginRecord appends a record's head, to be filled in by endRecord.
func beginRecord(b []byte, t recordType) []byte {
	return append(b, 0, 0, 0, 0, 0, 0, 0, 0, byte(t))
}

// endRecord fills in the head of the record that starts at from.
func endRecord(b []byte, from int) []byte {
	body := b[from+recordHead:]
	binary.LittleEndian.PutUint32(b[from:], uint32(len(body)))
	binary.LittleEndian.PutUint32(b[from+4:], crc32.Checksum(body, castagnoli))
	return b
}

// parseRecord reads the record at the start of b. ok is false when it is not whole and right; then
// size is 0.
func parseRecord(b []byte) (t recordType, payload []byte, size int, ok bool) {
	if len(b) < recordHead+1 {
		return 0, nil, 0, false
	}
	n := int(binary.LittleEndian.Uint32(b))
	if n < 1 || n > maxPayload+1 || len(b) < recordHead+n {
		return 0, nil, 0, false
	}
	body := b[recordHead : recordHead+n]
	t = recordType(body[0])
	if t < typeIntent || t > typeResult || (t == typeResult && len(body) < 1+sequenceEnd) ||
		crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
		return 0, nil, 0, false
	}
	return t, body[1:], recordHead + n, true
}

// scan calls visit for each whole record of b and returns how many bytes were skipped because they
// belong to none. After a damaged record it looks for the next whole one, byte by byte: the CRC
// tells, and everything that can be saved is.
func scan(b []byte, visit func(t recordType, payload []byte)) (skipped int) {
	for len(b) > 0 {
		t, payload, size, ok := parseRecord(b)
		if !ok {
			b = b[1:]
			skipped++
			continue
		}
		visit(t, payload)
		b = b[size:]
	}
	return skipped
}

// result splits the payload of a typeResult.
func result(payload []byte) (partition int, e entry) {
	return int(payload[0]), entry{sequence: int64(binary.LittleEndian.Uint64(payload[1:])), event: payload[sequenceEnd:]}
}
