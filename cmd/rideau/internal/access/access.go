// Package access joins a configuration to those who may use the operators' HTTP: it reads users and tokens from their
// files, and makes the pages to sign in.
package access

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
	"rideau/resolver/audit/act"
	"rideau/resolver/ops/access"
	"rideau/resolver/ops/access/password"
	"rideau/resolver/ops/access/signin"
)

// Plan is what a configuration and its files say about access. It is immutable.
type Plan struct{ settings *access.Settings }

// Read reads the files that a configuration names. The error is config.Problems, or that of a token file.
func Read(cfg *config.Config) (*Plan, error) {
	s := &access.Settings{Hosts: cfg.Ops.Hosts}
	if cfg.Ops.TokenFile != "" {
		secret, err := setup.Token(cfg)
		if err != nil {
			return nil, err
		}
		s.Tokens = append(s.Tokens, access.NewToken("ops.token_file", access.Operator, secret))
	}
	var problems config.Problems
	for i, t := range cfg.Ops.Tokens {
		key := fmt.Sprintf("ops.tokens[%d].file", i)
		secret, err := setup.Secret(t.File)
		if err != nil {
			message, remedy, _ := strings.Cut(err.Error(), "; ")
			problems = append(problems, config.Problem{File: setup.Name(cfg), Line: t.Line, Key: key, Message: message, Remedy: remedy})
			continue
		}
		role, _ := access.ParseRole(string(t.Role))
		s.Tokens = append(s.Tokens, access.NewToken(t.Name, role, secret))
	}
	users, wrong := readUsers(cfg)
	problems = append(problems, wrong...)
	if len(problems) > 0 {
		return nil, problems
	}
	s.Users = users
	return &Plan{s}, nil
}

// maxUsersFile bounds the file of users, in octets.
const maxUsersFile = 1 << 20

// readUsers reads the file of users. What is wrong names the line to change.
func readUsers(cfg *config.Config) ([]access.User, config.Problems) {
	path := cfg.Ops.UsersFile
	if path == "" {
		return nil, nil
	}
	fail := func(err error, remedy string) config.Problems {
		return config.Problems{{File: setup.Name(cfg), Key: "ops.users_file", Message: err.Error(), Remedy: remedy}}
	}
	if err := setup.CheckSecret(path); err != nil { // a pipe, too, which could be read without end
		message, remedy, _ := strings.Cut(err.Error(), "; ")
		return nil, fail(errors.New(message), remedy)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fail(err, "write the file with the lines that rideau user prints, or take the key out")
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxUsersFile+1))
	if err == nil && len(text) > maxUsersFile {
		err = fmt.Errorf("%s has more than %d octets", path, maxUsersFile)
	}
	if err != nil {
		return nil, fail(err, "write a line for each user")
	}
	entries, err := password.Read(bytes.NewReader(text), func(s string) bool { _, ok := access.ParseRole(s); return ok }, "viewer, analyst or operator")
	var line *password.LineError
	if errors.As(err, &line) {
		message, remedy, _ := strings.Cut(line.Err.Error(), "; ")
		return nil, config.Problems{{File: path, Line: line.Line, Message: message, Remedy: remedy}}
	} else if err != nil {
		return nil, fail(err, "write a line for each user")
	}
	var out []access.User
	for _, e := range entries {
		role, _ := access.ParseRole(e.Role)
		out = append(out, access.User{Name: e.Name, Role: role, Hash: e.Hash})
	}
	return out, nil
}

// Files returns the files that a configuration names for access: a change of one of them is in force at once.
func Files(cfg *config.Config) []string {
	var out []string
	for _, path := range []string{cfg.Ops.TokenFile, cfg.Ops.UsersFile} {
		if path != "" {
			out = append(out, path)
		}
	}
	for _, t := range cfg.Ops.Tokens {
		out = append(out, t.File)
	}
	return out
}

// Access is what decides about requests. It is safe for concurrent use.
type Access struct {
	Guard *access.Guard
	pages *signin.Pages
}

// New returns an Access by a Plan. record is told of sign-ins and sign-outs, and must not wait.
func New(p *Plan, record func(act.Act)) *Access {
	a := &Access{Guard: access.NewGuard(p.settings)}
	a.pages = signin.New(signin.Options{Guard: a.Guard, Style: "/assets/rideau.css", Record: func(e signin.Event) { record(actOf(e)) }})
	return a
}

// Changes reports whether Use of a Plan changes anything.
func (a *Access) Changes(p *Plan) bool { return !reflect.DeepEqual(a.Guard.Settings(), p.settings) }

// Use puts a Plan in force.
func (a *Access) Use(p *Plan) { a.pages.Ended(a.Guard.Use(p.settings)) }

// Routes are those of the pages to sign in.
func (a *Access) Routes() []access.Route { return a.pages.Routes() }

// actOf is the act that an Event is.
func actOf(e signin.Event) act.Act {
	a := act.Act{Kind: act.SignIn, Actor: act.Actor{Way: act.ByHTTP, Address: e.Address, User: e.Name}, Object: string(e.Way), Failed: e.Failed, Reason: e.Reason}
	if e.Out {
		a.Kind = act.SignOut
	} else if !e.Failed {
		a.Reason = "with the role " + e.Role.String()
	}
	if e.Address == "" {
		a.Actor.Way = act.ByItself
	}
	return a
}
