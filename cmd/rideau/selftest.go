package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const selftestHelp = `Asks the running rideau on this machine to test its bans: for each ban and each group of
clients for which it is enforced, a name that it blocks is asked for, at each address by each
transport, and inside the process for groups to which this machine does not belong. The
answers must be those of the bans. Rideau does that by itself at the start, when the policy
changes, and as often as ops.selftest says; /readyz fails while a test fails.

The name is the canary of the ban, or one of the first names of its lists. The queries are
not counted or recorded as attempts of a client.

Exit code 0: all bans decide as they should. 1: one does not, or there is no answer.`

const defaultSelftestTimeout = time.Minute

func selftest(c *call) int {
	base, client, code := opsURL(c)
	if base == "" {
		return code
	}
	secret, err := opsToken(c, base)
	if err != nil {
		return c.fail(err)
	}
	timeout, _ := c.GetDuration("timeout")
	ctx, cancel := context.WithTimeout(c.ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/selftest", nil)
	if err != nil {
		return c.fail(err)
	}
	if secret != "" {
		req.Header.Set("Authorization", "Bearer "+secret)
	}
	if c.bool("json") {
		req.Header.Set("Accept", "application/json")
	}
	resp, err := client.Do(req)
	if err != nil {
		return c.fail(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(http.MaxBytesReader(nil, resp.Body, 4<<20))
	switch {
	case err != nil:
		return c.fail(err)
	case resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusServiceUnavailable,
		c.bool("json") && !json.Valid(text):
		return c.fail(fmt.Errorf("not done (%d): %s", resp.StatusCode, strings.TrimSpace(string(text))))
	}
	fmt.Fprint(c.stdout, string(text))
	if resp.StatusCode != http.StatusOK {
		return exitFailure
	}
	return exitOK
}
