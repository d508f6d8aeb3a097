package config_test

import (
	"fmt"
	"strings"
	"testing"

	"rideau/config"
)

// A limit on memory that the cache alone would nearly fill is worth a warning.
func TestMemoryLimit(t *testing.T) {
	for text, want := range map[string]string{
		"{}":                   "0",
		"{memory_limit: 0}":    "0",
		"{memory_limit: 1GiB}": "1073741824",
		"{max_bytes: 64MiB, memory_limit: 128MiB}":  "134217728",
		"{max_bytes: 128MiB, memory_limit: 128MiB}": "134217728 memory_limit leaves less than 32 MiB beside max_bytes",
	} {
		c, err := config.Parse("rideau.yaml", []byte("cache: "+text+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprint(c.Cache.MemoryLimit)
		for _, w := range c.Warnings {
			if w.Key == "cache.memory_limit" {
				got += " " + w.Message
			}
		}
		if got != want && !strings.HasPrefix(got, want+";") {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}
