package llmtest

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
)

// anthropicSignature is the signature of all thinking.
const anthropicSignature = "c2lnbmF0dXJl"

// states matches what a body holds of earlier reasoning in any form: signatures, and what is encrypted.
var states = regexp.MustCompile(`"(?:signature|thoughtSignature|encrypted_content)"\s*:\s*"([^"]+)"`)

// state is a state of reasoning as this call gives it: with a mark of the key, if states are bound to it.
func (c *call) state(plain string) string {
	if !c.script.Bound {
		return plain
	}
	return strings.TrimRight(plain, "=") + c.mark()
}

// mark tells the states of a key from those of another.
func (c *call) mark() string {
	sum := sha256.Sum256([]byte(c.key))
	return "k" + hex.EncodeToString(sum[:5]) + "k"
}

// foreignState reports whether the body holds the state of another key.
func (c *call) foreignState() bool {
	if !c.script.Bound {
		return false
	}
	for _, m := range states.FindAllSubmatch(c.raw, -1) {
		if given := string(m[1]); given != geminiSkip && !strings.Contains(given, c.mark()) {
			return true
		}
	}
	return false
}
