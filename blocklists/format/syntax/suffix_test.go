package syntax

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"rideau/resolver/wire"
)

var update = flag.Bool("update", false, "make suffix.bits anew")

// TestSuffixBits: no public suffix is missed. The list itself is not
// exported; the module's own test has it.
func TestSuffixBits(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/net").Output()
	if err != nil {
		t.Skipf("go list: %v", err)
	}
	path := filepath.Join(strings.TrimSpace(string(out)), "publicsuffix", "table_test.go")
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Skipf("the list is not at hand: %v", err)
	}
	var bits [suffixBitCount / 8]byte
	set := func(h uint64) {
		for range 3 {
			bits[h%suffixBitCount/8] |= 1 << (h % 8)
			h >>= 20
		}
	}
	n := 0
	ast.Inspect(f, func(node ast.Node) bool {
		list, ok := node.(*ast.ValueSpec)
		if !ok || list.Names[0].Name != "rules" {
			return true
		}
		for _, e := range list.Values[0].(*ast.CompositeLit).Elts {
			rule, err := strconv.Unquote(e.(*ast.BasicLit).Value)
			if err != nil || rule[0] == '!' {
				continue
			}
			below, star := strings.CutPrefix(rule, "*.")
			name, err := wire.AppendName(nil, []byte(below))
			if err != nil || len(name) > maxSuffixLen {
				t.Fatalf("%s: %d octets, %v", rule, len(name), err)
			}
			if n++; star {
				set(hashName(name) ^ belowMark)
			} else {
				set(hashName(name))
			}
		}
		return false
	})
	if n < 9000 {
		t.Fatalf("only %d rules", n)
	}
	if *update {
		if err := os.WriteFile("suffix.bits", bits[:], 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	for i, b := range bits {
		if b&^suffixBits[i] != 0 {
			t.Fatal("suffix.bits lacks suffixes; make it anew: go test ./blocklists/format/syntax -run SuffixBits -update")
		}
	}
}

func TestIsPublicSuffix(t *testing.T) {
	for text, want := range map[string]bool{
		"co.uk": true, "github.io": true, "blogspot.com": true, "anything.ck": true, "gc.ca": true, "qc.ca": true, "compute.amazonaws.com": true,
		"compute-1.amazonaws.com": true, "ec2-192-0-2-1.compute-1.amazonaws.com": false, "us-west-2.compute.amazonaws.com": true, "ec2-192-0-2-1.us-west-2.compute.amazonaws.com": false,
		"elb.amazonaws.com": true, "bafy.ipfs.dweb.link": false, "dweb.link": true, "kawasaki.jp": true, "city.kawasaki.jp": false, "other.kawasaki.jp": true, "amazonaws.com": false,
		"www.ck": false, "example.com": false, "wechat.com": false, "qq.com": false, "example.co.uk": false, "a.github.io": false,
		"unknown.tld-that-is-none": false,
	} {
		name, err := wire.AppendName(nil, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := IsPublicSuffix(name); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	name, _ := wire.AppendName(nil, []byte("www.example.com"))
	if n := testing.AllocsPerRun(100, func() { MayBePublicSuffix(name) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
