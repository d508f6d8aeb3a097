package blocklists

// Slot numbers a ban id for as long as the process lives, so that counters
// need no names.
type Slot uint8

// Slots.
const (
	// MaxSlots bounds the ban ids that are counted apart in one process's life; the
	// last slot takes whatever comes after.
	MaxSlots = 128
	// NoBan is no slot.
	NoBan Slot = 255
)

// Slots gives ban ids their slots. It belongs to the goroutine that loads;
// a Snapshot carries what readers need.
type Slots struct{ ids []string }

// OtherBans is the id reported for the last slot once there are more ids than
// slots.
const OtherBans = "other"

// Slot is the id's slot: the one it had, or a new one.
func (s *Slots) Slot(id string) Slot {
	for i, have := range s.ids {
		if have == id {
			return Slot(i)
		}
	}
	if len(s.ids) >= MaxSlots-1 {
		return MaxSlots - 1
	}
	s.ids = append(s.ids, id)
	return Slot(len(s.ids) - 1)
}
