package main

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"rideau/cmd/rideau/internal/completion"
)

const completionHelp = `Prints a script by which a shell completes rideau's commands and options:

  source <(rideau completion bash)      # in ~/.bashrc
  source <(rideau completion zsh)       # in ~/.zshrc, after compinit
  rideau completion fish | source       # in ~/.config/fish/config.fish`

func complete(c *call) int {
	var all []completion.Command
	for _, cmd := range commands() {
		x := completion.Command{Name: cmd.name, Summary: cmd.summary, Flags: pflag.NewFlagSet(cmd.name, pflag.ContinueOnError),
			Files: strings.Contains(cmd.args, "FILE") || cmd.args == "OLD NEW"}
		defineFlags(&call{FlagSet: x.Flags}, cmd.name)
		if cmd.name == "completion" {
			x.Words = completion.Shells()
		}
		all = append(all, x)
	}
	script, ok := completion.Script(c.args[0], all)
	if !ok {
		fmt.Fprintf(c.stderr, "rideau completion: no script for %q; use one of %s\n", c.args[0], strings.Join(completion.Shells(), ", "))
		return exitUsage
	}
	fmt.Fprint(c.stdout, script)
	return exitOK
}
