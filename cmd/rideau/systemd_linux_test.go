package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// manager does what systemd does for a service: it keeps descriptors, hands them over,
// and takes messages.
type manager struct {
	t    testing.TB
	w    *world
	conn *net.UnixConn
	env  []string   // of the processes
	unit []*os.File // of the socket unit

	mu       sync.Mutex
	messages []string            // guarded by mu
	stored   map[string][]string // names to what is stored there; guarded by mu
	files    map[string]*os.File // by what they are; guarded by mu
}

func newManager(w *world, env ...string) *manager {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		w.t.Fatal(err)
	}
	m := &manager{t: w.t, w: w, conn: c, env: append(env, "NOTIFY_SOCKET="+path), stored: map[string][]string{}, files: map[string]*os.File{}}
	done := make(chan struct{})
	go func() { defer close(done); m.read() }()
	w.t.Cleanup(func() { c.Close(); <-done })
	return m
}

func (m *manager) read() {
	b, oob := make([]byte, 4096), make([]byte, 4096)
	for {
		n, oobn, _, _, err := m.conn.ReadMsgUnix(b, oob)
		if err != nil {
			return
		}
		m.take(string(b[:n]), descriptors(oob[:oobn]))
	}
}

func descriptors(oob []byte) []int {
	all, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(all) == 0 {
		return nil
	}
	fds, _ := unix.ParseUnixRights(&all[0])
	return fds
}

// take does what a message asks for. A descriptor that is stored already is not stored
// again.
func (m *manager) take(message string, fds []int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.messages = append(m.messages, message)
	name := ""
	for line := range strings.Lines(message) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "FDNAME="); ok {
			name = v
		}
	}
	switch {
	case strings.HasPrefix(message, "FDSTORE=1\n"):
		for _, fd := range fds {
			var st unix.Stat_t
			unix.Fstat(fd, &st)
			id := fmt.Sprint(st.Ino)
			if m.files[id] != nil {
				unix.Close(fd)
				continue
			}
			m.files[id] = os.NewFile(uintptr(fd), name)
			m.stored[name] = append(m.stored[name], id)
		}
	case strings.HasPrefix(message, "FDSTOREREMOVE=1\n"):
		for _, id := range m.stored[name] {
			m.files[id].Close()
			delete(m.files, id)
		}
		delete(m.stored, name)
	}
}

// said returns the messages that begin so.
func (m *manager) said(prefix string) (out []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.messages {
		if strings.HasPrefix(s, prefix) {
			out = append(out, s)
		}
	}
	return out
}

