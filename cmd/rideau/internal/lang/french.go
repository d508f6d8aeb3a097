package lang

// message is a sentence in both languages. Verbs of package fmt are the same, in the same order.
type message struct{ en, fr string }

// french has the sentences in the order of the commands that say them.
var french = [...]message{
	// What becomes of a query.
	{"banned", "interdit"},
	{"monitored", "surveillé"},
	{"excepted", "excepté"},
	{"special", "nom spécial"},
	{"not served", "non servi"},
	{"refused", "refusé"},
	{"forwarded", "transmis"},

	// The labels of rideau explain.
	{"why", "pourquoi"},
	{"answer", "réponse"},
	{"upstream", "amont"},
	{"note", "note"},
	{"rcode", "rcode"},
	{"ede", "ede"},
	{"ban", "interdit"},
	{"title", "title"},
	{"titre", "titre"},
	{"authority", "autorité"},
	{"instrument", "instrument"},
	{"url", "url"},
	{"effective", "début"},
	{"expires", "fin"},
	{"mode", "mode"},
	{"action", "action"},
	{"contact", "contact"},
	{"exception", "exception"},
	{"ticket", "demande"},
	{"approver", "approuvé"},
	{"until", "jusqu’au"},
	{"clock", "horloge"},
	{"entry", "entrée"},
	{"list", "liste"},
	{"file", "fichier"},
	{"near", "presque"},

	// Its sentences.
	{"%s %s for %s (group %s): %s", "%s %s pour %s (groupe %s) : %s"},
	{"the client is in no range of clients.allow", "le client n’est dans aucune plage de clients.allow"},
	{"ANY is answered here with a record that says so (RFC 8482)", "Rideau répond lui-même à ANY, par un enregistrement qui le dit (RFC 8482)"},
	{"%s is a special-use name, answered here and never forwarded", "%s est un nom à usage spécial : Rideau y répond lui-même et ne le transmet jamais"},
	{"what upstream answers is examined for banned names and addresses, too", "les noms et adresses interdits sont aussi cherchés dans la réponse du serveur amont"},
	{"none: the query is dropped", "aucune : la requête est abandonnée"},
	{"the ban blocks types that Rideau does not know (unknown_types: block)", "l’interdit bloque les types que Rideau ne connaît pas (unknown_types: block)"},
	{"a policy zone of an earlier ban may decide otherwise when it sees upstream's answer", "une zone de politique d’un interdit précédent peut décider autrement quand elle voit la réponse du serveur amont"},
	{"answers with the address %s: %s", "réponses contenant l’adresse %s : %s"},
	{"by the ban %s, entry %s of the list %s, %s:%d", "par l’interdit %s, entrée %s de la liste %s, %s:%d"},
	{"by the exception %s, entry %s of the list %s, %s:%d", "par l’exception %s, entrée %s de la liste %s, %s:%d"},

	// Near misses.
	{"the ban %s names it (%s), and is off", "l’interdit %s le nomme (%s), mais il est désactivé"},
	{"the ban %s names it (%s), and is off for the group %s", "l’interdit %s le nomme (%s), mais il est désactivé pour le groupe %s"},
	{"the ban %s names it (%s), and is for other groups: %s", "l’interdit %s le nomme (%s), mais il vise d’autres groupes : %s"},
	{"the ban %s names it (%s), and begins on %s", "l’interdit %s le nomme (%s), mais il ne commence que le %s"},
	{"the ban %s names it (%s), and ended on %s", "l’interdit %s le nomme (%s), mais il a pris fin le %s"},
	{"the list %s of the ban %s has it (%s) in the tier %s, which tiers leaves out", "la liste %s de l’interdit %s le contient (%s) au niveau %s, que tiers laisse de côté"},
	{"the exception %s names it (%s), and is for other groups: %s", "l’exception %s le nomme (%s), mais elle vise d’autres groupes : %s"},
	{"the exception %s names it (%s), and begins on %s", "l’exception %s le nomme (%s), mais elle ne commence que le %s"},
	{"the exception %s names it (%s), and ended on %s", "l’exception %s le nomme (%s), mais elle a pris fin le %s"},
}
