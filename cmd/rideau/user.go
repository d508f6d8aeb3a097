package main

import (
	"fmt"
	"os"

	"rideau/cmd/rideau/internal/access"
)

const userHelp = `Prints the line of a user for the file that ops.users_file names: the name, the role, and an
argon2id hash of the password. The password is asked for, or is the first line of the
standard input. It has at least 12 characters. Replace the line of a user to change the
password or the role, and remove it to end the user's sessions.

Exit code 0: the line is printed. 1: the name, the role or the password is not accepted.`

func user(c *call) int {
	secret, err := access.AskPassword(os.Stdin, c.stderr)
	if err != nil {
		return c.fail(err)
	}
	line, err := access.Line(c.args[0], c.string("role"), secret)
	if err != nil {
		return c.fail(err)
	}
	fmt.Fprintln(c.stdout, line)
	return exitOK
}
