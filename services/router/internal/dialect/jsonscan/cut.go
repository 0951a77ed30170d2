package jsonscan

// Cutter gathers the edits of an object's members so that commas stay right.
type Cutter struct {
	// Edits are those so far; the caller may put some before them. Kept counts the members that stay.
	Edits []Edit
	Kept  int

	// run are members that go, one after the other; at is the comma before the first, or -1.
	run  Edit
	gone bool
	last bool // no comma followed the run
	at   int
}

// Keep takes over the edits of a member that stays.
func (c *Cutter) Keep(edits ...Edit) {
	c.Close()
	c.Kept++
	c.Edits = append(c.Edits, edits...)
}

// Remove takes the current member out, with the comma that follows it. Data begins at an offset.
func (c *Cutter) Remove(data []byte, offset int, m *Members) {
	start, end := m.NameAt, m.ValueAt+len(m.Value)
	if !c.gone {
		c.gone, c.run.Start, c.at = true, offset+start, -1
		if m.CommaAt >= 0 {
			c.at = offset + m.CommaAt
		}
	}
	next := Trailing(data, end)
	c.last = next < 0 || data[next] != ','
	if !c.last {
		end = next + 1
	}
	c.run.End = offset + end
}

// Close ends a run of members that go. At the end of the object the comma before it goes, too.
func (c *Cutter) Close() {
	if !c.gone {
		return
	}
	if c.last && c.at >= 0 && c.Kept > 0 {
		c.run.Start = c.at
	}
	c.Edits = append(c.Edits, c.run)
	c.gone, c.run = false, Edit{}
}
