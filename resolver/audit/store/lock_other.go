//go:build !unix

package store

// lock is held by the Writer of a store.
type lock struct{}

// lockFile takes no lock: this system has none that ends with the process.
func lockFile(string) (*lock, error) { return nil, nil }

func (l *lock) close() {}
