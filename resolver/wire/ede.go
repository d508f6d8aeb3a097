package wire

// Info codes of extended errors (RFC 8914 section 4).
const (
	EDEStale            = 3
	EDEBogus            = 6  // the first of those that say why a validation failed
	EDENoNSEC           = 12 // the last of them
	EDECachedError      = 13
	EDENotReady         = 14
	EDEBlocked          = 15 // the first of those that say that a filter has answered
	EDEProhibited       = 18 // the last of them
	EDEStaleNXDomain    = 19
	EDENotAuthoritative = 20
	EDENotSupported     = 21
	EDENoReachable      = 22
	EDENetwork          = 23
	EDEInvalidData      = 24
)
