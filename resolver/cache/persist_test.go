package cache_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"testing"
	"testing/iotest"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/cache"
	"rideau/resolver/wire"
)

var errDisk = errors.New("no space left on device")

// short is a writer with space for that many octets.
type short int

func (s *short) Write(b []byte) (int, error) {
	if *s -= short(len(b)); *s < 0 {
		return 0, errDisk
	}
	return len(b), nil
}

func savedOptions() cache.Options {
	o := options()
	o.MaxStale = time.Hour
	return o
}

// kinds returns answers of all kinds, and their keys.
func kinds(t testing.TB) (keys map[string]cache.Key, messages map[string]*dns.Msg) {
	keys, messages = map[string]cache.Key{}, map[string]*dns.Msg{}
	add := func(what string, m *dns.Msg, flags string) {
		k := keyOf(t, m)
		k.DO, k.CD = flags == "do", flags == "cd"
		keys[what], messages[what] = k, m
	}
	add("positive", response(t, "www.example.com", dns.TypeA, 0, "www.example.com. 300 IN CNAME cdn.example.net.", "cdn.example.net. 200 IN A 192.0.2.1"), "")
	add("DO", response(t, "www.example.com", dns.TypeA, 0, "www.example.com. 300 IN A 192.0.2.2"), "do")
	add("CD", response(t, "www.example.com", dns.TypeA, 0, "www.example.com. 300 IN A 192.0.2.3"), "cd")
	add("NODATA", response(t, "www.example.com", dns.TypeMX, 0, "--", denied), "")
	add("NXDOMAIN", nxdomain(t, "gone.example.com", denied), "")
	add("NXDOMAIN, CD", nxdomain(t, "gone.example.com", denied), "cd")
	add("long ago", response(t, "old.example.com", dns.TypeA, 0, "old.example.com. 10 IN A 192.0.2.4"), "")
	ad := response(t, "signed.example.com", dns.TypeA, 0, "signed.example.com. 300 IN A 192.0.2.5")
	ad.AuthenticatedData = true
	ad.SetEdns0(1232, false)
	ad.IsEdns0().Option = append(ad.IsEdns0().Option, &dns.EDNS0_EDE{InfoCode: 22})
	add("AD and EDE", ad, "")
	return keys, messages
}

// saved returns a cache with all kinds of answers and a failure, and the file
// it saves.
func saved(t testing.TB) (c *cache.Cache, text []byte) {
	c = cache.New(savedOptions())
	keys, messages := kinds(t)
	for what, k := range keys {
		put(t, c, k, messages[what], epoch)
	}
	c.PutFailure(key(t, "failed.example.com", dns.TypeA), wire.ServFail, 22, true, epoch)
	var b bytes.Buffer
	n, err := c.Save(&b, cache.Fingerprint{1, 2, 3}, epoch+100*second, epoch+100*second)
	if err != nil || n != len(keys) {
		t.Fatalf("%d of %d, %v", n, len(keys), err)
	}
	return c, b.Bytes()
}

