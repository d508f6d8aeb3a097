// Package completion writes scripts by which a shell completes a command line. They are made of the table of commands and options, so that they
// have what the program has.
package completion

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// Command is a command to complete.
type Command struct {
	Name, Summary string
	Flags         *pflag.FlagSet
	Words         []string // what its first argument can be; nil if that is a file or free
	Files         bool     // whether its arguments are files
}

// Shells returns the shells for which there is a script.
func Shells() []string { return []string{"bash", "zsh", "fish"} }

// Script returns the script for a shell; ok is false for a shell that is not known.
func Script(shell string, commands []Command) (text string, ok bool) {
	switch shell {
	case "bash":
		return bash(commands), true
	case "zsh":
		return "#compdef rideau\nautoload -U +X bashcompinit && bashcompinit\n" + bash(commands), true
	case "fish":
		return fish(commands), true
	}
	return "", false
}

// option is an option as a shell completes it.
type option struct {
	*pflag.Flag
	takes string // what its value is; empty for a switch
	file  bool   // the value is a file
	words []string
}

// options returns the options of a command. The values of one are the words after the last colon of its description.
func (c *Command) options() []option {
	var out []option
	c.Flags.VisitAll(func(f *pflag.Flag) {
		o := option{Flag: f}
		o.takes, _ = pflag.UnquoteUsage(f)
		if f.Value.Type() == "bool" {
			o.takes = ""
		}
		o.file = o.takes == "file"
		if at := strings.LastIndex(f.Usage, ": "); at >= 0 && o.takes != "" {
			o.words = strings.Split(f.Usage[at+2:], ", ")
		}
		out = append(out, o)
	})
	return out
}

func bash(commands []Command) string {
	var b strings.Builder
	var names []string
	for _, c := range commands {
		names = append(names, c.Name)
	}
	all := strings.Join(names, " ")
	fmt.Fprintf(&b, `# bash completion for rideau: source <(rideau completion bash)
_rideau() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command=serve word
  COMPREPLY=()
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $word in
      -*) continue ;;
      *) command=$word; break ;;
    esac
  done
  if [[ $COMP_CWORD -eq 1 && $cur != -* ]]; then
    COMPREPLY=($(compgen -W %s -- "$cur"))
    return
  fi
  case "$command $prev" in
`, quote(all+" help"))
	for _, c := range commands {
		for _, o := range c.options() {
			pattern := quote(c.Name + " --" + o.Name)
			if o.Shorthand != "" {
				pattern += "|" + quote(c.Name+" -"+o.Shorthand)
			}
			switch {
			case o.file:
				fmt.Fprintf(&b, "    %s) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", pattern)
			case len(o.words) > 0:
				fmt.Fprintf(&b, "    %s) COMPREPLY=($(compgen -W %s -- \"$cur\")); return ;;\n", pattern, quote(strings.Join(o.words, " ")))
			case o.takes != "":
				fmt.Fprintf(&b, "    %s) return ;;\n", pattern)
			}
		}
	}
	b.WriteString("  esac\n  case $command in\n")
	fmt.Fprintf(&b, "    help) COMPREPLY=($(compgen -W %s -- \"$cur\")) ;;\n", quote(all))
	for _, c := range commands {
		flags := []string{"--help"}
		for _, o := range c.options() {
			flags = append(flags, "--"+o.Name)
		}
		fmt.Fprintf(&b, "    %s)\n      if [[ $cur == -* ]]; then\n        COMPREPLY=($(compgen -W %s -- \"$cur\"))\n", c.Name, quote(strings.Join(flags, " ")))
		switch {
		case len(c.Words) > 0:
			fmt.Fprintf(&b, "      else\n        COMPREPLY=($(compgen -W %s -- \"$cur\"))\n", quote(strings.Join(c.Words, " ")))
		case c.Files:
			b.WriteString("      else\n        COMPREPLY=($(compgen -f -- \"$cur\"))\n")
		}
		b.WriteString("      fi ;;\n")
	}
	b.WriteString("  esac\n}\ncomplete -F _rideau rideau\n")
	return b.String()
}

func fish(commands []Command) string {
	var b strings.Builder
	b.WriteString("# fish completion for rideau: rideau completion fish | source\ncomplete -c rideau -f\n")
	for _, c := range commands {
		fmt.Fprintf(&b, "complete -c rideau -n __fish_use_subcommand -a %s -d %s\n", c.Name, quote(c.Summary))
		in := quote("__fish_seen_subcommand_from " + c.Name)
		for _, o := range c.options() {
			_, usage := pflag.UnquoteUsage(o.Flag)
			fmt.Fprintf(&b, "complete -c rideau -n %s -l %s -d %s", in, o.Name, quote(usage))
			if o.Shorthand != "" {
				fmt.Fprintf(&b, " -s %s", o.Shorthand)
			}
			switch {
			case o.file:
				b.WriteString(" -r -F")
			case len(o.words) > 0:
				fmt.Fprintf(&b, " -x -a %s", quote(strings.Join(o.words, " ")))
			case o.takes != "":
				b.WriteString(" -x")
			}
			b.WriteByte('\n')
		}
		if len(c.Words) > 0 {
			fmt.Fprintf(&b, "complete -c rideau -n %s -a %s\n", in, quote(strings.Join(c.Words, " ")))
		} else if c.Files {
			fmt.Fprintf(&b, "complete -c rideau -n %s -F\n", in)
		}
	}
	return b.String()
}

// quote quotes a text for the shells.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
