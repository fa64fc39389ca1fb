-- Every statement that the plugin sends, by name. Loaded by queries.py; `%(name)s` are parameters.

-- name: schema_exists
SELECT to_regclass('alerts') IS NOT NULL AND to_regclass('notifications') IS NOT NULL
   AND to_regclass('reader_positions') IS NOT NULL AND to_regclass('dead_letters') IS NOT NULL
   AND to_regclass('threshold_changes') IS NOT NULL
   AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('notifications')
                  AND attname = 'kind' AND NOT attisdropped)
   AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('rule_states')
                  AND attname = 'deadline' AND NOT attisdropped)
   AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('alerts')
                  AND attname = 'resolution' AND NOT attisdropped);

-- name: serialise_commits
-- Dedupe reads, decides and writes: two commits at once could both find nothing and both write.
SELECT pg_advisory_xact_lock(%(key)s, 0);

-- name: try_lead
-- With what recognises this very backend later, whatever becomes of our connection to it.
SELECT pg_try_advisory_lock(%(key)s, hashtext(%(source)s)), pg_backend_pid(),
       (SELECT backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid());

-- name: release_lead
SELECT pg_advisory_unlock(%(key)s, hashtext(%(source)s));

-- name: end_backend
-- Our own, from before the network was cut: until the server notices, it holds our lead.
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE pid = %(pid)s AND backend_start::text = %(start)s;

-- name: position_get
SELECT position, version FROM reader_positions WHERE source = %(source)s;

-- name: position_confirm
-- The leader's sign of life; finds no row when another one moved the position meanwhile.
UPDATE reader_positions
   SET updated_at = now(), updated_by = %(instance)s, caught_up = coalesce(%(caught_up)s, caught_up)
 WHERE source = %(source)s AND version = %(version)s;

-- name: position_age
SELECT coalesce(updated_by, '?'), extract(epoch FROM now() - updated_at)::float8
  FROM reader_positions WHERE source = %(source)s;

-- name: position_create
INSERT INTO reader_positions (source, position, updated_by)
VALUES (%(source)s, %(position)s, %(instance)s) ON CONFLICT (source) DO NOTHING;

-- name: position_move
-- The version makes a reader that lost its lead without noticing fail here, before it stores anything;
-- so does a threshold that was changed since it judged.
UPDATE reader_positions
   SET position = %(position)s, version = version + 1, updated_at = now(), updated_by = %(instance)s,
       caught_up = coalesce(%(caught_up)s, caught_up)
 WHERE source = %(source)s AND version = %(version)s
   AND coalesce(%(thresholds)s = (SELECT coalesce(max(id), 0) FROM threshold_changes), true);

-- name: alerts_known
SELECT fingerprint, id, timestamp, from_eventos, from_streams, from_push FROM alerts
 WHERE fingerprint = ANY(%(fingerprints)s)
   AND timestamp > %(after)s AND timestamp < %(before)s
 ORDER BY timestamp DESC;

-- name: alerts_insert
INSERT INTO alerts (severity, message, channel, event_data, timestamp, title, rule, occurrences,
                    from_eventos, from_streams, from_push, last_seen, source, event_id, instance_id,
                    fingerprint)
SELECT n.severity, n.message, n.channel, n.event_data::jsonb, n.timestamp, n.title, n.rule,
       greatest(n.eventos, n.stream, n.push), n.eventos, n.stream, n.push, n.last_seen, n.source,
       n.event_id, n.instance_id, n.fingerprint
  FROM unnest(%(severity)s::text[], %(message)s::text[], %(channel)s::text[], %(event_data)s::text[],
              %(timestamp)s::float8[], %(title)s::text[], %(rule)s::text[], %(eventos)s::int[],
              %(stream)s::int[], %(push)s::int[], %(last_seen)s::float8[], %(source)s::text[],
              %(event_id)s::bigint[], %(instance_id)s::text[], %(fingerprint)s::bytea[])
       WITH ORDINALITY
       AS n (severity, message, channel, event_data, timestamp, title, rule, eventos, stream, push,
             last_seen, source, event_id, instance_id, fingerprint, ordinal)
 ORDER BY n.ordinal
RETURNING id;

-- name: alerts_repeat
-- The same event may come by several roads: the busiest one says how often it happened.
UPDATE alerts AS a
   SET from_eventos = a.from_eventos + r.eventos, from_streams = a.from_streams + r.stream,
       from_push = a.from_push + r.push,
       occurrences = greatest(a.occurrences, a.from_eventos + r.eventos, a.from_streams + r.stream,
                              a.from_push + r.push),
       last_seen = greatest(a.last_seen, r.last_seen)
  FROM unnest(%(id)s::bigint[], %(eventos)s::int[], %(stream)s::int[], %(push)s::int[],
              %(last_seen)s::float8[], %(fingerprint)s::bytea[])
       AS r (id, eventos, stream, push, last_seen, fingerprint)
 WHERE a.id = r.id AND a.fingerprint = r.fingerprint
