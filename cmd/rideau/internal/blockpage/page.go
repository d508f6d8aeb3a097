package blockpage

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/extratext"
	"rideau/resolver/listener/admission"
)

//go:embed page.html
var pageText string

//go:embed page.css
var styleText string

var page = template.Must(template.New("page").Parse(pageText))

// policyHeader is the Content-Security-Policy: nothing is loaded or run, and the one style is the page's own.
var policyHeader = func() string {
	sum := sha256.Sum256([]byte(styleText))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}()

// censored is the extended DNS error of what another body requires (RFC 8914 section 4.17).
const censored = 16

// status is the status of responses by a ban: that of RFC 7725 where the law, or another body, requires the ban.
func status(b *blocklists.Ban) int {
	if b.EDE == censored {
		return http.StatusUnavailableForLegalReasons
	}
	return http.StatusForbidden
}

// ServeHTTP answers every method and path alike. It reads no body.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c, ok := r.Context().Value(connKey{}).(*admission.Conn); ok {
		c.Busy()
	}
	defer func() {
		if p := recover(); p != nil {
			s.o.Log.Error("a fault in the program; rideau goes on", "while", "serving the block page", "panic", p, "stack", string(debug.Stack()))
			panic(http.ErrAbortHandler)
		}
	}()
	h := w.Header()
	for key, value := range map[string]string{
		"Cache-Control": "no-store", "Content-Security-Policy": policyHeader, "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff",
		"X-Robots-Tag": "noindex, nofollow", "X-Frame-Options": "DENY", "Cross-Origin-Opener-Policy": "same-origin", "Vary": "Accept, Accept-Language",
	} {
		h.Set(key, value)
	}
	switch {
	case r.Method == http.MethodConnect:
		h.Set("Connection", "close")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	case r.URL.Path == "/favicon.ico" || r.URL.Path == "/robots.txt":
		w.WriteHeader(http.StatusNotFound)
		return
	case r.ContentLength != 0:
		h.Set("Connection", "close") // what the client still sends is not read
	}
	client := remote(r)
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	f, ok := s.find(host, client)
	if !ok {
		s.write(w, r, http.StatusMisdirectedRequest, nil, "")
		return
	}
	s.write(w, r, status(f.ban), &f, s.visit(&f, client))
}

func remote(r *http.Request) netip.Addr {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap().WithZone("")
}

// write writes a page, problem details (RFC 9457) to those who want JSON, and a line of text to all others. f is nil if no ban stops the name.
func (s *Server) write(w http.ResponseWriter, r *http.Request, code int, f *found, reference string) {
	french := preferFrench(r.Header.Get("Accept-Language"))
	var body []byte
	switch accept := strings.ToLower(r.Header.Get("Accept")); {
	case strings.Contains(accept, "json") && !strings.Contains(accept, "text/html"):
		w.Header().Set("Content-Type", "application/problem+json")
		body = problem(code, f, reference, french)
	case accept == "" || strings.Contains(accept, "text/html") || strings.Contains(accept, "*/*") && !strings.Contains(accept, "image/") && !strings.Contains(accept, "text/css"):
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		body = document(f, reference, french)
	default:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		body = []byte(wordsOf(french).title(f) + "\n")
	}
	w.Header().Set("Content-Language", map[bool]string{false: "en, fr", true: "fr, en"}[french])
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	if r.Method != http.MethodHead {
		w.Write(body) // a client that is gone does not matter
	}
}

// document is the page in both languages, the reader's first.
func document(f *found, reference string, french bool) []byte {
	data := struct {
		Lang  string
		Style template.CSS
		Parts []part
	}{Lang: "en", Style: template.CSS(styleText)}
	for _, fr := range []bool{french, !french} {
		data.Parts = append(data.Parts, wordsOf(fr).part(f, reference))
	}
	data.Lang = data.Parts[0].Lang
	var b bytes.Buffer
	if err := page.Execute(&b, data); err != nil {
		panic(fmt.Sprintf("blockpage: %v", err)) // the template fits its data, and a buffer takes all
	}
	return b.Bytes()
}

// problem is the problem details. The reference is their instance.
func problem(code int, f *found, reference string, french bool) []byte {
	w := wordsOf(french)
	p := w.part(f, reference)
	out := map[string]any{"type": "about:blank", "title": p.Title, "status": code, "detail": strings.TrimSpace(p.Intro + " " + p.Name)}
	if f != nil {
		out["ban"] = map[string]string{"id": f.ban.ID, "title": w.named(f.ban)}
		for key, value := range map[string]string{"authority": f.ban.Authority, "instrument": f.ban.Instrument, "url": f.ban.URL, "contact": f.ban.Contact} {
			if value != "" {
				out["ban"].(map[string]string)[key] = value
			}
		}
	}
	if reference != "" {
		out["reference"] = reference
	}
	text, err := json.Marshal(out)
	if err != nil {
		panic(fmt.Sprintf("blockpage: %v", err)) // strings and a number
	}
	return append(text, '\n')
}

