// This file takes the place of resolver/audit/store/driver.go where code is only
// looked at for other systems: SQLite takes a minute to compile for each of them.
package store

const (
	codeReadOnly = iota + 1
	codeIOErr
	codeCorrupt
	codeCantOpen
	codeNotADB
)

func codeOf(error) int { return 0 }
