// Package wire reads and edits DNS messages in place.
//
// It is the part of Rideau that touches bytes from the network, so it holds
// three promises. It never panics, whatever the bytes. It allocates nothing:
// views borrow the caller's message and die with it, and everything written
// is appended to a slice that the caller owns. And it decides no policy: it
// says what a message contains, and others say what to do about it.
//
// A query is read with [Query.Parse]. A response that came from elsewhere is
// read record by record with [Walk], and copied without what a policy does
// not want in it. Answers are put together with the Append functions, always
// in the order header and question, answer, authority, OPT.
//
// Only the standard library is imported. Tests hold every function against
// github.com/miekg/dns.
package wire
