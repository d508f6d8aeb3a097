package node

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Parse parses a value. If the value is wrong it reports a problem and returns false.
type Parse[T any] func(Value) (T, bool)

// Set parses the member called key and stores it in dst. If the member is missing or wrong, dst keeps its default.
func Set[T any](m *Mapping, key string, dst *T, p Parse[T]) {
	if v, ok := m.member(key); ok {
		if x, ok := p(v); ok {
			*dst = x
		}
	}
}

// List returns a parser of a list of least to most elements. It reports wrong elements and leaves them out.
func List[T any](least, most int, element Parse[T]) Parse[[]T] {
	return func(v Value) ([]T, bool) {
		if v.n.Kind != yaml.SequenceNode {
			v.Wrong("a list", "write it in brackets, [a, b], or one line each with a dash")
			return nil, false
		}
		if len(v.n.Content) < least {
			v.Problem("write at least one", "the list is empty")
			return nil, false
		}
		if !v.bounded() {
			return nil, false
		}
		out := make([]T, 0, min(len(v.n.Content), most))
		for i, n := range v.n.Content {
			e := v.child(n, n.Line, "", i)
			if i >= most {
				e.Problem("remove some", "more than %d", most)
				break
			}
			if x, ok := element(e); ok {
				out = append(out, x)
			}
		}
		return out, true
	}
}

// Distinct returns a parser that refuses an element that is equal to an earlier one.
func Distinct[T comparable](element Parse[T]) Parse[T] {
	lines := map[T]int{}
	return func(v Value) (T, bool) {
		x, ok := element(v)
		if !ok {
			return x, false
		}
		if first, dup := lines[x]; dup {
			v.Problem("remove one of them", "%s is listed twice (first on line %d)", v.describe(), first)
			return x, false
		}
		lines[x] = v.line
		return x, true
	}
}

// Word returns a parser of one of a set of words.
func Word[T ~string](what string, words ...T) Parse[T] {
	return func(v Value) (T, bool) {
		s, ok := v.Scalar()
		if !ok {
			v.Wrong(what, "use one of "+enumerate(words))
			return "", false
		}
		for _, w := range words {
			if s == string(w) {
				return w, true
			}
		}
		_, noun, _ := strings.Cut(what, " ")
		v.Problem(Suggest(s, words), "unknown %s %s", noun, Quote(s))
		return "", false
	}
}

// Text returns a parser of one line of at most most bytes.
func Text(most int) Parse[string] {
	return func(v Value) (string, bool) {
		s, ok := v.Scalar()
		switch {
		case !ok:
			v.Wrong("text", "write text, or remove the key")
		case v.n.ShortTag() != "!!str":
			v.Wrong("text", "put it in quotes: "+Quote(s))
		case strings.ContainsFunc(strings.TrimRight(s, "\n"), func(r rune) bool { return r < ' ' }):
			v.Problem("write it on one line, or after > on lines that YAML joins", "the text has more than one line")
		case len(s) > most:
			v.Problem(fmt.Sprintf("use at most %d", most), "the text has %d bytes", len(s))
		default:
			return strings.TrimSpace(s), true
		}
		return "", false
	}
}

// Boolean parses true or false.
func Boolean(v Value) (bool, bool) {
	if s, ok := v.Scalar(); ok && v.n.ShortTag() == "!!bool" {
		return strings.EqualFold(s, "true"), true
	}
	v.Wrong("true or false", "use true or false, without quotes")
	return false, false
}

// Integer returns a parser of a whole number from low to high.
func Integer(low, high int) Parse[int] {
	return func(v Value) (int, bool) {
		remedy := fmt.Sprintf("use %d to %d", low, high)
		s, ok := v.Scalar()
		n, err := strconv.Atoi(s)
		switch {
		case !ok || err != nil || v.n.ShortTag() != "!!int":
			v.Wrong("a whole number", remedy)
		case n < low || n > high:
			v.Problem(remedy, "%s is out of range", Quote(s))
		default:
			return n, true
		}
		return 0, false
	}
}

