package blocklists

import "rideau/resolver/wire"

// canaries are names by which software asks whether the network wishes to
// filter. It heeds a negative answer, NXDOMAIN or NOERROR without data; an address, an error or
// silence would tell it to go its own way, or leave it waiting: Firefox for
// the first (support.mozilla.org, "Canary domain - use-application-dns.net"), iCloud
// Private Relay for the others (developer.apple.com, "Prepare your network or web server for iCloud Private Relay").
var canaries = [...][]byte{
	[]byte("\x13use-application-dns\x03net\x00"),
	[]byte("\x04mask\x06icloud\x03com\x00"),
	[]byte("\x07mask-h2\x06icloud\x03com\x00"),
}

// IsCanary reports whether a name is one by which software asks whether the network
// wishes to filter, or below one. Who asks does not go round anything yet.
func IsCanary(name *wire.Name) bool {
	for i := range canaries {
		if name.IsSubdomain(canaries[i]) {
			return true
		}
	}
	return false
}
