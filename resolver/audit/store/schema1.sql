-- Version 1 of the store. It is never changed: a change is a file of its own.
--
-- Times are Unix milliseconds. The id of an event is its time in Unix microseconds times 1024, and a number that tells events of the same
-- microsecond apart: so an index of any column has the events of each value in the order of time.
CREATE TABLE runs(
  id INTEGER PRIMARY KEY,
  run TEXT NOT NULL UNIQUE,
  node TEXT NOT NULL,
  version TEXT NOT NULL,
  began INTEGER NOT NULL,          -- when the first act was recorded
  beat INTEGER NOT NULL,           -- when it was last known to run
  uptime INTEGER NOT NULL,         -- milliseconds that it had run then, by a clock that nobody sets
  ended TEXT NOT NULL DEFAULT ''   -- stopped, unclean, unrecorded; '' if it goes on, or nobody has looked since
) STRICT;
CREATE TABLE events(
  id INTEGER PRIMARY KEY,
  run INTEGER NOT NULL,            -- of runs
  number INTEGER NOT NULL,         -- of the query in the run
  verdict TEXT NOT NULL,           -- blocked, monitored, excepted, passed, allowed
  ban TEXT NOT NULL,
  grp TEXT NOT NULL,
  client TEXT,                     -- NULL: reduced, or nothing may be told
  name TEXT,                       -- NULL: reduced
  type TEXT NOT NULL,
  transport TEXT NOT NULL,
  outcome TEXT NOT NULL,
  rcode TEXT NOT NULL,
  action TEXT NOT NULL,
  list TEXT NOT NULL,
  rule TEXT NOT NULL,
  in_answer INTEGER NOT NULL,
  bypass INTEGER NOT NULL,
  exception TEXT NOT NULL,
  ticket TEXT NOT NULL,
  approver TEXT NOT NULL,
  policy TEXT NOT NULL,            -- fingerprint
  distrusted INTEGER NOT NULL      -- 1: the clock was distrusted
) STRICT;
CREATE INDEX events_ban ON events(ban);
CREATE INDEX events_rule ON events(rule) WHERE rule <> '';
CREATE INDEX events_client ON events(client) WHERE client IS NOT NULL;
CREATE INDEX events_name ON events(name) WHERE name IS NOT NULL;
CREATE TABLE hours(
  hour INTEGER NOT NULL,           -- when it began
  ban TEXT NOT NULL,
  grp TEXT NOT NULL,
  client TEXT NOT NULL,            -- '': reduced, or nothing may be told
  name TEXT NOT NULL,              -- '': reduced
  verdict TEXT NOT NULL,
  list TEXT NOT NULL,
  rule TEXT NOT NULL,
  exception TEXT NOT NULL,
  ticket TEXT NOT NULL,
  approver TEXT NOT NULL,
  bypass INTEGER NOT NULL,
  events INTEGER NOT NULL,
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  PRIMARY KEY(hour, ban, grp, client, name, verdict, list, rule, exception, ticket, approver, bypass)
) STRICT, WITHOUT ROWID;
CREATE TABLE acts(
  id INTEGER PRIMARY KEY,          -- as that of an event
  run INTEGER NOT NULL,
  number INTEGER NOT NULL,         -- of the act in the run
  kind TEXT NOT NULL,
  object TEXT NOT NULL,
  failed INTEGER NOT NULL,
  event TEXT NOT NULL              -- all of it, in JSON
) STRICT;
CREATE INDEX acts_kind ON acts(kind);
CREATE TABLE minutes(
  run INTEGER NOT NULL,
  number INTEGER NOT NULL,         -- of the interval in the run
  ban TEXT NOT NULL,
  state TEXT NOT NULL,
  distrusted INTEGER NOT NULL,
  lists TEXT NOT NULL,             -- JSON: id, hash, entries, last_good
  config TEXT NOT NULL,
  policy TEXT NOT NULL,
  began INTEGER NOT NULL,
  uptime INTEGER NOT NULL,         -- of the run when it began
  ended INTEGER,                   -- uptime when it ended; NULL: it goes on while the run does
  jump INTEGER NOT NULL,           -- milliseconds by which the clock was set when it began
  PRIMARY KEY(run, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX minutes_ban ON minutes(ban, began);
CREATE TABLE sinks(
  run INTEGER NOT NULL,
  sink TEXT NOT NULL,
  day INTEGER NOT NULL,            -- when it began, in UTC
  at INTEGER NOT NULL,             -- when the counts were taken: they count from the run's begin
  offered INTEGER NOT NULL,
  delivered INTEGER NOT NULL,
  repeated INTEGER NOT NULL,
  waiting INTEGER NOT NULL,
  dropped TEXT NOT NULL,           -- JSON: number by reason
  PRIMARY KEY(run, sink, day)
) STRICT, WITHOUT ROWID;
CREATE TABLE notes(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE VIEW event_list AS SELECT strftime('%Y-%m-%dT%H:%M:%fZ', (e.id >> 10) / 1000000.0, 'unixepoch') AS time, r.node, r.run || '-q' || e.number AS event,
  e.verdict, e.ban, e.grp AS "group", e.client, e.name, e.type, e.list, e.rule, e.exception, e.ticket, e.approver, e.distrusted
  FROM events e JOIN runs r ON r.id = e.run;
CREATE VIEW in_force AS SELECT m.ban, m.state, strftime('%Y-%m-%dT%H:%M:%fZ', m.began / 1000.0, 'unixepoch') AS since,
  (coalesce(m.ended, r.uptime) - m.uptime) / 60000.0 AS minutes, m.ended IS NULL AS open, m.distrusted, r.node, r.version, m.config, m.lists
  FROM minutes m JOIN runs r ON r.id = m.run;
