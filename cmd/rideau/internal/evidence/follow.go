package evidence

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"

	"rideau/blocklists"
	server "rideau/config"
	"rideau/resolver/audit/act"
	"rideau/resolver/ops"
)

// followed is what Follow saw last.
type followed struct {
	begun        bool
	exceptions   map[string]act.Exception
	certificates map[string]act.Certificate
}

// Actor is who sent a request of the operators' HTTP; nil stands for the program itself.
func Actor(c *ops.Caller) act.Actor {
	switch {
	case c == nil:
		return act.Actor{Way: act.ByItself}
	case c.Socket && c.Peer != nil:
		return act.Actor{Way: act.BySocket, User: strconv.FormatUint(uint64(c.Peer.User), 10), Process: int(c.Peer.Process)}
	case c.Socket:
		return act.Actor{Way: act.BySocket}
	}
	return act.Actor{Way: act.ByHTTP, Address: c.Address, User: c.Who.Name}
}

// Flushed is the act of a flush of the cache.
func Flushed(actor act.Actor, f ops.Flush, entries int, err error) act.Act {
	a := act.Act{Kind: act.Flush, Actor: actor, Object: f.Name, Reason: fmt.Sprintf("%d entries were removed", entries)}
	if f.Tree {
		a.Reason += ", of the name and of all below it"
	}
	if f.Name == "" {
		a.Reason += ", which were all"
	}
	if err != nil {
		a.Failed, a.Reason = true, err.Error()
	}
	return a
}

// Follow compares the exceptions of a policy and the certificates of a configuration with those of the call before, and returns the acts
// that the differences are, for which actor asked. The first call returns none. It reads the files of certificates.
func (e *Evidence) Follow(actor act.Actor, policy *blocklists.Snapshot, cfg *server.Config) []act.Act {
	e.following.Lock()
	defer e.following.Unlock()
	now := followed{true, exceptions(policy), certificates(cfg)}
	before := e.follow(now)
	if !before.begun {
		return nil
	}
	return append(changedExceptions(actor, before.exceptions, now.exceptions), changedCertificates(actor, before.certificates, now.certificates)...)
}

// FollowCertificates is Follow for certificates alone, which may be replaced without a reload: their files are read for each connection.
func (e *Evidence) FollowCertificates(cfg *server.Config) []act.Act {
	e.following.Lock()
	defer e.following.Unlock()
	e.mu.Lock()
	now := e.followed
	e.mu.Unlock()
	if !now.begun {
		return nil
	}
	now.certificates = certificates(cfg)
	return changedCertificates(act.Actor{Way: act.ByItself}, e.follow(now).certificates, now.certificates)
}

// follow replaces what was seen last, and returns it.
func (e *Evidence) follow(now followed) (before followed) {
	e.mu.Lock()
	defer e.mu.Unlock()
	before, e.followed = e.followed, now
	return before
}

// exceptions returns the exceptions of a policy by id.
func exceptions(s *blocklists.Snapshot) map[string]act.Exception {
	out := map[string]act.Exception{}
	for i, x := range s.Policy().Exceptions {
		out[x.ID] = act.Exception{ID: x.ID, Ticket: x.Ticket, Approver: x.Approver, Contact: x.Contact, Reason: x.Reason, Groups: x.Groups, Lists: x.Lists,
			Effective: x.Effective, Expires: x.Expires, InForce: s.Excepts(i)}
	}
	return out
}

func changedExceptions(actor act.Actor, before, now map[string]act.Exception) []act.Act {
	var out []act.Act
	add := func(k act.Kind, who act.Actor, x act.Exception, reason string) {
		out = append(out, act.Act{Kind: k, Actor: who, Object: x.ID, Exception: &x, Reason: reason})
	}
	for _, id := range slices.Sorted(maps.Keys(now)) {
		x := now[id]
		old, had := before[id]
		same := old
		same.InForce = x.InForce
		who := actor
		switch {
		case !had:
			add(act.ExceptionMade, actor, x, x.Reason)
		case !reflect.DeepEqual(same, x):
			add(act.ExceptionMade, actor, x, "it was changed")
		default:
			who = act.Actor{Way: act.ByDate}
		}
		switch {
		case x.InForce && !old.InForce:
			add(act.ExceptionBegan, who, x, "")
		case !x.InForce && old.InForce:
			add(act.ExceptionEnded, who, x, "by its date")
		}
	}
	for _, id := range slices.Sorted(maps.Keys(before)) {
		x := before[id]
		if _, has := now[id]; has {
			continue
		}
		was := x.InForce
		x.InForce = false
		if was {
			add(act.ExceptionEnded, actor, x, "it was removed")
		}
		add(act.ExceptionRemoved, actor, x, "")
	}
	return out
}

