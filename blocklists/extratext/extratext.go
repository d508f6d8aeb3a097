// Package extratext writes the text by which an answer says which ban decided: the EXTRA-TEXT of RFC 8914.
package extratext

import "strings"

// Limit is how many octets the text has at most. With it, the answer for the longest name still fits 512 octets.
const Limit = 140

// Of returns "ID: TITLE / TITLE (CONTACT)", at most [Limit] octets. The id is whole. If the rest is too long, the contact is left out if it would
// take more than a third, and then the titles are cut: the longer first, so that each language has its share.
func Of(id string, titles []string, contact string) string {
	var parts []string
	for _, t := range titles {
		if t != "" {
			parts = append(parts, t)
		}
	}
	if contact != "" && len(contact) <= Limit/3 {
		contact = " (" + contact + ")"
	} else {
		contact = ""
	}
	if len(parts) == 0 {
		return truncate(id+contact, Limit)
	}
	const between = " / "
	room := Limit - len(id) - len(": ") - len(contact) - len(between)*(len(parts)-1)
	return truncate(id+": "+strings.Join(share(parts, room), between)+contact, Limit)
}

// share cuts the longest of the parts until all take at most room octets.
func share(parts []string, room int) []string {
	limit := room // of each part
	total := func() (sum int) {
		for _, p := range parts {
			sum += min(len(p), limit)
		}
		return sum
	}
	for limit > 0 && total() > room {
		limit--
	}
	out := make([]string, len(parts))
	for i, p := range parts {
		out[i] = truncate(p, max(limit, 0))
	}
	return out
}

// truncate returns at most n octets of s, cut at a rune's boundary, and then with "..." at the end if there is space for it.
func truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	mark := "..."
	if n < len(mark) {
		mark = ""
	}
	cut := n - len(mark)
	for cut > 0 && s[cut]&0xC0 == 0x80 {
		cut--
	}
	return s[:cut] + mark
}
