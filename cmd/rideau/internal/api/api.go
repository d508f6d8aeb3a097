// Package api is the read interface for operators' programs, below /api/v1: the values of package view as JSON. openapi.json describes it.
package api

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"rideau/cmd/rideau/internal/reason"
	"rideau/cmd/rideau/internal/text"
	"rideau/cmd/rideau/internal/view"
	"rideau/resolver/audit/read"
	"rideau/resolver/audit/store"
	"rideau/resolver/ops/access"
)

//go:embed openapi.json
var document []byte

// Prefix is what the paths begin with.
const Prefix = "/api/v1"

// Operation is a request that the interface answers.
type Operation struct {
	Path, What string
	Needs      access.Role
	Parameters []string // of the query
	// Value is a value of the type of the response.
	Value any
	read  func(*view.View, context.Context, url.Values) (any, error)
}

// Operations are all of them, in the order of the document.
func Operations() []Operation {
	return []Operation{
		{"/now", "What the server does now.", access.Viewer, nil, view.Now{}, func(v *view.View, _ context.Context, _ url.Values) (any, error) { return v.Now(), nil }},
		{"/bans", "The bans, what they rest on, and what they did.", access.Viewer, []string{"id"}, view.Bans{},
			func(v *view.View, ctx context.Context, q url.Values) (any, error) {
				return v.Bans(ctx, q.Get("id"), time.UTC), nil
			}},
		{"/events", "Queries that a ban decided, the latest first.", access.Analyst,
			[]string{"ban", "group", "client", "name", "below", "verdict", "from", "to", "after", "limit"}, view.Events{}, events},
		{"/lists", "The lists, and how they were read.", access.Viewer, nil, view.Lists{}, func(v *view.View, _ context.Context, _ url.Values) (any, error) { return v.Lists(), nil }},
		{"/clients", "The groups of clients, and for analysts single devices.", access.Viewer, nil, view.Clients{},
			func(v *view.View, ctx context.Context, _ url.Values) (any, error) {
				return v.Clients(ctx, access.From(ctx).Role >= access.Analyst)
			}},
		{"/explain", "What a client is answered for a name, and why.", access.Viewer, []string{"name", "type", "client"}, reason.Explanation{},
			func(v *view.View, ctx context.Context, q url.Values) (any, error) {
				return v.Explain(ctx, q.Get("name"), q.Get("type"), q.Get("client"))
			}},
		{"/exceptions", "The exceptions, those first that end next.", access.Viewer, nil, view.Exceptions{},
			func(v *view.View, ctx context.Context, _ url.Values) (any, error) { return v.Exceptions(ctx), nil }},
		{"/system", "The program, and for operators how it is configured, without secrets.", access.Viewer, nil, view.System{},
			func(v *view.View, ctx context.Context, _ url.Values) (any, error) {
				return v.System(access.From(ctx).Role >= access.Operator), nil
			}},
	}
}

// Routes returns the requests that the interface answers.
func Routes(v *view.View) []access.Route {
	out := []access.Route{{Method: "GET", Path: Prefix + "/openapi.json", Needs: access.Viewer, What: "the read interface for programs, by OpenAPI 3.1", Handler: http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Write(document) // a client that is gone does not matter
		})}}
	for _, o := range Operations() {
		out = append(out, access.Route{Method: "GET", Path: Prefix + o.Path, Needs: o.Needs, Handler: o.handler(v)})
	}
	return out
}

func (o *Operation) handler(v *view.View) http.Handler {
	op := *o
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		for key, values := range q {
			if !slices.Contains(op.Parameters, key) || len(values) > 1 || len(values[0]) > 300 {
				access.Problem(w, http.StatusBadRequest, fmt.Sprintf("the parameter %q is not known, is there twice, or is too long; there are: %s", key, strings.Join(op.Parameters, ", ")))
				return
			}
		}
		value, err := op.read(v, r.Context(), q)
		var body []byte
		if err == nil {
			body, err = json.Marshal(value)
		}
		if err != nil {
			fail(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.Write(append(body, '\n')) // a client that is gone does not matter
	})
}

// fail answers with problem details (RFC 9457).
func fail(w http.ResponseWriter, err error) {
	var invalid *view.Invalid
	switch {
	case errors.As(err, &invalid):
		access.Problem(w, http.StatusBadRequest, invalid.Field+": "+err.Error())
	case errors.Is(err, view.ErrBusy):
		w.Header().Set("Retry-After", "5")
		access.Problem(w, http.StatusServiceUnavailable, err.Error())
	case errors.Is(err, view.ErrNoStore):
		access.Problem(w, http.StatusNotFound, err.Error())
	case errors.Is(err, view.ErrTooLong):
		access.Problem(w, http.StatusGatewayTimeout, err.Error())
	default:
		access.Problem(w, http.StatusInternalServerError, err.Error())
	}
}

// events searches. after is the field next of the answer before.
func events(v *view.View, ctx context.Context, q url.Values) (any, error) {
	f := store.Filter{Ban: q.Get("ban"), Group: q.Get("group"), Client: q.Get("client"), Below: q.Get("below") == "true", Verdict: read.Verdict(q.Get("verdict"))}
	if name := q.Get("name"); name != "" {
		n, err := text.ParseName(name)
		if err != nil {
			return nil, &view.Invalid{Field: "name", Err: err}
		}
		f.Name = strings.ToLower(n.String())
	}
	var err error
	for key, to := range map[string]*time.Time{"from": &f.From, "to": &f.To} {
		if s := q.Get(key); s != "" {
			if *to, err = time.Parse(time.RFC3339, s); err != nil {
				return nil, &view.Invalid{Field: key, Err: fmt.Errorf("%q is not an instant such as 2026-01-31T12:00:00Z", s)}
			}
		}
	}
	if s := q.Get("after"); s != "" {
		if f.After, err = strconv.ParseInt(s, 10, 64); err != nil || f.After < 0 {
			return nil, &view.Invalid{Field: "after", Err: fmt.Errorf("%q is not the field next of an answer", s)}
		}
	}
	if s := q.Get("limit"); s != "" {
		if f.Limit, err = strconv.Atoi(s); err != nil || f.Limit < 1 || f.Limit > view.MaxEvents {
			return nil, &view.Invalid{Field: "limit", Err: fmt.Errorf("%q is not a number from 1 to %d", s, view.MaxEvents)}
		}
	}
	return v.Events(ctx, f)
}