// part is what the page says in one language.
type part struct {
	Lang, Title, Intro, Name, End string
	Facts                         []fact
}

type fact struct {
	Label, Text string
	Link        string // empty for none; html/template writes only links of schemes that are safe
}

func (w *words) title(f *found) string {
	if f == nil {
		return w.unknown
	}
	return w.blocked
}

// named is the title of a ban in a language, or else in the other.
func (w *words) named(b *blocklists.Ban) string {
	if w.lang == "fr" && b.TitleFR != "" {
		return b.TitleFR
	}
	return b.TitleEN
}

func (w *words) part(f *found, reference string) part {
	p := part{Lang: w.lang, Title: w.title(f), Intro: w.unknownIntro}
	if f == nil {
		return p
	}
	b := f.ban
	p.Intro, p.Name, p.End = w.intro, f.name, w.end
	add := func(label, text, link string) {
		if text != "" {
			p.Facts = append(p.Facts, fact{label, text, link})
		}
	}
	add(w.ban, w.named(b), "")
	add(w.authority, b.Authority, "")
	add(w.instrument, b.Instrument, "")
	if u, err := url.Parse(b.URL); err == nil {
		add(w.where, u.Host, b.URL)
	}
	if !b.Effective.IsZero() {
		add(w.since, w.date(b.Effective), "")
	}
	link := ""
	if all := extratext.Contacts(b.Contact); len(all) == 1 {
		link = all[0]
	}
	if link != "" && strings.HasPrefix(link, "tel:") {
		link = "" // html/template knows no such scheme
	}
	add(w.contact, b.Contact, link)
	add(w.reference, reference, "")
	if reference == "" {
		p.End = ""
	}
	return p
}

// words are what the page says in one language.
type words struct {
	lang, blocked, intro, ban, authority, instrument, where, since, contact, reference, end string
	unknown, unknownIntro                                                                   string
	months                                                                                  [12]string
	order                                                                                   func(year, day int, month string) string
}

func (w *words) date(t time.Time) string {
	return w.order(t.Year(), t.Day(), w.months[t.Month()-1])
}

func wordsOf(french bool) *words { return &languages[map[bool]int{false: 0, true: 1}[french]] }

var languages = [...]words{
	{
		lang: "en", blocked: "This site is blocked", intro: "A ban that applies to this device does not allow:",
		ban: "Ban", authority: "Decided by", instrument: "Legal basis", where: "Read more", since: "In force since", contact: "Questions", reference: "Reference",
		end:     "If you think that this is a mistake, give the reference to those who answer questions. It holds nothing about you.",
		unknown: "There is nothing here", unknownIntro: "Names that are blocked lead here. The one that you asked for is not blocked by itself; it may lead to one that is.",
		months: [...]string{"January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"},
		order:  func(year, day int, month string) string { return fmt.Sprintf("%s %d, %d", month, day, year) },
	},
	{
		lang: "fr", blocked: "Ce site est bloqué", intro: "Une interdiction qui vise cet appareil ne permet pas l’accès à :",
		ban: "Interdiction", authority: "Décidée par", instrument: "Fondement juridique", where: "Pour en savoir plus", since: "En vigueur depuis le", contact: "Questions", reference: "Référence",
		end:     "Si vous pensez qu’il s’agit d’une erreur, communiquez cette référence aux personnes qui répondent aux questions. Elle ne contient rien à votre sujet.",
		unknown: "Il n’y a rien ici", unknownIntro: "Les noms bloqués mènent ici. Celui que vous avez demandé n’est pas bloqué lui-même; il mène peut-être à un nom qui l’est.",
		months: [...]string{"janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre"},
		order: func(year, day int, month string) string {
			if day == 1 {
				return fmt.Sprintf("1er %s %d", month, year)
			}
			return fmt.Sprintf("%d %s %d", day, month, year)
		},
	},
}

// preferFrench reports whether French is in Accept-Language before English (RFC 9110 section 12.5.4).
func preferFrench(header string) bool {
	type choice struct {
		french bool
		q      float64
	}
	var all []choice
	for _, part := range strings.Split(header, ",") {
		tag, rest, _ := strings.Cut(strings.ToLower(strings.TrimSpace(part)), ";")
		language, _, _ := strings.Cut(strings.TrimSpace(tag), "-")
		q := 1.0
		if value, found := strings.CutPrefix(strings.ReplaceAll(rest, " ", ""), "q="); found {
			q, _ = strconv.ParseFloat(value, 64)
		}
		if (language == "fr" || language == "en") && q > 0 && q <= 1 {
			all = append(all, choice{language == "fr", q})
		}
	}
	slices.SortStableFunc(all, func(a, b choice) int { return int(1000 * (b.q - a.q)) })
	return len(all) > 0 && all[0].french
}
