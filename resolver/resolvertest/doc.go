// Package resolvertest holds what tests of a whole resolver need: a fake
// upstream on real sockets, for any test that is written in Go, and scenarios,
// which need no Go.
//
// A scenario is one text file that reads as a specification: a policy, what
// upstream says, and a script of queries with what each must be answered.
// README.md describes the language; testdata/scenario holds the scenarios.
//
// Their runner lies in this package's test files, so that what imports the
// package for [Upstream] imports no resolver with it. It drives a real
// resolver with a real cache, real lists and real upstream sockets, under a
// fake clock. Beside what a script asks for, every answer is held against
// rules that none may break (invariant_test.go) and a naive model of policy
// (model_test.go).
package resolvertest
