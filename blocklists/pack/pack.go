// Package pack holds the ban packs that ship with Rideau: lists of the names
// of a product, each with its tier, its purpose and where it was found. They
// are ordinary files in the pack format (see package format), embedded so that
// a fresh machine enforces its bans before anything is configured, and kept in
// this folder so that an operator can read, compare and override them.
package pack

import (
	"embed"
	"fmt"
	"io"
	"slices"
	"strings"
)

//go:embed *.tsv
var files embed.FS

var names = []string{"doh-bypass", "kaspersky", "tiktok", "wechat"}

// Names returns the names of the packs, sorted.
func Names() []string { return slices.Clone(names) }

// Open opens the pack of that name. The caller closes it.
func Open(name string) (io.ReadCloser, error) {
	if !slices.Contains(names, name) {
		return nil, fmt.Errorf("pack %q is unknown; use %s", name, strings.Join(names, ", "))
	}
	return files.Open(name + ".tsv")
}

// File is what messages call the pack of that name in place of a path.
func File(name string) string { return "embedded:" + name + ".tsv" }
