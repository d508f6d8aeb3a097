package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"

	"rideau/blocklists/source"
	"rideau/cmd/rideau/internal/changes"
	"rideau/cmd/rideau/internal/files"
	"rideau/cmd/rideau/internal/reason"
	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
	"rideau/config/policy"
)

const fetchHelp = `Downloads every list that has a url into the state folder, once, and reads it as a start
does, so that the stored copy is known to be good. Use it to set a machine up, and for
networks without a way out: fetch on a machine that has one, and copy the state folder.
A running rideau uses what was fetched at the next reload.

Run as root, it gives what it fetched to the owner of the state folder, so that a service that
runs as that user can read it, and says so if the folder belongs to root.

Exit code 0: all lists are there and good. 1: one is not; its old copy stays.`

func fetchLists(c *call) int {
	cfg, err := setup.Load(c.string("config"))
	if err != nil {
		return c.fail(err)
	}
	if !cfg.Remote() {
		return c.fail(fmt.Errorf("%s: no list has a url; there is nothing to fetch", setup.Name(cfg)))
	}
	_, err = os.Stat(cfg.State.Dir)
	made := errors.Is(err, fs.ErrNotExist)
	s := source.New(source.Options{})
	if err := s.Writable(setup.Lists(cfg)); err != nil {
		return c.fail(err)
	}
	plan, err := reason.DownloadPlan(cfg, agent())
	if err != nil {
		return c.fail(err)
	}
	force, err := forcedLists(c, cfg)
	if err != nil {
		fmt.Fprintf(c.stderr, "rideau fetch: %v\n", err)
		return exitUsage
	}
	code, fetched := exitOK, false
	for _, v := range s.Fetch(c.ctx, plan, plan.Remote(), force) {
		info, forced, err := s.Accept(c.ctx, plan, v, force)
		if err != nil {
			code = c.fail(fmt.Errorf("list %s: %s: %s", v.List.ID, v.List.Source, strings.TrimPrefix(err.Error(), v.List.Source+": ")))
			continue
		}
		fetched = true
		fmt.Fprintf(c.stdout, "list %s: %s, %s, sha256 %x, from %s\n", info.ID, v.Result, english.Plural(info.Entries, "entry", ""), info.SHA256, info.Source)
		for _, f := range changes.Forced(forced, nil) {
			fmt.Fprintln(c.stdout, f)
		}
	}
	if err := handOver(c, cfg.State.Dir, made, fetched); err != nil {
		return c.fail(fmt.Errorf("state.dir: %w", err))
	}
	return code
}

// handOver lets the user that a service runs as read what root has fetched, or says that it cannot. made says that the
// folder did not exist before, fetched that something is in it now.
func handOver(c *call, dir string, made, fetched bool) error {
	owner, root, err := files.HandOver(dir, made)
	switch {
	case err != nil || !root || !fetched:
		return err
	case owner != 0:
		fmt.Fprintf(c.stdout, "%s: the files belong to user %d, as the folder does\n", dir, owner)
	default:
		fmt.Fprintf(c.stdout, "%s: the folder and its files belong to root, and only root can read them; if rideau runs as another user, chown -R USER %s\n", dir, dir)
	}
	return nil
}

// forcedLists returns the lists that are accepted though guards refuse them.
func forcedLists(c *call, cfg *config.Config) ([]string, error) {
	ids, _ := c.GetStringArray("force")
	if c.Changed("force") && len(ids) == 0 { // one empty value is none to pflag
		ids = []string{""}
	}
	for _, id := range ids {
		switch {
		case id == "" || id == "true" || id == "false":
			return nil, errors.New("--force needs the id of a list; write --force=ID, once for each, or --force=all for all")
		case id != "all" && !slices.ContainsFunc(cfg.Lists, func(l policy.List) bool { return l.ID == id && l.URL != "" }):
			return nil, fmt.Errorf("--force=%s: no list with a url has this id; write the id of one, or --force=all", id)
		}
	}
	return ids, nil
}
