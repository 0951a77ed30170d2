// Package id makes prefixed, time-ordered ids: cred_01jd…, att_01jd….
//
// An id is a prefix, "_" and a UUIDv7 in 26 characters of lower-case Crockford base32 (the TypeID
// form). Ids of one process never go backwards, even when its clock does.
package id

import (
	"crypto/rand"
	"encoding/binary"
	"strings"
	"sync"
	"time"
)

const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

var values = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i := range len(alphabet) {
		t[alphabet[i]] = byte(i)
	}
	return t
}()

// generator keeps the last time and counter, so that ids increase (RFC 9562, method 1).
type generator struct {
	mu      sync.Mutex
	ms      uint64
	counter uint16     // 12 bits in rand_a
	pool    [1024]byte // random bytes, refilled when used up: one system call per 128 ids
	used    int
}

var shared = generator{used: 1024}

// New returns a fresh id with the given prefix.
func New(prefix string) string { return shared.next(prefix, uint64(time.Now().UnixMilli())) }

func (g *generator) next(prefix string, now uint64) string {
	var u [16]byte
	g.mu.Lock()
	if g.used == len(g.pool) {
		_, _ = rand.Read(g.pool[:]) // never fails, as documented
		g.used = 0
	}
	copy(u[8:], g.pool[g.used:g.used+8])
	g.used += 8
	switch {
	case now > g.ms:
		g.ms, g.counter = now, uint16(u[8])<<2 // leaves room to count upwards
	case g.counter < 0xfff:
		g.counter++
	default:
		g.ms, g.counter = g.ms+1, 0
	}
	ms, counter := g.ms, g.counter
	g.mu.Unlock()

	binary.BigEndian.PutUint64(u[:8], ms<<16)
	u[6] = 0x70 | byte(counter>>8)
	u[7] = byte(counter)
	u[8] = u[8]&0x3f | 0x80
	return encode(prefix, u)
}

func encode(prefix string, u [16]byte) string {
	var b strings.Builder
	b.Grow(len(prefix) + 27)
	b.WriteString(prefix)
	b.WriteByte('_')
	hi, lo := binary.BigEndian.Uint64(u[:8]), binary.BigEndian.Uint64(u[8:])
	for i := range 26 { // 130 bits, the first two are zero
		shift := uint(125 - 5*i)
		var v uint64
		switch {
		case shift >= 64:
			v = hi >> (shift - 64)
		case shift > 59:
			v = hi<<(64-shift) | lo>>shift
		default:
			v = lo >> shift
		}
		b.WriteByte(alphabet[v&31])
	}
	return b.String()
}

// Valid reports whether s is an id with the given prefix.
func Valid(prefix, s string) bool {
	rest, ok := strings.CutPrefix(s, prefix)
	if !ok || len(rest) != 27 || rest[0] != '_' || rest[1] > '7' {
		return false
	}
	for i := 1; i < len(rest); i++ {
		if values[rest[i]] == 0xff {
			return false
		}
	}
	return true
}

// Time returns the moment, to the millisecond, that s carries. It is false when s is no id.
func Time(s string) (time.Time, bool) {
	prefix, _, _ := strings.Cut(s, "_")
	if !Valid(prefix, s) {
		return time.Time{}, false
	}
	var ms uint64
	for _, c := range []byte(s[len(prefix)+1 : len(prefix)+11]) { // 50 bits: two of padding and the 48 of time
		ms = ms<<5 | uint64(values[c])
	}
	return time.UnixMilli(int64(ms)).UTC(), true
}
