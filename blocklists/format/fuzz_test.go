package format_test

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/miekg/dns"

	"rideau/blocklists/entry"
	"rideau/blocklists/format"
)

// fuzz checks that what a format reads of any input is as [entry.Entry] and
// [format.Stats] promise.
func fuzz(f *testing.F, form format.Format, seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, text []byte, tld bool) {
		opt := format.Options{File: "fuzz", Format: form, AllowTLD: tld, MaxSkipped: 1, Tiers: []string{"service", "shared"}}
		entries, line := 0, 0
		stats, err := format.Read(bytes.NewReader(text), opt, func(e entry.Entry) error {
			entries++
			checkEntry(t, e, tld)
			if e.Line < line {
				t.Errorf("line %d after line %d", e.Line, line)
			}
			line = e.Line
			return nil
		})
		if stats.Entries != entries || stats.Lines < line || stats.Skipped > stats.Lines {
			t.Errorf("%d entries to line %d, stats %+v", entries, line, stats)
		}
		if len(stats.Problems) > format.MaxProblems || (stats.Skipped > 0) != (len(stats.Problems) > 0) {
			t.Errorf("%d skipped, %d problems", stats.Skipped, len(stats.Problems))
		}
		for _, p := range stats.Problems {
			if p.Line < 1 || p.Line > stats.Lines || p.Reason == "" || p.Remedy == "" || len(p.Text) > 400 {
				t.Errorf("problem %+v", p)
			}
		}
		if err != nil && err.Error() == "" {
			t.Error("an error that says nothing")
		}
		if form != format.RPZ {
			sameByOctets(t, slices.Concat(text, []byte("\n"+padding(form))), opt)
		}
	})
}

// sameByOctets compares what is read eight octets at a step with what is read line by line,
// as everything is if the input comes octet by octet.
func sameByOctets(t *testing.T, text []byte, opt format.Options) {
	t.Helper()
	var entries [2][]string
	var stats [2]format.Stats
	var errs [2]string
	for i, r := range []io.Reader{bytes.NewReader(text), iotest.OneByteReader(bytes.NewReader(text))} {
		var err error
		stats[i], err = format.Read(r, opt, func(e entry.Entry) error {
			entries[i] = append(entries[i], show(e))
			return nil
		})
		errs[i] = fmt.Sprint(err)
	}
	if !reflect.DeepEqual(entries[0], entries[1]) || !reflect.DeepEqual(stats[0], stats[1]) || errs[0] != errs[1] {
		t.Errorf("%q:\n%q, %+v, %s\nby octets:\n%q, %+v, %s", text, entries[0], stats[0], errs[0], entries[1], stats[1], errs[1])
	}
}

func checkEntry(t *testing.T, e entry.Entry, tld bool) {
	t.Helper()
	if e.Name == nil {
		if !e.Prefix.IsValid() || e.Prefix.Masked() != e.Prefix || e.Prefix.Bits() == 0 {
			t.Errorf("prefix %v", e.Prefix)
		}
		return
	}
	if e.Prefix != (netip.Prefix{}) || e.Match > entry.Below {
		t.Errorf("name entry with prefix %v, %v", e.Prefix, e.Match)
	}
	name, end, err := dns.UnpackDomainName(e.Name, 0)
	if err != nil || end != len(e.Name) || len(e.Name) > 255 {
		t.Fatalf("name %q: %q to %d, %v", e.Name, name, end, err)
	}
	if !bytes.Equal(e.Name, bytes.ToLower(e.Name)) {
		t.Errorf("name %q is not in lower case", e.Name)
	}
	labels := dns.CountLabel(name)
	wide := e.Rule != nil && (e.Rule.Except || e.Rule.Action == entry.Passthru)
	if labels < 2 && !tld && !wide {
		t.Errorf("name %q has %d labels", name, labels)
	}
}

func FuzzReadPlain(f *testing.F) {
	fuzz(f, format.Plain, "example.com\n=a.example\n*.b.example # x\n192.0.2.0/24\n2001:db8::1\nbücher.example\n", "\ufeffa.example\r\n..\n/\n300.1.1.1\n", "<!doctype html>", "微信.com.\n.\n*.\n=\n")
}

func FuzzReadPack(f *testing.F) {
	fuzz(f, format.Pack, "#domain\tmatch\ttier\tpurpose\tsource\na.example\tsuffix\tservice\tp\ts\nb.example\texact\tweb\tp\ts\n192.0.2.1\taddress\tshared\tp\ts\n", "a\tb\tc\n\t\t\t\t\t\n#domain\tx\n")
}

func FuzzReadHosts(f *testing.F) {
	fuzz(f, format.Hosts, "127.0.0.1 localhost\n0.0.0.0 a.example b.example # x\nc.example\nfe80::1%lo0 d.example\n", "0.0.0.0\na b\n:: x..y\n")
}

func FuzzReadAdblock(f *testing.F) {
	fuzz(f, format.Adblock, "[Adblock Plus 2.0]\n! x\n||a.example^\n|b.example^\nc.example\n@@||d.example^\n", "||a^$x\n##.x\n/re/\n||192.0.2.0/24^\n||*.e.example^|\n|\n")
}

func FuzzReadRPZ(f *testing.F) {
	fuzz(f, format.RPZ, zoneHead+"a.example CNAME .\n*.b.example A 192.0.2.1\n24.0.2.0.192.rpz-ip CNAME *.\n", zoneHead+"a..b CNAME .\n TXT \"x\n\" (\n)\n$ORIGIN x\n$ORIGIN y\\.\nb CNAME rpz-passthru.\n", "$TTL 30\n@ SOA . . 1 2 3 4 5\n48.zz.1.2.rpz-ip CNAME .\n$GENERATE 1-9 a$ CNAME .\n$INCLUDE x\n")
}

func FuzzReadDnsmasq(f *testing.F) {
	fuzz(f, format.Dnsmasq, "address=/a.example/b.example/0.0.0.0\nlocal=/c.example/\nserver=/d.example/192.0.2.1\nno-resolv\n", "address=//\n--address=/#/\naddress=\n=\n")
}

// A detected format can be read, and is never Auto.
func FuzzDetect(f *testing.F) {
	for _, s := range []string{"a.example\n", "0.0.0.0 a.example\n", "||a.example^\n", "address=/a.example/\n", zoneHead, "#domain\tmatch\ttier\n", "\x1f\x8b\x08\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got := format.Detect(text)
		if got == format.Auto || got == "" {
			t.Fatalf("detected %q", got)
		}
		stats, err := format.Read(bytes.NewReader(text), format.Options{File: "fuzz", Format: format.Auto, MaxSkipped: 1, MaxBytes: 1 << 20},
			func(entry.Entry) error { return nil })
		if err == nil && !bytes.HasPrefix(text, []byte("\x1f\x8b")) && len(text) < 64<<10 && stats.Format != got {
			t.Errorf("detected %s, read as %s", got, stats.Format)
		}
	})
}
