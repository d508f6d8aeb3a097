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

// A snapshot is a header, records, and an end:
//
//	header  magic, version (1 octet), fingerprint (32)
//	record  length (2 octets) of the message, when it was stored (8, Unix
//	        time in nanoseconds), flags (1), info code (2), the message
//	end     length 0, how many records there were (4), and a checksum of all
//	        before (CRC-32C, 4)
//
// in network order. A message is as it was when it was stored. A denial has the
// question for A.
const (
	magic         = "rideau cache"
	version       = 1
	recordHead    = 2 + 8 + 1 + 2
	snapshotFlags = flagDO | flagCD
)

// Fingerprint says what a snapshot's answers depend on beside the cache, such
// as who was asked.
type Fingerprint [32]byte

// Errors of Restore, beside those of its reader.
var (
	// ErrForeign means that the answers came from others than those that are
	// asked now. It is no fault.
	ErrForeign = errors.New("cache snapshot: its answers come from other upstreams")
	// ErrUnusable means that it is no snapshot, or of another version, or
	// damaged.
	ErrUnusable = errors.New("cache snapshot: unusable")
)

// Save writes what is kept, failures and what is of no use any more aside, and
// returns how many answers that are. Look-ups go on meanwhile.
func (c *Cache) Save(w io.Writer, f Fingerprint, now int64) (n int, err error) {
	sum := crc32.New(castagnoli())
	out := bufio.NewWriterSize(io.MultiWriter(w, sum), 1<<16)
	out.WriteString(magic) // errors stay until Flush
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

// save appends some of the shard's records as they are written, and reports
// whether there are more.
func (s *shard) save(dst []byte, from uint32, maxStale, now int64) (out []byte, n int, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := from; i < uint32(len(s.records)); i++ {
		if i-from == flushStep {
			return dst, n, true
		}
		e := s.record(i)
		if e.length == 0 || e.flags&flagFailure != 0 || !e.fresh(now) && !e.usable(now, maxStale) {
			continue
		}
		dst = binary.BigEndian.AppendUint16(dst, e.size)
		dst = binary.BigEndian.AppendUint64(dst, uint64(e.stored))
		dst = append(dst, e.flags&snapshotFlags)
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

// Restore puts the answers of a snapshot into an empty cache, as if each had
// come when it was stored, and returns how many it took. What has expired for
// too long, or is said to come from the future, is passed over; so is what
// would not be kept if it came now. No generation of policy has examined any.
// On error the cache is empty.
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
		return 0, fmt.Errorf("%w: it is something else", ErrUnusable)
	case head[len(magic)] != version:
		return 0, fmt.Errorf("%w: it is of version %d, and %d is known", ErrUnusable, head[len(magic)], version)
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
			return n, c.ended(read, in, records, sum.Sum32)
		}
		record, err := read(recordHead - 2 + size)
		if err != nil {
			return 0, err
		}
		took, err := c.take(record, now)
		if err != nil {
			return 0, err
		}
		if took {
			n++
		}
	}
}

// ended checks what comes behind the records.
func (c *Cache) ended(read func(int) ([]byte, error), in io.Reader, records uint32, sum func() uint32) error {
	b, err := read(4)
	if err != nil {
		return err
	}
	if n := binary.BigEndian.Uint32(b); n != records {
		return fmt.Errorf("%w: it has %d answers, and says %d", ErrUnusable, records, n)
	}
	want := sum()
	if b, err = read(4); err != nil {
		return err
	}
	if binary.BigEndian.Uint32(b) != want {
		return fmt.Errorf("%w: its checksum is wrong", ErrUnusable)
	}
	if n, _ := in.Read(b[:1]); n > 0 {
		return fmt.Errorf("%w: there is more behind its end", ErrUnusable)
	}
	return nil
}

// take puts what a record has, and reports whether it is kept.
func (c *Cache) take(record []byte, now int64) (bool, error) {
	const head = recordHead - 2
	stored, flags, msg := int64(binary.BigEndian.Uint64(record)), record[8], record[head:]
	var name, scratch wire.Name
	var r wire.Response
	end := 0
	err := r.Parse(msg, &scratch)
	if err == nil {
		end, err = name.Parse(msg, wire.HeaderLen)
	}
	if err != nil || flags&^snapshotFlags != 0 || r.End != len(msg) {
		return false, fmt.Errorf("%w: it has what is no answer", ErrUnusable)
	}
	if stored > now || now-stored > int64(r.MinTTL)*1e9+c.maxStale {
		return false, nil
	}
	r.EDE = infoCode(binary.BigEndian.Uint16(record[9:]))
	k := Key{Name: &name, Type: wire.Type(binary.BigEndian.Uint16(msg[end:])), Class: wire.Class(binary.BigEndian.Uint16(msg[end+2:])),
		DO: flags&flagDO != 0, CD: flags&flagCD != 0}
	if classify(msg, &k, &r) == failure {
		return false, nil
	}
	_, kept := c.Put(nil, k, msg, &r, 0, stored)
	return kept, nil
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }
