package server

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/enforced"
	"rideau/blocklists/fingerprint"
	"rideau/blocklists/source"
	"rideau/cmd/rideau/internal/access"
	"rideau/cmd/rideau/internal/blockpage"
	"rideau/cmd/rideau/internal/changes"
	"rideau/cmd/rideau/internal/endpoints"
	"rideau/cmd/rideau/internal/evidence"
	"rideau/cmd/rideau/internal/setup"
	"rideau/cmd/rideau/internal/sockets"
	"rideau/config"
	"rideau/resolver"
	"rideau/resolver/designation"
	"rideau/resolver/ops"
	"rideau/resolver/ops/metrics"
)

// change is a configuration that is not in force yet. A reload and the start take these steps, in this order:
//
//	read           the configuration, and a plan of its upstream servers
//	fetch, Ensure  download lists; this blocks nobody
//	prepare        make policy, upstreams, State, sockets and query log, each of which may fail
//	commit         put them in force; this cannot fail
//
// Before commit nothing that serves differs, and no file. close undoes a change that is not committed.
type change struct {
	s     *Server
	order uint64 // counts the readings of the configuration
	cfg   *config.Config
	plan  setup.UpstreamPlan
	lists *source.Acquisition // nil until the upstream servers are planned
	// options has Force and Start; makePolicy adds the rest.
	options   source.PrepareOptions
	unfetched []ops.Problem // downloads that were asked for and failed
	unknown   []ops.Problem // ids that were forced and that nothing has
	forced    []ops.Forced  // bans that were let through

	readLists bool // makePolicy was called, and report is about its lists
	report    compile.Report
	policy    *blocklists.Snapshot
	slots     blocklists.Slots
	ups       *setup.Upstreams
	state     *resolver.State
	sockets   *sockets.Binding
	secured   *endpoints.Change
	sinks     *evidence.Change
	authority *blockpage.Authority
	access    *access.Plan
	queries   *os.File
	committed bool
}

// reload reads the configuration and the lists, and puts them in force as a whole. If anything fails, nothing changes. The result has
// Problems with an error, too.
func (s *Server) reload(ctx context.Context, o ops.ReloadOptions) (ops.ReloadResult, error) {
	c, err := s.begin(ctx, o)
	defer s.mu.Unlock()
	defer c.close()
	if s.ctx.Err() != nil {
		err = errStopping
	}
	if err == nil {
		err = c.prepare(ctx)
	}
	var result ops.ReloadResult
	if err == nil {
		result = s.commit(c)
		result.Forced = changes.Forced(c.report.Forced, c.forced)
		for _, e := range c.report.Failed {
			result.Refused = append(result.Refused, e.List)
		}
	}
	result.Policy, result.Unfetched = s.resolver.State().Policy(), c.unfetched
	result.Problems = append(c.unknown, changes.Problems(err, c.report)...)
	if ctx.Err() == nil && !errors.Is(err, changes.ErrUnknown) {
		s.reloads.Record(s.now(), err == nil, c.listResults())
	}
	return result, err
}

// begin reads the configuration, downloads what is missing, which delays no other reload, and then locks mu, also when it returns an error.
// If another reload has put a later reading in force meanwhile, begin starts over: an old configuration never replaces a new one.
func (s *Server) begin(ctx context.Context, o ops.ReloadOptions) (*change, error) {
	for {
		c, err := s.read()
		if err == nil {
			c.options.Force = o.Force
			if c.unknown = changes.Unknown(o.Force, c.cfg, s.resolver.State().Policy().Policy()); len(c.unknown) > 0 {
				err = changes.ErrUnknown
			}
		}
		if err == nil {
			c.fetch(ctx, o)
			_ = c.lists.Ensure(ctx, 0) // makePolicy reports what is missing
		}
		s.mu.Lock()
		if c.order > s.order {
			return c, err
		}
		s.mu.Unlock()
		c.close()
	}
}

// read reads the configuration, once for each reload, and plans its upstream servers. The change is never nil.
func (s *Server) read() (*change, error) {
	s.reading.Lock()
	s.readings++
	c := &change{s: s, order: s.readings}
	var err error
	c.cfg, err = setup.Load(s.path)
	s.reading.Unlock()
	if err != nil {
		return c, err
	}
	return c, c.planLists()
}

// planLists plans the upstream servers, and the lists, whose downloads need those servers.
func (c *change) planLists() error {
	var known []netip.AddrPort
	if _, ups := c.s.current(); ups != nil {
		known = ups.System
	}
	var err error
	if c.plan, err = setup.PlanUpstreams(c.cfg, known); err != nil {
		return err
	}
	c.lists = c.s.sources.Begin(c.s.listPlan(c.cfg, c.plan))
	return nil
}

