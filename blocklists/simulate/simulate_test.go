package simulate_test

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"context"

	"rideau/blocklists"
	"rideau/blocklists/simulate"
	"rideau/blocklists/trace"
	"rideau/resolver/wire"
)
