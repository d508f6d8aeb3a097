package compliance

import (
	"fmt"
	"io"
	"strings"
)

// Write writes a report for people, in a language: en or fr.
func (r *Report) Write(w io.Writer, language string) {
	word := func(english, french string) string { return t(english, french).In(language) }
	statuses := map[Status]string{Pass: word("pass", "conforme"), Fail: word("FAIL", "NON CONFORME"), NotApplicable: word("does not apply", "sans objet"), Manual: word("to be judged", "à juger")}
	fmt.Fprintf(w, "%s\n%s: %s\n", r.Source, word("configuration", "configuration"), r.Config)
	for _, i := range r.Items {
		id := i.ID
		if i.Severity != "" {
			id += " (" + severityWord(i.Severity, language) + ")"
		}
		fmt.Fprintf(w, "\n%s: %s: %s\n", id, statuses[i.Status], i.Title.In(language))
		for _, s := range i.Settings {
			where := ""
			if s.Line > 0 {
				where = fmt.Sprintf(" (%s:%d)", s.File, s.Line)
			}
			fmt.Fprintf(w, "    %s = %s%s\n", s.Key, strings.TrimSpace(s.Value), where)
		}
		fmt.Fprintf(w, "    %s\n", i.Why.In(language))
		if i.Remedy != nil {
			fmt.Fprintf(w, "    %s %s\n", word("Remedy:", "Remède :"), i.Remedy.In(language))
		}
	}
	fmt.Fprintf(w, "\n%d %s, %d %s, %d %s, %d %s\n", r.Counts[Pass], word("pass", "conformes"), r.Counts[Fail], word("fail", "non conformes"),
		r.Counts[Manual], word("to be judged", "à juger"), r.Counts[NotApplicable], word("do not apply", "sans objet"))
}

func severityWord(s, language string) string {
	return map[string]Text{"high": {"high", "élevée"}, "medium": {"medium", "moyenne"}, "low": {"low", "faible"}}[s].In(language)
}
