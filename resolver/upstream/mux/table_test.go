package mux

import (
	"math/rand/v2"
	"testing"
)

// The table against a map, with sockets and ids so few that calls are in each
// other's way all the time.
func TestTable(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	ports := make([]*port, 5)
	for i := range ports {
		ports[i] = &port{tag: uint32(i)}
	}
	var table table
	model := map[uint32]*Call{}
	for step := range 200_000 {
		p, id := ports[rng.IntN(len(ports))], uint16(rng.IntN(400))
		k := key(p, id)
		if got := table.get(k); got != model[k] {
			t.Fatalf("step %d: %v, want %v", step, got, model[k])
		}
		if c := model[k]; c != nil {
			table.remove(c)
			delete(model, k)
		} else if len(model) < 300 || rng.IntN(4) == 0 {
			c := &Call{port: p, id: id}
			table.put(c)
			model[k] = c
		}
		if table.n != len(model) {
			t.Fatalf("step %d: %d calls, want %d", step, table.n, len(model))
		}
	}
	for k, c := range model {
		if table.get(k) != c {
			t.Fatalf("%x is lost", k)
		}
	}
}
