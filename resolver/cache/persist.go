package cache

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"rideau/resolver/wire"
)

// A saved cache is a header, records, and an end:
//
//	header  magic, version (1 octet), fingerprint (32)
//	record  length (2 octets) of the message, when it was stored (8, Unix
//	        time in nanoseconds), flags (1), info code (2), the message
//	end     length 0, number of records (4), and a checksum of all octets
//	        before it (CRC-32C, 4)
//
// in network byte order. A message is as it was when it was stored. A denial
// has type A in its question. Texts for operators call the file the cache's
// snapshot, as the configuration does.
const (
	magic      = "rideau cache"
	version    = 1
	recordHead = 2 + 8 + 1 + 2
	savedFlags = flagDO | flagCD
)

// Fingerprint identifies what the saved answers depend on beside the cache
// itself, such as the upstreams.
type Fingerprint [32]byte

// Errors of Restore, beside those of its reader.
var (
	// ErrForeign means that the answers came from other upstreams than those in
	// use now. The file is intact.
	ErrForeign = errors.New("cache snapshot: its answers come from other upstreams")
	// ErrUnusable means that the file is no saved cache, or of another version,
	// or damaged.
	ErrUnusable = errors.New("cache snapshot: unusable")
)

// Save writes the stored answers, except failures and answers that can no
// longer be served, and returns how many it wrote. Lookups go on meanwhile.
func (c *Cache) Save(w io.Writer, f Fingerprint, now int64) (n int, err error) {
	sum := crc32.New(castagnoli())
	out := bufio.NewWriterSize(io.MultiWriter(w, sum), 1<<16)
	out.WriteString(magic) // Flush returns the error
	out.WriteByte(version)
	out.Write(f[:])
	var buf []byte
	for i := range c.shards {
		s := &c.shards[i]
		for from, more := uint32(0), true; more; from += flushStep {
			var found int
			buf, found, more = s.save(buf[:0], from, c.maxStale, now)
			n += found
			if _, err := out.Write(buf); err != nil {
				return n, err
			}
		}
	}
	out.Write([]byte{0, 0})
	out.Write(binary.BigEndian.AppendUint32(nil, uint32(n)))
	if err := out.Flush(); err != nil {
		return n, err
	}
	_, err = w.Write(binary.BigEndian.AppendUint32(nil, sum.Sum32()))
	return n, err
}

// save appends up to flushStep of the shard's records, and reports whether
// there are more.
func (s *shard) save(dst []byte, from uint32, maxStale, now int64) (out []byte, n int, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := from; i < uint32(len(s.records)); i++ {
		if i-from == flushStep {
			return dst, n, true
		}
		e := s.record(i)
		if e.length == 0 || e.flags&flagFailure != 0 || !e.fresh(now) && !e.servableStale(now, maxStale) {
			continue
		}
		dst = binary.BigEndian.AppendUint16(dst, e.size)
		dst = binary.BigEndian.AppendUint64(dst, uint64(e.stored))
		dst = append(dst, e.flags&savedFlags)
		dst = binary.BigEndian.AppendUint16(dst, e.ede)
		base := len(dst)
		dst = append(dst, s.octets.At(e.data, int(e.size))...)
		if e.flags&flagDenial != 0 {
			msg := dst[base:]
			end := wire.HeaderLen
			for msg[end] != 0 {
				end += 1 + int(msg[end])
			}
			binary.BigEndian.PutUint16(msg[end+1:], uint16(wire.TypeA))
		}
		n++
	}
	return dst, n, false
}

// Restore stores saved answers in an empty cache, as if each had come when it
// was stored, and returns how many it stored. It skips answers that expired too
// long ago, answers from the future, and answers that Put would not store. All
// are stored with generation 0, so that the caller examines them before use.
// After an error the cache is empty.
func (c *Cache) Restore(r io.Reader, f Fingerprint, now int64) (n int, err error) {
	if n, err = c.restore(r, f, now); err != nil {
		c.Flush()
		return 0, err
	}
	return n, nil
}

