package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"rideau/resolver/audit/seal"
)

const sealKeyHelp = `Makes a private key of ed25519 in FILE, which must not exist, for evidence.seal.key_file, and
prints the public key, which rideau verify needs. Keep the public key away from the server.

Exit code 0: done. 1: FILE exists, or cannot be written.`

const verifyHelp = `Reads sealed files of evidence, renamed and compressed ones too, in any order, and says whether
lines or files were cut, changed, inserted or put into another order, and what is not proved.
Give all files of a sink, and the one beside them whose name ends in .seal.

Exit code 0: nothing contradicts the seals. 1: something does, or a file cannot be read.
2: the command line is wrong.`

func sealKey(c *call) int {
	f := seal.NewKey
	if c.bool("public") {
		f = seal.LoadKey
	}
	k, err := f(c.args[0])
	if err != nil {
		return c.fail(err)
	}
	fmt.Fprintln(c.stdout, k.Public())
	return exitOK
}

func verify(c *call) int {
	q := seal.Request{Files: c.args}
	if len(c.strings("key")) == 0 || len(c.args) == 0 {
		fmt.Fprintln(c.stderr, "rideau verify: give --key and FILEs; see rideau help verify")
		return exitUsage
	}
	for _, k := range c.strings("key") {
		if text, err := os.ReadFile(k); err == nil {
			k = string(text)
		}
		p, err := seal.ParsePublic(k)
		if err != nil {
			return c.fail(fmt.Errorf("--key: %w", err))
		}
		q.Keys = append(q.Keys, p)
	}
	if s := c.string("since"); s != "" {
		var err error
		if q.Since, err = time.Parse(time.RFC3339, s); err != nil {
			fmt.Fprintf(c.stderr, "rideau verify: --since: %q is no instant such as 2026-01-31T00:00:00Z\n", s)
			return exitUsage
		}
	}
	for _, path := range c.strings("heads") {
		h, err := seal.ReadHeadsFile(path)
		if err != nil {
			return c.fail(err)
		}
		q.Heads = append(q.Heads, h...)
	}
	r, err := seal.Verify(q)
	if err != nil {
		return c.fail(err)
	}
	if c.bool("json") {
		e := json.NewEncoder(c.stdout)
		e.SetIndent("", "  ")
		err = e.Encode(r)
	} else {
		err = r.Print(c.stdout)
	}
	if err != nil {
		return c.fail(err)
	}
	if !r.Intact {
		return exitFailure
	}
	return exitOK
}
