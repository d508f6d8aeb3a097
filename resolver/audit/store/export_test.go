package store

import (
	"context"
	"database/sql"
	"fmt"
)

// FilterQuery is the SQL of a Filter.
func FilterQuery(f *Filter) (string, []any) { return f.query() }

// MaxPages bounds the file of an open Writer: beyond that the disk is full.
func MaxPages(w *Writer, n int) {
	var got int
	if err := w.db.c.QueryRowContext(context.Background(), fmt.Sprintf("PRAGMA max_page_count=%d", n)).Scan(&got); err != nil {
		panic(err)
	}
}

// Spin runs a query without an end.
func Spin(ctx context.Context, r *Reader) error {
	return r.each(ctx, func(*sql.Rows) error { return nil }, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT count(*) FROM n")
}

// NoSync lets an open Writer not wait for the disk.
func NoSync(w *Writer) {
	if _, err := w.db.c.ExecContext(context.Background(), "PRAGMA synchronous=OFF"); err != nil {
		panic(err)
	}
}
