package main

import (
	"bufio"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const flushHelp = `Removes the cached answers of one or more names from the running rideau on this machine,
so that the next query for them is forwarded. --tree removes the names below them, too,
--all everything. Answers to queries that were forwarded before are not cached.

The answers for the target of an alias belong to the target: flush that name. If there is
an ops.socket that you may use, it goes there. Otherwise the token of ops.token_file is
sent, if there is one.

Exit code 0: done; the number of removed entries is printed. 1: not done, or no answer.`

const defaultFlushTimeout = 10 * time.Second

func flush(c *call) int {
	all, tree := c.bool("all"), c.bool("tree")
	if all == (len(c.args) > 0) || all && tree {
		fmt.Fprintln(c.stderr, "rideau flush: give NAMEs, with --tree for all below them too, or --all alone; see rideau help flush")
		return exitUsage
	}
	base, client, code := opsURL(c)
	if base == "" {
		return code
	}
	secret, err := opsToken(c, base)
	if err != nil {
		return c.fail(err)
	}
	names := c.args
	if all {
		names = []string{""}
	}
	for _, n := range names {
		q := url.Values{}
		if n == "" && !all {
			fmt.Fprintln(c.stderr, "rideau flush: NAME is empty")
			return exitUsage
		}
		if all {
			q.Set("all", "true")
		} else {
			q.Set("name", n)
		}
		if tree {
			q.Set("tree", "true")
		}
		if err := c.post(client, base+"/cache/flush?"+q.Encode(), secret); err != nil {
			return c.fail(err)
		}
	}
	return exitOK
}

// post sends a POST request, and prints the response.
func (c *call) post(client *http.Client, to, secret string) error {
	client.Timeout, _ = c.GetDuration("timeout")
	req, err := http.NewRequestWithContext(c.ctx, http.MethodPost, to, nil)
	if err != nil {
		return err
	}
	if secret != "" {
		req.Header.Set("Authorization", "Bearer "+secret)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var lines []string
	for s := bufio.NewScanner(http.MaxBytesReader(nil, resp.Body, 64<<10)); s.Scan(); {
		lines = append(lines, s.Text())
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("not done (%d): %s", resp.StatusCode, strings.Join(lines, "; "))
	}
	fmt.Fprintln(c.stdout, strings.Join(lines, "\n"))
	return nil
}
