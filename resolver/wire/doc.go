// Package wire reads and edits DNS messages in place.
//
// It is the part of Rideau that handles octets from the network, so it keeps
// three promises. It never panics, whatever the octets. It allocates nothing: a
// view borrows the caller's message, and what is written is appended to a slice
// that the caller owns. It decides no policy: it reports what a message
// contains.
//
// [Query.Parse] reads a query. [Response.Parse] checks a response from
// upstream, and [Walk] reads its records one by one. The Append functions build
// answers in the order header and question, answer, authority, OPT. The package
// response edits whole responses; the package svcb edits SVCB and HTTPS
// records.
//
// Only the standard library and the package layout are imported. Tests compare the functions with
// github.com/miekg/dns.
package wire
