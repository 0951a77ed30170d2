package cli

// What the tests look at from outside.
var (
	Money      = money
	Amounts    = amounts
	Took       = took
	Relative   = relative
	Instant    = instant
	Clean      = clean
	Cut        = cut
	Cells      = cells
	ShellWords = shellWords
	Escaped    = escaped
)
