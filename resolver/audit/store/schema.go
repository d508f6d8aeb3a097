package store

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
)

//go:embed schema1.sql
var schema1 string

// applicationID is in the header of every store: "Ridx" in ASCII.
const applicationID = 0x52696478

// migrations are the statements that take a store from one version to the next;
// the version is the number of those that were applied. They are never changed,
// only added to.
func migrations() []string {
	return []string{schema1}
}

// errForeign and errNewer are errors of a file that must not be written.
var (
	errForeign = errors.New("the file is a database of another program; choose another evidence.store.path")
	errNewer   = errors.New("the store was made by a newer rideau; install that, or move the file away")
)

// migrate makes the tables of a store that is new or older. It runs on one
// connection.
func migrate(ctx context.Context, c *sql.Conn) error {
	var app, version, tables int
	for query, to := range map[string]*int{"PRAGMA application_id": &app, "PRAGMA user_version": &version, "SELECT count(*) FROM sqlite_schema": &tables} {
		if err := c.QueryRowContext(ctx, query).Scan(to); err != nil {
			return err
		}
	}
	all := migrations()
	switch {
	case app == 0 && tables == 0:
		// Only before the first table.
		if _, err := c.ExecContext(ctx, fmt.Sprintf("PRAGMA auto_vacuum=INCREMENTAL; PRAGMA application_id=%d", applicationID)); err != nil {
			return err
		}
	case app != applicationID:
		return errForeign
	case version > len(all):
		return errNewer
	}
	for ; version < len(all); version++ {
		if err := transact(ctx, c, func() error {
			_, err := c.ExecContext(ctx, all[version]+fmt.Sprintf("PRAGMA user_version=%d", version+1))
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// transact runs f in a transaction.
func transact(ctx context.Context, c *sql.Conn, f func() error) error {
	if _, err := c.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := f()
	if err == nil {
		_, err = c.ExecContext(ctx, "COMMIT")
	}
	if err != nil {
		// If the error has ended the transaction, this fails, and nothing is lost.
		c.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
	}
	return err
}
