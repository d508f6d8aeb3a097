// Package saved is the format of the file that carries a cache from one process
// to the next. Texts for operators call the file the cache's snapshot, as the
// configuration does.
//
// A file is a header, records, and an end:
//
//	header  magic, version (1 octet), fingerprint (32), when it was saved (8)
//	record  length (2 octets) of the message, when it was stored (8, Unix
//	        time in nanoseconds), flags (1), info code (2), the message
//	end     length 0, number of records (4), and a checksum of all octets
//	        before it (CRC-32C, 4)
//
// in network byte order.
package saved

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"rideau/resolver/wire"
)

const (
	magic      = "rideau cache"
	version    = 2
	recordHead = 2 + 8 + 1 + 2
)

// Flags of a record.
const (
	flagDO = 1 << iota
	flagCD
)

// Fingerprint identifies what the saved answers depend on beside the cache
// itself, such as the upstreams.
type Fingerprint [32]byte

// Errors of a [Reader], beside those of the reader below it.
var (
	// ErrForeign means that the answers came from other upstreams than those in
	// use now. The file is intact.
	ErrForeign = errors.New("cache snapshot: its answers come from other upstreams")
	// ErrUnusable means that the file is no saved cache, or of another version,
	// or damaged.
	ErrUnusable = errors.New("cache snapshot: unusable")
	// ErrRecord is the ErrUnusable of a record that is no answer.
	ErrRecord = fmt.Errorf("%w: a record in it is no answer", ErrUnusable)
)

// Record is one saved response.
type Record struct {
	Stored  int64  // Unix time in nanoseconds
	DO, CD  bool   // of the query
	EDE     uint16 // info code; the format gives no code a meaning
	Message []byte // never empty
}

// Append appends the record as it is written.
func (r *Record) Append(dst []byte) []byte {
	var flags byte
	if r.DO {
		flags |= flagDO
	}
	if r.CD {
		flags |= flagCD
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(r.Message)))
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.Stored))
	dst = append(dst, flags)
	dst = binary.BigEndian.AppendUint16(dst, r.EDE)
	return append(dst, r.Message...)
}

// Writer writes a file. It is not safe for concurrent use.
type Writer struct {
	out *bufio.Writer
	w   io.Writer
	sum hash.Hash32
	n   uint32
}

// NewWriter returns a Writer that has written the header to w. date is when that
// is, as in a [Record]. An error of w is returned later.
func NewWriter(w io.Writer, f Fingerprint, date int64) *Writer {
	sum := crc32.New(castagnoli())
	out := bufio.NewWriterSize(io.MultiWriter(w, sum), 1<<16)
	out.WriteString(magic)
	out.WriteByte(version)
	out.Write(f[:])
	out.Write(binary.BigEndian.AppendUint64(nil, uint64(date)))
	return &Writer{out: out, w: w, sum: sum}
}

// Write writes n records that [Record.Append] appended to records.
func (w *Writer) Write(records []byte, n int) error {
	w.n += uint32(n)
	_, err := w.out.Write(records)
	return err
}

// Close writes the end. It does not close the writer below.
func (w *Writer) Close() error {
	w.out.Write([]byte{0, 0})
	w.out.Write(binary.BigEndian.AppendUint32(nil, w.n))
	if err := w.out.Flush(); err != nil { // the first error of all writes
		return err
	}
	_, err := w.w.Write(binary.BigEndian.AppendUint32(nil, w.sum.Sum32()))
	return err
}

// Reader reads a file. It is not safe for concurrent use.
type Reader struct {
	in      *bufio.Reader
	sum     hash.Hash32
	buf     []byte
	records uint32
	date    int64
}

// NewReader returns a Reader that has read the header from r. The error is
// ErrForeign if the file has another fingerprint.
func NewReader(r io.Reader, f Fingerprint) (*Reader, error) {
	in := &Reader{in: bufio.NewReaderSize(r, 1<<16), sum: crc32.New(castagnoli()), buf: make([]byte, recordHead+wire.MaxMessage)}
	head, err := in.read(len(magic) + 1)
	switch {
	case err != nil:
		return nil, err
	case string(head[:len(magic)]) != magic:
		return nil, fmt.Errorf("%w: it is no cache snapshot", ErrUnusable)
	case head[len(magic)] != version:
		return nil, fmt.Errorf("%w: it has version %d, and this program reads version %d", ErrUnusable, head[len(magic)], version)
	}
	if head, err = in.read(len(f)); err != nil {
		return nil, err
	}
	if string(head) != string(f[:]) {
		return nil, ErrForeign
	}
	if head, err = in.read(8); err != nil {
		return nil, err
	}
	in.date = int64(binary.BigEndian.Uint64(head))
	return in, nil
}

// Date is when the file was written, as in a [Record].
func (r *Reader) Date() int64 { return r.date }

// Next returns the next record. Its message is valid until the next call. The
// error is io.EOF at the end of an intact file.
func (r *Reader) Next() (Record, error) {
	length, err := r.read(2)
	if err != nil {
		return Record{}, err
	}
	size := int(binary.BigEndian.Uint16(length))
	if size == 0 {
		return Record{}, r.end()
	}
	b, err := r.read(recordHead - 2 + size)
	if err != nil {
		return Record{}, err
	}
	r.records++
	flags := b[8]
	if flags&^(flagDO|flagCD) != 0 {
		return Record{}, ErrRecord
	}
	return Record{Stored: int64(binary.BigEndian.Uint64(b)), DO: flags&flagDO != 0, CD: flags&flagCD != 0,
		EDE: binary.BigEndian.Uint16(b[9:]), Message: b[recordHead-2:]}, nil
}

// end reads the end, and returns io.EOF if it is as it must be.
func (r *Reader) end() error {
	b, err := r.read(4)
	if err != nil {
		return err
	}
	if n := binary.BigEndian.Uint32(b); n != r.records {
		return fmt.Errorf("%w: it has %d answers, and its end says %d", ErrUnusable, r.records, n)
	}
	want := r.sum.Sum32()
	if b, err = r.read(4); err != nil {
		return err
	}
	if binary.BigEndian.Uint32(b) != want {
		return fmt.Errorf("%w: its checksum is wrong", ErrUnusable)
	}
	if n, _ := r.in.Read(b[:1]); n > 0 {
		return fmt.Errorf("%w: there are more octets after its end", ErrUnusable)
	}
	return io.EOF
}

// read reads n octets, which are valid until the next call.
func (r *Reader) read(n int) ([]byte, error) {
	b := r.buf[:n]
	if _, err := io.ReadFull(r.in, b); err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil, fmt.Errorf("%w: it is cut off", ErrUnusable)
		}
		return nil, fmt.Errorf("cache snapshot: %w", err)
	}
	r.sum.Write(b)
	return b, nil
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }
