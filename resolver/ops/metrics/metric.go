package metrics

import "slices"

// Metric describes a metric for the documentation.
type Metric struct {
	Name   string
	Type   string // counter, gauge or histogram
	Help   string
	Labels []string
}

// Types of metrics.
const (
	counter   = "counter"
	gauge     = "gauge"
	histogram = "histogram"
)

// id is the index of a metric in the table below.
type id uint8

const (
	queriesTotal id = iota
	answerDuration
	blocksTotal
	wouldBlockTotal
	exceptedTotal
	bypassAttempts
	bypassDevices
	bypassOverflow
	cacheHits
	cacheMisses
	cacheStale
	cacheEntries
	cacheBytes
	cacheCuts
	cacheRefreshes
	cacheEvictions
	cacheCollisions
	unrelatedRecords
	upstreamRequests
	upstreamFailures
	upstreamMismatches
	upstreamDuration
	upstreamHealthy
	upstreamLastAnswer
	upstreamState
	upstreamLoop
	upstreamRTT
	upstreamP95
	upstreamInFlight
	upstreamBusy
	upstreamHedges
	upstreamHedgeWins
	upstreamUses
	upstreamAnswers
	listEntries
	listSkipped
	listLastSuccess
	listReloads
	listSerial
	listFetches
	listLastFetch
	listLastGood
	reloadsTotal
	reloadLastSuccess
	reloadLastFailed
	banActive
	policyGeneration
	policyNextChange
	policyMemory
	clockDistrusted
	selftestFailed
	selftestLast
	pendingQueries
	tcpConnections
	tcpRefused
	encryptedConnections
	encryptedHandshakes
	encryptedRefused
	encryptedEvicted
	certificateExpiry
	udpSendErrors
	udpLost
	turnedAway
	flooded
	panicsTotal
	opsDenied
	alertsTold
	alertsOpen
	alertsSuppressed
	eventsDropped
	eventsCounted
	queriesLost
	sinkOffered
	sinkKept
	sinkRepeated
	sinkDropped
	sinkWaiting
	sinkSpool
	sinkFailing
	storeBytes
	storeOldest
	storeReduced
	storeRemoved
	storeEarly
	storeDamaged
	buildInfo
	ids
)

