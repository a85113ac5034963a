package ollama

import "strings"

// licenseTitles are how licences begin, in upper case: with the first of words, and the next soon after it.
var licenseTitles = []struct {
	id    string
	words []string
}{
	{"apache-2.0", []string{"APACHE LICENSE", "VERSION 2.0"}},
	{"agpl-3.0", []string{"GNU AFFERO GENERAL PUBLIC LICENSE", "VERSION 3"}},
	{"lgpl-3.0", []string{"GNU LESSER GENERAL PUBLIC LICENSE", "VERSION 3"}},
	{"gpl-3.0", []string{"GNU GENERAL PUBLIC LICENSE", "VERSION 3"}},
	{"gpl-2.0", []string{"GNU GENERAL PUBLIC LICENSE", "VERSION 2"}},
	{"mpl-2.0", []string{"MOZILLA PUBLIC LICENSE", "VERSION 2.0"}},
	{"bsd-3-clause", []string{"BSD 3-CLAUSE"}},
	{"bsd-2-clause", []string{"BSD 2-CLAUSE"}},
	{"cc-by-nc-4.0", []string{"ATTRIBUTION-NONCOMMERCIAL 4.0 INTERNATIONAL"}},
	{"cc-by-sa-4.0", []string{"ATTRIBUTION-SHAREALIKE 4.0 INTERNATIONAL"}},
	{"cc-by-4.0", []string{"ATTRIBUTION 4.0 INTERNATIONAL"}},
	{"mit", []string{"MIT LICENSE"}},
}

// titleBytes are where a licence's title is looked for.
const titleBytes = 120

// spdx guesses a licence's identifier from the first words of its text; "" if it is none that it knows.
func spdx(text string) string {
	start := strings.ToUpper(strings.Join(strings.Fields(text[:min(len(text), 8*titleBytes)]), " "))
	for _, l := range licenseTitles {
		if start == strings.ToUpper(l.id) { // the text is only the name
			return l.id
		}
	}
	start = strings.TrimLeft(start, "#*= ")
	start = strings.TrimPrefix(strings.TrimPrefix(start, "THE "), "CREATIVE COMMONS ")
	start = start[:min(len(start), titleBytes)]
	for _, l := range licenseTitles {
		if begins(start, l.words) {
			return l.id
		}
	}
	return ""
}

func begins(start string, words []string) bool {
	for i, w := range words {
		at := strings.Index(start, w)
		if at < 0 || i == 0 && at > 0 {
			return false
		}
		start = start[at+len(w):]
	}
	return true
}
