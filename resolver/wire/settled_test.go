package wire_test

import (
	"encoding/binary"
	"testing"

	"rideau/resolver/wire"
)

// responseOf returns a response to www.example. A with the given octets as
// records: answers of the answer section, then one of the authority section.
func responseOf(answers int, octets string) []byte {
	msg := []byte("\x12\x34\x81\x80\x00\x01\x00\x00\x00\x00\x00\x00" + "\x03www\x07example\x00\x00\x01\x00\x01")
	binary.BigEndian.PutUint16(msg[6:], uint16(answers))
	binary.BigEndian.PutUint16(msg[8:], 1)
	return append(msg, octets...)
}

// A name may not contain octets of a TTL. The question ends at 29, so the first
// record has its TTL at 35 and its RDATA at 41.
func TestNamesOfTTLs(t *testing.T) {
	const (
		alias   = "\xc0\x0c\x00\x05\x00\x01\x00\x01a\x00" // TTL: 1, 'a', root
		soaHead = "\xc0\x10\x00\x06\x00\x01\x00\x00\x01\x00"
		numbers = "\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03\x00\x00\x00\x04\x00\x00\x00\x05"
		ns      = "\xc0\x10\x00\x02\x00\x01\x00\x00\x01\x00"
		text    = "\xc0\x0c\x00\x10\x00\x01\x00\x00\x01\x00\x00\x04\x03\x02aa"
	)
	tests := []struct {
		name    string
		answers int
		octets  string
		ok      bool
	}{
		{"server in the alias's target", 1, alias + "\x00\x03\x01b\x00" + ns + "\x00\x02\xc0\x29", true},
		{"server in another's RDATA", 1, text + ns + "\x00\x04\x01b\xc0\x10", true},
		{"alias to its own TTL", 1, alias + "\x00\x02\xc0\x24" + ns + "\x00\x02\xc0\x10", false},
		{"alias to the last octet of its TTL", 1, alias + "\x00\x02\xc0\x26" + ns + "\x00\x02\xc0\x10", false},
		{"alias to its class and TTL", 1, "\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x00\x00\x02\xc0\x22" + ns + "\x00\x02\xc0\x10", false},
		{"server in a TTL", 1, alias + "\x00\x03\x01b\x00" + ns + "\x00\x02\xc0\x24", false},
		{"owner in a TTL", 1, alias + "\x00\x03\x01b\x00" + "\xc0\x24" + ns[2:] + "\x00\x02\xc0\x29", false},
		{"label that reaches from RDATA over a TTL", 1, "\xc0\x0c\x00\x10\x00\x01\x00\x00\x01\x00\x00\x02\x01\x0e" +
			ns + "\x00\x05\x02bb\xc0\x2a", false},
		{"SOA record in order", 0, soaHead + "\x00\x18\xc0\x0c\xc0\x10" + numbers, true},
		{"SOA record with a name in its TTL", 0, "\xc0\x10\x00\x06\x00\x01\x00\x01a\x00\x00\x18\xc0\x24\xc0\x10" + numbers, false},
		{"SOA record with a name that points at itself", 0, soaHead + "\x00\x18\xc0\x29\xc0\x10" + numbers, false},
		{"SOA record with a name that points forward", 0, soaHead + "\x00\x18\xc0\x0c\xc0\x30" + numbers, false},
		{"SOA record that ends early", 0, soaHead + "\x00\x17\xc0\x0c\xc0\x10" + numbers[1:], false},
		{"SOA record of names alone", 0, soaHead + "\x00\x18\x17aaaaaaaaaaaaaaaaaaaaaaa", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r wire.Response
			var n wire.Name
			msg := responseOf(tt.answers, tt.octets)
			err := r.Parse(msg, &n) // a server's record is left out, another makes it an error
			if read := err == nil && wire.Count(msg, wire.Authority) == 1; read != tt.ok {
				t.Errorf("read with %v, %+v", err, r)
			}
		})
	}
}

// The names in an accepted response do not change as TTLs count down.
func FuzzNamesStay(f *testing.F) {
	f.Add(encode(f, full(f)), uint32(1))
	f.Add(responseOf(1, "\xc0\x0c\x00\x05\x00\x01\x00\x01a\x00\x00\x02\xc0\x24\xc0\x10\x00\x02\x00\x01\x00\x00\x01\x00\x00\x02\xc0\x10"), uint32(0xFFFFFFFF))
	f.Fuzz(func(t *testing.T, msg []byte, ttl uint32) {
		var r wire.Response
		var n wire.Name
		if len(msg) < wire.HeaderLen || r.Parse(msg, &n) != nil {
			return
		}
		if off := wire.HeaderLen; msg[off] >= 0xC0 {
			return // Matches rejects a response with a compressed question
		}
		msg = msg[:r.End]
		read := func() (names []string) {
			w := wire.NewWalk(msg)
			var rec wire.Record
			for w.Next(&rec) {
				if _, err := n.Parse(msg, rec.Off); err != nil {
					t.Fatal(err)
				}
				names = append(names, n.String())
				if off, ok := wire.TargetOffset(msg, &rec); ok {
					if _, err := n.Parse(msg, off); err != nil {
						t.Fatal(err)
					}
					names = append(names, n.String())
				}
			}
			return names
		}
		before := read()
		w := wire.NewWalk(msg)
		var rec wire.Record
		for w.Next(&rec) {
			binary.BigEndian.PutUint32(msg[rec.TTLOff:], ttl)
		}
		after := read()
		for i := range before {
			if before[i] != after[i] {
				t.Errorf("%q became %q", before[i], after[i])
			}
		}
	})
}
