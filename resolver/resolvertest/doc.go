// Package resolvertest holds what tests of a whole resolver need: a fake
// upstream on real sockets, and a runner of scenarios.
//
// A scenario is one text file that reads as a specification: a policy, what
// the upstream says, and a script of queries with what each must be answered.
// README.md describes the language; testdata/scenario holds the scenarios. A
// new one needs no Go.
//
// [Run] drives a real resolver with a real cache, real lists and real
// upstream sockets, under a fake clock. Beside what a script asks for, every
// response is held against rules that no answer may break; they are in
// invariant.go, and the naive model of policy that they use in model.go.
//
// [Upstream] stands alone, too, for tests that are written in Go.
package resolvertest
