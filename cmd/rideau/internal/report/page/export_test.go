package page

// Words are the texts, in English and in French.
func Words() map[string][2]string {
	out := map[string][2]string{}
	for k, w := range words {
		out[k] = [2]string{w.en, w.fr}
	}
	return out
}