// certificates returns the certificates that a configuration names, by their keys. Of a file with several it is the first, with the digest of
// all of them.
func certificates(cfg *server.Config) map[string]act.Certificate {
	out := map[string]act.Certificate{}
	add := func(use, file string) {
		if file == "" {
			return
		}
		if text, err := os.ReadFile(file); err == nil {
			if c, ok := Certificate(use, text); ok {
				c.File = file
				out[use] = c
			}
		}
	}
	for _, s := range cfg.Upstream.Servers {
		add(fmt.Sprintf("upstream.servers[%v].ca_file", s), s.CAFile)
	}
	for _, f := range cfg.Forward {
		for _, s := range f.Servers {
			add(fmt.Sprintf("forward[%v].ca_file", s), s.CAFile)
		}
	}
	add("fetch.ca_file", cfg.Fetch.CAFile)
	for i, l := range cfg.Listen.Encrypted {
		for j, c := range l.Certificates {
			add(fmt.Sprintf("listen.encrypted[%d].certificates[%d].certificate", i, j), c.Certificate)
		}
		add(fmt.Sprintf("listen.encrypted[%d].client_ca", i), l.ClientCA)
	}
	for _, s := range cfg.Evidence.Sinks {
		add("evidence.sinks["+s.ID+"].ca_file", s.CAFile)
		add("evidence.sinks["+s.ID+"].certificate", s.Certificate)
	}
	return out
}

// Certificate tells of the certificates in a text in PEM form: of the first, with the digest of all of them. use is the key of the
// configuration that they are for.
func Certificate(use string, text []byte) (act.Certificate, bool) {
	var first *x509.Certificate
	sum := sha256.New()
	for {
		var b *pem.Block
		if b, text = pem.Decode(text); b == nil {
			break
		}
		if b.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			continue
		}
		sum.Write(b.Bytes)
		if first == nil {
			first = c
		}
	}
	if first == nil {
		return act.Certificate{}, false
	}
	return act.Certificate{Use: use, Subject: first.Subject.String(), Issuer: first.Issuer.String(), Serial: first.SerialNumber.Text(16),
		Fingerprint: hex.EncodeToString(sum.Sum(nil)), NotBefore: first.NotBefore, NotAfter: first.NotAfter}, true
}

func changedCertificates(actor act.Actor, before, now map[string]act.Certificate) []act.Act {
	uses := map[string]act.Certificate{}
	maps.Copy(uses, before)
	maps.Copy(uses, now)
	var out []act.Act
	for _, use := range slices.Sorted(maps.Keys(uses)) {
		old, had := before[use]
		c, has := now[use]
		switch {
		case !has:
			out = append(out, CertificateChanged(actor, old, nil))
		case !had:
			out = append(out, CertificateChanged(actor, act.Certificate{Use: use}, &c))
		case old.Fingerprint != c.Fingerprint:
			out = append(out, CertificateChanged(actor, old, &c))
		}
	}
	return out
}

// CertificateChanged is the act of a certificate that took the place of another: also of one that a listener shows. old has at least a Use;
// c is nil if there is none any more.
func CertificateChanged(actor act.Actor, old act.Certificate, c *act.Certificate) act.Act {
	a := act.Act{Kind: act.CertificateChanged, Actor: actor, Object: old.Use, Certificate: c}
	change := act.Change{File: old.File, Key: old.Use, Before: old.Fingerprint}
	if c != nil {
		change.File, change.After = c.File, c.Fingerprint
	}
	a.Changes = []act.Change{change}
	return a
}
