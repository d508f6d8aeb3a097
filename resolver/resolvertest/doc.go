// Package resolvertest has what tests of a whole resolver need: a fake upstream on
// real sockets, for tests in Go, and scenarios, which need no Go.
//
// A scenario is one text file that reads as a specification: a policy, the
// responses of upstream, and a script of queries with the answer that each must
// get. README.md describes the language; the scenarios are in testdata/scenario.
//
// The code that runs scenarios is in the test files of the package, so that an
// import of [Upstream] does not import a resolver. It uses a real resolver with a
// real cache, real lists and real upstream sockets, under a fake clock. In
// addition to the expectations of its script, every answer is checked against the
// rules for all answers (invariant_test.go) and against a naive model of policy
// (model_test.go).
package resolvertest
