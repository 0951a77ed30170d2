// Package spelling guesses which of the known words somebody meant who wrote another.
package spelling

// Nearest returns the word of known that was probably meant by word: at most two letters away, and not
// all of them. It is empty if there is none.
func Nearest(word string, known []string) string {
	best, distance := "", 3
	for _, k := range known {
		if d := edits(word, k); d < distance && d < len(word) {
			best, distance = k, d
		}
	}
	return best
}

// edits counts the letters to insert, delete or change between a and b.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
