package store

import (
	"errors"

	"modernc.org/sqlite"
)

// This file alone knows which driver of database/sql there is. It registers as
// "sqlite".

// Primary result codes of SQLite (sqlite.org/rescode.html).
const (
	codeReadOnly = 8
	codeIOErr    = 10
	codeCorrupt  = 11
	codeCantOpen = 14
	codeNotADB   = 26
)

// codeOf is the primary result code of an error; 0 if it is not SQLite's.
func codeOf(err error) int {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return 0
	}
	return e.Code() & 0xff
}
