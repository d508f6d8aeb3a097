package config_test

import (
	"testing"

	"rideau/config"
)

// TestDefaultName: messages call the configuration inside the program by one name, which is that of no file.
func TestDefaultName(t *testing.T) {
	t.Parallel()
	if got := config.Default().File; got != config.DefaultName {
		t.Errorf("%q, want %q", got, config.DefaultName)
	}
}