// names returns the names under which descriptors are stored, each as often as it has some.
func (m *manager) names() (out []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, ids := range m.stored {
		for range ids {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// start starts a process as the manager would.
func (m *manager) start() *process {
	m.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		m.t.Fatal(err)
	}
	link := filepath.Join(m.w.dir, "rideau")
	os.Symlink(exe, link)
	cmd := rideau(context.Background(), m.w.dir)
	cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, link, "serve", "--config", "rideau.yaml"}
	cmd.Env = append(os.Environ(), m.env...)
	m.mu.Lock()
	var names []string
	for _, f := range m.unit {
		cmd.ExtraFiles, names = append(cmd.ExtraFiles, f), append(names, f.Name())
	}
	for name, ids := range m.stored {
		for _, id := range ids {
			cmd.ExtraFiles, names = append(cmd.ExtraFiles, m.files[id]), append(names, name)
		}
	}
	m.mu.Unlock()
	if len(names) > 0 {
		cmd.Env = append(cmd.Env, "LISTEN_FDS="+strconv.Itoa(len(names)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	}
	return startCommand(m.t, m.w.dir, cmd)
}

// TestRestartHeld: where the service manager keeps the sockets, what comes while no server
// runs waits for the next one, and no query is lost.
func TestRestartHeld(t *testing.T) {
	w := newWorld(t)
	w.config(func(s *settings) { s.listen = []string{freeAddress(t, "127.0.0.1")} })
	m := newManager(w, "FDSTORE=16")
	p := m.start()
	for _, slow := range []bool{true, false} {
		var lost map[string]losses
		p, lost = w.restart(p, slow, m.start)
		for network, l := range lost {
			if l.stopping+l.starting > 0 {
				t.Errorf("%s: %d queries lost of %d while it stopped, and %d of %d while none ran", network, l.stopping, l.ofStopping, l.starting, l.ofStarting)
			}
		}
	}
	_, port, _ := net.SplitHostPort(p.dns[0])
	if names := m.names(); len(names) < 2 || names[0] != "rideau-tcp-127.0.0.1_"+port || names[len(names)-1] != "rideau-udp-127.0.0.1_"+port {
		t.Errorf("kept are %q", names)
	}

	// An address that the configuration does not name any more is not kept either.
	other := freeAddress(t, "127.0.0.1")
	began := time.Now()
	w.config(func(s *settings) { s.listen = []string{other} })
	p.logs(began, "reloaded")
	_, port, _ = net.SplitHostPort(other)
	p.within(began, "only the new address is kept", func() (string, bool) {
		names := m.names()
		return strings.Join(names, " "), !slices.ContainsFunc(names, func(n string) bool { return !strings.HasSuffix(n, "_"+port) })
	})
	if m, err := ask("udp", other, "plain.example", dns.TypeA); err != nil || m.Rcode != dns.RcodeSuccess {
		t.Errorf("%v %v", m, err)
	}
	p.stop()
	if got := m.said("STOPPING=1"); len(got) != 3 {
		t.Errorf("said that it stops: %q", got)
	}
}

// bound returns files of sockets that are bound to an address, as a socket unit has them.
func bound(t *testing.T, network, addr, name string) *os.File {
	t.Helper()
	var f *os.File
	var err error
	if network == "udp" {
		var c net.PacketConn
		if c, err = net.ListenPacket(network, addr); err == nil {
			defer c.Close()
			f, err = c.(*net.UDPConn).File()
		}
	} else {
		var l net.Listener
		if l, err = net.Listen(network, addr); err == nil {
			defer l.Close()
			f, err = l.(*net.TCPListener).File()
		}
	}
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	fd, err := unix.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	named := os.NewFile(uintptr(fd), name)
	t.Cleanup(func() { named.Close() })
	return named
}

// TestSocketUnit: sockets of a socket unit are used where the configuration names their
// address, and what is missing, left over or of no use is told. What comes before the
// start is answered.
func TestSocketUnit(t *testing.T) {
	w := newWorld(t)
	full, half, unnamed := freeAddress(t, "127.0.0.1"), freeAddress(t, "127.0.0.1"), freeAddress(t, "127.0.0.1")
	w.config(func(s *settings) { s.listen = []string{full, half} })
	m := newManager(w, "FDSTORE=16")
	r, wr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer wr.Close()
	m.unit = []*os.File{bound(t, "udp", full, "dns"), bound(t, "tcp", full, "dns"), bound(t, "udp", half, "half"), bound(t, "tcp", unnamed, "other"), r,
		bound(t, "udp", "[::]:0", "dual")}
	c, err := net.Dial("udp", full)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	early := &dns.Conn{Conn: c}
	if err := early.WriteMsg(new(dns.Msg).SetQuestion("banned.example.", dns.TypeA)); err != nil {
		t.Fatal(err)
	}
	p := m.start()
	c.SetDeadline(time.Now().Add(3 * time.Second))
	if a, err := early.ReadMsg(); err != nil || a.Rcode != dns.RcodeNameError {
		t.Errorf("a query of before the start: %v, %v", a, err)
	}
	for _, addr := range []string{full, half} {
		for _, network := range []string{"udp", "tcp"} {
			if a, err := ask(network, addr, "banned.example", dns.TypeA); err != nil || a.Rcode != dns.RcodeNameError {
				t.Errorf("%s %s: %v, %v", network, addr, a, err)
			}
		}
	}
	p.logs(time.Now(), `level=WARN msg="a socket unit has bound an address that the configuration does not name.*network=tcp address=`+unnamed+` unit=other`)
	p.logs(time.Now(), `level=INFO msg="the socket unit has no socket for an address.*network=tcp address=`+half)
	p.logs(time.Now(), `level=WARN msg="what the service manager has handed over cannot be used" error=.*neither a UDP socket nor a TCP socket`)
	p.logs(time.Now(), `level=WARN msg="what the service manager has handed over cannot be used" error="dual: .*BindIPv6Only=ipv6-only`)
	if names := m.names(); len(names) > 0 {
		t.Errorf("what the socket unit keeps is kept twice: %q", names)
	}
	// An address that is taken out and named again has its socket of the unit again.
	for _, listen := range [][]string{{half}, {full, half}} {
		began := time.Now()
		w.config(func(s *settings) { s.listen = listen })
		p.within(began, "listens on "+strings.Join(listen, " "), func() (string, bool) {
			a, err := ask("udp", listen[0], "banned.example", dns.TypeA)
			return fmt.Sprint(a, err), err == nil && a.Rcode == dns.RcodeNameError
		})
	}
	p.stop()
}

// TestManagerIsTold: the manager knows when a server is ready, reloads, works and stops,
// and is told to keep more where it keeps too few sockets.
func TestManagerIsTold(t *testing.T) {
	w := newWorld(t)
	w.config(func(s *settings) { s.listen = []string{freeAddress(t, "127.0.0.1")} })
	m := newManager(w, "FDSTORE=1", "WATCHDOG_USEC=200000")
	p := m.start()
	want := "READY=1\nMAINPID=" + strconv.Itoa(p.cmd.Process.Pid) + "\nSTATUS=serves DNS on " + p.dns[0]
	p.within(time.Now(), "ready", func() (string, bool) {
		return fmt.Sprint(m.said("READY=1")), slices.Equal(m.said("READY=1"), []string{want})
	})
	p.within(time.Now(), "works", func() (string, bool) { return "", len(m.said("WATCHDOG=1")) > 2 })
	p.logs(time.Now(), `level=WARN msg="the service manager keeps fewer sockets than there are.*FileDescriptorStoreMax=.* kept=1 needed=`)
	if names := m.names(); len(names) > 0 {
		t.Errorf("kept are %q", names)
	}
	p.signal(syscall.SIGHUP)
	p.within(time.Now(), "ready again", func() (string, bool) { return "", len(m.said("READY=1")) == 2 })
	if got := m.said("RELOADING=1\nMONOTONIC_USEC="); len(got) != 1 {
		t.Errorf("reloads: %q", got)
	}
	w.write("rideau.yaml", "nonsense: true\n")
	p.signal(syscall.SIGHUP)
	p.within(time.Now(), "refused", func() (string, bool) {
		all := m.said("READY=1")
		return all[len(all)-1], strings.Contains(all[len(all)-1], "; the reload of 2") && strings.HasSuffix(all[len(all)-1], " was refused, see the log")
	})
	p.stop()
	if got := m.said("STOPPING=1\nSTATUS="); len(got) != 1 {
		t.Errorf("stops: %q", got)
	}
}
