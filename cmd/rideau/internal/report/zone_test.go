package report

import (
	"os"
	"testing"
	"time"
)

// A report never says that its times are those of "Local".
func TestZoneName(t *testing.T) {
	data, err := os.ReadFile("/usr/share/zoneinfo/America/Toronto")
	if err != nil {
		t.Skip("no time zones on this machine:", err)
	}
	local, err := time.LoadLocationFromTZData("Local", data)
	if err != nil {
		t.Fatal(err)
	}
	from, to := time.Date(2026, 10, 1, 0, 0, 0, 0, local), time.Date(2026, 12, 1, 0, 0, 0, 0, local)
	for _, c := range []struct {
		from, to time.Time
		want     string
	}{{from, to, "EDT, EST"}, {from, from.AddDate(0, 0, 1), "EDT"}, {from.UTC(), to, "UTC"}} {
		if got := zoneName(c.from, c.to); got != c.want {
			t.Errorf("%v: %s, want %s", c.from, got, c.want)
		}
	}
}