// Saved answers are restored, older by the time between.
func TestRestore(t *testing.T) {
	before, text := saved(t)
	c := cache.New(savedOptions())
	keys, _ := kinds(t)
	n, err := c.Restore(iotest.OneByteReader(bytes.NewReader(text)), cache.Fingerprint{1, 2, 3}, epoch+150*second, epoch+150*second)
	if err != nil || n != len(keys) || c.Stats().Entries != n {
		t.Fatalf("%d of %d, %v; stats %+v", n, len(keys), err, c.Stats())
	}
	for what, k := range keys {
		want, wasHit := before.Get(nil, k, epoch+150*second)
		got, hit := c.Get(nil, k, epoch+150*second)
		if what == "long ago" {
			want, wasHit = before.GetStale(nil, k, epoch+150*second)
			if got, hit = c.GetStale(nil, k, epoch+150*second); hit.Freshness != cache.Expired {
				t.Errorf("%s: %+v", what, hit)
			}
		}
		if ad := wire.FlagAD; what == "AD and EDE" && wire.Flags(want)&ad != 0 { // which a file does not vouch for
			wire.SetFlags(want, wire.Flags(want)&^ad)
		}
		if string(got) != string(want) || hit.Freshness != wasHit.Freshness || hit.EDE != wasHit.EDE {
			t.Errorf("%s: got %x, %+v\nwant %x, %+v", what, got, hit, want, wasHit)
		}
		if hit.Generation != 0 {
			t.Errorf("%s: generation %d", what, hit.Generation)
		}
	}
	if _, hit := c.Get(nil, key(t, "a.gone.example.com", dns.TypeMX), epoch+150*second); hit.Freshness != cache.Miss {
		t.Error("an NXDOMAIN of the file is held against a name below, though one question alone has brought it")
	}
	if _, hit := c.Get(nil, key(t, "failed.example.com", dns.TypeA), epoch+150*second); hit.Freshness != cache.Miss {
		t.Error("a failure was saved")
	}
	if _, hit := c.Get(nil, keys["positive"], epoch+200*second); hit.Freshness != cache.Miss {
		t.Error("found after it expired")
	}
}

// Answers that are too old are skipped.
func TestRestoreTimes(t *testing.T) {
	_, text := saved(t)
	for now, want := range map[int64]int{
		epoch:                            8,
		epoch - 1:                        8, // the clock was set back: they are as old as they were when saved
		epoch - 24*3600*second:           8,
		epoch + 3610*second:              8,
		epoch + 3610*second + 1:          7,
		epoch + 3600*second + 200*second: 7,
		epoch + 100*24*3600*second:       0,
	} {
		c := cache.New(savedOptions())
		if n, err := c.Restore(bytes.NewReader(text), cache.Fingerprint{1, 2, 3}, now, now); n != want || err != nil {
			t.Errorf("%d s on: %d, %v, want %d", (now-epoch)/second, n, err, want)
		}
	}
	// Answers that are too old are not saved either.
	c, _ := saved(t)
	if n, err := c.Save(new(bytes.Buffer), cache.Fingerprint{}, epoch+100*24*3600*second, epoch+100*24*3600*second); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// A file that is damaged, cut off, or no saved cache gives an empty cache and
// an error.
func TestRestoreUnusable(t *testing.T) {
	_, text := saved(t)
	o := savedOptions()
	o.Entries = 64 // a larger cache takes longer to make, and there are many
	try := func(what string, text []byte, want error) {
		t.Helper()
		c := cache.New(o)
		n, err := c.Restore(bytes.NewReader(text), cache.Fingerprint{1, 2, 3}, epoch+150*second, epoch+150*second)
		if !errors.Is(err, want) || n != 0 || c.Stats().Entries != 0 {
			t.Errorf("%s: %d, %v; stats %+v", what, n, err, c.Stats())
		}
	}
	for i := range text {
		try(fmt.Sprintf("cut at %d", i), text[:i], cache.ErrUnusable)
		bad := bytes.Clone(text)
		bad[i] ^= 0x10
		want := cache.ErrUnusable
		if i >= 13 && i < 13+32 {
			want = cache.ErrForeign
		}
		try(fmt.Sprintf("changed at %d", i), bad, want)
	}
	try("more", append(bytes.Clone(text), 0), cache.ErrUnusable)
	try("something else", []byte("listen: {addresses: [127.0.0.1]}\n# and more of it"), cache.ErrUnusable)
	// A correct checksum does not make a record an answer.
	for _, body := range [][]byte{{0xFF}, bytes.Repeat([]byte{0}, 40), bytes.Repeat([]byte{0xC0}, 300)} {
		try(fmt.Sprintf("a body of %d octets", len(body)), forged(body), cache.ErrUnusable)
	}
	c := cache.New(savedOptions())
	if _, err := c.Restore(iotest.ErrReader(errDisk), cache.Fingerprint{}, epoch, epoch); !errors.Is(err, errDisk) || errors.Is(err, cache.ErrUnusable) {
		t.Errorf("a read that fails: %v", err)
	}
}

// forged returns a file with one record and a correct checksum.
func forged(msg []byte) []byte {
	out := append([]byte("rideau cache\x01"), make([]byte, 32)...)
	copy(out[13:], []byte{1, 2, 3})
	out = binary.BigEndian.AppendUint16(out, uint16(len(msg)))
	out = binary.BigEndian.AppendUint64(out, uint64(epoch))
	out = append(out, 0, 0xFF, 0xFF)
	out = append(out, msg...)
	out = append(out, 0, 0, 0, 0, 0, 1)
	return binary.BigEndian.AppendUint32(out, crc32.Checksum(out, crc32.MakeTable(crc32.Castagnoli)))
}

func TestSaveDiskFull(t *testing.T) {
	c, text := saved(t)
	for _, space := range []int{0, 1, 20, len(text) - 1} {
		w := short(space)
		if _, err := c.Save(&w, cache.Fingerprint{}, epoch, epoch); !errors.Is(err, errDisk) {
			t.Errorf("space for %d: %v", space, err)
		}
	}
	if s := c.Stats(); s.Entries == 0 {
		t.Error("the cache is empty")
	}
}

// Restore of any file gives a cache that works, or an error and an empty cache.
func FuzzRestore(f *testing.F) {
	_, text := saved(f)
	f.Add(text)
	f.Add(text[:len(text)/2])
	for _, m := range samples(f) {
		f.Add(mustEncode(f, m))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		o := savedOptions()
		o.Bytes, o.Shards = 1<<18, 2
		if len(text) > 2 && len(text) < 1<<16 { // as a record, too
			c := cache.New(o)
			try(t, c, forged(text))
		}
		try(t, cache.New(o), text)
	})
}

