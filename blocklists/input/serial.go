package input

// Serial is a number that grows with each version of a list. The zero Serial is none.
type Serial struct {
	// Kind says where the number was found. Numbers of different kinds do not compare, and those of [SOASerial] compare by RFC 1982.
	Kind  string
	Value uint64
}

// SOASerial is the Kind of the serials of zones.
const SOASerial = "soa"

// listSerial is the Kind of the serials that comments of lists tell.
const listSerial = "list"

// older reports whether the serial is that of an earlier version.
func (s Serial) older(than Serial) bool {
	switch {
	case s.Kind != than.Kind:
		return false
	case s.Kind == SOASerial:
		return int32(uint32(s.Value)-uint32(than.Value)) < 0
	}
	return s.Value < than.Value
}

// signed reports whether something other than the content says the number.
func (s Serial) signed() bool { return s.Kind != "" && s.Kind != SOASerial && s.Kind != listSerial }
