package chat

import (
	"unicode/utf8"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

// logprobs reads {"content":[{"token","logprob","top_logprobs"}]}.
func logprobs(v []byte) []completion.Logprob {
	list := jsonscan.Get(v, "content")
	if jsonscan.KindOf(list) != jsonscan.ArrayKind {
		return nil
	}
	var out []completion.Logprob
	entries := jsonscan.Array(list)
	for entries.Next() {
		out = append(out, logprob(entries.Value))
	}
	return out
}

func logprob(v []byte) (p completion.Logprob) {
	if jsonscan.KindOf(v) != jsonscan.ObjectKind {
		return p
	}
	m := jsonscan.Object(v)
	for m.Next() {
		switch string(m.Name) {
		case "token":
			p.Token, _ = jsonscan.Text(m.Value)
		case "logprob":
			p.Logprob, _ = jsonscan.Float(m.Value)
		case "top_logprobs":
			if jsonscan.KindOf(m.Value) == jsonscan.ArrayKind {
				top := jsonscan.Array(m.Value)
				for top.Next() {
					p.Top = append(p.Top, logprob(top.Value))
				}
			}
		}
	}
	return p
}

// annotations reads the sources that OpenAI's messages name. Their places count characters; they can be
// told in bytes only where the whole text is there.
func annotations(v []byte, text string) []completion.Citation {
	if jsonscan.KindOf(v) != jsonscan.ArrayKind {
		return nil
	}
	var out []completion.Citation
	entries := jsonscan.Array(v)
	for entries.Next() {
		source := jsonscan.Get(entries.Value, "url_citation")
		if jsonscan.KindOf(source) != jsonscan.ObjectKind {
			continue
		}
		c := completion.Citation{URL: textAt(source, "url"), Title: textAt(source, "title")}
		start, okStart := jsonscan.Int(jsonscan.Get(source, "start_index"))
		end, okEnd := jsonscan.Int(jsonscan.Get(source, "end_index"))
		if okStart && okEnd && start >= 0 && start < end && end <= int64(utf8.RuneCountInString(text)) {
			c.Start, c.End = byteOf(text, int(start)), byteOf(text, int(end))
		}
		if c.URL != "" {
			out = append(out, c)
		}
	}
	return out
}

func textAt(v []byte, name string) string {
	text, _ := jsonscan.Text(jsonscan.Get(v, name))
	return text
}

// byteOf is where the n-th character of a text begins.
func byteOf(text string, n int) int {
	for at := range text {
		if n == 0 {
			return at
		}
		n--
	}
	return len(text)
}

// sources are those of an answer that is grounded in a search: objects with title and address, or
// addresses alone. The first so many were told before.
func sources(results, addresses []byte, told int) []completion.Citation {
	list, objects := addresses, false
	if jsonscan.KindOf(results) == jsonscan.ArrayKind && !neutral("", results) {
		list, objects = results, true
	}
	if jsonscan.KindOf(list) != jsonscan.ArrayKind {
		return nil
	}
	var out []completion.Citation
	entries := jsonscan.Array(list)
	for at := 0; entries.Next(); at++ {
		if at < told {
			continue
		}
		c := completion.Citation{}
		if objects && jsonscan.KindOf(entries.Value) == jsonscan.ObjectKind {
			c.URL, c.Title = textAt(entries.Value, "url"), textAt(entries.Value, "title")
		} else {
			c.URL, _ = jsonscan.Text(entries.Value)
		}
		out = append(out, c)
	}
	return out
}
