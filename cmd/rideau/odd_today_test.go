//go:build linux

package main

// oddToday are the cases of TestOdd in which Rideau does not yet do what the row wants,
// with the share that it answers now, at least. In a case with the share 1 all is
// answered, and too late. Who mends one takes it out.
func oddToday() map[string]float64 {
	return map[string]float64{}
}
