package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// parse turns a value into a T, or says what is wrong with it and returns false.
type parse[T any] func(value) (T, bool)

// set stores the member called key in dst if it is written and right, and leaves the default there if not.
func set[T any](m *mapping, key string, dst *T, p parse[T]) {
	if v, ok := m.take(key); ok {
		if x, ok := p(v); ok {
			*dst = x
		}
	}
}

// list reads least to most elements. Elements that are wrong are left out, having been complained about.
func list[T any](least, most int, element parse[T]) parse[[]T] {
	return func(v value) ([]T, bool) {
		if v.n.Kind != yaml.SequenceNode {
			v.wrong("a list", "write it in brackets, [a, b], or one line each with a dash")
			return nil, false
		}
		if len(v.n.Content) < least {
			v.problem("write at least one", "the list is empty")
			return nil, false
		}
		if !v.bounded() {
			return nil, false
		}
		out := make([]T, 0, min(len(v.n.Content), most))
		for i, n := range v.n.Content {
			e := v.child(n, n.Line, "", i)
			if i >= most {
				e.problem("remove some", "more than %d", most)
				break
			}
			if x, ok := element(e); ok {
				out = append(out, x)
			}
		}
		return out, true
	}
}

// distinct refuses a second element that is the same as an earlier one.
func distinct[T comparable](element parse[T]) parse[T] {
	lines := map[T]int{}
	return func(v value) (T, bool) {
		x, ok := element(v)
		if !ok {
			return x, false
		}
		if first, dup := lines[x]; dup {
			v.problem("remove one of them", "%s is listed twice (first on line %d)", v.describe(), first)
			return x, false
		}
		lines[x] = v.line
		return x, true
	}
}

// word is one of a closed set of words.
func word[T ~string](what string, words ...T) parse[T] {
	return func(v value) (T, bool) {
		s, ok := v.scalar()
		if !ok {
			v.wrong(what, "use one of "+enumerate(words))
			return "", false
		}
		for _, w := range words {
			if s == string(w) {
				return w, true
			}
		}
		_, noun, _ := strings.Cut(what, " ")
		v.problem(suggest(s, words), "unknown %s %s", noun, quote(s))
		return "", false
	}
}

// text is one line of at most most bytes.
func text(most int) parse[string] {
	return func(v value) (string, bool) {
		s, ok := v.scalar()
		switch {
		case !ok:
			v.wrong("text", "write text, or remove the key")
		case v.n.ShortTag() != "!!str":
			v.wrong("text", "put it in quotes: "+quote(s))
		case strings.ContainsFunc(strings.TrimRight(s, "\n"), func(r rune) bool { return r < ' ' }):
			v.problem("write it on one line, or after > on lines that YAML joins", "the text has more than one line")
		case len(s) > most:
			v.problem(fmt.Sprintf("use at most %d", most), "the text has %d bytes", len(s))
		default:
			return strings.TrimSpace(s), true
		}
		return "", false
	}
}

// boolean is true or false.
func boolean(v value) (bool, bool) {
	if s, ok := v.scalar(); ok && v.n.ShortTag() == "!!bool" {
		return strings.EqualFold(s, "true"), true
	}
	v.wrong("true or false", "use true or false, without quotes")
	return false, false
}

// integer is a whole number from low to high.
func integer(low, high int) parse[int] {
	return func(v value) (int, bool) {
		remedy := fmt.Sprintf("use %d to %d", low, high)
		s, ok := v.scalar()
		n, err := strconv.Atoi(s)
		switch {
		case !ok || err != nil || v.n.ShortTag() != "!!int":
			v.wrong("a whole number", remedy)
		case n < low || n > high:
			v.problem(remedy, "%s is out of range", quote(s))
		default:
			return n, true
		}
		return 0, false
	}
}

// share is a number from 0 to 1.
func share(v value) (float64, bool) {
	const remedy = "use 0 to 1, such as 0.5 for half"
	s, ok := v.scalar()
	f, err := strconv.ParseFloat(s, 64)
	tag := v.n.ShortTag()
	switch {
	case !ok || err != nil || tag != "!!float" && tag != "!!int":
		v.wrong("a number", remedy)
	case math.IsNaN(f) || f < 0 || f > 1:
		v.problem(remedy, "%s is out of range", quote(s))
	default:
		return f, true
	}
	return 0, false
}

// duration is a span of time from low to high.
func duration(low, high time.Duration) parse[time.Duration] {
	return func(v value) (time.Duration, bool) {
		s, ok := v.scalar()
		d, err := parseDuration(s)
		remedy := "use " + short(low) + " to " + short(high)
		switch {
		case ok && err != nil && isNumber(s):
			v.problem("write "+s+"s for seconds, "+s+"m for minutes", "%s has no unit", quote(s))
		case !ok || err != nil:
			v.wrong("a duration", remedy+", written as 500ms, 30s, 5m, 24h or 7d")
		case d < low || d > high:
			v.problem(remedy, "%s is out of range", quote(s))
		default:
			return d, true
		}
		return 0, false
	}
}

// ttl is a duration in whole seconds, as a TTL has to be (RFC 2181 section 8).
func ttl(low, high time.Duration) parse[time.Duration] {
	span := duration(low, high)
	return func(v value) (time.Duration, bool) {
		d, ok := span(v)
		if ok && d%time.Second != 0 {
			v.problem("use whole seconds", "%s has a fraction of a second, and TTLs have none", quote(v.n.Value))
			return 0, false
		}
		return d, ok
	}
}

// parseDuration reads Go's notation, and whole days.
func parseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(s)
}

// short writes a duration as people do: 5m, not 5m0s.
func short(d time.Duration) string {
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

// size is a number of bytes from low to high.
func size(low, high int64) parse[int64] {
	return func(v value) (int64, bool) {
		s, ok := v.scalar()
		n, sound := parseSize(s)
		remedy := "use " + shortSize(low) + " to " + shortSize(high)
		switch {
		case !ok || !sound:
			v.wrong("a size", remedy+", written as 65536, 512KiB, 128MiB or 1GiB")
		case n < low || n > high:
			v.problem(remedy, "%s is out of range", quote(s))
		default:
			return n, true
		}
		return 0, false
	}
}

// parseSize reads a whole number of B, KiB, MiB or GiB; beyond 2^63 it gives the largest.
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

// instant is an RFC 3339 instant, or a date that stands for its first moment in UTC.
func instant(v value) (time.Time, bool) {
	s, ok := v.scalar()
	if ok {
		if t, err := time.Parse(time.DateOnly, s); err == nil {
			return t, true
		}
		if t, err := time.Parse(time.RFC3339, s); err == nil {
			return t.UTC(), true
		}
	}
	v.wrong("a date or an instant", "write 2023-10-30, or with a time of day 2023-10-30T00:00:00-04:00")
	return time.Time{}, false
}
