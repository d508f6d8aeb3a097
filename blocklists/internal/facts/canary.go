package facts

import "rideau/resolver/wire"

// canaries are names that software asks for to find out whether the network wishes to
// filter. It heeds a negative answer, NXDOMAIN or NOERROR without data. After an address, an error or
// silence it would bypass the network's resolver, or wait: Firefox in
// the first case (support.mozilla.org, "Canary domain - use-application-dns.net"), iCloud
// Private Relay in the others (developer.apple.com, "Prepare your network or web server for iCloud Private Relay").
var canaries = [...][]byte{
	[]byte("\x13use-application-dns\x03net\x00"),
	[]byte("\x04mask\x06icloud\x03com\x00"),
	[]byte("\x07mask-h2\x06icloud\x03com\x00"),
}

// IsCanary reports whether a name is one that software asks for to find out whether the network
// wishes to filter, or is below one. A query for it is no attempt to bypass a ban.
func IsCanary(name *wire.Name) bool {
	for i := range canaries {
		if name.IsSubdomain(canaries[i]) {
			return true
		}
	}
	return false
}
