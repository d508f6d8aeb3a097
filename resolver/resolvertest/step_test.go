package resolvertest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"rideau/resolver"
	"rideau/resolver/wire"
)

// actions are the steps that do something, by their first word.
func (r *run) actions() map[string]func(*line, []string) error {
	return map[string]func(*line, []string) error{
		"query": r.ask, "send": r.send, "start": r.start, "await": r.await,
		"wait": r.wait, "write": r.write, "remove": r.remove, "reload": r.reload, "upstream": r.setUpstream,
		"flush": r.flush,
	}
}

// step runs the step that lines begin with, and returns how many lines it has.
func (r *run) step(lines []line) int {
	l := &lines[0]
	word, args := l.words[0], l.words[1:]
	if action := r.actions()[word]; action != nil {
		r.unchecked()
		if err := action(l, args); err != nil {
			r.fatal(l.at, err)
		}
		return 1
	}
	n := 1
	var err error
	switch word {
	case "answer", "authority", "additional", "ede": // consecutive lines
		for n < len(lines) && lines[n].words[0] == word {
			n++
		}
		err = r.expectAll(word, lines[:n])
	default:
		expect := r.expectation(word)
		if expect == nil {
			r.fatal(l.at, fmt.Errorf("unknown word %q; README.md has the list", word))
		}
		err = expect(args)
	}
	if err != nil {
		r.failf(l.at, "%s: %v", l.text, err)
	}
	return n
}

// ask is "query NAME TYPE [OPTION...]".
func (r *run) ask(l *line, words []string) error {
	r.serial++
	x, err := newExchange(l, words, r.serial)
	if err == nil {
		r.carryOut(x)
	}
	return err
}

// carryOut answers a query, and waits for as long as that takes.
func (r *run) carryOut(x *exchange) {
	if wait := r.answer(x); wait != nil {
		wait()
		r.settle(x)
	}
	r.last = x
}

// send is "send HEX...".
func (r *run) send(l *line, words []string) error {
	x, err := newRaw(l, words)
	if err == nil {
		r.carryOut(x)
	}
	return err
}

// start is "start ID NAME TYPE [OPTION...]".
func (r *run) start(l *line, words []string) error {
	if len(words) == 0 || r.started[words[0]] != nil {
		return errors.New("start takes an id of its own, then what query takes")
	}
	r.serial++
	x, err := newExchange(l, words[1:], r.serial)
	if err != nil {
		return err
	}
	r.background = true
	p := &pending{x, make(chan struct{})}
	r.started[words[0]] = p
	select {
	case <-r.waits: // of a query that was not started
	default:
	}
	wait := r.answer(x)
	if wait == nil {
		return errors.New("this query does not have to wait: use query")
	}
	go func() {
		defer close(p.done)
		wait()
	}()
	select { // the next step finds it waiting
	case <-r.waits:
	case <-p.done:
	}
	return nil
}

// nowWaits notes that a query waits for a response.
func (r *run) nowWaits() {
	select {
	case r.waits <- struct{}{}:
	default:
	}
}

// waitContext returns ctx; the run notes when it is first waited for.
func (r *run) waitContext(ctx context.Context) context.Context {
	return waitContext{ctx, sync.OnceFunc(r.nowWaits)}
}

// waitContext is a context that reports when it is first waited for.
type waitContext struct {
	context.Context
	first func()
}

func (c waitContext) Done() <-chan struct{} {
	c.first()
	return c.Context.Done()
}

// await is "await ID".
func (r *run) await(_ *line, words []string) error {
	if len(words) != 1 || r.started[words[0]] == nil {
		return errors.New("await takes the id of a query that was started")
	}
	p := r.started[words[0]]
	delete(r.started, words[0])
	<-p.done
	r.settle(p.exchange)
	r.last = p.exchange
	return nil
}

// answer passes a query to the resolver as a listener does: to Answer, with the
// listener's own buffers. If the query is left pending, the function that answer
// returns finishes it, with copies of the buffers.
func (r *run) answer(x *exchange) (wait func()) {
	if r.front != nil {
		return r.front(x)
	}
	msg := slices.Clone(x.sent)
	q := &resolver.Query{Msg: msg, Client: x.client, Transport: x.transport, Received: r.clock.Now(), Keepalive: x.keepalive}
	before := r.asked()
	// The response is appended: the content of the buffer stays.
	const head = "head"
	out, o := r.resolver.Answer([]byte(head), q)
	if string(out[:len(head)]) != head {
		r.failf(x.at, "Answer wrote over what stood in the buffer")
	}
	if string(msg) != string(x.sent) {
		r.failf(x.at, "Answer wrote to the query")
	}
	if n := r.asked(); n != before && !r.background {
		r.failf(x.at, "Answer asked upstream")
	}
	if o.Kind != resolver.Pending {
		x.out, x.outcome = out[len(head):], o
		r.counters.Observe(q, o, 0)
		r.settle(x)
		return nil
	}
	if len(out) != len(head) {
		r.failf(x.at, "Answer leaves the query pending and appended %x", out[len(head):])
	}
	moved := *q
	moved.Msg = slices.Clone(msg)
	clear(msg)
	return func() {
		out, o := r.resolve(r, []byte(head), &moved)
		x.out, x.outcome = out[len(head):], o
		r.counters.Observe(&moved, o, 0)
	}
}

