package listener_test

import (
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"rideau/resolver/listener"
	"rideau/resolver/listener/inherited"
)

// Sockets that another process holds are left as they are: what comes to them after a
// drain is answered by the next Listener that has them, and each query once.
func TestDrainHeld(t *testing.T) {
	noLeak(t)
	engines(t, func(t *testing.T, o listener.Options) {
		s := serve(t, newFake(), o)
		addr := s.Addr()
		var files []*os.File
		err := s.Descriptors(func(network string, a netip.AddrPort, fd int) error {
			if a != addr {
				t.Errorf("%s %v, want %v", network, a, addr)
			}
			again, err := syscall.Dup(fd)
			if err == nil {
				syscall.CloseOnExec(again)
				files = append(files, os.NewFile(uintptr(again), network))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		held, problems := inherited.New(files)
		defer held.Close(func(inherited.Socket) bool { return true })
		if len(problems) > 0 || len(held.All()) != len(files) {
			t.Fatalf("%d sockets, %v", len(held.All()), problems)
		}
		s.Held(true)
		s.stop()

		const n = 20
		var all []net.Conn
		for i := range n {
			u, c := dial(t, "udp", addr), dial(t, "tcp", addr)
			send(t, u, query(uint16(i), settle, ""))
			send(t, c, framed(query(uint16(i), settle, "")))
			all = append(all, u, c)
		}
		o.Addrs, o.Inherited = []string{addr.String()}, held
		s = serve(t, newFake(), o)
		if s.Addr() != addr {
			t.Fatalf("serves %v, want %v", s.Addr(), addr)
		}
		for i := range n {
			q := query(uint16(i), settle, "")
			if a := receive(t, all[2*i]); !isReply(q, a) {
				t.Errorf("udp answered %x", a)
			}
			if a := receiveFramed(t, all[2*i+1]); !isReply(q, a) {
				t.Errorf("tcp answered %x", a)
			}
		}
		s.stop()
	})
}
