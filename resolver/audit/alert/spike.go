package alert

// Level finds out whether there is far more of something than usual. It is given
// the number of each minute. The zero value is ready.
type Level struct {
	usual   float64 // a moving mean of the numbers, those of spikes cut
	minutes int     // how many numbers there were, up to warmUp
	high    bool
}

const (
	// warmUp is the number of minutes after which there is a usual level.
	warmUp = 10
	// weight is that of the newest number: half of the mean is of the last 40
	// minutes or so.
	weight = 1.0 / 60
)

// Minute takes the number of one minute, and reports whether there is a spike: it
// begins at factor times the usual number, and at least at atLeast, and ends below
// half of that.
func (l *Level) Minute(n uint64, factor float64, atLeast uint64) bool {
	bound := max(factor*l.usual, float64(atLeast))
	switch {
	case l.minutes < warmUp:
	case l.high:
		l.high = float64(n) >= bound/2
	default:
		l.high = float64(n) >= bound
	}
	// A spike raises what is usual slowly, so that one that lasts ends as an alert.
	if l.minutes < warmUp {
		l.minutes++
		l.usual += (float64(n) - l.usual) / float64(l.minutes)
	} else {
		l.usual += weight * (min(float64(n), bound) - l.usual)
	}
	return l.high
}

// Usual is the usual number of a minute.
func (l *Level) Usual() float64 { return l.usual }