func try(t *testing.T, c *cache.Cache, text []byte) {
	n, err := c.Restore(bytes.NewReader(text), cache.Fingerprint{1, 2, 3}, epoch+second, epoch+second)
	s := c.Stats()
	if err != nil && (n != 0 || s.Entries != 0) || s.Entries > n || s.Bytes > 1<<18 {
		t.Fatalf("%d, %v; stats %+v", n, err, s)
	}
	var b bytes.Buffer
	if saved, err := c.Save(&b, cache.Fingerprint{1, 2, 3}, epoch+second, epoch+second); err != nil || saved != s.Entries {
		t.Fatalf("%d of %d saved, %v", saved, s.Entries, err)
	}
	again := cache.New(savedOptions())
	if n, err := again.Restore(&b, cache.Fingerprint{1, 2, 3}, epoch+second, epoch+second); err != nil || n != s.Entries {
		t.Fatalf("%d of %d restored, %v", n, s.Entries, err)
	}
}

// BenchmarkSaveRestore saves and restores 200,000 answers.
func BenchmarkSaveRestore(b *testing.B) {
	c, _ := filled(b, 200_000)
	var text bytes.Buffer
	var save, restore time.Duration
	for b.Loop() {
		text.Reset()
		begun := time.Now()
		if _, err := c.Save(&text, cache.Fingerprint{}, epoch, epoch); err != nil {
			b.Fatal(err)
		}
		save += time.Since(begun)
		begun = time.Now()
		into := cache.New(cache.Options{Entries: 400_000, Bytes: 1 << 30})
		if n, err := into.Restore(&text, cache.Fingerprint{}, epoch, epoch); n != 200_000 || err != nil {
			b.Fatal(n, err)
		}
		restore += time.Since(begun)
	}
	b.ReportMetric(float64(save.Milliseconds())/float64(b.N), "save-ms")
	b.ReportMetric(float64(restore.Milliseconds())/float64(b.N), "restore-ms")
}
