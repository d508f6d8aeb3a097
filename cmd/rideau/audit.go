package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"rideau/cmd/rideau/internal/compliance"
	"rideau/cmd/rideau/internal/lang"
	"rideau/cmd/rideau/internal/setup"
)

const auditHelp = `Compares a configuration with a published guide: DISA's BIND 9.x STIG, NIST SP 800-81r3, or the
controls of ITSG-33. For each item that a resolver can answer for it prints whether it passes,
fails, does not apply or is for a person to judge, with the settings that decide, their lines, and
the remedy. It serves nothing and changes nothing. FILE is the same as --config FILE.

Exit code 0: nothing fails. 3: something fails. 1: the configuration cannot be read.
2: the command line is wrong.`

func audit(c *call) int {
	profile := c.string("profile")
	if !slices.Contains(compliance.Profiles(), profile) {
		fmt.Fprintf(c.stderr, "rideau audit: give --profile %s\n", strings.Join(compliance.Profiles(), ", or "))
		return exitUsage
	}
	language, ok := c.language()
	if !ok {
		return exitUsage
	}
	path := c.string("config")
	if len(c.args) > 0 {
		if c.Changed("config") && path != c.args[0] {
			fmt.Fprintf(c.stderr, "rideau audit: --config %s and %s are two configurations; compare one at a time\n", path, c.args[0])
			return exitUsage
		}
		path = c.args[0]
	}
	cfg, err := setup.Load(path)
	if err != nil {
		return c.fail(err)
	}
	r, err := compliance.Compare(profile, cfg, compliance.Here())
	if err != nil {
		return c.fail(err)
	}
	r.Config = setup.Name(cfg)
	if c.bool("json") {
		printJSON(c, r)
	} else {
		r.Write(c.stdout, string(cmp.Or(language, lang.Language(cfg.Log.Language))))
	}
	if r.Counts[compliance.Fail] > 0 {
		return exitBanned
	}
	return exitOK
}
