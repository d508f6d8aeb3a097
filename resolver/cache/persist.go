package cache

import (
	"encoding/binary"
	"io"

	"rideau/resolver/cache/saved"
	"rideau/resolver/wire"
)

// Fingerprint identifies what the saved answers depend on beside the cache
// itself, such as the upstreams.
type Fingerprint = saved.Fingerprint

// Errors of Restore, beside those of its reader.
var (
	// ErrForeign means that the answers came from other upstreams than those in
	// use now. The file is intact.
	ErrForeign = saved.ErrForeign
	// ErrUnusable means that the file is no saved cache, or of another version,
	// or damaged.
	ErrUnusable = saved.ErrUnusable
)

// Save writes the stored answers, except failures and answers that can no
// longer be served, and returns how many it wrote. Lookups go on meanwhile. date
// is now by the system's clock, in nanoseconds since 1970: another process cannot
// know how time has gone on.
func (c *Cache) Save(w io.Writer, f Fingerprint, now, date int64) (n int, err error) {
	out := saved.NewWriter(w, f, date)
	var buf []byte
	for i := range c.shards {
		s := &c.shards[i]
		for from, more := uint32(0), true; more; from += flushStep {
			var found int
			buf, found, more = s.save(buf[:0], from, c.maxStale, now, date)
			n += found
			if err := out.Write(buf, found); err != nil {
				return n, err
			}
		}
	}
	return n, out.Close()
}

// save appends up to flushStep of the shard's records, and reports whether
// there are more.
func (s *shard) save(dst []byte, from uint32, maxStale, now, date int64) (out []byte, n int, more bool) {
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
		record := saved.Record{Stored: e.stored + date - now, DO: e.flags&flagDO != 0, CD: e.flags&flagCD != 0, EDE: e.ede, Message: s.octets.At(e.data, int(e.size))}
		dst = record.Append(dst)
		if e.flags&flagDenial != 0 {
			setQtypeA(dst[len(dst)-int(e.size):])
		}
		n++
	}
	return dst, n, false
}

// setQtypeA sets the type in msg's question, which a denial does not have.
func setQtypeA(msg []byte) {
	end := wire.HeaderLen
	for msg[end] != 0 {
		end += 1 + int(msg[end])
	}
	binary.BigEndian.PutUint16(msg[end+1:], uint16(wire.TypeA))
}

// Restore stores saved answers in an empty cache, as if each had come when it
// was stored, and returns how many it stored. It skips answers that expired too
// long ago, answers from the future, and answers that Put would not store. All
// are stored with generation 0, so that the caller examines them before use, and
// without AD: that an answer was validated is for its upstream to say, not for a file.
// date is now by the system's clock; if that is before the date of the saved
// answers, it has been set back, and they are as old as they were then. After an
// error the cache is empty.
func (c *Cache) Restore(r io.Reader, f Fingerprint, now, date int64) (n int, err error) {
	if n, err = c.restore(r, f, now, date); err != nil {
		c.Flush()
		return 0, err
	}
	return n, nil
}

func (c *Cache) restore(r io.Reader, f Fingerprint, now, date int64) (n int, err error) {
	in, err := saved.NewReader(r, f)
	if err != nil {
		return 0, err
	}
	later := now - max(date, in.Date())
	for {
		record, err := in.Next()
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
		record.Stored += later
		stored, err := c.restoreRecord(&record, now)
		if err != nil {
			return 0, err
		}
		if stored {
			n++
		}
	}
}

// restoreRecord stores the answer of a record, and reports whether it did.
func (c *Cache) restoreRecord(record *saved.Record, now int64) (bool, error) {
	msg := record.Message
	var name, scratch wire.Name
	var r wire.Response
	end := 0
	err := r.Parse(msg, &scratch)
	if err == nil {
		end, err = name.Parse(msg, wire.HeaderLen)
	}
	if err != nil || r.End != len(msg) {
		return false, saved.ErrRecord
	}
	if record.Stored > now || now-record.Stored > int64(r.MinTTL)*1e9+c.maxStale {
		return false, nil
	}
	wire.SetFlags(msg, wire.Flags(msg)&^wire.FlagAD)
	r.EDE = decodeEDE(record.EDE)
	k := Key{Name: &name, Type: wire.Type(binary.BigEndian.Uint16(msg[end:])), Class: wire.Class(binary.BigEndian.Uint16(msg[end+2:])),
		DO: record.DO, CD: record.CD}
	if classify(msg, &k, &r) == failure {
		return false, nil
	}
	_, ok := c.Put(nil, k, msg, &r, 0, record.Stored)
	return ok, nil
}
