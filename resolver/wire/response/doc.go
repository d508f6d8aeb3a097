// Package response edits whole responses: it leaves out what does not belong to
// the question, finds and follows chains of aliases, joins two responses, copies answer
// sections and cuts a message to a limit. The caller owns every slice; what is
// written is appended to the caller's. No function decides policy.
//
// The responses were accepted by [wire.Response.Parse], unless a function says
// otherwise.
package response
