package main

import (
	"io"

	"rideau/blocklists/pack"
	"rideau/config"
)

const configHelp = `Prints the configuration that rideau runs with when it is given none: save it to a file,
change it, and start rideau with --config FILE. The ban packs inside the program can be
printed, too, to be read, compared, or changed and used as a list with format: pack.`

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
