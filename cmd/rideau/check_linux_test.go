package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestCheckAsUser: what this user cannot bind, read or write, check says as a start does.
func TestCheckAsUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can run a program as another user")
	}
	first, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if err != nil || strings.TrimSpace(string(first)) != "1024" {
		t.Skipf("here every user may bind low ports: ip_unprivileged_port_start is %s, %v", strings.TrimSpace(string(first)), err)
	}
	t.Parallel()
	w := newWorld(t)
	for dir := w.dir; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) { // which only their owner enters
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program := w.path("program")
	copyProgram(t, program)
	w.write("rideau.yaml", `listen: {addresses: ["127.0.0.1:53"]}
upstream: {servers: [192.0.2.53]}
lists: [{id: l, url: "https://127.0.0.1:1/l.txt"}, {id: mine, file: secret.txt}]
bans: [{id: b, title: {en: B}, lists: [l, mine]}]
state: {dir: state}
log: {queries: queries.log}
ops: {listen: "127.0.0.1:83", token_file: token}
`)
	for name, text := range map[string]string{"secret.txt": "a.example\n", "token": "0123456789abcdef", "queries.log": ""} {
		w.write(name, text)
		if err := os.Chmod(w.path(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := rideau(t.Context(), w.dir, "check", "rideau.yaml")
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Args, cmd.Dir, cmd.Env = run.Args, run.Dir, run.Env
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1234, Gid: 1234}}
	text, _ := cmd.CombinedOutput() // its error is the exit code
	out := string(text)
	for _, want := range []string{
		"error: listen.addresses: listen on tcp 127.0.0.1:53: bind: permission denied; ports below 1024 need CAP_NET_BIND_SERVICE",
		"error: ops.listen: listen on tcp 127.0.0.1:83: bind: permission denied; set ops.listen to a port above 1023",
		"ops.token_file: open token: permission denied",
		"log.queries: open queries.log: permission denied",
		"error: state.dir: write to .: permission denied",
		"list mine: open secret.txt: permission denied",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("check does not say %q:\n%s", want, out)
		}
	}
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != exitFailure {
		t.Errorf("check ends with %v", cmd.ProcessState)
	}
}

func copyProgram(t *testing.T, to string) {
	t.Helper()
	from, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}
