package main

import (
	"io"

	"rideau/blocklists/pack"
	"rideau/config"
)

const configHelp = `Prints the configuration that rideau uses when you give it none. Save it to a file,
change it, and start rideau with --config FILE. It also prints the ban packs inside the
program: read them, compare them, or change one and use it as a list with format: pack.`

func printConfig(c *call) int {
	text := config.DefaultText()
	switch {
	case c.string("pack") != "":
		f, err := pack.Open(c.string("pack"))
		if err != nil {
			c.fail(err)
			return exitUsage
		}
		defer f.Close()
		if text, err = io.ReadAll(f); err != nil {
			return c.fail(err)
		}
	case c.bool("example"):
		text = config.ExampleText()
	}
	if _, err := c.stdout.Write(text); err != nil {
		return c.fail(err)
	}
	return exitOK
}
