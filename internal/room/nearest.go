package room

import (
	"cmp"
	"slices"
)

// maxNear is how many names Nearest returns: more is a list, not a hint.
const maxNear = 2

// Nearest returns those of names that somebody who typed s probably meant, the
// nearest first and at most two. A slip is a letter too many, too few, another
// one, or two in the wrong order; one slip is forgiven per three letters, and one
// in any case. It reads all of names once, so that a registry takes a millisecond.
func Nearest(s string, names []Name) []Name {
	type near struct {
		name  Name
		slips int
	}
	var found []near
	most := max(1, len(s)/3)
	for _, name := range names {
		if slips := slips(s, string(name)); slips <= most && slips < len(s) {
			found = append(found, near{name, slips})
		}
	}
	slices.SortFunc(found, func(a, b near) int {
		return cmp.Or(cmp.Compare(a.slips, b.slips), cmp.Compare(a.name, b.name))
	})
	var nearest []Name
	for _, f := range found[:min(len(found), maxNear)] {
		nearest = append(nearest, f.name)
	}
	return nearest
}

// slips is the edit distance with swaps of neighbours (optimal string alignment),
// in bytes: names are ASCII, and what was typed is shorter than a line.
func slips(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			other := 1
			if a[i-1] == b[j-1] {
				other = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+other)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