// listPlan returns what lists a configuration has, and how they are downloaded.
func (s *Server) listPlan(cfg *config.Config, p setup.UpstreamPlan) *source.Plan {
	out := setup.Lists(cfg)
	out.Policy.NAT64 = s.translators(cfg)
	out.Fetch = setup.Downloads(cfg, p, "rideau/"+s.o.Build.Version)
	return out
}

// prepare makes everything that the change puts in force. s.mu is held, or nothing serves yet.
func (c *change) prepare(ctx context.Context) error {
	for _, step := range []func(context.Context) error{c.makePolicy, c.keepBans, c.makeUpstreams, c.bindEncrypted, c.makeState, c.bindSockets, c.readAccess, c.openSinks, c.loadAuthority, c.openQueryLog} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (c *change) makePolicy(ctx context.Context) (err error) {
	o := c.options
	if c.s.resolver != nil {
		before, _ := c.s.current()
		o.Previous = c.s.resolver.State().Policy()
		o.SamePolicy = samePolicy(before, c.cfg) && slices.Equal(o.Previous.Policy().NAT64, c.s.translators(c.cfg))
	}
	c.slots, c.readLists = c.s.slots, true
	o.Slots, o.Now = &c.slots, c.s.instants(c.cfg)
	background(func() { c.policy, c.report, err = c.lists.Prepare(ctx, o) })
	return err
}

// keepBans refuses a policy by which bans that are enforced now would be lost.
func (c *change) keepBans(context.Context) error {
	if c.s.resolver == nil {
		return nil
	}
	var lost config.Problems
	before, _ := c.s.current()
	lost, c.forced = changes.Kept(changes.Side{Config: before, Policy: c.s.resolver.State().Policy()},
		changes.Side{Config: c.cfg, Policy: c.policy}, c.options.Force, c.s.now())
	if len(lost) > 0 {
		return lost
	}
	return nil
}

// samePolicy reports whether two configurations make the same policy of the same lists.
func samePolicy(a, b *config.Config) bool {
	return a.File == b.File && !slices.ContainsFunc(config.Changed(a, b), func(k string) bool { return config.Applies(k) == config.Lists })
}

func (c *change) makeUpstreams(context.Context) (err error) {
	_, old := c.s.current()
	c.ups, err = setup.NewUpstreams(c.cfg, c.plan, old, c.s.log)
	return err
}

func (c *change) makeState(context.Context) error {
	cookies, err := setup.Jar(c.cfg, c.s.secret)
	if err != nil {
		return err
	}
	services, _ := c.secured.Designated()
	designated, err := designation.New(services)
	if err != nil {
		return err
	}
	presence, err := setup.Presence(c.cfg)
	if err != nil {
		return err
	}
	c.state, err = resolver.NewState(resolver.StateOptions{Policy: c.policy, Clients: c.cfg.Clients.Allow,
		Upstream: c.ups.Fallback(c.plan), Routes: c.ups.Routes, UDPSize: uint16(c.cfg.Listen.UDPSize),
		Designated: designated, Presence: presence, Cookies: cookies, NSID: c.cfg.Listen.NSID, Amplification: c.cfg.Limits.Amplification})
	if err == nil && c.s.resolver == nil {
		c.s.assemble(c)
	}
	return err
}

// bindSockets binds the addresses that are not bound yet. At the start that is done before, so that queries are queued while lists are read.
func (c *change) bindSockets(context.Context) (err error) {
	if c.sockets != nil {
		return nil
	}
	c.sockets, err = c.s.sockets.Bind(c.cfg, c.s.waits)
	return err
}

// bindEncrypted reads the certificates, and binds the encrypted listeners that are not bound yet.
func (c *change) bindEncrypted(context.Context) (err error) {
	c.secured, err = c.s.secured.Prepare(c.cfg)
	return err
}

func (c *change) loadAuthority(context.Context) (err error) {
	c.authority, err = blockpage.LoadAuthority(c.cfg, time.Now())
	return err
}

// readAccess reads who may use the operators' HTTP.
func (c *change) readAccess(context.Context) (err error) {
	c.access, err = access.Read(c.cfg)
	if err == nil && c.s.access == nil {
		c.s.access = access.New(c.access, c.s.record)
	}
	return err
}

func (c *change) openSinks(context.Context) (err error) {
	c.sinks, err = c.s.evidence.Prepare(c.cfg.Evidence)
	return err
}

// openQueryLog is the last step, since it may create a file: no later step can fail and leave it behind.
func (c *change) openQueryLog(context.Context) (err error) {
	c.queries, err = setup.OpenQueryLog(c.cfg)
	return err
}

// commit puts a change in force, and returns what it changed. It cannot fail: if a last good copy cannot be written, that is logged. s.mu is
// held, or nothing serves yet.
func (s *Server) commit(c *change) ops.ReloadResult {
	c.committed = true
	before, ups := s.current()
	old := s.resolver.State().Policy()
	result := c.result(before, ups, old)
	s.order, s.slots = c.order, c.slots
	s.resolver.SetState(c.state)
	s.level.Set(c.cfg.Log.Level)
	s.queries.Use(c.queries, queryLogBounds(c.cfg))
	s.events.Use(eventOptions(c.cfg))
	c.sinks.Commit()
	authority := s.page.Use(c.authority)
	s.access.Use(c.access)
	s.view.Lock()
	s.cfg, s.ups = c.cfg, c.ups
	s.view.Unlock()
	if c.ups != ups {
		c.ups.Start(s.ctx)
		if ups != nil {
			ups.Close()
			s.cache.Flush() // other servers may give other answers
		}
	}
	s.gate.LimitClients(c.cfg.Limits.QueriesPerSecond, c.cfg.Limits.Burst)
	s.gate.LimitOctets(c.cfg.Limits.UnverifiedBytesPerSecond)
	s.limitMemory(c.cfg)
	s.cache.Resize(c.cfg.Cache.MaxEntries, c.cfg.Cache.MaxBytes)
	s.sockets.Open(c.sockets, s.resolver)
	s.sockets.Retain(c.cfg)
	c.secured.Commit(s.resolver)
	s.held.Settle()
	s.nat64.Wake()
	s.arm(c.policy)
	if before != nil {
		s.warnOpen(enforced.Any(old), c.policy)
	}
	background(c.lists.Commit)
	policy := before == nil || c.policy.Generation() != old.Generation()
	if policy || result.Changed {
		result.Warnings = append(changes.Warnings(c.cfg, c.plan, c.policy), changes.Problems(config.Problems(append(authority, c.secured.Warnings...)), compile.Report{})...)
		s.warn(result.Warnings)
	}
	if policy {
		s.warnSkipped(c.report)
		giveBack(c.policy) // last, since it competes with everything before it for the processor
	}
	return result
}

// result compares the change with what serves: the configuration, which is nil at the start, the upstream servers and the policy.
func (c *change) result(before *config.Config, ups *setup.Upstreams, old *blocklists.Snapshot) ops.ReloadResult {
	if before == nil {
		return ops.ReloadResult{Changed: true}
	}
	var out ops.ReloadResult
	keys := config.Changed(before, c.cfg)
	out.Changes = append(changes.Keys(before, c.cfg), changes.System(ups.System, c.plan.System)...)
	out.Changes = append(out.Changes, changes.Lists(old, c.policy)...)
	out.Changed = len(keys) > 0 || c.secured.Changed || c.s.access.Changes(c.access) || c.ups != ups || fingerprint.Of(c.policy) != fingerprint.Of(old)
	for _, k := range keys {
		if config.Applies(k) == config.Restart {
			out.Restart = append(out.Restart, k)
		}
	}
	return out
}

// close undoes a change that was not committed.
func (c *change) close() {
	if c.lists != nil {
		c.lists.Close()
	}
	if c.committed {
		return
	}
	c.sockets.Close()
	c.secured.Close()
	c.sinks.Close()
	if c.queries != nil {
		c.queries.Close()
	}
	if _, ups := c.s.current(); c.ups != nil && c.ups != ups {
		c.ups.Close()
	}
}

// listResults returns, for each list of the configuration, whether it was read; nil if makePolicy was not called.
func (c *change) listResults() []metrics.ListResult {
	if !c.readLists {
		return nil
	}
	var out []metrics.ListResult
	for _, l := range c.cfg.Lists {
		failed := slices.ContainsFunc(c.report.Failed, func(e *compile.ListError) bool { return e.List == l.ID })
		out = append(out, metrics.ListResult{List: l.ID, OK: !failed})
	}
	return out
}

// giveBack returns memory to the system after a large policy was made; the
// runtime would keep it for a while. Answering goes on meanwhile.
func giveBack(snap *blocklists.Snapshot) {
	const large = 1 << 20
	if snap.Memory() > large {
		go background(debug.FreeOSMemory)
	}
}
