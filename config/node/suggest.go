package node

import "strings"

// Suggest returns the remedy for a word that is not one of the known words: the nearest of them if one is near, or else which there are.
func Suggest[T ~string](word string, known []T) string {
	var near string
	best := min(3, len(word)/2+1)
	for _, k := range known {
		if d := distance(strings.ToLower(word), string(k)); d < best {
			near, best = string(k), d
		}
	}
	var remedy string
	if near != "" {
		remedy = "did you mean \"" + near + "\"? "
	}
	switch len(known) {
	case 0:
		return remedy + "none is defined"
	case 1:
		return remedy + "use " + string(known[0])
	}
	return remedy + "use one of " + enumerate(known)
}

// enumerate joins words with commas. Of a long list it shows the beginning.
func enumerate[T ~string](words []T) string {
	const shown = 20
	text := make([]string, 0, shown+1)
	for i, w := range words {
		if i == shown {
			text = append(text, "...")
			break
		}
		text = append(text, string(w))
	}
	return strings.Join(text, ", ")
}

// distance returns how many letters to insert, delete, replace or swap with their neighbour to make b from a (optimal string alignment).
// It does not compare words that are longer than any key.
func distance(a, b string) int {
	const longest = 64
	if len(a) > longest || len(b) > longest {
		return longest
	}
	var before, last, row [longest + 1]int
	for j := range len(b) + 1 {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := last[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			row[j] = min(replace, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
