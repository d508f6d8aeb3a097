package layout

import "encoding/binary"

// Keys of service parameters (RFC 9460 section 14.3.2).
const (
	paramMandatory = 0
	paramALPN      = 1
	paramNoDefault = 2
	paramPort      = 3
	paramIPv4      = 4
	paramECH       = 5
	paramIPv6      = 6
	paramOHTTP     = 8
	paramInvalid   = 65535
)

// serviceParams reports whether data is a list of service parameters that a
// client may use: keys in ascending order, values as the known keys demand
// (RFC 9460 sections 2.2 and 7), each key there that the parameter
// mandatory lists (section 8), and no-default-alpn only with alpn (section 7.1.1).
func serviceParams(data []byte) bool {
	var mandatory []byte
	alpn := false
	for last := -1; len(data) > 0; {
		if len(data) < 4 {
			return false
		}
		key, end := int(binary.BigEndian.Uint16(data)), 4+int(binary.BigEndian.Uint16(data[2:]))
		if key <= last || key == paramInvalid || end > len(data) || !paramValue(key, data[4:end]) {
			return false
		}
		switch key {
		case paramMandatory:
			mandatory = data[4:end]
		case paramALPN:
			alpn = true
		case paramNoDefault:
			if !alpn {
				return false
			}
		}
		if len(mandatory) > 0 {
			switch next := int(binary.BigEndian.Uint16(mandatory)); {
			case key == next:
				mandatory = mandatory[2:]
			case key > next:
				return false
			}
		}
		last, data = key, data[end:]
	}
	return len(mandatory) == 0
}

// paramValue reports whether value is one for a key. For an unknown key every
// value is.
func paramValue(key int, value []byte) bool {
	switch key {
	case paramMandatory:
		last := 0 // mandatory itself is not listed
		for i := 0; i+2 <= len(value); i += 2 {
			k := int(binary.BigEndian.Uint16(value[i:]))
			if k <= last {
				return false
			}
			last = k
		}
		return len(value) > 0 && len(value)%2 == 0
	case paramALPN:
		for rest := value; len(rest) > 0; {
			n := charString(rest)
			if n < 2 {
				return false
			}
			rest = rest[n:]
		}
		return len(value) > 0
	case paramNoDefault, paramOHTTP:
		return len(value) == 0
	case paramPort:
		return len(value) == 2
	case paramECH: // of what it holds, clients judge
		return len(value) > 0
	case paramIPv4:
		return len(value) > 0 && len(value)%4 == 0
	case paramIPv6:
		return len(value) > 0 && len(value)%16 == 0
	}
	return true
}
