package main

import (
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestCompletion: bash, zsh and fish parse their scripts, and bash completes commands, options, values and arguments as the table has them.
func TestCompletion(t *testing.T) {
	scripts := map[string]string{}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), []string{"completion", shell}, &out, &errs); code != exitOK {
			t.Fatalf("%s: %d %s", shell, code, errs.String())
		}
		scripts[shell] = out.String()
		for _, c := range commands() {
			if !strings.Contains(out.String(), c.name) {
				t.Errorf("%s: no %s", shell, c.name)
			}
		}
		path, err := exec.LookPath(shell)
		if err != nil {
			t.Logf("%s is not here, and its script is not parsed", shell)
			continue
		}
		cmd := exec.Command(path, "-n")
		cmd.Stdin = strings.NewReader(out.String())
		if text, err := cmd.CombinedOutput(); err != nil || len(text) > 0 {
			t.Errorf("%s: %v\n%s", shell, err, text)
		}
	}
	path, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash is not here")
	}
	for line, want := range map[string][]string{
		"exp":                     {"explain"},
		"c":                       {"check", "config", "completion"},
		"explain --ty":            {"--type"},
		"explain --client x --d":  {"--do"},
		"explain --lang ":         {"en", "fr"},
		"config --pack we":        {"wechat"},
		"egress --format nf":      {"nftables"},
		"completion z":            {"zsh"},
		"help vers":               {"version"},
		"--con":                   {"--config"},
		"check /etc/hostna":       {"/etc/hostname"},
		"serve -c /etc/hostna":    {"/etc/hostname"},
		"explain --client 10.1.2": nil,
	} {
		words := strings.Split(line, " ")
		text := scripts["bash"] + "\nCOMP_WORDS=(rideau"
		for _, w := range words {
			text += " '" + w + "'"
		}
		text += ")\nCOMP_CWORD=$((${#COMP_WORDS[@]}-1))\n_rideau\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n"
		cmd := exec.Command(path, "--norc", "-s")
		cmd.Stdin = strings.NewReader(text)
		out, err := cmd.CombinedOutput()
		got := strings.Fields(string(out))
		slices.Sort(got)
		slices.Sort(want)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q (%v)", line, got, want, err)
		}
	}
}
