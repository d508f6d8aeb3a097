package compliance

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"

	"rideau/config"
	"rideau/config/evidence"
	"rideau/config/policy"
	"rideau/config/server"
)

// servers are all servers to which queries are forwarded.
func (v *view) servers() []server.Server {
	out := slices.Clone(v.Upstream.Servers)
	for _, f := range v.Forward {
		out = append(out, f.Servers...)
	}
	return out
}

func local(s server.Server) bool {
	return len(s.Addresses) > 0 && !slices.ContainsFunc(s.Addresses, func(a netip.AddrPort) bool { return !a.Addr().IsLoopback() })
}

// sinks are the sinks of some kinds, with the keys that are looked at.
func (v *view) sinks(kinds ...evidence.Kind) []evidence.Sink {
	var out []evidence.Sink
	for i, s := range v.Evidence.Sinks {
		if slices.Contains(kinds, s.Kind) {
			v.see(fmt.Sprintf("evidence.sinks[%d].id", i), s.ID)
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		v.see("evidence.sinks", fmt.Sprint(len(v.Evidence.Sinks)))
	}
	return out
}

// remote reports whether a sink is on another machine.
func remote(s evidence.Sink) bool {
	if s.Kind == evidence.File || s.Kind == evidence.Stdout || s.Address == "" {
		return false
	}
	scheme, address := s.Remote()
	if address == "" {
		address = s.Address
	}
	a, err := netip.ParseAddrPort(address)
	return scheme != "unix" && err == nil && !a.Addr().IsLoopback()
}

// records reports whether a sink gets what bans decide.
func records(s evidence.Sink) bool {
	return (s.Events == evidence.Banned || s.Events == evidence.All) && len(s.Bans)+len(s.Groups) == 0
}

func knownClients(v *view) outcome {
	v.see("clients.allow", v.Clients.Allow)
	wide, public := false, false
	for _, p := range v.Clients.Allow {
		if a := p.Addr(); a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() {
			continue
		}
		public = true
		wide = wide || p.Bits() < 8 || p.Addr().Is6() && p.Bits() < 20
	}
	switch {
	case wide:
		return outcome{Fail, t("Ranges of the whole Internet are answered.", "Des plages de tout Internet reçoivent des réponses."),
			t("Write the networks of your own clients into clients.allow.", "Inscrivez les réseaux de vos propres clients dans clients.allow.")}
	case public:
		return outcome{Manual, t("Public ranges are answered.", "Des plages publiques reçoivent des réponses."),
			t("See that each of these ranges is your organization's.", "Vérifiez que chacune de ces plages appartient à votre organisation.")}
	}
	return outcome{status: Pass, why: t("Only private ranges are answered.", "Seules des plages privées reçoivent des réponses.")}
}

func approvedUpstreams(v *view) outcome {
	v.see("upstream.servers", serverList(v.Upstream.Servers))
	v.see("upstream.allowed", v.Upstream.Allowed)
	system := slices.ContainsFunc(v.servers(), func(s server.Server) bool { return s.Transport == config.System })
	return judge(!system && len(v.Upstream.Allowed) > 0, t("Queries go to listed servers within approved ranges, and nowhere else.", "Les requêtes vont à des serveurs nommés, dans des plages approuvées, et nulle part ailleurs."),
		t("The servers are those of the system, or no range is approved.", "Les serveurs sont ceux du système, ou aucune plage n’est approuvée."),
		t("Name your approved resolvers in upstream.servers, and their ranges in upstream.allowed.", "Nommez vos résolveurs approuvés dans upstream.servers, et leurs plages dans upstream.allowed."))
}

// serverList returns servers as text.
func serverList(all []server.Server) string {
	text := fmt.Sprint(all)
	return text[1 : len(text)-1]
}

func connectionLimit(v *view) outcome {
	c := v.Listen.TCP
	v.see("listen.tcp.max_connections", c.MaxConnections)
	v.see("listen.tcp.max_connections_per_client", c.MaxConnectionsPerClient)
	return judge(c.MaxConnectionsPerClient < c.MaxConnections, t("Connections are bounded, in all and for each client.", "Les connexions sont bornées, au total et par client."),
		t("One client may have all connections.", "Un client peut occuper toutes les connexions."),
		t("Set listen.tcp.max_connections_per_client below max_connections.", "Réglez listen.tcp.max_connections_per_client au-dessous de max_connections."))
}

func zoneLimit(v *view) outcome {
	v.see("listen.max_pending", v.Listen.MaxPending)
	return outcome{status: Pass, why: t("No zone and no client may have more of the pending queries than is still free.", "Aucune zone et aucun client ne peut occuper plus de requêtes en attente qu’il n’en reste de libres.")}
}

func serverLimit(v *view) outcome {
	v.see("upstream.max_in_flight", v.Upstream.MaxInFlight)
	return outcome{status: Pass, why: t("Requests in flight to each server are bounded.", "Les requêtes en cours vers chaque serveur sont bornées.")}
}

func mixedCase(v *view) outcome {
	v.see("upstream.mix_case", v.Upstream.MixCase)
	if len(v.servers()) > 0 && !slices.ContainsFunc(v.servers(), func(s server.Server) bool { return !s.Transport.Encrypted() }) {
		return outcome{status: NotApplicable, why: t("All servers are asked over encrypted transports.", "Tous les serveurs sont interrogés par des transports chiffrés.")}
	}
	return judge(v.Upstream.MixCase, t("Names in queries have letters in random case.", "Les noms dans les requêtes ont des lettres de casse aléatoire."),
		t("Names in queries are in lower case.", "Les noms dans les requêtes sont en minuscules."), t("Set upstream.mix_case: true.", "Réglez upstream.mix_case: true."))
}

func cookies(v *view) outcome {
	v.see("listen.cookies.enabled", v.Listen.Cookies.Enabled)
	v.see("upstream.cookies", v.Upstream.Cookies)
	return judge(v.Listen.Cookies.Enabled && v.Upstream.Cookies, t("Cookies are used with clients and servers.", "Les témoins DNS sont utilisés avec les clients et les serveurs."),
		t("Cookies are off.", "Les témoins DNS sont désactivés."), t("Set listen.cookies.enabled and upstream.cookies to true.", "Réglez listen.cookies.enabled et upstream.cookies à true."))
}

func rateLimit(v *view) outcome {
	v.see("limits.queries_per_second", v.Limits.QueriesPerSecond)
	v.see("limits.flood", v.Limits.Flood)
	return judge(v.Limits.QueriesPerSecond > 0 && v.Limits.Flood, t("Each client has a limit, and floods are turned away.", "Chaque client a une limite, et les inondations sont écartées."),
		t("Clients have no limit, or floods are not turned away.", "Les clients n’ont pas de limite, ou les inondations ne sont pas écartées."),
		t("Set limits.queries_per_second above the busiest client, and limits.flood: true.", "Réglez limits.queries_per_second au-dessus du client le plus actif, et limits.flood: true."))
}

func queryLog(v *view) outcome {
	v.see("log.queries", v.Log.Queries)
	all := slices.ContainsFunc(v.sinks(evidence.File, evidence.Syslog, evidence.Dnstap, evidence.Stdout), func(s evidence.Sink) bool {
		return s.Events == evidence.All && s.Sample == 1 && len(s.Bans)+len(s.Groups) == 0
	})
	return judge(all || v.Log.Queries != "", t("Every query is recorded, with its source and its outcome.", "Chaque requête est consignée, avec sa source et son résultat."),
		t("Only what bans decide is recorded, or nothing.", "Seul ce que les interdictions décident est consigné, ou rien."),
		t("Add a sink with events: all, or set log.queries; say so in the privacy assessment.", "Ajoutez une destination avec events: all, ou réglez log.queries; dites-le dans l’évaluation de la vie privée."))
}

func localRecords(v *view) outcome {
	ok := slices.ContainsFunc(v.sinks(evidence.File), records)
	return judge(ok, t("Records are written to a local file.", "Les enregistrements sont écrits dans un fichier local."), t("No sink writes records to a local file.", "Aucune destination n’écrit d’enregistrements dans un fichier local."),
		t("Add a sink of kind file to evidence.sinks.", "Ajoutez une destination de type file à evidence.sinks."))
}

func twoSyslogs(v *view) outcome {
	places := map[string]bool{}
	for _, s := range v.sinks(evidence.Syslog) {
		if remote(s) && records(s) {
			places[s.Address] = true
		}
	}
	return judge(len(places) >= 2, t("Records go to two servers of syslog or more at once.", "Les enregistrements vont à deux serveurs syslog ou plus à la fois."),
		Text{fmt.Sprintf("Records go to %d remote servers of syslog.", len(places)), fmt.Sprintf("Les enregistrements vont à %d serveurs syslog distants.", len(places))},
		t("Add two sinks of kind syslog with the addresses of two other machines.", "Ajoutez deux destinations de type syslog avec les adresses de deux autres machines."))
}

func recorded(v *view) outcome {
	store := v.Evidence.StorePath() != "" && v.Evidence.Store.Events != evidence.Acts
	if store {
		v.see("evidence.store.path", v.Evidence.Store.Path)
	}
	ok := store || slices.ContainsFunc(v.sinks(evidence.File, evidence.Stdout, evidence.Syslog, evidence.Dnstap), records)
	return judge(ok, t("What each ban decides is recorded, and what operators do.", "Ce que chaque interdiction décide est consigné, et ce que font les exploitants."),
		t("What bans decide is recorded nowhere.", "Ce que les interdictions décident n’est consigné nulle part."),
		t("Add a sink to evidence.sinks, or set evidence.store.path.", "Ajoutez une destination à evidence.sinks, ou réglez evidence.store.path."))
}

func severity(v *view) outcome {
	v.see("log.level", v.Log.Level)
	return judge(v.Log.Level <= slog.LevelInfo, t("Each line of the log has its level, and all events of interest are logged.", "Chaque ligne du journal a son niveau, et tous les événements utiles sont journalisés."),
		t("Events below the level are not logged.", "Les événements sous ce niveau ne sont pas journalisés."), t("Set log.level: info.", "Réglez log.level: info."))
}

func timeStamps(v *view) outcome {
	v.see("log.format", v.Log.Format)
	return outcome{status: Pass, why: t("Each line of the log and each event has the date and the time.", "Chaque ligne du journal et chaque événement a la date et l’heure.")}
}

func category(v *view) outcome {
	v.see("log.format", v.Log.Format)
	return outcome{status: Pass, why: t("Each line says what happened and to what, and each event has its kind.", "Chaque ligne dit ce qui s’est produit et à quoi, et chaque événement a son type.")}
}

func clockSource(v *view) outcome {
	return outcome{Manual, t("Events have times in UTC to the microsecond, and say when the clock is distrusted.", "Les événements ont l’heure UTC à la microseconde, et disent quand l’horloge n’est pas jugée fiable."),
		t("See that the system's clock is synchronized with an approved source.", "Vérifiez que l’horloge du système est synchronisée avec une source approuvée.")}
}

func source(v *view) outcome {
	none := 0
	for i, s := range v.Evidence.Sinks {
		if records(s) && s.Clients == evidence.None {
			v.see(fmt.Sprintf("evidence.sinks[%d].clients", i), s.Clients)
			none++
		}
	}
	if none > 0 {
		return outcome{Fail, t("Events of a sink do not say who asked.", "Les événements d’une destination ne disent pas qui a demandé."), t("Set the sink's clients to address, network or pseudonym.", "Réglez clients de la destination à address, network ou pseudonym.")}
	}
	return recorded(v)
}

func validated(v *view) outcome {
	v.see("upstream.servers", serverList(v.Upstream.Servers))
	trusted := len(v.Upstream.Servers) > 0
	for i, s := range v.Upstream.Servers {
		trusted = trusted && s.TrustAD
		if s.TrustAD {
			v.see(fmt.Sprintf("upstream.servers[%d].trust_ad", i), true)
		}
	}
	return judge(trusted, t("Responses are validated by the servers of upstream.servers, over authenticated channels.", "Les réponses sont validées par les serveurs de upstream.servers, par des canaux authentifiés."),
		t("Nothing says that responses are validated: Rideau forwards, and does not validate itself.", "Rien ne dit que les réponses sont validées : Rideau transmet, et ne valide pas lui-même."),
		t("Use validating servers over DoT, DoH or DoQ, or on this machine, with trust_ad: true.", "Utilisez des serveurs qui valident, par DoT, DoH ou DoQ ou sur cette machine, avec trust_ad: true."))
}

func encryptedUpstreams(v *view) outcome {
	v.see("upstream.servers", serverList(v.Upstream.Servers))
	plain := slices.ContainsFunc(v.servers(), func(s server.Server) bool { return !s.Transport.Encrypted() && !local(s) })
	return judge(!plain && len(v.servers()) > 0, t("All servers are asked over encrypted transports, or are on this machine.", "Tous les serveurs sont interrogés par des transports chiffrés, ou sont sur cette machine."),
		t("A server is asked in plain text.", "Un serveur est interrogé en clair."), t("Write servers as tls://, https:// or quic://.", "Écrivez les serveurs sous la forme tls://, https:// ou quic://."))
}

func encryptedListeners(v *view) outcome {
	v.see("listen.encrypted", len(v.Listen.Encrypted))
	return judge(len(v.Listen.Encrypted) > 0, t("Clients can ask over encrypted transports.", "Les clients peuvent interroger par des transports chiffrés."), t("Clients can ask in plain text only.", "Les clients ne peuvent interroger qu’en clair."),
		t("Add an element to listen.encrypted.", "Ajoutez un élément à listen.encrypted."))
}

func leaks(v *view) outcome {
	v.see("listen.nsid", v.Listen.NSID)
	return judge(v.Listen.NSID == "", t("Responses do not say which server and which version this is, and no client subnet goes upstream.", "Les réponses ne disent ni le serveur ni la version, et aucun sous-réseau de client ne va en amont."),
		t("Responses tell the server's name to those who ask for it.", "Les réponses donnent le nom du serveur à qui le demande."), t("Set listen.nsid to \"\", unless the network needs it.", "Réglez listen.nsid à \"\", à moins que le réseau n’en ait besoin."))
}

func protective(v *view) outcome {
	on := 0
	for i, b := range v.Bans {
		if b.Mode == policy.ModeEnforce {
			v.see(fmt.Sprintf("bans[%d].id", i), b.ID)
			on++
		}
	}
	if on == 0 {
		v.see("bans", len(v.Bans))
	}
	return judge(on > 0, t("Bans are enforced on names and on what answers lead to.", "Des interdictions sont appliquées aux noms et à ce que visent les réponses."), t("No ban is enforced.", "Aucune interdiction n’est appliquée."),
		t("Set the mode of a ban to enforce.", "Réglez le mode d’une interdiction à enforce."))
}

func bypass(v *view) outcome {
	on := false
	for i, b := range v.Bans {
		if b.Bypass && b.Mode != policy.ModeOff {
			on = true
			v.see(fmt.Sprintf("bans[%d].bypass", i), true)
		}
	}
	if !on {
		v.see("bans", len(v.Bans))
		return outcome{Fail, t("Names of ways around this resolver are not refused.", "Les noms des moyens de contourner ce résolveur ne sont pas refusés."), t("Set bypass: true in a ban.", "Réglez bypass: true dans une interdiction.")}
	}
	return outcome{Manual, t("Names of ways around this resolver are refused; addresses are for the firewall.", "Les noms des moyens de contourner ce résolveur sont refusés; les adresses relèvent du pare-feu."),
		t("See that the firewall has the rules that rideau egress prints.", "Vérifiez que le pare-feu a les règles que rideau egress affiche.")}
}

func kept(v *view) outcome {
	const year = 365
	if v.Evidence.StorePath() != "" {
		v.see("evidence.store.days", v.Evidence.Store.Days)
	}
	ok := v.Evidence.StorePath() != "" && v.Evidence.Store.Days >= year
	for i, s := range v.Evidence.Sinks {
		if s.Kind == evidence.File && records(s) {
			v.see(fmt.Sprintf("evidence.sinks[%d].keep_days", i), s.KeepDays)
			v.see(fmt.Sprintf("evidence.sinks[%d].keep_files", i), s.KeepFiles)
			ok = ok || s.KeepFiles == 0 && (s.KeepDays == 0 || s.KeepDays >= year)
		}
	}
	if len(v.settings) == 0 {
		v.see("evidence.sinks", len(v.Evidence.Sinks))
	}
	return judge(ok, t("Records are kept for a year at least.", "Les enregistrements sont conservés au moins un an."), t("Records are kept for less than a year, or are bounded by a number of files.", "Les enregistrements sont conservés moins d’un an, ou bornés par un nombre de fichiers."),
		t("Set evidence.store.days to 365 or more, or keep_days: 400 and keep_files: 0 for a file.", "Réglez evidence.store.days à 365 ou plus, ou keep_days: 400 et keep_files: 0 pour un fichier."))
}

func retention(v *view) outcome {
	out := kept(v)
	return outcome{Manual, out.why, t("Compare keep_days, keep_files and max_bytes with the time for which your organization keeps records.", "Comparez keep_days, keep_files et max_bytes avec la durée de conservation de votre organisation.")}
}

func sealed(v *view) outcome {
	sealed, outside := false, false
	for i, s := range v.Evidence.Sinks {
		if s.Seal {
			sealed = true
			v.see(fmt.Sprintf("evidence.sinks[%d].seal", i), true)
		}
		outside = outside || remote(s) && (s.Kind == evidence.Syslog || s.Kind == evidence.Webhook) && s.Events != evidence.OnlyAlerts
	}
	if !sealed {
		v.see("evidence.seal.key_file", v.Evidence.Seal.KeyFile)
	}
	return judge(sealed && outside, t("Files are sealed by a chain with signatures, whose heads another machine holds.", "Les fichiers sont scellés par une chaîne signée, dont une autre machine détient les têtes."),
		t("No file is sealed, or no other machine holds the heads of the seals.", "Aucun fichier n’est scellé, ou aucune autre machine ne détient les têtes des sceaux."),
		t("Set seal: true for a file and evidence.seal.key_file, and add a sink of kind syslog on another machine.", "Réglez seal: true pour un fichier et evidence.seal.key_file, et ajoutez une destination de type syslog sur une autre machine."))
}

func operators(v *view) outcome {
	v.see("ops.listen", v.Ops.Listen)
	v.see("ops.token_file", v.Ops.TokenFile)
	host, _, _ := strings.Cut(v.Ops.Listen, ":")
	a, err := netip.ParseAddrPort(v.Ops.Listen)
	mine := v.Ops.Listen == "" || host == "localhost" || err == nil && a.Addr().IsLoopback()
	return judge(v.Ops.TokenFile != "" || mine && v.Ops.Listen == "", t("What changes something needs a token, or the Unix socket of Rideau's own user.", "Ce qui modifie quelque chose exige un jeton, ou le socket Unix de l’utilisateur de Rideau."),
		t("Every program that reaches ops.listen from this machine may reload and flush.", "Tout programme qui atteint ops.listen depuis cette machine peut recharger et vider le cache."),
		t("Set ops.token_file, or ops.listen: \"\" and use ops.socket.", "Réglez ops.token_file, ou ops.listen: \"\" et utilisez ops.socket."))
}

func alerted(v *view) outcome {
	ok := slices.ContainsFunc(v.sinks(evidence.Webhook, evidence.Syslog), func(s evidence.Sink) bool { return s.Events == evidence.OnlyAlerts })
	return judge(ok && len(v.Evidence.Alerts.Off) == 0, t("Somebody is told when a ban is not enforced, of attempts and of failures.", "Quelqu’un est averti quand une interdiction n’est pas appliquée, des tentatives et des pannes."),
		t("Nobody is told, or some conditions are off.", "Personne n’est averti, ou certaines conditions sont désactivées."),
		t("Add a sink of kind webhook, or of kind syslog with events: alerts, and leave evidence.alerts.off empty.", "Ajoutez une destination de type webhook, ou syslog avec events: alerts, et laissez evidence.alerts.off vide."))
}

func spooled(v *view) outcome {
	lacks, n := []string(nil), 0
	for i, s := range v.Evidence.Sinks {
		if s.Kind == evidence.Stdout {
			continue
		}
		n++
		v.see(fmt.Sprintf("evidence.sinks[%d].spool", i), s.Spool)
		if s.Spool == 0 {
			lacks = append(lacks, s.ID)
		}
	}
	if n == 0 {
		return recorded(v)
	}
	return judge(len(lacks) == 0, t("What a place does not take waits on disk.", "Ce qu’une destination n’accepte pas attend sur le disque."),
		Text{"These sinks have no spool: " + strings.Join(lacks, ", ") + ".", "Ces destinations n’ont pas de file d’attente : " + strings.Join(lacks, ", ") + "."},
		t("Set evidence.dir, and spool for each of them.", "Réglez evidence.dir, et spool pour chacune d’elles."))
}

func fipsMode(v *view) outcome {
	v.settings = append(v.settings, Setting{Key: "GODEBUG fips140", Value: fmt.Sprint(v.facts.FIPS)})
	return judge(v.facts.FIPS, t("The program runs with the validated cryptographic module.", "Le programme utilise le module cryptographique validé."), t("The program runs without the validated cryptographic module.", "Le programme n’utilise pas le module cryptographique validé."),
		t("Start Rideau with GODEBUG=fips140=on.", "Démarrez Rideau avec GODEBUG=fips140=on."))
}

func redundant(v *view) outcome {
	v.see("upstream.servers", serverList(v.Upstream.Servers))
	return judge(len(v.Upstream.Servers) > 1, t("Several servers are asked in turn when one fails.", "Plusieurs serveurs sont interrogés à tour de rôle quand l’un échoue."), t("There is one server only.", "Il n’y a qu’un serveur."),
		t("Add another approved resolver to upstream.servers, and run two nodes of Rideau.", "Ajoutez un autre résolveur approuvé à upstream.servers, et exploitez deux nœuds Rideau."))
}

func guards(v *view) outcome {
	v.see("protected.defaults", v.Protected.Defaults)
	v.see("reload.max_shrink", v.Reload.MaxShrink)
	return judge(v.Protected.Defaults && v.Reload.MaxShrink < 1, t("A change succeeds whole or not at all, and guards refuse lists that are damaged or too wide.", "Une modification réussit en entier ou pas du tout, et des gardes refusent les listes abîmées ou trop larges."),
		t("A guard is off.", "Une garde est désactivée."), t("Set protected.defaults: true, and reload.max_shrink below 1.", "Réglez protected.defaults: true, et reload.max_shrink au-dessous de 1."))
}

func approvedExceptions(v *view) outcome {
	if len(v.Exceptions) == 0 {
		return outcome{status: NotApplicable, why: t("There are no exceptions.", "Il n’y a pas d’exception.")}
	}
	ok := true
	for i, x := range v.Exceptions {
		key := fmt.Sprintf("exceptions[%d]", i)
		if x.Ticket == "" || x.Approver == "" || x.Expires.IsZero() {
			ok = false
			v.see(key+".ticket", x.Ticket)
			v.see(key+".approver", x.Approver)
			v.see(key+".expires", x.Expires)
			continue
		}
		v.see(key+".id", x.ID)
	}
	return judge(ok, t("Each exception has a ticket, an approver and an end.", "Chaque exception a une demande, un approbateur et une fin."), t("An exception lacks its ticket, its approver or its end.", "Il manque à une exception sa demande, son approbateur ou sa fin."),
		t("Write ticket, approver and expires for each exception.", "Inscrivez ticket, approver et expires pour chaque exception."))
}

func reviewed(v *view) outcome {
	return outcome{Manual, t("Reviewing is for people: Rideau has the records, their schemas for a SIEM, and reports.", "L’examen revient aux personnes : Rideau a les enregistrements, leurs schémas pour un SIEM, et des rapports."),
		t("Say in your procedures who reviews the events, how often, and in which system.", "Dites dans vos procédures qui examine les événements, à quelle fréquence et dans quel système.")}
}

func boundary(v *view) outcome {
	v.see("listen.addresses", v.Listen.Addresses)
	return outcome{Manual, t("Rideau enforces by names; the boundary is the firewall's.", "Rideau agit sur les noms; la frontière relève du pare-feu."), t("See that the firewall has the rules that rideau egress prints, and that only Rideau may ask other resolvers.", "Vérifiez que le pare-feu a les règles que rideau egress affiche, et que seul Rideau peut interroger d’autres résolveurs.")}
}

func restart(v *view) outcome {
	v.see("cache.snapshot", v.Cache.Snapshot)
	v.see("state.dir", v.State.Dir)
	return judge(v.State.Dir != "" || !v.Remote(), t("After a restart Rideau has its last good lists, and answers nothing before its policy is complete.", "Après un redémarrage, Rideau a ses dernières bonnes listes, et ne répond pas avant que sa politique soit complète."),
		t("Lists with a URL have no folder for their last good copies.", "Les listes avec une URL n’ont pas de dossier pour leurs dernières bonnes copies."), t("Set state.dir.", "Réglez state.dir."))
}

// not returns a check of what does not apply, and why.
func not(why Text) func(*view) outcome {
	return func(*view) outcome { return outcome{status: NotApplicable, why: why} }
}
