package main

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestResolvConfChanges: the log says from which servers to which a change of resolv.conf leads. The file is another one in a mount
// namespace of the process.
func TestResolvConfChanges(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("mount namespaces take root")
	}
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash is not installed")
	}
	w := newWorld(t)
	w.write("rideau.yaml", strings.Replace(w.configText(), w.upstream.Addr().String(), "system", 1))
	w.write("resolv.conf", "nameserver 127.0.0.7\n")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Only if it can be mounted there is a process to start.
	script := `mount --bind resolv.conf /etc/resolv.conf && exec "$@"`
	try := exec.Command(bash, "-c", script, "bash", "true")
	try.Dir, try.SysProcAttr = w.dir, &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if out, err := try.CombinedOutput(); err != nil {
		t.Skipf("no file can be mounted here: %v, %s", err, out)
	}
	cmd := rideau(context.Background(), w.dir)
	cmd.Path, cmd.Args = bash, []string{"bash", "-c", script, "bash", bash, "-c", `exec -a rideau "$@"`, "bash", exe, "serve", "--config", "rideau.yaml"}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS
	p := startCommand(t, w.dir, cmd)
	began := time.Now()
	w.write("resolv.conf", "nameserver 127.0.0.8\nnameserver 127.0.0.9\n")
	p.logs(began, `level=INFO msg=changed file=/etc/resolv.conf key=upstream.servers\[system\] before="?\[127.0.0.7:53\]"? after="\[127.0.0.8:53 127.0.0.9:53\]"`)
	p.logs(began, `level=INFO msg=reloaded why="a file changed"`)
}
