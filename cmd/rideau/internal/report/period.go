package report

import (
	"fmt"
	"time"
)

// Period returns the span of time that texts mean: days, of which the last is part
// of it, or instants. Without them it is the last 30 days until now.
func Period(from, to string, zone *time.Location, now time.Time) (begin, end time.Time, err error) {
	now = now.In(zone)
	end = now
	if to != "" {
		if end, err = instant("--to", to, zone, 1); err != nil {
			return begin, end, err
		}
	}
	y, m, d := end.Date()
	begin = time.Date(y, m, d-30, 0, 0, 0, 0, zone)
	if from != "" {
		if begin, err = instant("--from", from, zone, 0); err != nil {
			return begin, end, err
		}
	}
	if !begin.Before(end) {
		return begin, end, fmt.Errorf("--from %s is not before --to %s", begin.Format(time.RFC3339), end.Format(time.RFC3339))
	}
	if end.Sub(begin) > 20*366*24*time.Hour {
		return begin, end, fmt.Errorf("from %s to %s are more than 20 years", begin.Format(time.DateOnly), end.Format(time.DateOnly))
	}
	return begin, end, nil
}

// instant parses a day, to whose begin it adds days, or an instant.
func instant(option, text string, zone *time.Location, days int) (time.Time, error) {
	if t, err := time.ParseInLocation(time.DateOnly, text, zone); err == nil {
		y, m, d := t.Date()
		return time.Date(y, m, d+days, 0, 0, 0, 0, zone), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, fmt.Errorf("%s: %q is neither a day such as 2026-11-30 nor an instant such as 2026-11-30T14:00:00Z", option, text)
	}
	return t.In(zone), nil
}
