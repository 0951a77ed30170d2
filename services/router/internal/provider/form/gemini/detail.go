package gemini

import (
	"bytes"
	"encoding/json"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// compact is JSON without the space between its tokens; what is compact already is taken as it is.
func compact(data []byte) string {
	if bytes.IndexByte(data, '\n') < 0 {
		return string(data)
	}
	var b bytes.Buffer
	if err := json.Compact(&b, data); err != nil {
		return string(data)
	}
	return b.String()
}

// readLogprobs reads {"chosenCandidates":[…],"topCandidates":[{"candidates":[…]}]}.
func readLogprobs(v []byte) []completion.Logprob {
	if jsonscan.KindOf(v) != jsonscan.ObjectKind {
		return nil
	}
	var out []completion.Logprob
	var tops [][]completion.Logprob
	m := jsonscan.Object(v)
	for m.Next() {
		if jsonscan.KindOf(m.Value) != jsonscan.ArrayKind {
			continue
		}
		switch string(m.Name) {
		case "chosenCandidates":
			out = readTokens(m.Value)
		case "topCandidates":
			places := jsonscan.Array(m.Value)
			for places.Next() {
				tops = append(tops, readTokens(jsonscan.Get(places.Value, "candidates")))
			}
		}
	}
	for i := range min(len(out), len(tops)) {
		out[i].Top = tops[i]
	}
	return out
}

func readTokens(v []byte) []completion.Logprob {
	if jsonscan.KindOf(v) != jsonscan.ArrayKind {
		return nil
	}
	var out []completion.Logprob
	list := jsonscan.Array(v)
	for list.Next() {
		var l completion.Logprob
		m := jsonscan.Object(list.Value)
		for m.Next() {
			switch string(m.Name) {
			case "token":
				l.Token, _ = jsonscan.Text(m.Value)
			case "logProbability":
				l.Logprob, _ = jsonscan.Float(m.Value)
			}
		}
		out = append(out, l)
	}
	return out
}

// readCitations reads {"citations":[{"startIndex","endIndex","uri","title"}]}; AI Studio calls the list
// "citationSources".
func readCitations(v []byte) []completion.Citation {
	if jsonscan.KindOf(v) != jsonscan.ObjectKind {
		return nil
	}
	var out []completion.Citation
	m := jsonscan.Object(v)
	for m.Next() {
		if jsonscan.KindOf(m.Value) != jsonscan.ArrayKind {
			continue
		}
		list := jsonscan.Array(m.Value)
		for list.Next() {
			if c := readCitation(list.Value); c.URL != "" {
				out = append(out, c)
			}
		}
	}
	return out
}

func readCitation(v []byte) (c completion.Citation) {
	m := jsonscan.Object(v)
	for m.Next() {
		switch string(m.Name) {
		case "uri":
			c.URL, _ = jsonscan.Text(m.Value)
			c.URL = provider.Bounded(c.URL, 2048)
		case "title":
			c.Title, _ = jsonscan.Text(m.Value)
			c.Title = provider.Bounded(c.Title, 512)
		case "startIndex":
			if n, ok := jsonscan.Int(m.Value); ok && n >= 0 && n < 1<<31 {
				c.Start = int(n)
			}
		case "endIndex":
			if n, ok := jsonscan.Int(m.Value); ok && n >= 0 && n < 1<<31 {
				c.End = int(n)
			}
		}
	}
	return c
}
