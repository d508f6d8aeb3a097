package upstream

// Answers reports whether resp is taken for a response to query, with or
// without a question of its own.
func Answers(query, resp []byte) (with, without bool) {
	l := compare(query, resp)
	return l == answers, l == rejects
}
