package signin

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"

	"rideau/resolver/ops/access"
)

// message is a sentence, in English and in French.
type message struct{ en, fr string }

func (m message) in(lang string) string {
	if lang == "fr" {
		return m.fr
	}
	return m.en
}

var (
	wrong      = message{"The name or the password is wrong.", "Le nom ou le mot de passe est incorrect."}
	tooOften   = message{"Too many attempts failed. Wait a moment, then try again.", "Trop de tentatives ont échoué. Attendez un moment, puis réessayez."}
	busy       = message{"Too many people are signing in. Try again in a few seconds.", "Trop de personnes ouvrent une session. Réessayez dans quelques secondes."}
	unreadable = message{"The form could not be read. Load the page again.", "Le formulaire est illisible. Rechargez la page."}
	otherSite  = message{"Another site sent this form. Open the page of this server, and sign in there.", "Un autre site a envoyé ce formulaire. Ouvrez la page de ce serveur, et ouvrez-y une session."}
	noTLS      = message{"Your password would cross the network in plain text. Open this page with https, or on the server itself.",
		"Votre mot de passe traverserait le réseau en clair. Ouvrez cette page avec https, ou sur le serveur lui-même."}
	noAccount = message{"Nobody can sign in: no users are configured.", "Personne ne peut ouvrir de session : aucun utilisateur n’est configuré."}
)

// texts are the fixed texts of the page.
func texts(lang string) map[string]string {
	out := map[string]string{}
	for k, m := range map[string]message{
		"title":    {"Sign in", "Ouvrir une session"},
		"name":     {"User name", "Nom d’utilisateur"},
		"password": {"Password", "Mot de passe"},
		"submit":   {"Sign in", "Ouvrir une session"},
		"out":      {"Sign out", "Fermer la session"},
		"as":       {"You are signed in as", "Session ouverte en tant que"},
		"on":       {"Continue", "Continuer"},
		"wrong":    {"Error", "Erreur"},
	} {
		out[k] = m.in(lang)
	}
	return out
}

// view is what the page shows.
type view struct {
	Next    string
	Problem message
}

//go:embed signin.html
var pageText string

// show writes the page.
func (p *Pages) show(w http.ResponseWriter, r *http.Request, status int, v view) {
	who := access.From(r.Context())
	s := p.o.Guard.Settings()
	data := struct {
		view
		Lang, Message, Style, Name, CSRF string
		T                                map[string]string
		Local                            bool
	}{v, who.Lang, v.Problem.in(who.Lang), p.o.Style, "", access.CSRF(r.Context()), texts(who.Lang), len(s.Users) > 0 && !plain(r)}
	if who.SignedIn() {
		data.Name = who.Name
	}
	switch {
	case data.Message != "" || data.Local:
	case len(s.Users) > 0:
		data.Message = noTLS.in(who.Lang)
	default:
		data.Message = noAccount.in(who.Lang)
	}
	var out bytes.Buffer
	t, err := template.New("signin").Parse(pageText)
	if err == nil {
		err = t.Execute(&out, data)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", access.PagePolicy)
	h.Set("Content-Language", who.Lang)
	h.Set("Vary", "Accept-Language, Cookie")
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes()) // the client may have gone
}
