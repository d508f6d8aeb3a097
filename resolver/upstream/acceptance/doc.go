// Package acceptance judges what comes back from the servers that queries are
// forwarded to.
//
// [Accept] is the one place that decides what a received message is to the
// query that was sent, for every transport: UDP with a socket for each query,
// UDP through a multiplexer, TCP, TLS, QUIC and HTTPS. An [Endpoint] is what
// is known of one server that is asked in plain text: whether it understands
// EDNS, keeps the case of names, gives cookies, and answers over UDP at all.
//
// # What one datagram can do
//
// Servers, and firewalls before them, differ in what they understand. Whoever
// sends datagrams in the name of a server can pretend all of that. Both are
// served by one rule: what a datagram says about the server, and not only about
// its question, is believed if others agree that a forger could not have sent.
//
//   - A response that lacks the case of the query, or the cookie that the server
//     has given, an error without question, and one that refuses EDNS, is
//     [Doubtful]. The query goes out again, over TCP and in datagrams with an id
//     and a port of their own. A response over TCP decides. So does a datagram
//     beyond doubt. Otherwise two that agree are believed: a forger has to guess
//     an id and a port for each, and has to be faster than the server both times.
//   - A [Habit] changes how all later queries are sent: without cookie, random
//     case, DO or EDNS, with a small size, or over TCP. It takes observations
//     from several exchanges, some time apart. A habit that leaves queries
//     unanswered is observed only while whole queries, sent at the same time,
//     stay unanswered, which a forger cannot bring about; a response to one of
//     them contradicts the habit. A habit that changes responses takes more
//     observations, since a forger who hits can show it once each time.
//   - Observations do not count together while messages arrive that are no
//     response to any query. Who guesses ids leaves thousands of those for each
//     hit. One who floods can thus keep a habit from being learnt. The names of
//     such a server are then answered more slowly.
//   - The way back is easier, as it only makes queries harder to forge: a server
//     is asked from time to time, beside the queries of clients, what it would say
//     to whole ones, and whether it gives cookies. A cookie counts only if it is
//     in the response to all of these queries and repeats our part of it, which
//     nobody can guess.
//   - A query that was not answered is sent again without OPT record, too. That takes
//     its cookie away. Where the server has given one, and no random case protects the
//     name, it takes two queries in a row that were not answered.
//   - Neither probes nor queries of clients carry a cookie before the server has
//     given one: only that query does that is sent to find out.
package acceptance
