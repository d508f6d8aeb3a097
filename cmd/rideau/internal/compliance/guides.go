package compliance

// guides are the guides by name.
func guides() map[string]guide {
	return map[string]guide{"stig": stig(), "800-81r3": sp80081(), "itsg33": itsg33()}
}

func stig() guide {
	return guide{"DISA BIND 9.x STIG, V3R1, 4 March 2026", []item{
		{"BIND-9X-001040", "", t("Clients' connections are bounded", "Les connexions des clients sont bornées"), connectionLimit},
		{"BIND-9X-001050", "", t("Records say what type of event it was", "Les enregistrements disent le type d’événement"), severity},
		{"BIND-9X-001060", "", t("Records say when it was", "Les enregistrements disent le moment"), timeStamps},
		{"BIND-9X-001070", "", t("Records say what produced them", "Les enregistrements disent ce qui les a produits"), category},
		{"BIND-9X-001110", "medium", t("Queries are recorded with source and outcome", "Les requêtes sont consignées avec leur source et leur résultat"), queryLog},
		{"BIND-9X-001360", "medium", t("Queries are forwarded to approved servers only", "Les requêtes ne sont transmises qu’à des serveurs approuvés"), approvedUpstreams},
		{"BIND-9X-001380", "medium", t("An authoritative server does not recurse", "Un serveur faisant autorité ne fait pas de récursion"), not(t("Rideau is authoritative for no zone.", "Rideau ne fait autorité pour aucune zone."))},
		{"BIND-9X-001490", "medium", t("Names in queries have random case", "Les noms dans les requêtes ont une casse aléatoire"), mixedCase},
		{"BIND-9X-001650", "high", t("The integrity of DNS information is verified (DNSSEC)", "L’intégrité de l’information DNS est vérifiée (DNSSEC)"), validated},
		{"BIND-9X-001740", "medium", t("Only known clients are answered", "Seuls des clients connus reçoivent des réponses"), knownClients},
		{"BIND-9X-001890", "medium", t("Records are kept for long enough", "Les enregistrements sont conservés assez longtemps"), retention},
		{"BIND-9X-001900", "medium", t("Records are written to a local file", "Les enregistrements sont écrits dans un fichier local"), localRecords},
		{"BIND-9X-001910", "high", t("Records go to two remote servers of syslog", "Les enregistrements vont à deux serveurs syslog distants"), twoSyslogs},
		{"BIND-9X-001920", "medium", t("Records are not thrown away", "Les enregistrements ne sont pas jetés"), recorded},
		{"BIND-9X-002010", "high", t("Servers that exchange zones authenticate each other (TSIG)", "Les serveurs qui échangent des zones s’authentifient (TSIG)"), not(t("Rideau transfers no zones.", "Rideau ne transfère aucune zone."))},
		{"BIND-9X-002050", "medium", t("Cryptography is validated to FIPS", "La cryptographie est validée selon FIPS"), fipsMode},
		{"BIND-9X-002440", "medium", t("Names in queries are minimized", "Les noms dans les requêtes sont minimisés"), not(t("Rideau forwards whole questions to servers that recurse.", "Rideau transmet des questions entières à des serveurs récursifs."))},
		{"BIND-9X-002450", "medium", t("Pending queries of a zone are bounded", "Les requêtes en attente d’une zone sont bornées"), zoneLimit},
		{"BIND-9X-002460", "medium", t("Pending queries to a server are bounded", "Les requêtes en attente vers un serveur sont bornées"), serverLimit},
		{"BIND-9X-002470", "medium", t("DNS cookies are used", "Les témoins DNS sont utilisés"), cookies},
	}}
}

