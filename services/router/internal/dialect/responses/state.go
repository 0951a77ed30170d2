package responses

import (
	"bytes"
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

// states are the formats of the states that an input carries. Most carry none, and are looked through for one
// word only.
func states(input []byte) (found []completion.StateFormat) {
	if jsonscan.KindOf(input) != jsonscan.ArrayKind || !bytes.Contains(input, []byte(`"encrypted_content"`)) {
		return nil
	}
	items := jsonscan.Array(input)
	for items.Next() {
		carried, _ := jsonscan.Text(jsonscan.Get(items.Value, "encrypted_content"))
		format, state := dialect.Unwrap(completion.OpenAIState, carried)
		if state == "" {
			continue
		}
		of := strings.TrimSuffix(strings.TrimSuffix(string(format), callSuffix), encryptedSuffix)
		found = dialect.WithFormat(found, completion.StateFormat(of))
	}
	return found
}
