// Package spelling guesses which of the known words somebody meant who wrote another.
package spelling

// far is the least number of mistakes that make a word another one.
const far = 3

// Nearest returns the word of known that was probably meant by word: at most two letters away, and not
// all of them. Of several that are as near it is the first, and it is empty if there is none.
func Nearest(word string, known []string) string {
	best, distance := "", far
	for _, k := range known {
		if d := edits(word, k, distance); d < distance && d < len(word) {
			best, distance = k, d
		}
	}
	return best
}

// edits counts the letters to insert, delete or change between a and b, up to limit.
func edits(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
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
	return min(row[len(b)], limit)
}
