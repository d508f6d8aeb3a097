package ops

import (
	"encoding/hex"
	"net/http"
	"runtime"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/fingerprint"
)

// Ban is a ban in a reply.
type Ban struct {
	ID     string `json:"id"`
	Mode   string `json:"mode"`
	Active bool   `json:"active"` // in force now: within its dates, and not off
	Names  int    `json:"names"`  // entries of its lists
}

// List is a list in a reply.
type List struct {
	ID       string    `json:"id"`
	Source   string    `json:"source"`
	Entries  int       `json:"entries"`
	Skipped  int       `json:"skipped"` // lines that could not be used
	SHA256   string    `json:"sha256"`
	LoadedAt time.Time `json:"loaded_at"`
	// LastGood is why the last good copy is in use instead of the source.
	LastGood string `json:"last_good,omitempty"`
}

// bansOf and listsOf never return nil, so that JSON always has an array.
func bansOf(p *blocklists.Snapshot) []Ban {
	out := []Ban{}
	if p == nil {
		return out
	}
	for _, b := range p.Bans() {
		out = append(out, Ban{b.Ban.ID, b.Ban.Mode.String(), b.Active, b.Names})
	}
	return out
}

func listsOf(p *blocklists.Snapshot) []List {
	out := []List{}
	if p == nil {
		return out
	}
	for _, l := range p.Lists() {
		out = append(out, List{l.ID, l.Source, l.Entries, l.Skipped, hex.EncodeToString(l.SHA256[:]), l.LoadedAt.UTC(), ""})
	}
	return out
}

// version reports which build runs and which policy it enforces.
func (s *Server) version(w http.ResponseWriter, _ *http.Request) {
	out := struct {
		Version     string    `json:"version"`
		Revision    string    `json:"revision"`
		GoVersion   string    `json:"goversion"`
		Started     time.Time `json:"started"`
		Generation  uint64    `json:"generation"`
		Fingerprint string    `json:"fingerprint"`
		Bans        []Ban     `json:"bans"`
		Lists       []List    `json:"lists"`
	}{Version: s.o.Sources.Build.Version, Revision: s.o.Sources.Build.Revision,
		GoVersion: runtime.Version(), Started: s.started.UTC()}
	p := s.o.Sources.Snapshot()
	out.Bans, out.Lists = bansOf(p), listsOf(p)
	for _, l := range s.o.lastGood() {
		for i := range out.Lists {
			if out.Lists[i].ID == l.List {
				out.Lists[i].LastGood = oneLine(l.LastGood)
			}
		}
	}
	if p != nil {
		out.Generation, out.Fingerprint = p.Generation(), fingerprint.Of(p)
	}
	writeJSON(w, http.StatusOK, out)
}
