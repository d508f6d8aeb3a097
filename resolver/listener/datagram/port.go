package datagram

// asked reports whether a query from a port may be answered. Resolvers ask from
// ports above 1023, which no service of the system has (RFC 6335 section 6), or from
// 53. What comes from another port is the datagram of a service, such as echo (7),
// daytime (13), qotd (17), chargen (19) or TFTP (69), which answers whatever it is
// sent, or is forged so that our response goes to that service. Port 0 gets no
// datagram at all.
func asked(port uint16) bool { return port > 1023 || port == 53 }