RETURNING a.id;

-- name: notifications_insert
INSERT INTO notifications (alert_id, channel, severity)
SELECT * FROM unnest(%(alert_id)s::bigint[], %(channel)s::text[], %(severity)s::smallint[]);

-- name: states_get
SELECT s.rule, s.key, s.state::text, s.version, s.deadline
  FROM unnest(%(rule)s::text[], %(key)s::bytea[]) AS k (rule, key)
  JOIN rule_states AS s USING (rule, key);

-- name: states_due
SELECT rule, key, state::text, version, deadline FROM rule_states
 WHERE deadline <= %(until)s AND rule = ANY(%(rules)s) AND (rule, key) > (%(rule)s, %(key)s)
 ORDER BY rule, key LIMIT %(limit)s;

-- name: judged_until
-- What no source has brought until then does not exist. One that is not read keeps nobody waiting.
SELECT coalesce(min(coalesce(caught_up, 0)), 0) FROM reader_positions
 WHERE updated_at > now() - make_interval(secs => %(silence)s);

-- name: states_put
-- The version makes it fail where somebody else stored the same meanwhile: rows are missing then.
INSERT INTO rule_states AS s (rule, key, state, version, deadline)
SELECT n.rule, n.key, n.state::jsonb, n.version + 1, n.deadline
  FROM unnest(%(rule)s::text[], %(key)s::bytea[], %(state)s::text[], %(version)s::bigint[],
              %(deadline)s::float8[]) AS n (rule, key, state, version, deadline)
 ORDER BY n.rule, n.key
ON CONFLICT (rule, key) DO UPDATE
   SET state = excluded.state, version = excluded.version, deadline = excluded.deadline,
       updated_at = now()
 WHERE s.version = excluded.version - 1;

-- name: alerts_resolve
-- Of an alert that became worse on the way there are several rows: its end is told once a channel.
WITH ends AS (
    SELECT * FROM unnest(%(number)s::int[], %(fingerprint)s::bytea[], %(timestamp)s::float8[],
                         %(message)s::text[]) AS e (number, fingerprint, timestamp, message)
), over AS (
    UPDATE alerts AS a
       SET status = 'resuelta', resolved_at = e.timestamp, resolution = e.message
      FROM ends AS e WHERE a.fingerprint = e.fingerprint AND a.status <> 'resuelta'
    RETURNING a.id, e.number
)
INSERT INTO notifications (alert_id, channel, severity, kind)
SELECT DISTINCT ON (o.number, n.channel) n.alert_id, n.channel, n.severity, 'recovery'
  FROM over AS o JOIN notifications AS n ON n.alert_id = o.id
 WHERE n.kind = 'alert' AND n.status <> 'dead' AND n.channel <> ALL(%(silent)s)
 ORDER BY o.number, n.channel, n.severity DESC, n.id DESC
ON CONFLICT (alert_id, channel, kind) DO NOTHING
RETURNING channel;

-- name: thresholds_get
SELECT DISTINCT ON (name) id, name, old_value, new_value, base_value, timestamp, changed_by
  FROM threshold_changes ORDER BY name, id DESC;

-- name: thresholds_version
SELECT coalesce(max(id), 0) FROM threshold_changes;

-- name: thresholds_put
INSERT INTO threshold_changes (name, old_value, new_value, base_value, timestamp, changed_by)
SELECT * FROM unnest(%(name)s::text[], %(old)s::float8[], %(new)s::float8[], %(base)s::float8[],
                     %(timestamp)s::float8[], %(who)s::text[]);

-- name: dead_letters_insert
INSERT INTO dead_letters (source, event_id, channel, reason, size, timestamp, instance_id)
SELECT * FROM unnest(%(source)s::text[], %(event_id)s::bigint[], %(channel)s::text[],
                     %(reason)s::text[], %(size)s::int[], %(timestamp)s::float8[],
                     %(instance_id)s::text[])
ON CONFLICT (source, event_id, timestamp) WHERE event_id IS NOT NULL DO NOTHING;

