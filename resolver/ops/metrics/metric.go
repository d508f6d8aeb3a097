package metrics

import "slices"

// Metric describes a metric for its documentation.
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

// id numbers the metrics in the table below.
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
	upstreamRTT
	upstreamP95
	upstreamInFlight
	upstreamBusy
	upstreamHedges
	upstreamHedgeWins
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
	pendingQueries
	tcpConnections
	tcpRefused
	udpSendErrors
	udpLost
	turnedAway
	flooded
	panicsTotal
	eventsDropped
	queriesLost
	buildInfo
	ids
)

// table is the one list of metrics, for the collector and for the
// documentation. All labels have closed sets of values: words of the program, or ids
// that the operator configured.
var table = [ids]Metric{
	queriesTotal: {"rideau_queries_total", counter,
		"Queries that ended, by transport, class of query type, and how they ended.", []string{"transport", "qtype", "outcome"}},
	answerDuration: {"rideau_answer_duration_seconds", histogram,
		"Time from receipt of a query to its answer, by how it ended.", []string{"outcome"}},
	blocksTotal: {"rideau_blocks_total", counter,
		"Queries that a ban decided, by ban and by how they were answered.", []string{"ban", "action"}},
	wouldBlockTotal: {"rideau_would_block_total", counter,
		"Queries answered as usual that a ban in monitor mode would have decided.", []string{"ban"}},
	exceptedTotal: {"rideau_excepted_total", counter,
		"Queries that an exception let through and the ban would have decided.", []string{"ban"}},
	bypassAttempts: {"rideau_bypass_attempts_total", counter,
		"Queries that ran into a ban on ways around this resolver, by the client's group.", []string{"group"}},
	bypassDevices: {"rideau_bypass_devices", gauge,
		"Client addresses of the group that did so within the last 24 hours.", []string{"group"}},
	bypassOverflow: {"rideau_bypass_overflow_total", counter,
		"Such queries of clients that were too many to be told apart: the gauge is short of them.", []string{"group"}},

	cacheHits: {"rideau_cache_hits_total", counter,
		"Cache lookups that found a fresh answer.", nil},
	cacheMisses: {"rideau_cache_misses_total", counter,
		"Cache lookups that found none.", nil},
	cacheStale: {"rideau_cache_stale_total", counter,
		"Expired answers given because no upstream answered in time.", nil},
	cacheEntries: {"rideau_cache_entries", gauge,
		"Answers in the cache.", nil},
	cacheBytes: {"rideau_cache_bytes", gauge,
		"Memory that the cache holds.", nil},
	cacheCuts: {"rideau_cache_nxdomain_cut_total", counter,
		"Cache lookups that found that a name above does not exist, which settles those below (RFC 8020).", nil},
	cacheRefreshes: {"rideau_cache_refreshes_total", counter,
		"Questions asked in the background, by reason: prefetch of popular answers that expire soon, or retry while what has expired is given.", []string{"reason"}},
	cacheEvictions: {"rideau_cache_evictions_total", counter,
		"Answers removed to keep the cache within its bounds.", nil},
	cacheCollisions: {"rideau_cache_collisions_total", counter,
		"Cache lookups that met the answer to another question, and passed it over.", nil},

	unrelatedRecords: {"rideau_unrelated_records_total", counter,
		"Records in responses of upstreams that did not belong to the question, and were neither kept nor passed on.", nil},
	upstreamRequests: {"rideau_upstream_requests_total", counter,
		"Requests sent to the upstream.", []string{"upstream"}},
	upstreamFailures: {"rideau_upstream_failures_total", counter,
		"Requests to the upstream that brought no usable answer, by reason.", []string{"upstream", "reason"}},
	upstreamMismatches: {"rideau_upstream_mismatched_total", counter,
		"Datagrams from the upstream's address that answered no question asked: late, broken, or forged.", []string{"upstream"}},
	upstreamDuration: {"rideau_upstream_duration_seconds", histogram,
		"Time until the upstream answered.", []string{"upstream"}},
	upstreamHealthy: {"rideau_upstream_healthy", gauge,
		"Whether the upstream is taken to answer (1) or is asked only when no other does (0).", []string{"upstream"}},
	upstreamLastAnswer: {"rideau_upstream_last_answer_timestamp_seconds", gauge,
		"When the upstream answered last; 0 if never.", []string{"upstream"}},

	upstreamState: {"rideau_upstream_state", gauge,
		"Whether the upstream is in this state (1) or not (0): up, trying (it was down and gets one request at a time), or down.", []string{"upstream", "state"}},
	upstreamRTT: {"rideau_upstream_rtt_seconds", gauge,
		"Time that the upstream takes to answer, smoothed; absent while not known.", []string{"upstream"}},
	upstreamP95: {"rideau_upstream_p95_seconds", gauge,
		"Time that 19 of 20 recent answers of the upstream took at most; absent while not known.", []string{"upstream"}},
	upstreamInFlight: {"rideau_upstream_in_flight", gauge,
		"Requests to the upstream that are under way.", []string{"upstream"}},
	upstreamBusy: {"rideau_upstream_busy_total", counter,
		"Times the upstream was passed over because too many requests to it were under way.", []string{"upstream"}},
	upstreamHedges: {"rideau_upstream_hedges_total", counter,
		"Requests sent to the upstream because an answer, of another or its own, took longer than usual.", []string{"upstream"}},
	upstreamHedgeWins: {"rideau_upstream_hedge_wins_total", counter,
		"Those of them that were answered first.", []string{"upstream"}},

	listEntries: {"rideau_list_entries", gauge,
		"Entries of the list that serves.", []string{"list"}},
	listSkipped: {"rideau_list_skipped_lines", gauge,
		"Lines of the list that could not be used.", []string{"list"}},
	listLastSuccess: {"rideau_list_last_success_timestamp_seconds", gauge,
		"When the list that serves was read.", []string{"list"}},
	listReloads: {"rideau_list_reloads_total", counter,
		"Times the list was read, by result: success or failure.", []string{"list", "result"}},

	listSerial: {"rideau_list_serial", gauge,
		"Serial of the list that serves; absent if it has none.", []string{"list"}},
	listFetches: {"rideau_list_fetches_total", counter,
		"Looks at the list's URL, by result: updated, unchanged, failed, or refused for what was fetched.", []string{"list", "result"}},
	listLastFetch: {"rideau_list_last_fetch_timestamp_seconds", gauge,
		"When the list was last found at its URL, new or unchanged; 0 if not since the start.", []string{"list"}},
	listLastGood: {"rideau_list_last_good_in_use", gauge,
		"Whether the list's last good copy serves because its source cannot be used (1); of lists with a URL, and others to which that happened.", []string{"list"}},

	reloadsTotal: {"rideau_reloads_total", counter,
		"Reloads of configuration and lists, by result: success or failure. The load at start counts.", []string{"result"}},
	reloadLastSuccess: {"rideau_reload_last_success_timestamp_seconds", gauge,
		"When a reload last succeeded; 0 if never.", nil},
	reloadLastFailed: {"rideau_reload_last_failed", gauge,
		"Whether the newest reload was refused (1), so that an older policy serves.", nil},
	banActive: {"rideau_ban_active", gauge,
		"Whether the ban is in force: within its dates and not off. In mode monitor it only counts.", []string{"ban", "mode"}},
	policyGeneration: {"rideau_policy_generation", gauge,
		"Number of the policy that serves; it grows with each change.", nil},
	policyNextChange: {"rideau_policy_next_change_timestamp_seconds", gauge,
		"When a ban or an exception begins or ends next; absent if none will.", nil},
	policyMemory: {"rideau_policy_memory_bytes", gauge,
		"Memory that the names and addresses of the policy take.", nil},

	pendingQueries: {"rideau_pending_queries", gauge,
		"Queries that wait for an upstream.", nil},
	tcpConnections: {"rideau_tcp_connections", gauge,
		"Open TCP connections of clients.", nil},
	tcpRefused: {"rideau_tcp_connections_refused_total", counter,
		"TCP connections closed at once because there were too many.", nil},
	udpSendErrors: {"rideau_udp_send_errors_total", counter,
		"Answers that the system would not send by UDP.", nil},
	udpLost: {"rideau_udp_lost_total", counter,
		"Queries by UDP that the system let go because they were not read in time.", nil},
	turnedAway: {"rideau_turned_away_total", counter,
		"Queries that were turned away: for want of room to wait (all), because their client or zone has its share of that (client, zone), because their client asks too often (rate), or in a flood (flood).", []string{"reason"}},
	flooded: {"rideau_flood", gauge,
		"Whether a flood of queries is being held off.", nil},
	panicsTotal: {"rideau_panics_total", counter,
		"Queries that met a fault in the program and were answered SERVFAIL.", nil},
	eventsDropped: {"rideau_events_dropped_total", counter,
		"Events for the log that were lost because too many came at a time.", nil},
	queriesLost: {"rideau_query_log_lost_total", counter,
		"Queries that the log of queries lacks because they came too fast or it could not be written.", nil},
	buildInfo: {"rideau_build_info", gauge,
		"Always 1; the labels tell which build runs.", []string{"version", "revision", "goversion"}},
}

// Descriptions are all metrics of [NewCollector]'s collector, in the order in
// which they are best read. The caller owns them.
func Descriptions() []Metric {
	out := slices.Clone(table[:])
	for i := range out {
		out[i].Labels = slices.Clone(out[i].Labels)
	}
	return out
}
