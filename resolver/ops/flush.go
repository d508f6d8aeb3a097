package ops

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/dustin/go-humanize/english"
)

// Flush is what to remove from the cache: a name, with Tree also all names
// below it, or everything.
type Flush struct {
	Name string // in presentation form; empty for everything
	Tree bool
}

// ErrName is wrapped by the error of [Options.Flush] for an invalid name.
var ErrName = errors.New("this is no name")

// flushReply is a flush as JSON.
type flushReply struct {
	OK      bool   `json:"ok"`
	Name    string `json:"name,omitempty"`
	Tree    bool   `json:"tree"`
	All     bool   `json:"all"`
	Entries int    `json:"entries"`
}

// flush removes a name, a tree or everything from the cache.
func (s *Server) flush(w http.ResponseWriter, r *http.Request) {
	if reason := s.mayChange(r); reason != "" {
		s.refuseAccess(w, r, "flush", reason)
		return
	}
	f, err := flushParameters(r)
	if err != nil {
		refuse(w, r, http.StatusBadRequest, err.Error())
		return
	}
	n, err := s.o.Flush(r.Context(), f)
	switch {
	case errors.Is(err, ErrName):
		refuse(w, r, http.StatusBadRequest, err.Error())
		return
	case err != nil:
		refuse(w, r, http.StatusInternalServerError, err.Error())
		return
	}
	s.o.Logger.Info("flushed", "name", f.Name, "tree", f.Tree, "all", f.Name == "", "entries", n)
	if wantsJSON(r) {
		writeJSON(w, http.StatusOK, flushReply{OK: true, Name: f.Name, Tree: f.Tree, All: f.Name == "", Entries: n})
		return
	}
	what := "everything"
	if f.Name != "" {
		what = f.Name
	}
	if f.Tree {
		what += " and all below it"
	}
	writeText(w, http.StatusOK, fmt.Sprintf("flushed %s: %s", what, english.Plural(n, "entry", "")))
}

const flushUsage = "send name=example.com, with tree=true for all below it too, or all=true for everything"

// flushParameters reads what to flush. Everything is flushed only on an
// explicit all=true.
func flushParameters(r *http.Request) (f Flush, err error) {
	var all bool
	truths := map[string]*bool{"tree": &f.Tree, "all": &all}
	query, err := queryOf(r)
	if err != nil {
		return f, err
	}
	for k, values := range query {
		v := values[len(values)-1]
		if k == "name" {
			if f.Name = v; v == "" {
				return f, fmt.Errorf("name is empty; %s", flushUsage)
			}
			continue
		}
		p := truths[k]
		if p == nil {
			return f, fmt.Errorf("unknown parameter %q; %s", k, flushUsage)
		}
		if *p = true; v == "" {
			continue
		}
		if *p, err = strconv.ParseBool(v); err != nil {
			return f, fmt.Errorf("%s=%q is neither true nor false; use %s=true or %s=false", k, v, k, k)
		}
	}
	switch {
	case f.Name == "" && f.Tree:
		return f, fmt.Errorf("tree=true needs a name; %s", flushUsage)
	case f.Name == "" && !all, f.Name != "" && all:
		return f, errors.New("nothing is flushed: " + flushUsage)
	}
	return f, nil
}