-- name: notifications_claim
-- Short transaction: the rows are ours until the lease ends, or until the token completes them.
WITH due AS (
    SELECT id FROM notifications
     WHERE status = 'pending' AND channel = %(channel)s AND next_attempt_at <= now()
       AND created_at >= now() - make_interval(secs => %(max_age)s)
     ORDER BY severity DESC, id
     LIMIT %(limit)s
       FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE notifications AS n
       SET attempts = n.attempts + 1, lease_token = %(token)s,
           next_attempt_at = now() + make_interval(secs => %(lease)s)
      FROM due WHERE n.id = due.id
    RETURNING n.id, n.alert_id, n.attempts, n.severity, n.progress, n.kind
)
SELECT c.id, c.alert_id, c.attempts, c.progress, c.kind = 'recovery', a.resolution,
       a.severity, a.title, a.message, a.rule, a.channel, a.event_data, a.timestamp
  FROM claimed AS c JOIN alerts AS a ON a.id = c.alert_id
 ORDER BY c.severity DESC, c.id;

-- name: notifications_next
-- Seconds until the next message of a channel is due.
SELECT extract(epoch FROM min(next_attempt_at) - now())::float8
  FROM notifications
 WHERE status = 'pending' AND channel = %(channel)s
   AND created_at >= now() - make_interval(secs => %(max_age)s);

-- name: notifications_sent
UPDATE notifications
   SET status = 'sent', finished_at = now(), external_id = %(external_id)s, last_error = %(refused)s,
       progress = NULL
 WHERE id = ANY(%(ids)s) AND lease_token = %(token)s AND status = 'pending';

-- name: notifications_retry
UPDATE notifications
   SET next_attempt_at = now() + make_interval(secs => %(delay)s), last_error = %(reason)s,
       attempts = attempts - %(give_back)s, lease_token = NULL,
       progress = coalesce(%(progress)s::jsonb, progress)
 WHERE id = ANY(%(ids)s) AND lease_token = %(token)s AND status = 'pending';

-- name: notifications_dead
UPDATE notifications
   SET status = 'dead', finished_at = now(), last_error = %(reason)s
 WHERE id = ANY(%(ids)s) AND lease_token = %(token)s AND status = 'pending';

-- name: notifications_expire
-- What nobody delivered in time, also for channels that no worker serves (any more). A message that
-- is being sent right now is left to its sender.
WITH old AS (
    SELECT id FROM notifications
     WHERE status = 'pending' AND created_at < now() - make_interval(secs => %(max_age)s)
       AND (lease_token IS NULL OR next_attempt_at <= now())
     LIMIT %(limit)s
       FOR UPDATE SKIP LOCKED
)
UPDATE notifications AS n
   SET status = 'dead', finished_at = now(), lease_token = NULL,
       last_error = coalesce((SELECT c.reason FROM unnest(%(channels)s::text[], %(reasons)s::text[])
                                  AS c (name, reason) WHERE c.name = n.channel), %(no_channel)s)
                    || coalesce('; último fallo: ' || n.last_error, '')
  FROM old WHERE n.id = old.id
RETURNING n.channel, n.alert_id;

-- name: alerts_list
SELECT id, severity, title, message, channel, rule, status, occurrences, timestamp, last_seen
  FROM alerts
 WHERE (%(severity)s::text IS NULL OR severity = %(severity)s)
   AND (%(channel)s::text IS NULL OR channel = %(channel)s)
 ORDER BY id DESC LIMIT %(limit)s;

-- name: alert_show
SELECT id, severity, title, message, channel, rule, status, occurrences, timestamp, last_seen, source,
       event_id, instance_id, event_data, created_at, resolved_at, resolution
  FROM alerts WHERE id = %(id)s;

-- name: alert_notifications
SELECT channel, kind, status, attempts, created_at, finished_at, external_id, last_error
  FROM notifications WHERE alert_id = %(id)s ORDER BY id;

-- name: eventos_rows
-- Other channels' rows are read too, without their payload: left out, they would look like holes.
SELECT id, canal, timestamp, instance_id, size,
       CASE WHEN canal = ANY(%(channels)s) AND size <= %(max_bytes)s THEN payload END
  FROM (SELECT *, sum(CASE WHEN canal = ANY(%(channels)s) AND size <= %(max_bytes)s THEN size ELSE 0 END)
                  OVER (ORDER BY id) AS total
          FROM (SELECT id, canal, timestamp, instance_id, {payload} AS payload,
                       coalesce(octet_length({payload}), 0) AS size
                  FROM eventos WHERE id > %(hi)s ORDER BY id LIMIT %(limit)s) AS page) AS counted
 WHERE total - size <= %(batch_bytes)s
 ORDER BY id;

