package access

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"rideau/resolver/ops/access"
	"rideau/resolver/ops/access/password"
)

// Line returns the line of a file of users for somebody with that password.
func Line(name, role, secret string) (string, error) {
	if err := password.CheckName(name); err != nil {
		return "", err
	}
	if _, ok := access.ParseRole(role); !ok {
		return "", fmt.Errorf("%q is no role; use viewer, analyst or operator", role)
	}
	h, err := password.New(secret)
	if err != nil {
		return "", err
	}
	return password.Entry{Name: name, Role: role, Hash: h}.String(), nil
}

// AskPassword reads a password. From a terminal it reads it twice, without showing it; from
// anything else it is the first line. Prompts go to prompt.
func AskPassword(from *os.File, prompt io.Writer) (string, error) {
	if !term.IsTerminal(int(from.Fd())) {
		line, err := bufio.NewReader(io.LimitReader(from, 4*password.MaxLength)).ReadString('\n')
		if err != nil && (err != io.EOF || line == "") {
			return "", fmt.Errorf("the password cannot be read from the standard input: %w", err)
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	var typed [2]string
	for i, what := range []string{"Password: ", "Again: "} {
		fmt.Fprint(prompt, what)
		b, err := term.ReadPassword(int(from.Fd()))
		fmt.Fprintln(prompt)
		if err != nil {
			return "", err
		}
		typed[i] = string(b)
	}
	if typed[0] != typed[1] {
		return "", errors.New("the two passwords differ; try again")
	}
	return typed[0], nil
}
