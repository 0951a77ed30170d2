package jetstream

import (
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
)

// CRCHeader holds the CRC-32C of the payload as eight hexadecimal digits.
const CRCHeader = "Claviger-Crc32c"

// MaxFrame is how many bytes a frame may have: half of what NATS takes by default.
const MaxFrame = 512 << 10

// What can be wrong with a frame. A frame that fails goes to quarantine: it will fail again.
var (
	ErrSubject  = errors.New("the subject is no frame's")
	ErrChecksum = errors.New("the frame's checksum is missing or wrong")
	ErrTooLarge = fmt.Errorf("the frame is larger than %d bytes", MaxFrame)
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// NewFrame returns the message that carries payload. Id names the frame for the broker's own
// suppression of duplicates; a frame that is sent again because it was lost there needs another one.
func NewFrame(partition int, router, id string, payload []byte) *nats.Msg {
	msg := nats.NewMsg(Subject(partition, router))
	msg.Header[nats.MsgIdHdr] = []string{id}
	msg.Header[CRCHeader] = []string{checksum(payload)}
	msg.Data = payload
	return msg
}

// CheckFrame verifies that a payload arrived as it was sent, and reads from the subject who sent it
// and for which partition. That the payload says the same is for the caller to check.
func CheckFrame(subject string, header nats.Header, payload []byte) (router string, partition int, err error) {
	router, partition, err = parseSubject(subject)
	if err != nil {
		return "", 0, err
	}
	if len(payload) > MaxFrame {
		return "", 0, ErrTooLarge
	}
	if sums := header[CRCHeader]; len(sums) != 1 || sums[0] != checksum(payload) {
		return "", 0, ErrChecksum
	}
	return router, partition, nil
}

func parseSubject(subject string) (router string, partition int, err error) {
	rest, ok := strings.CutPrefix(subject, framePrefix)
	digits, router, found := strings.Cut(rest, ".")
	n, err := strconv.Atoi(digits)
	// The number is written in one way only, so that no partition has two subjects.
	if !ok || !found || err != nil || n < 0 || n >= Partitions || strconv.Itoa(n) != digits || !ValidRouter(router) {
		return "", 0, ErrSubject
	}
	return router, n, nil
}

func checksum(payload []byte) string { return fmt.Sprintf("%08x", crc32.Checksum(payload, castagnoli)) }

// Carrier carries W3C trace context in the header of a message. NATS keeps the case of names, so they
// are written as the specification does ("traceparent"), not as net/http would.
type Carrier nats.Header

// Get returns the value of a name.
func (c Carrier) Get(name string) string {
	if v := c[strings.ToLower(name)]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Set replaces the value of a name.
func (c Carrier) Set(name, value string) { c[strings.ToLower(name)] = []string{value} }

// Keys lists the names.
func (c Carrier) Keys() []string {
	names := make([]string, 0, len(c))
	for name := range c {
		names = append(names, name)
	}
	return names
}