-- name: eventos_holes
-- Single ids in one look-up; LATERAL with a LIMIT of its own for ranges: as a plain join the planner may
-- walk the whole index for the order's sake, and compare each row with each range.
SELECT id, canal, timestamp, instance_id, size,
       CASE WHEN canal = ANY(%(channels)s) AND size <= %(max_bytes)s THEN payload END
  FROM (SELECT *, sum(CASE WHEN canal = ANY(%(channels)s) AND size <= %(max_bytes)s THEN size ELSE 0 END)
                  OVER (ORDER BY id) AS total
          FROM ((SELECT id, canal, timestamp, instance_id, {payload} AS payload,
                        coalesce(octet_length({payload}), 0) AS size
                   FROM eventos WHERE id = ANY(%(ids)s::bigint[]) ORDER BY id LIMIT %(limit)s)
                UNION ALL
                (SELECT e.*
                   FROM unnest(%(lo)s::bigint[], %(hi)s::bigint[]) AS hole (lo, hi)
                  CROSS JOIN LATERAL (SELECT id, canal, timestamp, instance_id, {payload} AS payload,
                                             coalesce(octet_length({payload}), 0) AS size
                                        FROM eventos WHERE id BETWEEN hole.lo AND hole.hi
                                       ORDER BY id LIMIT %(limit)s) AS e
                  ORDER BY e.id LIMIT %(limit)s)
                ORDER BY id LIMIT %(limit)s) AS page) AS counted
 WHERE total - size <= %(batch_bytes)s
 ORDER BY id;

-- name: eventos_any
SELECT EXISTS (SELECT FROM eventos WHERE id > %(after)s)
    OR EXISTS (SELECT FROM eventos WHERE id = ANY(%(ids)s::bigint[]))
    OR EXISTS (SELECT FROM unnest(%(lo)s::bigint[], %(hi)s::bigint[]) AS hole (lo, hi)
                CROSS JOIN LATERAL (SELECT FROM eventos WHERE id BETWEEN hole.lo AND hole.hi
                                     ORDER BY id LIMIT 1) AS e);

-- name: eventos_server
-- A standby shows no locks of the primary's writers. A sequence that hands out ids in blocks keeps
-- holes open for as long as a session lives.
SELECT pg_is_in_recovery(),
       (SELECT seqcache FROM pg_sequence
         WHERE seqrelid = to_regclass(pg_get_serial_sequence('eventos', 'id')));

-- name: eventos_payload_type
SELECT format_type(atttypid, NULL) FROM pg_attribute
 WHERE attrelid = 'eventos'::regclass AND attname = 'datos';

-- name: eventos_writers
-- S2: who may still fill a hole. Run strictly after the rows were read.
SELECT DISTINCT virtualtransaction FROM pg_locks
 WHERE granted AND locktype = 'relation'
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND relation = ANY(ARRAY['eventos'::regclass::oid,
                            pg_get_serial_sequence('eventos', 'id')::regclass::oid])
   AND mode IN ('RowExclusiveLock', 'ShareUpdateExclusiveLock', 'ShareLock',
                'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock');

-- name: eventos_bounds
SELECT coalesce(max(id), 0) FROM eventos;

-- name: eventos_mark
SELECT timestamp FROM eventos WHERE id = %(hi)s;

-- name: eventos_first_since
-- A broken clock (NaN sorts above everything) must not stand for the whole table.
SELECT min(id) FROM eventos WHERE timestamp >= %(since)s AND timestamp < %(now)s + 86400;

-- name: eventos_gaps
-- Ids that are missing among the newest rows when a first start begins: their writers may be at work.
SELECT previous + 1, id - 1
  FROM (SELECT id, lag(id) OVER (ORDER BY id) AS previous FROM eventos
         WHERE id > %(hi)s - %(span)s AND id <= %(hi)s) AS newest
 WHERE id > previous + 1;

-- name: eventos_try_sleep
SELECT pg_try_advisory_lock(%(class)s, %(object)s);

-- name: eventos_wake
SELECT pg_advisory_unlock(%(class)s, %(object)s);

-- name: eventos_has_trigger
-- Any trigger that notifies on our channel will do, whatever its name.
SELECT EXISTS (SELECT FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
                WHERE t.tgrelid = 'eventos'::regclass AND t.tgenabled IN ('O', 'A')
                  AND position('corec_eventos' IN p.prosrc) > 0);

-- name: eventos_insert
INSERT INTO eventos (canal, datos, timestamp, instance_id)
SELECT %(canal)s, payload, %(timestamp)s, %(instance)s FROM unnest(%(datos)s::{type}[]) AS payload;
