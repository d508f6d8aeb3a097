// Package access parses what the section ops of a configuration says about who may use the operators' service.
package access

import (
	"rideau/config/node"
	"rideau/config/value"
)

// Role is what somebody may see and do.
type Role string

// Roles. Each may all that the ones before it may.
const (
	Viewer   Role = "viewer"   // totals
	Analyst  Role = "analyst"  // names that clients asked for, and devices
	Operator Role = "operator" // to act
)

// MaxTokens is how many tokens there may be.
const MaxTokens = 64

// Token is a secret that a program sends, and what it may with it.
type Token struct {
	// Name is what records call it.
	Name string `key:"name"`
	Role Role   `key:"role"`
	// File is the path of the file with the secret. Load makes it relative to the directory of the configuration file.
	File string `key:"file"`
	// Line is the line where the token begins.
	Line int `key:"-"`
}

func role(v node.Value) (Role, bool) {
	return node.Word("a role", Viewer, Analyst, Operator)(v)
}

// ReadTokens parses the list ops.tokens.
func ReadTokens(v node.Value) ([]Token, bool) { return node.List(0, MaxTokens, readToken)(v) }

func readToken(v node.Value) (Token, bool) {
	m := v.Mapping()
	t := Token{Line: v.Line()}
	node.Set(m, "name", &t.Name, value.Identifier("token"))
	node.Set(m, "role", &t.Role, role)
	node.Set(m, "file", &t.File, value.File)
	m.Done()
	m.Require("name", "write a name for records, such as name: prometheus")
	m.Require("role", "write role: viewer, analyst or operator")
	m.Require("file", "write the file that has the token")
	return t, m.Sound()
}
