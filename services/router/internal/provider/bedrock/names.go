package bedrock

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// maxName is how long a tool's name or the id of a call may be.
const maxName = 64

// names are the tools' names that had to be changed, by what they were sent as.
type names map[string]string

// tool is a tool's name in the characters that AWS takes.
func (n names) tool(name string) string {
	sent := plain(name)
	if sent != name {
		n[sent] = name
	}
	return sent
}

// own is the caller's name of a tool that an answer calls.
func (n names) own(sent string) string {
	if name, ok := n[sent]; ok {
		return name
	}
	return sent
}

// plain is a name in the characters that AWS takes. One that has to be changed becomes the same in every
// request, and another than any other name's.
func plain(name string) string {
	fits := name != "" && len(name) <= maxName && strings.IndexFunc(name, func(r rune) bool { return !plainRune(r) }) < 0
	if fits {
		return name
	}
	kept := strings.Map(func(r rune) rune {
		if plainRune(r) {
			return r
		}
		return '_'
	}, name)
	return kept[:min(len(kept), maxName-17)] + "_" + digest(name, 16)
}

func plainRune(r rune) bool {
	return r == '_' || r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

func digest(text string, n int) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])[:n]
}

// callID is the id of a tool call as a model takes it. AWS's own come back as they are; those of another
// provider, whose part of the conversation this model goes on from, become the same in every request.
func (m model) callID(id string) string {
	if m.maker != mistral {
		return plain(id)
	}
	const length = 9 // letters and digits; Mistral's own rule
	if len(id) == length && strings.IndexFunc(id, func(r rune) bool { return !plainRune(r) || r == '_' || r == '-' }) < 0 {
		return id
	}
	return digest(id, length)
}
