package fetch

import "time"

// MinInterval is the shortest time between two downloads of a list.
const MinInterval = time.Minute

// Schedule says when a list is looked for next.
type Schedule struct {
	// Refresh is the time between looks, if they succeed.
	Refresh time.Duration
	// Failures counts the looks that failed since one succeeded.
	Failures int
	// After is how long the server asked to be left alone.
	After time.Duration
}

// Next is the time to wait. unit, from 0 to 1, is the caller's random number: the time is spread by a tenth both ways, so that many
// who started together do not ask together. Failures are followed after a minute, then twice as long each, and never later than Refresh would be.
func (s Schedule) Next(unit float64) time.Duration {
	d := max(s.Refresh, MinInterval)
	if s.Failures > 0 {
		d = min(MinInterval<<min(s.Failures-1, 20), d)
	}
	d = max(d, min(s.After, 24*time.Hour))
	return max(time.Duration(float64(d)*(0.9+0.2*unit)), MinInterval)
}
