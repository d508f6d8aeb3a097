package batch

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Message is one datagram of a batch, the kernel's struct mmsghdr.
type Message struct {
	Hdr unix.Msghdr
	N   uint32 // octets received or sent
}

// Receive reads datagrams into m and returns how many there were. It never
// waits: if there are none it returns EAGAIN.
func Receive(fd int, m []Message) (int, syscall.Errno) { return call(unix.SYS_RECVMMSG, fd, m) }

// Send sends m as far as the socket's buffer has space, without waiting, and
// returns how many were sent. An error is that of the first message; the others
// were not tried then.
func Send(fd int, m []Message) (int, syscall.Errno) { return call(unix.SYS_SENDMMSG, fd, m) }

// call makes a system call that the scheduler does not know of: it never blocks,
// and to announce it costs more than some of the calls do.
func call(nr uintptr, fd int, m []Message) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall6(nr, uintptr(fd), uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), unix.MSG_DONTWAIT, 0, 0)
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

// sendPatience is how long SendAll waits for space in a socket's buffer.
const sendPatience = 20 * time.Millisecond

// SendAll sends m. failed, which may be nil, is called with the index of each
// message that the system did not send, and the error.
func SendAll(fd int, m []Message, failed func(i int, err syscall.Errno)) {
	waited := false
	for at := 0; at < len(m); {
		n, errno := Send(fd, m[at:])
		switch {
		case errno == 0:
			at += n
		case errno == unix.EAGAIN && !waited:
			waited = true
			unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, int(sendPatience/time.Millisecond))
		default:
			if failed != nil {
				failed(at, errno)
			}
			at++
		}
	}
}

// Poller waits for sockets. One goroutine uses it; Wake may be called by any.
type Poller struct {
	fd     int
	wake   int
	events [32]unix.EpollEvent
	n      int
}

// WakeTag is the tag that Wait finds after Wake.
const WakeTag = ^uint32(0)

// NewPoller makes a Poller. It has to be closed.
func NewPoller() (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	p := &Poller{fd: fd, wake: wake}
	if err := p.Add(wake, WakeTag); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Add has Wait find fd, by its tag, whenever there is something to read from it
// or it has an error. Closing fd ends that.
func (p *Poller) Add(fd int, tag uint32) error {
	return unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(tag)})
}

// Remove has Wait find fd no more.
func (p *Poller) Remove(fd int) error {
	return unix.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, fd, nil)
}

// nap is how long Wait waits without telling the scheduler.
const nap = time.Millisecond

// Wait waits until there is something to read, or for d; with 0 it does not wait,
// and below 0 it waits without limit. It returns how many sockets it found, for
// Tag. It may return 0 early, when a signal has interrupted it.
//
// At first it waits without telling the scheduler. That would wake its monitor,
// give the goroutine's processor to another one, and search for a new processor
// afterwards: under load waits are short, and all that takes longer than they
// do. The scheduler's own signals interrupt a wait, so that stopping the world
// does not take long.
func (p *Poller) Wait(d time.Duration) int {
	short := d
	if d < 0 || d > nap {
		short = nap
	}
	events, limit := unsafe.Pointer(&p.events[0]), uintptr(len(p.events))
	n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(events), limit, milliseconds(short), 0, 0)
	if errno == 0 && n == 0 && short != d {
		n, _, errno = syscall.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(events), limit, milliseconds(d), 0, 0)
	}
	if errno != 0 { // EINTR: nothing yet
		n = 0
	}
	p.n = int(n)
	return p.n
}

// milliseconds is a timeout for epoll.
func milliseconds(d time.Duration) uintptr {
	if d < 0 {
		return ^uintptr(0)
	}
	return uintptr((d + time.Millisecond - 1) / time.Millisecond)
}

// Tag is the tag of the i-th socket that Wait found.
func (p *Poller) Tag(i int) uint32 { return uint32(p.events[i].Fd) }

// Wake ends the Wait that is under way or, if there is none, the next one.
func (p *Poller) Wake() {
	one := [8]byte{1}
	unix.Write(p.wake, one[:])
}

// Woken is to be called when Wait has found WakeTag. Otherwise each further Wait
// finds it again.
func (p *Poller) Woken() {
	var b [8]byte
	unix.Read(p.wake, b[:])
}

// Close closes the Poller. No other method may be under way or be called
// afterwards.
func (p *Poller) Close() {
	unix.Close(p.wake)
	unix.Close(p.fd)
}

// Control calls f with the descriptor of c, which stays open meanwhile.
func Control(c syscall.RawConn, f func(fd int) error) error {
	var err error
	if e := c.Control(func(fd uintptr) { err = f(int(fd)) }); e != nil {
		return e
	}
	return err
}
