package evidence

import (
	"path/filepath"

	"rideau/config/node"
	"rideau/config/value"
)

// AutoStore is the value of Store.Path for evidence.db in the state folder, if there is one.
const AutoStore = "auto"

// StoreID is the id of the store in metrics and messages.
const StoreID = "store"

// storeSpool is the size of what waits beside the store while it cannot be written.
const storeSpool = 64 << 20

// Store says what a node keeps of its own history, and for how long.
type Store struct {
	// Path is the file; empty for none, AutoStore for one in the state folder. Load makes it relative to the directory of the configuration file. See StorePath.
	Path string `key:"path" applies:"live"`
	// Events chooses the queries.
	Events Events `key:"events" applies:"live"`
	// Clients says what is told of clients' addresses. AutoClients is Pseudonym if there are keys, and otherwise Network.
	Clients Clients `key:"clients" applies:"live"`
	// Searchable is for how many days an event can be found by client and name, Days for how many it is kept at all.
	Searchable int `key:"searchable_days" applies:"live"`
	Days       int `key:"days" applies:"live"`
	// MaxBytes bounds the file.
	MaxBytes int64 `key:"max_bytes" applies:"live"`
}

// AutoClients is the value of Store.Clients for pseudonyms if there are keys of them, and otherwise for networks.
const AutoClients Clients = "auto"

func defaultStore() Store {
	return Store{Path: AutoStore, Events: Banned, Clients: AutoClients, Searchable: 180, Days: 400, MaxBytes: 2 << 30}
}

func (s *Store) read(m *node.Mapping, keys bool) {
	node.Set(m, "path", &s.Path, value.FileOrNone)
	node.Set(m, "events", &s.Events, node.Word("a choice of events", Banned, All, Acts))
	node.Set(m, "clients", &s.Clients, node.Word("a part of addresses", AutoClients, Address, Network, Pseudonym, None))
	node.Set(m, "searchable_days", &s.Searchable, node.Integer(1, 3660))
	node.Set(m, "days", &s.Days, node.Integer(1, 3660))
	node.Set(m, "max_bytes", &s.MaxBytes, node.Size(16<<20, 1<<40))
	if s.Clients == Pseudonym && !keys {
		m.At("clients").Problem("set evidence.pseudonyms.key_dir to a folder that only Rideau may read", "pseudonyms need keys")
	}
	if s.Searchable > s.Days {
		m.At("searchable_days").Problem("write at most the number of days", "events are kept for %d days and cannot be searched for %d", s.Days, s.Searchable)
	}
}

// StorePath returns the file of the store; empty if there is none.
func (e *Evidence) StorePath() string {
	switch {
	case e.Store.Path != AutoStore:
		return e.Store.Path
	case e.State == "":
		return ""
	}
	return filepath.Join(e.State, "evidence.db")
}

// Places are the sinks, and the store as one of kind InStore if there is one.
func (e *Evidence) Places() []Sink {
	path := e.StorePath()
	if path == "" {
		return e.Sinks
	}
	s := Sink{ID: StoreID, Kind: InStore, Events: e.Store.Events, Clients: e.Store.Clients, Sample: 1, Format: Rideau, Spool: storeSpool, Path: path, Store: e.Store}
	if s.Clients == AutoClients {
		if s.Clients = Network; e.Pseudonyms.KeyDir != "" {
			s.Clients = Pseudonym
		}
	}
	return append([]Sink{s}, e.Sinks...)
}
