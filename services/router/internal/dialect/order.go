package dialect

import "github.com/claviger/claviger/services/router/internal/completion"

// InOrder gives the blocks of reasoning of an answer in one piece, and the text between them, in the order
// in which they came. It returns the text after the last block. Sources and probabilities of tokens belong
// to a text in one piece: with them, all reasoning comes first.
func InOrder(d *completion.Delta, thought func(*completion.Reasoning), text func(string)) (rest string) {
	if len(d.Thoughts) == 0 {
		var only completion.Reasoning
		if d.State != nil {
			only = *d.State
		}
		only.Text = d.Reasoning
		thought(&only)
		return d.Text
	}
	placed := len(d.ThoughtsAt) == len(d.Thoughts) && len(d.Citations) == 0 && len(d.Logprobs) == 0
	from := 0
	for i := range d.Thoughts {
		if placed {
			if at := min(d.ThoughtsAt[i], len(d.Text)); at > from {
				text(d.Text[from:at])
				from = at
			}
		}
		thought(&d.Thoughts[i])
	}
	return d.Text[from:]
}
