package blocklists

// Slot is the number of a ban id for as long as the process lives. Counters are arrays by
// slot.
type Slot uint8

// Slots.
const (
	// MaxSlots bounds the ban ids that one process counts separately. All further ids
	// share the last slot.
	MaxSlots = 128
	// NoBan is the slot of no ban.
	NoBan Slot = 255
)

// Slots assigns slots to ban ids. Only the goroutine that loads policy uses it;
// a Snapshot has a copy for readers.
type Slots struct{ ids []string }

// OtherBans is the id reported for the last slot once there are more ids than
// slots.
const OtherBans = "other"

// Slot returns the id's slot: the one it has, or a new one.
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
