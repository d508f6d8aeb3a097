package fetch

import "time"

// MinInterval is the shortest time between two downloads of a list.
const MinInterval = time.Minute

// Schedule says when a list is downloaded next.
type Schedule struct {
	// Refresh is the time between downloads that succeed.
	Refresh time.Duration
	// Failures is the number of downloads that failed since one succeeded.
	Failures int
	// After is how long to wait, as the server said; 0 if it did not.
	After time.Duration
}

// Next returns how long to wait. unit is a random number from 0 to 1: it changes the time by up to a tenth, so that machines which
// started together do not download together. After a failure the wait is one minute, then it doubles with each failure, up to Refresh.
func (s Schedule) Next(unit float64) time.Duration {
	d := max(s.Refresh, MinInterval)
	if s.Failures > 0 {
		d = min(MinInterval<<min(s.Failures-1, 20), d)
	}
	d = max(d, min(s.After, 24*time.Hour))
	return max(time.Duration(float64(d)*(0.9+0.2*unit)), MinInterval)
}
