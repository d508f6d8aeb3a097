package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"rideau/resolver/audit/privacy"
)

const reidentifyHelp = `Finds the addresses that pseudonyms stand for, by trying addresses with the keys. It needs the
folder of the keys and nothing else: no configuration and no running rideau. PSEUDONYMs
are p1-, the key's id and 16 digits; without them they are read from the standard input,
where they may stand in lines of events. At most 16,777,216 addresses are tried: an IPv4 /8,
an IPv6 /104, or the addresses of leases and of neighbours' tables in a file.

Prints a line for each pseudonym: the pseudonym, a tab, and the address, or why none was found.

Exit code 0: all were found. 1: some were not, or an error.`

func reidentify(c *call) int {
	dir, networks := c.string("keys"), c.strings("network")
	if f := c.string("addresses"); f != "" {
		text, err := os.ReadFile(f)
		if err != nil {
			return c.fail(err)
		}
		networks = append(networks, strings.Fields(string(text))...)
	}
	if dir == "" || len(networks) == 0 {
		fmt.Fprintln(c.stderr, "rideau reidentify: give --keys, and --network or --addresses; see rideau help reidentify")
		return exitUsage
	}
	var candidates []netip.Prefix
	for _, n := range networks {
		p, err := privacy.Candidate(n)
		if err != nil {
			return c.fail(err)
		}
		candidates = append(candidates, p)
	}
	pseudonyms, err := c.args, error(nil)
	if len(c.args) == 0 {
		pseudonyms, err = privacy.Pseudonyms(os.Stdin)
	}
	if err == nil && len(pseudonyms) == 0 {
		err = errors.New("there is no pseudonym, such as p1-0a1b2c3d-0123456789abcdef")
	}
	if err != nil {
		return c.fail(err)
	}
	keys, err := privacy.Load(dir)
	if err != nil {
		return c.fail(err)
	}
	found, err := privacy.Find(c.ctx, keys, pseudonyms, candidates)
	if err != nil {
		return c.fail(err)
	}
	code := exitOK
	for _, f := range found {
		if f.Address.IsValid() {
			fmt.Fprintf(c.stdout, "%s\t%s\n", f.Pseudonym, f.Address)
			continue
		}
		code = exitFailure
		fmt.Fprintf(c.stdout, "%s\tnot found: %s\n", f.Pseudonym, f.Reason)
	}
	return code
}