// Share parses a number from 0 to 1.
func Share(v Value) (float64, bool) {
	const remedy = "use 0 to 1, such as 0.5 for half"
	s, ok := v.Scalar()
	f, err := strconv.ParseFloat(s, 64)
	tag := v.n.ShortTag()
	switch {
	case !ok || err != nil || tag != "!!float" && tag != "!!int":
		v.Wrong("a number", remedy)
	case math.IsNaN(f) || f < 0 || f > 1:
		v.Problem(remedy, "%s is out of range", Quote(s))
	default:
		return f, true
	}
	return 0, false
}

// Duration returns a parser of a duration from low to high.
func Duration(low, high time.Duration) Parse[time.Duration] {
	return func(v Value) (time.Duration, bool) {
		s, ok := v.Scalar()
		d, err := parseDuration(s)
		remedy := "use " + Short(low) + " to " + Short(high)
		switch {
		case ok && err != nil && isNumber(s):
			v.Problem("write "+s+"s for seconds, "+s+"m for minutes", "%s has no unit", Quote(s))
		case !ok || err != nil:
			v.Wrong("a duration", remedy+", written as 500ms, 30s, 5m, 24h or 7d")
		case d < low || d > high:
			v.Problem(remedy, "%s is out of range", Quote(s))
		default:
			return d, true
		}
		return 0, false
	}
}

// TTL returns a parser of a duration in whole seconds, as a TTL has to be (RFC 2181 section 8).
func TTL(low, high time.Duration) Parse[time.Duration] {
	span := Duration(low, high)
	return func(v Value) (time.Duration, bool) {
		d, ok := span(v)
		if ok && d%time.Second != 0 {
			v.Problem("use whole seconds", "%s has a fraction of a second, and TTLs have none", Quote(v.n.Value))
			return 0, false
		}
		return d, ok
	}
}

// parseDuration parses a duration as Go writes it, or a number of days.
func parseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(s)
}

// Short returns a duration as people write it: 5m, not 5m0s.
func Short(d time.Duration) string {
	if d > 24*time.Hour && d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

// Size returns a parser of a number of bytes from low to high.
func Size(low, high int64) Parse[int64] {
	return func(v Value) (int64, bool) {
		s, ok := v.Scalar()
		n, sound := parseSize(s)
		remedy := "use " + shortSize(low) + " to " + shortSize(high)
		switch {
		case !ok || !sound:
			v.Wrong("a size", remedy+", written as 65536, 512KiB, 128MiB or 1GiB")
		case n < low || n > high:
			v.Problem(remedy, "%s is out of range", Quote(s))
		default:
			return n, true
		}
		return 0, false
	}
}

// parseSize parses a whole number of B, KiB, MiB or GiB. For 2^63 and more it returns the largest int64.
func parseSize(s string) (int64, bool) {
	digits := strings.TrimRight(s, "BKMGi")
	shift, known := map[string]uint{"": 0, "B": 0, "KiB": 10, "MiB": 20, "GiB": 30}[s[len(digits):]]
	n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 63)
	if !known || err != nil {
		return 0, false
	}
	if n > math.MaxInt64>>shift {
		return math.MaxInt64, true
	}
	return int64(n << shift), true
}

func shortSize(n int64) string {
	for i, unit := range []string{"GiB", "MiB", "KiB"} {
		if shift := 30 - 10*i; n >= 1<<shift && n%(1<<shift) == 0 {
			return strconv.FormatInt(n>>shift, 10) + unit
		}
	}
	return strconv.FormatInt(n, 10)
}

// Instant parses an RFC 3339 instant, or a date, which stands for its first moment in UTC.
func Instant(v Value) (time.Time, bool) {
	s, ok := v.Scalar()
	if ok {
		if t, err := time.Parse(time.DateOnly, s); err == nil {
			return t, true
		}
		if t, err := time.Parse(time.RFC3339, s); err == nil {
			return t.UTC(), true
		}
	}
	v.Wrong("a date or an instant", "write 2023-10-30, or with a time of day 2023-10-30T00:00:00-04:00")
	return time.Time{}, false
}
