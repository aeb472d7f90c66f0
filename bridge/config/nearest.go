package config

import "strings"

// nearest is the word that wrong was probably meant to be, or "".
func nearest(wrong string, words []string) string {
	wrong = strings.ToLower(wrong)
	best, least := "", 3
	if len(wrong) > 64 {
		return ""
	}
	for _, w := range words {
		d := distance(wrong, w)
		if d < least && d < len(w) {
			best, least = w, d
		}
	}
	return best
}

// distance is how many letters must be put in, left out or changed to make b of
// a.
func distance(a, b string) int {
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
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

// choices is the remedy for a word that is none of those that could stand there.
func choices(wrong string, words []string) string {
	all := strings.Join(words, ", ")
	if w := nearest(wrong, words); w != "" {
		return "did you mean " + w + "? There are: " + all
	}
	return "there are: " + all
}