func sp80081() guide {
	return guide{"NIST SP 800-81r3, Secure Domain Name System (DNS) Deployment Guide, 19 March 2026", []item{
		{"protective-dns", "", t("Protective DNS acts on names and on answers", "Le DNS de protection agit sur les noms et les réponses"), protective},
		{"bypass", "", t("Other resolvers cannot be used in its place", "D’autres résolveurs ne peuvent pas le remplacer"), bypass},
		{"encrypted-dns-upstream", "", t("Queries are encrypted on their way up", "Les requêtes sont chiffrées vers l’amont"), encryptedUpstreams},
		{"encrypted-dns-clients", "", t("Clients can encrypt their queries", "Les clients peuvent chiffrer leurs requêtes"), encryptedListeners},
		{"dns-logging", "", t("Queries and responses are logged", "Les requêtes et les réponses sont journalisées"), queryLog},
		{"log-retention", "", t("Logs are kept for investigations", "Les journaux sont conservés pour les enquêtes"), kept},
		{"log-integration", "", t("Logs go to the systems that correlate them", "Les journaux vont aux systèmes qui les corrèlent"), remoteRecords},
		{"dnssec-validation", "", t("Responses are validated", "Les réponses sont validées"), validated},
		{"information-leakage", "", t("Queries and responses tell no more than they must", "Les requêtes et les réponses ne disent que le nécessaire"), leaks},
		{"role-separation", "", t("Recursive and authoritative roles are apart", "Les rôles récursif et faisant autorité sont séparés"), separate},
		{"restricted-clients", "", t("Recursion is for the organization's clients", "La récursion est réservée aux clients de l’organisation"), knownClients},
		{"availability", "", t("Resolution goes on when a server fails", "La résolution continue quand un serveur échoue"), redundant},
		{"cryptography", "", t("Cryptography is approved", "La cryptographie est approuvée"), fipsMode},
	}}
}

// remoteRecords is whether records leave the machine.
func remoteRecords(v *view) outcome {
	ok := false
	for _, s := range v.sinks("file", "stdout", "syslog", "dnstap") {
		ok = ok || remote(s) && records(s)
	}
	return judge(ok, t("Records go to another machine.", "Les enregistrements vont à une autre machine."), t("Records stay on this machine.", "Les enregistrements restent sur cette machine."),
		t("Add a sink of kind syslog or dnstap with the address of another machine.", "Ajoutez une destination de type syslog ou dnstap avec l’adresse d’une autre machine."))
}

// separate holds for every Rideau.
func separate(*view) outcome {
	return outcome{status: Pass, why: t("Rideau is authoritative for no zone, and refuses transfers and updates.", "Rideau ne fait autorité pour aucune zone, et refuse transferts et mises à jour.")}
}

func itsg33() guide {
	return guide{"ITSG-33, Annex 3A, December 2014", []item{
		{"AC-3", "", t("Only those who may can change something", "Seules les personnes autorisées peuvent modifier"), operators},
		{"AU-2", "", t("The events that matter are recorded", "Les événements utiles sont consignés"), recorded},
		{"AU-3", "", t("Records say what, when, where, who and the outcome", "Les enregistrements disent quoi, quand, où, qui et le résultat"), source},
		{"AU-5", "", t("Failures of recording lose nothing, and are noticed", "Les pannes de consignation ne perdent rien et sont remarquées"), spooled},
		{"AU-6", "", t("Records are reviewed", "Les enregistrements sont examinés"), reviewed},
		{"AU-8", "", t("Times are exact", "Les heures sont exactes"), clockSource},
		{"AU-9", "", t("Records are protected from change", "Les enregistrements sont protégés des modifications"), sealed},
		{"AU-10", "", t("What was done cannot be denied", "Ce qui a été fait ne peut pas être nié"), sealed},
		{"AU-11", "", t("Records are kept for long enough", "Les enregistrements sont conservés assez longtemps"), kept},
		{"AU-12", "", t("All components make records", "Tous les composants produisent des enregistrements"), recorded},
		{"CM-3", "", t("Changes are approved", "Les modifications sont approuvées"), approvedExceptions},
		{"CM-6", "", t("Settings are safe, and changes controlled", "Les réglages sont sûrs et les modifications contrôlées"), guards},
		{"CP-10", "", t("The service recovers to a known state", "Le service se rétablit dans un état connu"), restart},
		{"IR-6", "", t("Incidents are reported", "Les incidents sont signalés"), alerted},
		{"SC-5", "", t("Floods are limited", "Les inondations sont limitées"), rateLimit},
		{"SC-7", "", t("The boundary is protected", "La frontière est protégée"), boundary},
		{"SC-8", "", t("Queries are confidential on their way", "Les requêtes sont confidentielles en transit"), encryptedUpstreams},
		{"SC-13", "", t("Cryptography is approved", "La cryptographie est approuvée"), fipsMode},
		{"SC-20", "", t("Authoritative answers are signed", "Les réponses faisant autorité sont signées"), not(t("Rideau is authoritative for no zone.", "Rideau ne fait autorité pour aucune zone."))},
		{"SC-21", "", t("The resolver verifies origin and integrity", "Le résolveur vérifie l’origine et l’intégrité"), validated},
		{"SC-22", "", t("Resolution withstands failures", "La résolution résiste aux pannes"), redundant},
		{"SI-4", "", t("Attacks and attempts are noticed", "Les attaques et tentatives sont remarquées"), alerted},
	}}
}