// table lists all metrics, for the collector and for the documentation. All
// labels have closed sets of values: words of the program, or ids from the
// configuration.
var table = [ids]Metric{
	queriesTotal: {"rideau_queries_total", counter,
		"Finished queries, by transport, class of query type, and outcome.", []string{"transport", "qtype", "outcome"}},
	answerDuration: {"rideau_answer_duration_seconds", histogram,
		"Time from the receipt of a query to its answer, by outcome.", []string{"outcome"}},
	blocksTotal: {"rideau_blocks_total", counter,
		"Queries that a ban decided, by ban and by how they were answered.", []string{"ban", "action"}},
	wouldBlockTotal: {"rideau_would_block_total", counter,
		"Queries that a ban in monitor mode would have decided; they were answered as usual.", []string{"ban"}},
	exceptedTotal: {"rideau_excepted_total", counter,
		"Queries that a ban would have decided if an exception had not allowed them.", []string{"ban"}},
	bypassAttempts: {"rideau_bypass_attempts_total", counter,
		"Queries that met a ban on ways around this resolver, by the client's group.", []string{"group"}},
	bypassDevices: {"rideau_bypass_devices", gauge,
		"Client addresses of the group that met such a ban within the last 24 hours.", []string{"group"}},
	bypassOverflow: {"rideau_bypass_overflow_total", counter,
		"Queries of rideau_bypass_attempts_total whose client is not counted in rideau_bypass_devices, because there were too many clients.", []string{"group"}},

	cacheHits: {"rideau_cache_hits_total", counter,
		"Cache lookups that found a fresh answer.", nil},
	cacheMisses: {"rideau_cache_misses_total", counter,
		"Cache lookups that found no fresh answer.", nil},
	cacheStale: {"rideau_cache_stale_total", counter,
		"Expired answers served because no upstream answered in time.", nil},
	cacheEntries: {"rideau_cache_entries", gauge,
		"Answers in the cache.", nil},
	cacheBytes: {"rideau_cache_bytes", gauge,
		"Memory that the cache holds.", nil},
	cacheCuts: {"rideau_cache_nxdomain_cut_total", counter,
		"Cache lookups answered because a name above does not exist, and so no name below it does (RFC 8020).", nil},
	cacheRefreshes: {"rideau_cache_refreshes_total", counter,
		"Queries sent upstream in the background, by reason: prefetch of popular answers that expire soon, or retry after failures.", []string{"reason"}},
	cacheEvictions: {"rideau_cache_evictions_total", counter,
		"Answers removed to keep the cache within its bounds.", nil},
	cacheCollisions: {"rideau_cache_collisions_total", counter,
		"Cache lookups that met an entry for another question with the same hash, and ignored it.", nil},

	unrelatedRecords: {"rideau_unrelated_records_total", counter,
		"Records in upstreams' responses that did not belong to the question; they were neither cached nor passed on.", nil},
	upstreamRequests: {"rideau_upstream_requests_total", counter,
		"Requests sent to the upstream.", []string{"upstream"}},
	upstreamFailures: {"rideau_upstream_failures_total", counter,
		"Requests to the upstream that got no usable answer, by reason.", []string{"upstream", "reason"}},
	upstreamMismatches: {"rideau_upstream_mismatched_total", counter,
		"Datagrams from the upstream's address that match no query sent to it: late, malformed, or forged.", []string{"upstream"}},
	upstreamDuration: {"rideau_upstream_duration_seconds", histogram,
		"Time until the upstream answered.", []string{"upstream"}},
	upstreamHealthy: {"rideau_upstream_healthy", gauge,
		"Whether the upstream is expected to answer (1), or is asked only when no other does (0).", []string{"upstream"}},
	upstreamLastAnswer: {"rideau_upstream_last_answer_timestamp_seconds", gauge,
		"When the upstream last answered; 0 if never.", []string{"upstream"}},

	upstreamState: {"rideau_upstream_state", gauge,
		"Whether the upstream is in this state (1) or not (0): up, trying (it was down and gets one request at a time), or down.", []string{"upstream", "state"}},
	upstreamLoop: {"rideau_upstream_loop", gauge,
		"Whether the upstream was found to forward queries back to this rideau (1) or not (0).", []string{"upstream"}},
	upstreamRTT: {"rideau_upstream_rtt_seconds", gauge,
		"Smoothed time that the upstream takes to answer; absent while unknown.", []string{"upstream"}},
	upstreamP95: {"rideau_upstream_p95_seconds", gauge,
		"Time within which the upstream gave 19 of 20 recent answers; absent while unknown.", []string{"upstream"}},
	upstreamInFlight: {"rideau_upstream_in_flight", gauge,
		"Requests to the upstream that are in flight.", []string{"upstream"}},
	upstreamBusy: {"rideau_upstream_busy_total", counter,
		"Times the upstream was skipped because too many requests to it were in flight, by reason: in all (all), or for the same client or zone (client, zone).", []string{"upstream", "reason"}},
	upstreamHedges: {"rideau_upstream_hedges_total", counter,
		"Requests sent to the upstream because an earlier request, to it or to another upstream, took longer than usual.", []string{"upstream"}},
	upstreamHedgeWins: {"rideau_upstream_hedge_wins_total", counter,
		"Requests of rideau_upstream_hedges_total that were answered first.", []string{"upstream"}},
	upstreamUses: {"rideau_upstream_uses", gauge,
		"Whether queries to the upstream use this (1), or do not since it does not understand it or does not answer with it (0): cookies, mix_case (letters in random case), edns, dnssec_ok, large (answers above 512 octets over UDP), udp, pipelining (several queries at a time on a connection). Absent if the configuration has it off.", []string{"upstream", "what"}},
	upstreamAnswers: {"rideau_upstream_connection_answers", gauge,
		"Queries that the upstream answers on one connection before it closes it or falls silent; absent if that is not known to be bounded.", []string{"upstream"}},

	listEntries: {"rideau_list_entries", gauge,
		"Entries of the list in use.", []string{"list"}},
	listSkipped: {"rideau_list_skipped_lines", gauge,
		"Lines of the list that could not be used.", []string{"list"}},
	listLastSuccess: {"rideau_list_last_success_timestamp_seconds", gauge,
		"When the list in use was read.", []string{"list"}},
	listReloads: {"rideau_list_reloads_total", counter,
		"Times the list was read, by result: success or failure.", []string{"list", "result"}},

	listSerial: {"rideau_list_serial", gauge,
		"Serial of the list in use; absent if it has none.", []string{"list"}},
	listFetches: {"rideau_list_fetches_total", counter,
		"Requests for the list's URL, by result: updated, unchanged, failed, or refused (the content was not accepted).", []string{"list", "result"}},
	listLastFetch: {"rideau_list_last_fetch_timestamp_seconds", gauge,
		"When the list's URL last delivered the list, new or unchanged; 0 if not since the start.", []string{"list"}},
	listLastGood: {"rideau_list_last_good_in_use", gauge,
		"Whether the list's last good copy is in use because its source cannot be used (1); only for lists with a URL, and for lists to which this happened.", []string{"list"}},

	reloadsTotal: {"rideau_reloads_total", counter,
		"Reloads of configuration and lists, by result: success or failure. The load at start counts.", []string{"result"}},
	reloadLastSuccess: {"rideau_reload_last_success_timestamp_seconds", gauge,
		"When a reload last succeeded; 0 if never.", nil},
	reloadLastFailed: {"rideau_reload_last_failed", gauge,
		"Whether the last reload was refused (1), so that the policy before it is still in use.", nil},
	banActive: {"rideau_ban_active", gauge,
		"Whether the ban is in force: within its dates and not off. In mode monitor it only counts.", []string{"ban", "mode"}},
	policyGeneration: {"rideau_policy_generation", gauge,
		"Number of the policy in use; it grows with each change.", nil},
	policyNextChange: {"rideau_policy_next_change_timestamp_seconds", gauge,
		"When a ban or an exception begins or ends next; absent if none will.", nil},
	policyMemory: {"rideau_policy_memory_bytes", gauge,
		"Memory that the names and addresses of the policy use.", nil},

	selftestFailed: {"rideau_selftest_failed", gauge,
		"Questions of the last self-test that were not answered as a ban demands; /readyz says which. Absent before the first.", nil},
	selftestLast: {"rideau_selftest_last_timestamp_seconds", gauge,
		"When the last self-test began. Absent before the first.", nil},
	clockDistrusted: {"rideau_clock_distrusted", gauge,
		"Whether the system's clock contradicts what else is known of the time (1), so that bans are in force if they are by either; /readyz says why.", nil},

	pendingQueries: {"rideau_pending_queries", gauge,
		"Queries that wait for an upstream.", nil},
	tcpConnections: {"rideau_tcp_connections", gauge,
		"Open TCP connections of clients.", nil},
	tcpRefused: {"rideau_tcp_connections_refused_total", counter,
		"TCP connections closed without being read because too many were open.", nil},
	encryptedConnections: {"rideau_encrypted_connections", gauge,
		"Open connections of clients by TLS (dot), HTTPS (doh, doh3) and QUIC (doq), by transport; absent for one that is not served.", []string{"transport"}},
	encryptedHandshakes: {"rideau_encrypted_handshakes", gauge,
		"Encrypted connections whose handshakes are under way.", nil},
	encryptedRefused: {"rideau_encrypted_connections_refused_total", counter,
		"Encrypted connections refused because too many were open and busy, beside those by TLS, which are TCP connections.", nil},
	encryptedEvicted: {"rideau_encrypted_connections_evicted_total", counter,
		"Encrypted connections that were closed for a new one, because nothing was asked on them.", nil},
	certificateExpiry: {"rideau_certificate_expiry_timestamp_seconds", gauge,
		"When a certificate that clients see expires, by its file.", []string{"certificate"}},
	udpSendErrors: {"rideau_udp_send_errors_total", counter,
		"Answers over UDP that the system failed to send.", nil},
	udpLost: {"rideau_udp_lost_total", counter,
		"Queries over UDP that the system dropped because they were not read in time.", nil},
	turnedAway: {"rideau_turned_away_total", counter,
		"Queries turned away, by reason: too many queries wait for upstreams (all), too many of these from one client or for one zone (client, zone), the client asks too often (rate), there is a flood (flood), the client got enough errors for what cannot be parsed (error), or enough octets in large answers over UDP, so that the answer was truncated (octets).", []string{"reason"}},
	flooded: {"rideau_flood", gauge,
		"Whether queries are turned away because of a flood (1).", nil},
	panicsTotal: {"rideau_panics_total", counter,
		"Queries answered with SERVFAIL because of a fault in the program.", nil},
	opsDenied: {"rideau_ops_denied_total", counter,
		"Requests to the operators' HTTP that were refused because of who sent them: a wrong token, or a place they may not come from.", nil},
	alertsTold: {"rideau_alerts_total", counter,
		"Alerts that were told, those that were told again among them.", []string{"condition"}},
	alertsOpen: {"rideau_alerts_open", gauge,
		"Alerts that are open.", []string{"condition"}},
	alertsSuppressed: {"rideau_alerts_suppressed_total", counter,
		"Alerts that were not told, since there were too many of them.", nil},
	eventsDropped: {"rideau_events_dropped_total", counter,
		"Events for the log that were lost because too many came at once.", nil},
	eventsCounted: {"rideau_events_counted_total", counter,
		"Events for the log that it only counts, beyond log.blocked_max_rate lines a second.", nil},
	queriesLost: {"rideau_query_log_lost_total", counter,
		"Queries missing from the query log, because they came too fast or it could not be written.", nil},
	sinkOffered: {"rideau_sink_offered_total", counter,
		"Events of evidence that the sink was to deliver.", []string{"sink"}},
	sinkKept: {"rideau_sink_delivered_total", counter,
		"Events of evidence that the sink delivered.", []string{"sink"}},
	sinkRepeated: {"rideau_sink_repeated_total", counter,
		"Events of evidence that counted as delivered until a connection broke, and that the sink delivers again; they are among the offered ones a second time.", []string{"sink"}},
	sinkDropped: {"rideau_sink_dropped_total", counter,
		"Events of evidence that will never be delivered, by reason: they came too fast (queue), the spool was full or could not be written (spool_full, spool_error), there is no spool (undelivered), or the place refuses the event (refused).", []string{"sink", "reason"}},
	sinkWaiting: {"rideau_sink_waiting", gauge,
		"Events of evidence in the sink's spool.", []string{"sink"}},
	sinkSpool: {"rideau_sink_spool_bytes", gauge,
		"Octets that the sink's spool takes on disk.", []string{"sink"}},
	sinkFailing: {"rideau_sink_failing", gauge,
		"Whether the place of the sink takes no events (1).", []string{"sink"}},
	storeBytes: {"rideau_store_bytes", gauge,
		"Octets that the store of evidence holds, at the last look.", nil},
	storeOldest: {"rideau_store_oldest_event_timestamp_seconds", gauge,
		"When the oldest event in the store of evidence was, at the last look; absent without events.", nil},
	storeReduced: {"rideau_store_reduced_total", counter,
		"Events in the store of evidence from which the client and the name were removed.", nil},
	storeRemoved: {"rideau_store_removed_total", counter,
		"Events that were removed from the store of evidence.", nil},
	storeEarly: {"rideau_store_early_total", counter,
		"Events in the store of evidence that were reduced or removed before their time, for want of space.", nil},
	storeDamaged: {"rideau_store_damaged_total", counter,
		"Damaged files of the store of evidence that were moved aside.", nil},
	buildInfo: {"rideau_build_info", gauge,
		"Always 1; the labels tell which build runs.", []string{"version", "revision", "goversion"}},
}

// Descriptions returns all metrics of the [Collector], in reading order. The
// caller owns them.
func Descriptions() []Metric {
	out := slices.Clone(table[:])
	for i := range out {
		out[i].Labels = slices.Clone(out[i].Labels)
	}
	return out
}
