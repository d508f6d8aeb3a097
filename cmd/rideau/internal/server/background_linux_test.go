package server

import (
	"testing"
)

func TestBackground(t *testing.T) {
	ran := false
	background(func() { ran = true })
	if !ran {
		t.Error("it did not run")
	}
	defer func() {
		if p := recover(); p != "a fault" {
			t.Errorf("recovered %v", p)
		}
	}()
	background(func() { panic("a fault") })
	t.Error("the panic was lost")
}
