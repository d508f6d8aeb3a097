package encrypted_test

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"rideau/resolver/upstream/encrypted"
	"rideau/resolver/upstream/member"
)

// repeat answers with the query itself and the bit QR, which costs little.
func repeat(q []byte, _ int) [][]byte {
	r := append([]byte(nil), q...)
	r[2] |= 0x80
	return [][]byte{r}
}

// BenchmarkExchange is one exchange after another, with a server in the process.
func BenchmarkExchange(b *testing.B) {
	ca := newAuthority(b)
	cert, _ := ca.certificate(b, false, "dns.example")
	run := func(name string, start func(b *testing.B) member.Server) {
		b.Run(name, func(b *testing.B) {
			u := start(b)
			defer u.(interface{ Close() }).Close()
			q := query(b, "n.example")
			ctx, cancel := context.WithTimeout(context.Background(), time.Hour) // as a group's
			defer cancel()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := u.Exchange(ctx, nil, q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("DoT", func(b *testing.B) member.Server {
		l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"dot"}})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go repeatAll(c)
			}
		}()
		return encrypted.NewDoT(options(ca, &server{addr: netip.MustParseAddrPort(l.Addr().String())}))
	})
	link := &url.URL{Scheme: "https", Host: "dns.example", Path: "/dns-query"}
	run("DoH", func(b *testing.B) member.Server {
		var s *server
		s = startHTTP(b, cert, func(w http.ResponseWriter, r *http.Request) { s.handler(repeat)(w, r) })
		return encrypted.NewDoH(link, false, options(ca, s))
	})
	run("DoQ", func(b *testing.B) member.Server { return encrypted.NewDoQ(options(ca, startQUIC(b, cert, repeat))) })
}

func repeatAll(c net.Conn) {
	defer c.Close()
	b := make([]byte, 4096)
	for {
		if _, err := io.ReadFull(c, b[:2]); err != nil {
			return
		}
		n := 2 + int(binary.BigEndian.Uint16(b))
		if _, err := io.ReadFull(c, b[2:n]); err != nil {
			return
		}
		b[4] |= 0x80
		if _, err := c.Write(b[:n]); err != nil {
			return
		}
	}
}
