// Package systemd speaks with systemd, or with another service manager that has its
// protocols: it takes the sockets that the manager hands over, and tells the manager
// what state this process is in and which sockets it is to keep for the next one. See
// sd_listen_fds(3), sd_notify(3) and sd_pid_notify_with_fds(3).
package systemd

import (
	"context"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
)

// Manager is the service manager that has started this process. It is safe for
// concurrent use. A nil Manager is none: its methods do nothing.
type Manager struct {
	socket   string // that it listens on
	capacity int    // descriptors that it keeps; 0 for none, below 0 if it does not say
	watchdog time.Duration
}

// FromEnvironment reads what the manager has said in the environment, and removes that
// from it, so that no other process takes it for its own. The manager is nil if there is
// none. The caller owns the files, which the manager has handed over; their names are
// those that it has given them.
func FromEnvironment() (*Manager, []*os.File) {
	files := activation.Files(true)
	m := &Manager{socket: os.Getenv("NOTIFY_SOCKET"), capacity: -1}
	if n, err := strconv.Atoi(os.Getenv("FDSTORE")); err == nil {
		m.capacity = n
	}
	m.watchdog, _ = daemon.SdWatchdogEnabled(true)
	os.Unsetenv("NOTIFY_SOCKET")
	os.Unsetenv("FDSTORE")
	if m.socket == "" {
		return nil, files
	}
	return m, files
}

// Capacity is how many descriptors the manager keeps. known is false if it does not say:
// systemd does from version 254 on.
func (m *Manager) Capacity() (n int, known bool) {
	if m == nil {
		return 0, true
	}
	return max(m.capacity, 0), m.capacity >= 0
}

// Ready says that this process serves, after a start or a reload. status is a line for people.
func (m *Manager) Ready(status string) error {
	return m.send(noFile, "READY=1", "MAINPID="+strconv.Itoa(os.Getpid()), "STATUS="+line(status))
}

// Reloading says that a reload begins. Ready is to follow, also after one that failed.
func (m *Manager) Reloading() error {
	return m.send(noFile, "RELOADING=1", "MONOTONIC_USEC="+strconv.FormatInt(monotonic().Microseconds(), 10))
}

// Stopping says that this process ends.
func (m *Manager) Stopping(status string) error {
	return m.send(noFile, "STOPPING=1", "STATUS="+line(status))
}

// ReportAlive tells the manager that this process works as long as works reports that, twice
// as often as the manager wants to hear it, until ctx ends. A manager that has asked for that
// ends a process of which it does not hear.
func (m *Manager) ReportAlive(ctx context.Context, works func() bool) {
	if m == nil || m.watchdog <= 1 {
		return
	}
	tick := time.NewTicker(m.watchdog / 2)
	defer tick.Stop()
	for ctx.Err() == nil {
		if works() {
			m.send(noFile, "WATCHDOG=1")
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// Store has the manager keep a copy of a descriptor under a name, and hand it to the
// process that it starts next.
func (m *Manager) Store(name string, fd int) error {
	// FDPOLL=0: the manager would take a socket with an error that nobody has read yet,
	// such as an ICMP message causes, for one that is of no use any more.
	return m.send(fd, "FDSTORE=1", "FDNAME="+name, "FDPOLL=0")
}

// Forget has the manager close what it keeps under a name.
func (m *Manager) Forget(name string) error {
	return m.send(noFile, "FDSTOREREMOVE=1", "FDNAME="+name)
}

// line is a text on one line.
func line(s string) string { return strings.ReplaceAll(s, "\n", " ") }

// sendTimeout is how long a manager may take that does not read.
const sendTimeout = time.Second

// noFile is no descriptor.
const noFile = -1

// send sends a message with a descriptor, unless that is noFile.
func (m *Manager) send(fd int, message ...string) error {
	if m == nil {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: m.socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetWriteDeadline(time.Now().Add(sendTimeout))
	b := []byte(strings.Join(message, "\n"))
	if fd != noFile {
		return sendFile(c, b, fd)
	}
	_, err = c.Write(b)
	return err
}
