package config_test

import (
	"slices"
	"testing"

	"rideau/config"
)

// TestContainer: the container's configuration is the default one, except for the addresses to listen on.
func TestContainer(t *testing.T) {
	c, err := config.Load("container.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// Other machines reach health and metrics, and without a token Rideau warns of that. An image cannot have a secret.
	if len(c.Warnings) != 1 || c.Warnings[0].Key != "ops.listen" {
		t.Errorf("warnings: %v", c.Warnings)
	}
	want := []string{"listen.addresses", "ops.listen"}
	if got := config.Changed(config.Default(), c); !slices.Equal(got, want) {
		t.Errorf("differs from the default in %v, want %v", got, want)
	}
	equal(t, c.Listen.Addresses, addrPorts("0.0.0.0:53", "[::]:53"))
	equal(t, c.Ops.Listen, ":5380") // both families
}
