// Package svcb reads and edits the parameters of SVCB and HTTPS records (RFC
// 9460): the address hints, and the key ech of Encrypted Client Hello.
package svcb
