package wire_test

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"rideau/resolver/wire"
)

// responseWith returns a response whose answer section has one record.
func responseWith(t uint16, data []byte) []byte {
	msg := []byte("\x00\x00\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00" + "\x03www\x07example\x00\x00\x01\x00\x01" + "\xc0\x0c")
	binary.BigEndian.PutUint16(msg[25:], t)
	msg = binary.BigEndian.AppendUint16(msg, t)
	msg = append(msg, 0, 1, 0, 0, 1, 0)
	msg = binary.BigEndian.AppendUint16(msg, uint16(len(data)))
	return append(msg, data...)
}

func accepted(t uint16, data []byte) bool {
	var r wire.Response
	var n wire.Name
	return r.Parse(responseWith(t, data), &n) == nil
}

// A record of a known type is accepted as it is, and refused if octets follow
// its RDATA or the RDATA ends early, unless the type takes any octets there.
func TestLayouts(t *testing.T) {
	const open = "open" // octets may follow
	for record, mark := range map[string]string{
		"A 192.0.2.1": "", "AAAA 2001:db8::1": "", "NS a.example.": "", "CNAME a.example.": "", "PTR a.example.": "", "DNAME a.example.": "",
		"MB a.example.": "", "MG a.example.": "", "MR a.example.": "", "MD a.example.": "", "MF a.example.": "",
		"SOA a. b. 1 2 3 4 5": "", "HINFO \"a\" \"b\"": "", "MINFO a. b.": "", "RP a. b.": "", "MX 1 a.": "", "AFSDB 1 a.": "", "RT 1 a.": "",
		"KX 1 a.": "", "PX 1 a. b.": "", "SRV 1 2 3 a.": "", "NAPTR 1 2 \"u\" \"s\" \"!a!b!\" c.": "", "NSAP-PTR a.": "",
		"GPOS -32.6882 116.8652 10.0": "", "LOC 42 21 54 N 71 06 18 W -24m 30m": "",
		"DS 1 8 2 00112233": open, "CDS 1 8 2 00112233": open, "DLV 1 8 2 00112233": open, "TA 1 8 2 00112233": open,
		"DNSKEY 257 3 8 AwEAAQ==": open, "CDNSKEY 257 3 8 AwEAAQ==": open, "KEY 257 3 8 AwEAAQ==": open, "RKEY 0 3 8 AwEAAQ==": open,
		"RRSIG A 8 2 300 20260101000000 20250101000000 1 example. AwEAAQ==": open,
		"NSEC b.example. A RRSIG": "", "NSEC3 1 0 1 AB 2T7B4G4VSA5SMI47K61MV5BV1A22BOJR A": "", "NSEC3PARAM 1 0 1 AB": "",
		"TLSA 3 1 1 0011": open, "SMIMEA 3 1 1 0011": open, "SSHFP 1 1 0011": open, "CERT 1 1 1 AwEAAQ==": open, "OPENPGPKEY AwEAAQ==": open,
		"DHCID AwEAAQ==": open, "ZONEMD 1 1 1 00112233445566778899AABB": open, "CSYNC 1 3 A NS": "", "TALINK a. b.": "",
		"NID 10 0014:4fff:ff20:ee64": "", "L32 10 10.1.2.0": "", "L64 10 2001:0DB8:1140:1000": "", "LP 10 a.": "", "EUI48 00-00-5e-00-53-2a": "",
		"EUI64 00-00-5e-ef-10-00-00-2a": "", "URI 1 1 \"https://a/\"": open, "CAA 0 issue \"a\"": open, "UID 1": "", "GID 1": "",
		"IPSECKEY 10 1 2 192.0.2.38 AwEAAQ==": open, "IPSECKEY 10 3 2 a.example. AwEAAQ==": open, "AMTRELAY 10 0 1 192.0.2.1": "", "AMTRELAY 10 0 3 a.example.": "",
		"APL 1:192.168.32.0/21 2:2001:db8::/32": "", "HIP 2 200100107B1A74DF365639CC39F1D578 AwEAAQ== a.example.": "",
		"SVCB 0 a.": "", "HTTPS 1 . alpn=h2,h3 no-default-alpn port=443 ipv4hint=192.0.2.1 ipv6hint=2001:db8::1": "", "HTTPS 1 . mandatory=alpn alpn=h2 key667=x": "",
		"TXT \"a\" \"b\"": "", "SPF \"a\"": "", "AVC \"a\"": "", "NINFO \"a\"": "", "RESINFO \"a\"": "",
	} {
		rr, err := dns.NewRR("www.example. 300 IN " + record)
		if err != nil {
			t.Errorf("%s: %v", record, err)
			continue
		}
		b := make([]byte, 512)
		end, err := dns.PackRR(rr, b, 0, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		data, typ := b[len("www.example.")+1+10:end], rr.Header().Rrtype
		if !accepted(typ, data) {
			t.Errorf("%s: refused", record)
		}
		for _, more := range []string{"\x00", "\x01", "\xff\xff\xff"} {
			if got := accepted(typ, append(data[:len(data):len(data)], more...)); got && mark != open && !strings.HasPrefix(record, "HIP") {
				// Octets behind strings may be strings, and behind a bitmap a block.
				if m := new(dns.Msg); m.Unpack(responseWith(typ, append(data[:len(data):len(data)], more...))) != nil || typ != dns.TypeTXT && typ != dns.TypeSPF && typ != dns.TypeAVC && typ != dns.TypeNINFO && typ != dns.TypeRESINFO {
					t.Errorf("%s: accepted with %x behind it", record, more)
				}
			}
		}
		for n := range data {
			m := new(dns.Msg)
			if readable := m.Unpack(responseWith(typ, data[:n])) == nil; accepted(typ, data[:n]) && !readable {
				t.Errorf("%s: accepted with %d octets of %d, and not readable", record, n, len(data))
			}
		}
	}
}

// A record whose service parameters are malformed is refused (RFC 9460 section
// 2.2).
func TestServiceParameters(t *testing.T) {
	for data, want := range map[string]bool{
		"":                                  true,
		"0001 0003 026832":                  true,
		"0003 0002 01bb 0004 0004 c0000201": true,
		"0000 0002 0001 0001 0003 026832":   true,
		"029b 0001 00":                      true,
		"0001 0003 026832 0002 0000":        true,
		"0005 0002 0000":                    true,
		"0002 0000":                         false, // no-default-alpn without alpn
		"0005 0000":                         false, // no configuration
		"00":                                false,
		"0001 0003 0268":                    false,
		"0001 0000":                         false, // no protocol
		"0001 0001 00":                      false, // an empty one
		"0001 0003 036832":                  false,
		"0002 0001 00":                      false,
		"0003 0001 01":                      false,
		"0003 0003 010101":                  false,
		"0004 0000":                         false,
		"0004 0003 c00002":                  false,
		"0006 0004 c0000201":                false,
		"0003 0002 01bb 0003 0002 01bb":     false, // twice
		"0004 0004 c0000201 0003 0002 01bb": false, // not in order
		"0000 0000":                         false,
		"0000 0001 00":                      false,
		"0000 0002 0000 0001 0003 026832":   false, // mandatory lists itself
		"0000 0002 0003 0001 0003 026832":   false, // what is mandatory is not there
		"0000 0004 0003 0001 0001 0003 026832 0003 0002 01bb": false, // not in order
		"ffff 0001 00": false,
	} {
		params, err := hex.DecodeString(strings.ReplaceAll(data, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		for _, typ := range []uint16{dns.TypeSVCB, dns.TypeHTTPS} {
			if got := accepted(typ, append([]byte("\x00\x01\x00"), params...)); got != want {
				t.Errorf("%s: accepted %v", data, got)
			}
		}
	}
}

// A name whose octets reach behind itself could change with a TTL there.
func TestNameReachesForward(t *testing.T) {
	msg := responseOf(2, "\xc0\x0c\x00\x0f\x00\x01\x00\x00\x01\x00"+"\x00\x04"+"\x00\x0e\xc0\x2a"+
		"\xc0\x0c\x00\x10\x00\x01\x00\x00\x01\x00\x00\x01\x00\x00\x00")
	binary.BigEndian.PutUint16(msg[8:], 0)
	var r wire.Response
	var n wire.Name
	if err := r.Parse(msg, &n); err == nil {
		t.Errorf("accepted, as %+v", r)
	}
}

// What is about a message and not a record is not passed on.
func TestMetaTypes(t *testing.T) {
	for _, typ := range []uint16{dns.TypeTKEY, dns.TypeTSIG, dns.TypeIXFR, dns.TypeANY} {
		if accepted(typ, nil) {
			t.Errorf("type %d is accepted as an answer", typ)
		}
	}
}