// resolveFunc finishes a query that Answer left pending.
type resolveFunc func(r *run, dst []byte, q *resolver.Query) ([]byte, resolver.Outcome)

// plainResolve calls Resolve, as listeners do on a goroutine.
func plainResolve(r *run, dst []byte, q *resolver.Query) ([]byte, resolver.Outcome) {
	return r.resolver.Resolve(r.waitContext(context.Background()), dst, q)
}

// asked is how many queries all upstreams together have received.
func (r *run) asked() int {
	n := 0
	for _, u := range r.upstreams {
		n += len(u.Queries())
	}
	return n
}

// settle parses the response, and checks it against the rules for all responses.
func (r *run) settle(x *exchange) {
	x.answered, x.policy, x.model = r.clock.Now(), r.snapshot, r.model
	r.background = r.background || x.outcome.Kind == resolver.Stale
	x.decode()
	for _, err := range r.violations(x) {
		r.failf(x.at, "%v\n%v", err, x)
	}
}

// wait is "wait DURATION". Bans begin and end as time passes.
func (r *run) wait(_ *line, words []string) error {
	if len(words) != 1 {
		return errors.New("wait takes a duration")
	}
	var d time.Duration
	if err := setDuration(&d)(words[0]); err != nil {
		return err
	}
	now := r.clock.Now().Add(d)
	r.clock.set(now)
	if next := r.snapshot.NextChange(); !next.IsZero() && !next.After(now) {
		r.snapshot = r.snapshot.At(now)
		r.resolver.SetState(r.resolver.State().WithPolicy(r.snapshot))
	}
	return nil
}

// write is "write FILE" with the new content indented below it. An upstream
// answers by it at once; the resolver waits for a reload.
func (r *run) write(l *line, words []string) error {
	if len(words) != 1 {
		return errors.New("write takes a file's name")
	}
	f := file{text: l.blockText(), first: l.at + 1}
	r.files[words[0]] = f
	if id, ok := upstreamID(words[0]); ok {
		u := r.upstreams[id]
		if u == nil {
			return fmt.Errorf("no upstream %s", id)
		}
		return u.load(f.text, f.first)
	}
	return nil
}

// remove is "remove FILE".
func (r *run) remove(_ *line, words []string) error {
	if len(words) != 1 {
		return errors.New("remove takes a file's name")
	}
	delete(r.files, words[0])
	return nil
}

// reload is "reload [force] [fails TEXT]".
func (r *run) reload(_ *line, words []string) error {
	force := len(words) > 0 && words[0] == "force"
	if force {
		words = words[1:]
	}
	fails := len(words) == 2 && words[0] == "fails"
	if !fails && len(words) > 0 {
		return errors.New(`reload takes [force] [fails "TEXT"]`)
	}
	p, err := r.readPolicy()
	if err != nil {
		return err
	}
	old := r.policy
	st, err := r.load(p, force)
	switch {
	case fails && err == nil:
		return fmt.Errorf("it succeeded; want an error with %q", words[1])
	case fails && !strings.Contains(err.Error(), words[1]):
		return fmt.Errorf("want an error with %q, got: %w", words[1], err)
	case fails:
		return nil
	case err != nil:
		return err
	}
	r.resolver.SetState(st)
	if !slices.Equal(old.upstreams, p.upstreams) || !reflect.DeepEqual(old.forwards, p.forwards) {
		r.cache.Flush() // as in the server: other upstreams may answer differently
	}
	return nil
}

// setUpstream is "upstream [NAME] down|up|hold|release".
func (r *run) setUpstream(_ *line, words []string) error {
	id := "main"
	if len(words) == 2 {
		id, words = words[0], words[1:]
	}
	u := r.upstreams[id]
	if u == nil || len(words) != 1 {
		return errors.New("upstream takes the name of one, and down, up, hold or release")
	}
	switch words[0] {
	case "down", "up":
		u.SetDown(words[0] == "down")
	case "hold":
		u.Hold()
	case "release":
		u.Release()
	default:
		return fmt.Errorf("unknown %q; use down, up, hold or release", words[0])
	}
	return nil
}

// flush is "flush NAME|tree NAME|all" with the number of entries that go.
func (r *run) flush(_ *line, words []string) error {
	if len(words) < 2 {
		return errors.New("flush takes a name, tree and a name, or all, and a number")
	}
	var name wire.Name
	var n int
	text := words[len(words)-2]
	if err := name.SetText(text); err != nil {
		return err
	}
	switch {
	case text == "all" && len(words) == 2:
		n = r.cache.Flush()
	case words[0] == "tree" && len(words) == 3:
		n = r.cache.FlushTree(&name)
	case len(words) == 2:
		n = r.cache.FlushName(&name)
	default:
		return fmt.Errorf("unknown %q", words[0])
	}
	if want := words[len(words)-1]; strconv.Itoa(n) != want {
		return fmt.Errorf("%d entries went, want %s", n, want)
	}
	return nil
}