func (c *Cache) restore(r io.Reader, f Fingerprint, now int64) (n int, err error) {
	sum := crc32.New(castagnoli())
	in := bufio.NewReaderSize(r, 1<<16)
	buf := make([]byte, recordHead+wire.MaxMessage)
	read := func(n int) ([]byte, error) {
		b := buf[:n]
		if _, err := io.ReadFull(in, b); err != nil {
			if err == io.EOF || err == io.ErrUnexpectedEOF {
				return nil, fmt.Errorf("%w: it is cut off", ErrUnusable)
			}
			return nil, fmt.Errorf("cache snapshot: %w", err)
		}
		sum.Write(b)
		return b, nil
	}
	head, err := read(len(magic) + 1)
	switch {
	case err != nil:
		return 0, err
	case string(head[:len(magic)]) != magic:
		return 0, fmt.Errorf("%w: it is no cache snapshot", ErrUnusable)
	case head[len(magic)] != version:
		return 0, fmt.Errorf("%w: it has version %d, and this program reads version %d", ErrUnusable, head[len(magic)], version)
	}
	if head, err = read(len(f)); err != nil {
		return 0, err
	}
	if string(head) != string(f[:]) {
		return 0, ErrForeign
	}
	for records := uint32(0); ; records++ {
		length, err := read(2)
		if err != nil {
			return 0, err
		}
		size := int(binary.BigEndian.Uint16(length))
		if size == 0 {
			return n, c.checkEnd(read, in, records, sum.Sum32)
		}
		record, err := read(recordHead - 2 + size)
		if err != nil {
			return 0, err
		}
		stored, err := c.restoreRecord(record, now)
		if err != nil {
			return 0, err
		}
		if stored {
			n++
		}
	}
}

// checkEnd checks what follows the records.
func (c *Cache) checkEnd(read func(int) ([]byte, error), in io.Reader, records uint32, sum func() uint32) error {
	b, err := read(4)
	if err != nil {
		return err
	}
	if n := binary.BigEndian.Uint32(b); n != records {
		return fmt.Errorf("%w: it has %d answers, and its end says %d", ErrUnusable, records, n)
	}
	want := sum()
	if b, err = read(4); err != nil {
		return err
	}
	if binary.BigEndian.Uint32(b) != want {
		return fmt.Errorf("%w: its checksum is wrong", ErrUnusable)
	}
	if n, _ := in.Read(b[:1]); n > 0 {
		return fmt.Errorf("%w: there are more octets after its end", ErrUnusable)
	}
	return nil
}

// restoreRecord stores the answer of a record, and reports whether it did.
func (c *Cache) restoreRecord(record []byte, now int64) (bool, error) {
	const head = recordHead - 2
	stored, flags, msg := int64(binary.BigEndian.Uint64(record)), record[8], record[head:]
	var name, scratch wire.Name
	var r wire.Response
	end := 0
	err := r.Parse(msg, &scratch)
	if err == nil {
		end, err = name.Parse(msg, wire.HeaderLen)
	}
	if err != nil || flags&^savedFlags != 0 || r.End != len(msg) {
		return false, fmt.Errorf("%w: a record in it is no answer", ErrUnusable)
	}
	if stored > now || now-stored > int64(r.MinTTL)*1e9+c.maxStale {
		return false, nil
	}
	r.EDE = decodeEDE(binary.BigEndian.Uint16(record[9:]))
	k := Key{Name: &name, Type: wire.Type(binary.BigEndian.Uint16(msg[end:])), Class: wire.Class(binary.BigEndian.Uint16(msg[end+2:])),
		DO: flags&flagDO != 0, CD: flags&flagCD != 0}
	if classify(msg, &k, &r) == failure {
		return false, nil
	}
	_, kept := c.Put(nil, k, msg, &r, 0, stored)
	return kept, nil
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }
