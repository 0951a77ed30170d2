package plan

import "math"

// Draws have no state: what is drawn is a hash of the request's id, or of what a request sticks to, so that
// every router draws the same, and again the same when it is asked to explain.

const (
	fnvOffset = 0xcbf29ce484222325
	fnvPrime  = 0x100000001b3
)

// hash is FNV-1a over the texts, each ended so that none runs into the next, and mixed.
func hash(texts ...string) uint64 {
	h := uint64(fnvOffset)
	for _, text := range texts {
		for i := range len(text) {
			h = (h ^ uint64(text[i])) * fnvPrime
		}
		h = (h ^ 0xff) * fnvPrime // in no UTF-8
	}
	return mix(h)
}

// mix makes every bit depend on every bit (the finalizer of MurmurHash3).
func mix(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// unit is a number from the open interval 0 to 1.
func unit(h uint64) float64 { return (float64(h>>11) + 0.5) / (1 << 53) }

// ticket is what a choice with a weight draws: the lowest of several wins, each as often as its weight says,
// and those behind it stand as if drawn from what is left. It depends on the seed and the choice alone, so a
// choice that comes or goes moves only what it wins itself (weighted rendezvous hashing).
func ticket(seed, choice uint64, weight int) float64 {
	return -math.Log(unit(mix(seed^choice))) / float64(weight)
}

// one reports whether a draw is one in n.
func one(h, n uint64) bool { return h%n == 0 }
