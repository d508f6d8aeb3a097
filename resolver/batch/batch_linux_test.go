package batch_test

import (
	"net"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"rideau/resolver/batch"
)

// pair is two sockets that are connected with each other.
func pair(t *testing.T) (a, b int) {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(p[0]); unix.Close(p[1]) })
	return p[0], p[1]
}

// messages are n messages of up to size octets each.
func messages(n, size int) ([]batch.Message, [][]byte) {
	m, bufs, iovs := make([]batch.Message, n), make([][]byte, n), make([]unix.Iovec, n)
	for i := range m {
		bufs[i] = make([]byte, size)
		iovs[i].Base = &bufs[i][0]
		iovs[i].SetLen(size)
		m[i].Hdr.Iov = &iovs[i]
		m[i].Hdr.SetIovlen(1)
	}
	return m, bufs
}

func TestSendReceive(t *testing.T) {
	a, b := pair(t)
	out, texts := messages(5, 1)
	for i := range texts {
		texts[i][0] = 'a' + byte(i)
	}
	batch.SendAll(a, out, func(i int, err syscall.Errno) { t.Errorf("message %d: %v", i, err) })
	in, bufs := messages(3, 8)
	var got []byte
	for _, want := range []int{3, 2} {
		n, errno := batch.Receive(b, in)
		if errno != 0 || n != want {
			t.Fatalf("%d messages, %v, want %d", n, errno, want)
		}
		for i := range n {
			got = append(got, bufs[i][:in[i].N]...)
		}
	}
	if string(got) != "abcde" {
		t.Errorf("received %q", got)
	}
	if n, errno := batch.Receive(b, in); errno != unix.EAGAIN {
		t.Errorf("%d messages, %v, from an empty socket", n, errno)
	}
}

// A message that cannot be sent is reported, and the rest is sent.
func TestSendAllGoesOn(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	to, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	out, texts := messages(3, 1)
	name := unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: [4]byte{127, 0, 0, 1}}
	port := to.LocalAddr().(*net.UDPAddr).Port
	name.Port = uint16(port>>8) | uint16(port)<<8 // in the network's order on a little-endian machine
	if *(*byte)(unsafe.Pointer(&[]uint16{1}[0])) == 0 {
		name.Port = uint16(port)
	}
	for i := range out {
		texts[i][0] = 'a' + byte(i)
		if i != 1 { // which has nowhere to go
			out[i].Hdr.Name, out[i].Hdr.Namelen = (*byte)(unsafe.Pointer(&name)), uint32(unsafe.Sizeof(name))
		}
	}
	var failed []int
	batch.SendAll(fd, out, func(i int, err syscall.Errno) { failed = append(failed, i) })
	if len(failed) != 1 || failed[0] != 1 {
		t.Errorf("failed: %v", failed)
	}
	var got []byte
	buf := make([]byte, 8)
	to.SetReadDeadline(time.Now().Add(10 * time.Second))
	for range 2 {
		n, err := to.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, buf[:n]...)
	}
	if string(got) != "ac" {
		t.Errorf("received %q", got)
	}
}

// await waits until there is something, whatever signals come.
func await(p *batch.Poller) (n int) {
	for n == 0 {
		n = p.Wait(-1)
	}
	return n
}

func TestPoller(t *testing.T) {
	p, err := batch.NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	a, b := pair(t)
	if err := p.Add(b, 42); err != nil {
		t.Fatal(err)
	}
	if n := p.Wait(0); n != 0 {
		t.Errorf("%d sockets with nothing to read", n)
	}
	if n := p.Wait(time.Millisecond); n != 0 {
		t.Errorf("%d sockets with nothing to read", n)
	}
	unix.Write(a, []byte("x"))
	for range 2 { // Wait finds it until it has been read
		if n := await(p); n != 1 || p.Tag(0) != 42 {
			t.Fatalf("%d sockets, the first %d", n, p.Tag(0))
		}
	}
	unix.Read(b, make([]byte, 1))
	if n := p.Wait(0); n != 0 {
		t.Errorf("%d sockets when all has been read", n)
	}
	go func() {
		time.Sleep(time.Millisecond) // sleeps: the other waits meanwhile
		p.Wake()
	}()
	if n := await(p); n != 1 || p.Tag(0) != batch.WakeTag {
		t.Fatalf("%d sockets, the first %d", n, p.Tag(0))
	}
	p.Woken()
	if n := p.Wait(0); n != 0 {
		t.Errorf("%d sockets after the wake-up was noted", n)
	}
}
