package lang

// journal has the messages of the log, by what they are about. As the Government of Canada writes French, there is a space before a colon and none
// before a semicolon; it is a common space, since a log in text writes others as escapes.
var journal = [...]message{
	// Start, stop and reload.
	{"started", "démarré"},
	{"stopping: pending queries are answered first", "arrêt en cours : les requêtes en attente reçoivent d’abord leur réponse"},
	{"stopped", "arrêté"},
	{"reloaded", "rechargé"},
	{"reloaded, and nothing changed", "rechargé, sans rien changer"},
	{"reload refused; the old policy goes on serving", "rechargement refusé; l’ancienne politique reste en vigueur"},
	{"reload refused because of", "rechargement refusé pour cette raison"},
	{"the reload is accepted again", "le rechargement est de nouveau accepté"},
	{"taken by force", "accepté de force"},
	{"this change takes effect at the next start", "cette modification prendra effet au prochain démarrage"},
	{"changed", "modifié"},
	{"changed, and not logged", "autres modifications, non journalisées"},
	{"flushed", "cache vidé"},
	{"this system has no IPv6; serving IPv4 alone", "ce système n’a pas IPv6; Rideau ne sert qu’IPv4"},
	{"listener ended", "une écoute a pris fin"},
	{"a socket cannot be shielded from a flood", "un socket ne peut pas être protégé d’une inondation"},
	{"ops HTTP ended", "le service HTTP d’exploitation a pris fin"},
	{"a fault in the program; rideau goes on", "défaut du programme; Rideau continue"},
	{"the cache begins empty: its snapshot has answers of other upstreams", "le cache commence vide : son instantané contient les réponses d’autres serveurs amont"},
	{"the cache begins empty: its snapshot cannot be used", "le cache commence vide : son instantané est inutilisable"},
	{"cache restored", "cache restauré"},
	{"cache saved", "cache enregistré"},
	{"the cache's snapshot cannot be written; what there was before stays", "l’instantané du cache ne peut pas être écrit; le précédent reste"},

	// Bans, exceptions and the clock.
	{"a ban is in force from now on", "un interdit est désormais en vigueur"},
	{"a ban is not yet in force", "un interdit n’est pas encore en vigueur"},
	{"a ban has ended: its names are resolved", "un interdit a pris fin : ses noms sont résolus"},
	{"an exception is in force from now on", "une exception est désormais en vigueur"},
	{"an exception is not yet in force", "une exception n’est pas encore en vigueur"},
	{"an exception has ended", "une exception a pris fin"},
	{"the self-test failed: a ban is not enforced as it should be", "l’autovérification a échoué : un interdit n’est pas appliqué comme il le devrait"},
	{"a ban cannot be tested", "un interdit ne peut pas être vérifié"},
	{"the self-test passes again", "l’autovérification réussit de nouveau"},
	{"no ban is enforced: every name is resolved", "aucun interdit n’est appliqué : tous les noms sont résolus"},
	{"bans are enforced again", "les interdits sont de nouveau appliqués"},
	{"the system's clock is trusted again", "l’horloge du système est de nouveau jugée fiable"},
	{"the system's clock is distrusted: no ban ends and no exception begins by it", "l’horloge du système n’est pas jugée fiable : aucun interdit ne prend fin et aucune exception ne commence d’après elle"},

	// Queries.
	{"blocked", "bloqué"},
	{"would have been blocked", "aurait été bloqué"},
	{"let through by an exception", "autorisé par une exception"},
	{"tried to go round this resolver", "a tenté de contourner ce résolveur"},
	{"query failed by a fault in the program", "échec d’une requête par un défaut du programme"},
	{"more queries come than can be read, from many networks: those that ask most are turned away", "il arrive, de nombreux réseaux, plus de requêtes qu’il n’en peut être lu : celles des réseaux qui en envoient le plus sont écartées"},
	{"the flood is over", "l’inondation est terminée"},

	// Lists.
	{"line skipped", "ligne ignorée"},
	{"no last good copies of lists are kept", "aucune dernière bonne copie des listes n’est conservée"},
	{"last good copies of lists cannot be written; the old ones stay", "les dernières bonnes copies des listes ne peuvent pas être écrites; les anciennes restent"},
	{"the last good copy of a list cannot be written; the old one stays", "la dernière bonne copie d’une liste ne peut pas être écrite; l’ancienne reste"},
	{"the new version of a list is refused; the last good one goes on serving", "la nouvelle version d’une liste est refusée; la dernière bonne reste en service"},
	{"a list cannot be used; its last good copy serves instead. Mend the list; it is then read at once", "une liste est inutilisable; sa dernière bonne copie la remplace. Corrigez la liste : elle sera relue aussitôt"},
	{"the last good copy of a list cannot be used", "la dernière bonne copie d’une liste est inutilisable"},
	{"looked at a list", "liste consultée"},
	{"a list could not be fetched; the last good copy goes on serving", "une liste n’a pas pu être téléchargée; la dernière bonne copie reste en service"},
	{"a list could not be fetched", "une liste n’a pas pu être téléchargée"},
	{"the state of a list cannot be written", "l’état d’une liste ne peut pas être écrit"},

	// Upstream servers.
	{"upstream answers again", "un serveur amont répond de nouveau"},
	{"upstream does not answer; it is asked last until it does", "un serveur amont ne répond pas; il est interrogé en dernier jusqu’à ce qu’il réponde"},
	{"upstream loses too much; others are asked first until it does better", "un serveur amont perd trop de requêtes; d’autres sont interrogés d’abord jusqu’à ce qu’il fasse mieux"},
	{"upstream is asked in another way from now on", "un serveur amont est désormais interrogé autrement"},
	{"upstream failed by a fault in the program", "échec d’un serveur amont par un défaut du programme"},
	{"a connection was given up: a fault in the program", "une connexion a été abandonnée : défaut du programme"},
	{"upstream forwards to this rideau: queries run in a circle", "un serveur amont transmet à ce Rideau : les requêtes tournent en boucle"},
	{"upstream does not forward to this rideau any more", "un serveur amont ne transmet plus à ce Rideau"},

	// Clients' sockets and connections.
	{"not listening on an address: this host has no IPv6", "pas d’écoute sur une adresse : cette machine n’a pas IPv6"},
	{"this system does not say to which address a query was sent; if the host has several addresses, listen on each of them", "ce système ne dit pas à quelle adresse une requête a été envoyée; si la machine a plusieurs adresses, écoutez sur chacune d’elles"},
	{"a socket could not be detached; queries may be lost as it is closed", "un socket n’a pas pu être détaché; des requêtes peuvent se perdre à sa fermeture"},
	{"an answer could not be sent", "une réponse n’a pas pu être envoyée"},
	{"reading queries failed; going on", "échec de la lecture de requêtes; Rideau continue"},
	{"accepting connections failed; going on", "échec de l’acceptation de connexions; Rideau continue"},
	{"a connection was refused", "une connexion a été refusée"},
	{"a connection was closed", "une connexion a été fermée"},

	// Operators' HTTP, and evidence.
	{"there is no Unix socket for operators", "il n’y a pas de socket Unix pour l’exploitation"},
	{"a request for /metrics ended before its reply did", "une demande de /metrics a pris fin avant sa réponse"},
	{"the spool ended within an event, which is lost", "le fichier d’attente finit au milieu d’un événement, qui est perdu"},
	{"the sealed file is too large or too old and cannot be renamed; it goes on", "le fichier scellé est trop grand ou trop ancien et ne peut pas être renommé; il continue"},
	{"events could not be sealed; that is tried again with the next event", "des événements n’ont pas pu être scellés; un nouvel essai suit au prochain événement"},
	{"the last seal could not be kept beside the file", "le dernier sceau n’a pas pu être conservé à côté du fichier"},
	{"the end of the sealed file is missing: seals were written that it does not hold", "la fin du fichier scellé manque : des sceaux ont été écrits qu’il ne contient pas"},
	{"events at the end of the file were not sealed when the program ended; they are sealed now, with a note", "des événements à la fin du fichier n’étaient pas scellés à la fin du programme; ils le sont maintenant, avec une note"},
	{"NAT64 prefixes cannot be discovered now", "les préfixes NAT64 ne peuvent pas être découverts pour l’instant"},
	{"NAT64 prefixes were discovered", "préfixes NAT64 découverts"},
	{"events are delivered again", "les événements sont de nouveau livrés"},
	{"keys of pseudonyms could not be renewed", "les clés des pseudonymes n’ont pas pu être renouvelées"},
	{"events cannot be delivered; they are kept and offered again", "les événements ne peuvent pas être livrés; ils sont conservés et présentés de nouveau"},
}

// composed has the messages that are made of parts, and so stand nowhere in the program as they are here.
var composed = [...]message{
	{"more blocked", "autres requêtes bloquées"},
	{"more would have been blocked", "autres requêtes qui auraient été bloquées"},
	{"more let through by an exception", "autres requêtes autorisées par une exception"},
	{"more tried to go round this resolver", "autres tentatives de contourner ce résolveur"},
}
