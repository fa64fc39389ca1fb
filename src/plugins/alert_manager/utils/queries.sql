-- Every statement about alert_db, by name. Loaded by queries.py; `%(name)s` are parameters.

-- name: schema_exists
SELECT to_regclass('alerts') IS NOT NULL AND to_regclass('notifications') IS NOT NULL
   AND to_regclass('reader_positions') IS NOT NULL AND to_regclass('dead_letters') IS NOT NULL
   AND to_regclass('threshold_changes') IS NOT NULL AND to_regclass('deliveries') IS NOT NULL
   AND to_regclass('alert_history') IS NOT NULL AND to_regclass('silences') IS NOT NULL
   AND to_regclass('told_ahead') IS NOT NULL AND to_regclass('channel_holds') IS NOT NULL
   AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('notifications')
                  AND attname = 'handed_from' AND NOT attisdropped)
   AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('rule_states')
                  AND attname = 'deadline' AND NOT attisdropped)
   AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('alerts')
                  AND attname = 'closed' AND NOT attisdropped)
   AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('told_ahead')
                  AND attname = 'alert_id' AND NOT attisdropped);

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
   SET position = %(position)s, updated_at = now(), updated_by = %(instance)s,
       caught_up = coalesce(%(caught_up)s, caught_up)
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
SELECT a.fingerprint, a.id, a.timestamp, a.from_eventos, a.from_streams, a.from_push
  FROM unnest(%(fingerprint)s::bytea[], %(after)s::float8[], %(before)s::float8[])
       AS c (fingerprint, after, before)
  JOIN alerts AS a
    ON a.fingerprint = c.fingerprint AND a.timestamp > c.after AND a.timestamp < c.before
   AND NOT a.closed
 ORDER BY a.timestamp DESC;

-- name: alerts_insert
INSERT INTO alerts (severity, message, channel, event_data, timestamp, title, rule, occurrences,
                    from_eventos, from_streams, from_push, last_seen, source, event_id, instance_id,
                    fingerprint, words)
SELECT n.severity, n.message, n.channel, n.event_data::jsonb, n.timestamp, n.title, n.rule,
       greatest(n.eventos, n.stream, n.push), n.eventos, n.stream, n.push, n.last_seen, n.source,
       n.event_id, n.instance_id, n.fingerprint, n.words::jsonb
  FROM unnest(%(severity)s::text[], %(message)s::text[], %(channel)s::text[], %(event_data)s::text[],
              %(timestamp)s::float8[], %(title)s::text[], %(rule)s::text[], %(eventos)s::int[],
              %(stream)s::int[], %(push)s::int[], %(last_seen)s::float8[], %(source)s::text[],
              %(event_id)s::bigint[], %(instance_id)s::text[], %(fingerprint)s::bytea[],
              %(words)s::text[])
       WITH ORDINALITY
       AS n (severity, message, channel, event_data, timestamp, title, rule, eventos, stream, push,
             last_seen, source, event_id, instance_id, fingerprint, words, ordinal)
 ORDER BY n.ordinal
RETURNING id;

-- name: alerts_repeat
-- The same event may come by several roads: the busiest one says how often it happened. Of an alert of which a
-- silence kept people from hearing, somebody may have to hear now.
UPDATE alerts AS a
   SET from_eventos = a.from_eventos + r.eventos, from_streams = a.from_streams + r.stream,
       from_push = a.from_push + r.push,
       occurrences = greatest(a.occurrences, a.from_eventos + r.eventos, a.from_streams + r.stream,
                              a.from_push + r.push),
       last_seen = greatest(a.last_seen, r.last_seen)
  FROM unnest(%(id)s::bigint[], %(eventos)s::int[], %(stream)s::int[], %(push)s::int[],
              %(last_seen)s::float8[], %(fingerprint)s::bytea[])
       AS r (id, eventos, stream, push, last_seen, fingerprint)
 WHERE a.id = r.id AND a.fingerprint = r.fingerprint AND NOT a.closed
RETURNING a.id, a.silence_id IS NOT NULL AND a.status IN ('abierta', 'silenciada');

-- name: notifications_insert
-- Each alert names a set of channels. In the order of alerts, in which channels tell them. What a silence muted
-- is told after all.
INSERT INTO notifications AS n (alert_id, channel, severity)
SELECT a.alert_id, m.channel, a.severity
  FROM unnest(%(alert_id)s::bigint[], %(severity)s::smallint[], %(set)s::int[])
       AS a (alert_id, severity, channels)
  JOIN unnest(%(member_of)s::int[], %(member)s::text[]) WITH ORDINALITY
       AS m (channels, channel, ordinal) USING (channels)
 ORDER BY a.alert_id, m.ordinal
ON CONFLICT (alert_id, channel, kind, number) DO UPDATE
   SET status = 'pending', queued_at = now(), next_attempt_at = now(), attempts = 0, finished_at = NULL,
       lease_token = NULL
 WHERE n.status = 'muted';

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
SELECT coalesce(min(coalesce(caught_up, 0)), 'infinity') FROM reader_positions
 WHERE updated_at > now() - make_interval(secs => %(silence)s) AND source <> coalesce(%(but)s, '');

-- name: states_forget
DELETE FROM rule_states WHERE rule <> ALL (%(names)s::text[]);

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

-- name: hears_the_end
-- Who was told, or is about to be; of what is told again, only who has it, or is just getting it.
n.kind <> 'recovery' AND (n.status = 'sent' OR n.status = 'pending' AND (n.kind = 'alert' OR NOT {at_rest}))

-- name: spare
-- Of alerts that are `over`: nobody has to be told again.
UPDATE notifications AS n
   SET status = 'muted', finished_at = now(), lease_token = NULL, last_error = %(spared)s
  FROM over WHERE n.alert_id = over.id AND n.kind IN ('repeat', 'escalation') AND n.status = 'pending' AND {at_rest}

-- name: alerts_resolve
-- Of an alert that became worse on the way there are several rows: its end is told once a channel.
WITH ends AS (
    SELECT * FROM unnest(%(number)s::int[], %(fingerprint)s::bytea[], %(timestamp)s::float8[],
                         %(message)s::text[], %(closes)s::bool[])
                  AS e (number, fingerprint, timestamp, message, closes)
), over AS (
    UPDATE alerts AS a
       SET status = 'resuelta', resolved_at = e.timestamp, resolution = e.message, closed = a.closed OR e.closes
      FROM ends AS e WHERE a.fingerprint = e.fingerprint AND a.status <> 'resuelta'
    RETURNING a.id, e.number, e.message
), spared AS ({spare}), noted AS (
    INSERT INTO alert_history (alert_id, action, who, note)
    SELECT id, 'resuelta', 'alert_manager', message FROM over
)
INSERT INTO notifications (alert_id, channel, severity, kind)
SELECT DISTINCT ON (o.number, n.channel) n.alert_id, n.channel, n.severity, 'recovery'
  FROM over AS o JOIN notifications AS n ON n.alert_id = o.id
 WHERE {hears_the_end} AND n.channel <> ALL(%(silent)s)
 ORDER BY o.number, n.channel, n.severity DESC, n.id DESC
ON CONFLICT (alert_id, channel, kind, number) DO NOTHING
RETURNING channel;

-- name: thresholds_get
SELECT DISTINCT ON (name) id, name, old_value, new_value, base_value, timestamp, changed_by,
       (SELECT jsonb_agg(jsonb_build_array(l.timestamp, l.new_value)) FROM (
            SELECT timestamp, new_value FROM threshold_changes
             WHERE name = c.name AND id <= c.id ORDER BY id DESC LIMIT %(followed)s) AS l)
  FROM threshold_changes AS c
 WHERE timestamp < coalesce(%(before)s::double precision, 'Infinity')
 ORDER BY name, id DESC;

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

-- name: dead_letters_take
DELETE FROM dead_letters WHERE id = ANY(%(ids)s::bigint[]);

-- name: told_ahead_put
-- Who was told in part may have been told in full meanwhile, but not the other way round.
WITH forgotten AS (DELETE FROM told_ahead WHERE reported_at < now() - interval '2 days')
INSERT INTO told_ahead AS t (fingerprint, timestamp, span, channel, told_at, attempts, answer, external_id, progress)
SELECT n.fingerprint, n.timestamp, n.span, n.channel, n.told_at, n.attempts, n.answer, n.external_id,
       n.progress::jsonb
  FROM unnest(%(fingerprint)s::bytea[], %(timestamp)s::float8[], %(window)s::float8[], %(channel)s::text[],
              %(told_at)s::float8[], %(attempts)s::int[], %(answer)s::text[], %(external_id)s::text[],
              %(progress)s::text[])
       AS n (fingerprint, timestamp, span, channel, told_at, attempts, answer, external_id, progress)
ON CONFLICT (fingerprint, timestamp, channel) DO UPDATE
   SET told_at = excluded.told_at, attempts = excluded.attempts, answer = excluded.answer,
       external_id = excluded.external_id, progress = excluded.progress
 WHERE t.progress IS NOT NULL;

-- name: told_ahead_used
-- Alerts, and their channels, that count as told.
SELECT t.alert_id, t.channel
  FROM unnest(%(fingerprint)s::bytea[], %(timestamp)s::float8[], %(channel)s::text[])
       AS n (fingerprint, timestamp, channel)
  JOIN told_ahead AS t USING (fingerprint, timestamp, channel)
 WHERE t.alert_id IS NOT NULL;

-- name: told_ahead_any
-- Under the lock of commits: nobody adds one before ours is there.
SELECT EXISTS (SELECT FROM told_ahead);

-- name: told_ahead_apply
-- To messages of these alerts, or of all: whoever was told is not told again. It counts for one alert: the next
-- of its kind, after somebody resolved that, is news. Who was told in part, is known once it is applied. What
-- was over before is not what was told, unless it still waits to be.
WITH fits AS (
    SELECT DISTINCT ON (t.fingerprint, t.timestamp, t.channel)
           t.fingerprint, t.timestamp, t.channel, t.told_at, t.attempts, t.answer, t.external_id, t.progress,
           a.id AS alert_id, a.closed
      FROM told_ahead AS t
      JOIN alerts AS a ON a.fingerprint = t.fingerprint
                      AND (abs(a.timestamp - t.timestamp) < t.span OR a.timestamp = t.timestamp)
     WHERE coalesce(t.alert_id, a.id) = a.id AND (%(ids)s::bigint[] IS NULL OR a.id = ANY(%(ids)s))
     ORDER BY t.fingerprint, t.timestamp, t.channel, a.closed, abs(a.timestamp - t.timestamp), a.id
), found AS (  -- once for all that follows: joined to each other, such lists are gone through for each row
    SELECT f.*, n.id AS message, n.attempts + f.attempts AS attempt,
           n.id IS NOT NULL AND row_number() OVER (PARTITION BY n.id ORDER BY f.progress IS NOT NULL) = 1 AS is_told
      FROM fits AS f
      -- By its alert, never by the index of what a channel has pending: all of that, for each row.
      LEFT JOIN notifications AS n ON n.alert_id = f.alert_id AND n.channel || '' = f.channel
                                  AND n.kind = 'alert' AND n.status = 'pending'
                                  AND (f.progress IS NULL OR n.progress IS NULL AND {at_rest})
), used AS (
    UPDATE told_ahead AS t SET alert_id = f.alert_id
      FROM found AS f
     WHERE t.fingerprint = f.fingerprint AND t.timestamp = f.timestamp AND t.channel = f.channel
       AND t.alert_id IS NULL AND CASE WHEN f.is_told THEN f.progress IS NULL ELSE NOT f.closed END
), spent AS (
    DELETE FROM told_ahead AS t USING found AS f
     WHERE t.fingerprint = f.fingerprint AND t.timestamp = f.timestamp AND t.channel = f.channel
       AND f.is_told AND f.progress IS NOT NULL
), marked AS (
    UPDATE notifications AS n
       SET status = CASE WHEN f.progress IS NULL THEN 'sent' ELSE 'pending' END,
           finished_at = CASE WHEN f.progress IS NULL THEN to_timestamp(f.told_at) END,
           progress = f.progress, external_id = f.external_id, attempts = f.attempt, lease_token = NULL
      FROM found AS f WHERE f.is_told AND n.id = f.message
), kept AS (
    INSERT INTO deliveries (notification_id, attempt, ended_at, seconds, status, answer, external_id)
    SELECT message, attempt, to_timestamp(told_at), 0, CASE WHEN progress IS NULL THEN 'sent' ELSE 'retry' END,
           coalesce('sin alert_db: ' || answer, 'sin alert_db'), external_id
      FROM found WHERE is_told
)
SELECT alert_id, channel FROM found WHERE is_told;

-- name: in_turn
-- Not before what it is the end of: read in this order, the last word would be that it is open. And what is
-- told again, only while nobody takes care of it.
CASE WHEN kind = 'recovery' THEN NOT EXISTS (
    SELECT FROM notifications AS o
     WHERE o.alert_id = n.alert_id AND o.channel = n.channel AND o.kind <> 'recovery' AND o.status = 'pending')
     WHEN kind IN ('repeat', 'escalation') THEN EXISTS (
    SELECT FROM alerts AS a WHERE a.id = n.alert_id AND a.status = 'abierta')
     ELSE true END

-- name: at_rest
-- Nobody is sending it right now: what is being sent is left to its sender.
(n.lease_token IS NULL OR n.next_attempt_at <= now())

-- name: notifications_claim
-- Short transaction: the rows are ours until the lease ends, or until the token completes them.
-- `mark`: of a digest that some recipients have; it is told to the others as it was. A new digest (brief, and
-- no mark) takes nothing that anybody has. Each severity by itself, so that the index gives the first of them in
-- their order: in a storm, sorting all that waits took longer than telling it. LATERAL makes it a loop over the
-- severities as they stand here, which ends with the last row that is wanted: no other is locked.
-- The last column: whether more wait than these, counted to one more: to look for another one among ten thousand
-- took seconds.
WITH due AS (
    SELECT turn.id FROM unnest(ARRAY[4, 3, 2, 1]) AS s (severity), LATERAL (
        SELECT n.id FROM notifications AS n
         WHERE status = 'pending' AND channel = %(channel)s AND n.severity = s.severity AND next_attempt_at <= now()
           AND queued_at >= now() - make_interval(secs => %(max_age)s)
           AND (%(mark)s::text IS NULL OR coalesce(progress ->> 'digest', '') = %(mark)s)
           AND (NOT %(brief)s OR %(mark)s <> '' OR progress IS NULL) AND {in_turn}
         ORDER BY n.queued_at, n.id
         LIMIT %(limit)s
           FOR UPDATE SKIP LOCKED) AS turn
     WHERE s.severity >= %(least)s
       AND NOT EXISTS (SELECT FROM channel_holds
                        WHERE channel = %(channel)s AND target = %(target)s AND until > now())
     LIMIT %(limit)s
), claimed AS (
    UPDATE notifications AS n
       SET attempts = n.attempts + 1, lease_token = %(token)s,
           next_attempt_at = now() + make_interval(secs => %(lease)s)
      FROM due WHERE n.id = due.id
    RETURNING n.id, n.alert_id, n.attempts, n.severity, n.progress, n.kind, n.number
)
SELECT c.id, c.alert_id, c.attempts, c.progress, c.kind, c.number, a.resolution,
       extract(epoch FROM now() - a.created_at)::float8, a.occurrences,
       a.status, a.severity, coalesce(a.words -> %(channel)s ->> 'title', a.title),
       coalesce(a.words -> %(channel)s ->> 'message', a.message), a.rule, a.channel,
       CASE WHEN NOT %(brief)s OR (SELECT count(*) FROM claimed) = 1 THEN a.event_data END, a.timestamp,
       (SELECT count(*) FROM claimed)
       < (SELECT count(*) FROM (SELECT FROM notifications WHERE status = 'pending' AND channel = %(channel)s
                                 LIMIT 1 + (SELECT count(*) FROM claimed)) AS waiting)
  FROM claimed AS c JOIN alerts AS a ON a.id = c.alert_id
 ORDER BY c.severity DESC, c.id;

-- name: notifications_next
-- Seconds until the next message of a channel is due.
SELECT greatest(extract(epoch FROM min(next_attempt_at) - now()),
                (SELECT extract(epoch FROM until - now()) FROM channel_holds
                  WHERE channel = %(channel)s AND target = %(target)s))::float8
  FROM notifications AS n
 WHERE status = 'pending' AND channel = %(channel)s AND {in_turn}
   AND queued_at >= now() - make_interval(secs => %(max_age)s) AND severity >= %(least)s
HAVING count(*) > 0;

-- name: channel_hold
SELECT extract(epoch FROM until - now())::float8 FROM channel_holds
 WHERE channel = %(channel)s AND target = %(target)s AND until > now();

-- name: notifications_depth
SELECT channel, severity, count(*), extract(epoch FROM now() - min(queued_at))::float8
  FROM notifications WHERE status = 'pending' GROUP BY channel, severity;

-- name: notifications_waiting
-- What nobody has, and the mark of a digest that some recipients have.
SELECT count(*) FILTER (WHERE severity = 4 AND progress IS NULL),
       count(*) FILTER (WHERE severity < 4 AND progress IS NULL), min(nullif(progress ->> 'digest', ''))
  FROM notifications AS n
 WHERE {in_turn} AND status = 'pending' AND channel = %(channel)s AND next_attempt_at <= now()
   AND queued_at >= now() - make_interval(secs => %(max_age)s) AND severity >= %(least)s;

-- name: notifications_sent
WITH ours AS (
    UPDATE notifications
       SET status = 'sent', finished_at = now(), external_id = %(external_id)s, last_error = %(refused)s,
           progress = NULL
     WHERE id = ANY(%(ids)s) AND lease_token = %(token)s AND status = 'pending'
    RETURNING id, attempts, alert_id, channel, kind, number
), spared AS (  -- its fallback need not tell it any more
    UPDATE notifications AS n
       SET status = 'moved', finished_at = now(), lease_token = NULL, last_error = 'lo entregó ' || o.channel
      FROM ours AS o
     WHERE n.alert_id = o.alert_id AND n.kind = o.kind AND n.number = o.number AND n.handed_from = o.channel
       AND n.status = 'pending' AND {at_rest}
), told AS (
    INSERT INTO deliveries (notification_id, attempt, seconds, status, answer, external_id)
    SELECT id, attempts, %(seconds)s, %(outcome)s, %(answer)s, %(external_id)s FROM ours
)
SELECT count(*) FROM ours;

-- name: notifications_retry
-- What was given back before it was sent is no attempt. What the channel that it is a fallback of has told
-- while it was being sent need not be told any more.
WITH spared AS (
    SELECT n.id FROM notifications AS n
      JOIN notifications AS o ON o.alert_id = n.alert_id AND o.channel = n.handed_from AND o.kind = n.kind
                             AND o.number = n.number AND o.status = 'sent'
     WHERE n.id = ANY(%(ids)s)
), ours AS (
    UPDATE notifications AS n
       SET next_attempt_at = now() + make_interval(secs => %(delay)s),
           attempts = attempts - %(give_back)s, lease_token = NULL,
           progress = coalesce(%(progress)s::jsonb, progress),
           status = CASE WHEN id IN (SELECT id FROM spared) THEN 'moved' ELSE 'pending' END,
           finished_at = CASE WHEN id IN (SELECT id FROM spared) THEN now() END,
           last_error = CASE WHEN id IN (SELECT id FROM spared) THEN 'lo entregó ' || handed_from
                             ELSE %(reason)s END
     WHERE id = ANY(%(ids)s) AND lease_token = %(token)s AND status = 'pending'
    RETURNING id, attempts + %(give_back)s AS attempt
), held AS (
    INSERT INTO channel_holds AS h (channel, target, until)
    SELECT %(channel)s, %(target)s, now() + make_interval(secs => %(hold)s) WHERE %(hold)s > 0
    ON CONFLICT (channel) DO UPDATE
       SET until = CASE WHEN h.target = excluded.target THEN greatest(h.until, excluded.until)
                        ELSE excluded.until END,
           target = excluded.target
), told AS (
    INSERT INTO deliveries (notification_id, attempt, seconds, status, answer)
    SELECT id, attempt, %(seconds)s, %(outcome)s, %(answer)s FROM ours WHERE %(outcome)s IS NOT NULL
)
SELECT count(*) FROM ours;

-- name: notifications_dead
-- What is urgent is told by the fallback, where there is one; of what was never told here, no end is told.
WITH ours AS (
    UPDATE notifications
       SET status = 'dead', finished_at = now(), last_error = %(reason)s
     WHERE id = ANY(%(ids)s) AND lease_token = %(token)s AND status = 'pending'
    RETURNING id, attempts, alert_id, channel, severity, kind, number, progress
), handed AS (
    INSERT INTO notifications (alert_id, channel, severity, kind, number, handed_from)
    SELECT alert_id, %(fallback)s, severity, kind, number, channel FROM ours
     WHERE %(fallback)s::text IS NOT NULL AND severity >= %(urgent)s AND kind <> 'recovery'
    ON CONFLICT (alert_id, channel, kind, number) DO NOTHING
), endless AS (
    UPDATE notifications AS n
       SET status = 'muted', finished_at = now(), lease_token = NULL, last_error = 'la alerta no llegó por aquí'
      FROM ours AS o
     WHERE n.alert_id = o.alert_id AND n.channel = o.channel AND o.kind = 'alert' AND n.kind = 'recovery'
       AND n.status = 'pending' AND o.progress IS NULL AND NOT EXISTS (
           SELECT FROM notifications AS s
            WHERE s.alert_id = o.alert_id AND s.channel = o.channel AND s.status = 'sent')
), told AS (
    INSERT INTO deliveries (notification_id, attempt, seconds, status, answer)
    SELECT id, attempts, %(seconds)s, %(outcome)s, %(answer)s FROM ours
)
SELECT count(*) FROM ours;

-- name: notifications_expire
-- What nobody delivered in time, also for channels that no worker serves (any more). A message that
-- is being sent right now is left to its sender.
WITH used AS (
    SELECT * FROM unnest(%(channels)s::text[], %(reasons)s::text[], %(ages)s::float8[])
               AS c (name, reason, age)
), old AS (
    SELECT n.id, u.reason FROM notifications AS n LEFT JOIN used AS u ON u.name = n.channel
     WHERE n.status = 'pending'
       AND n.queued_at < now() - make_interval(secs => coalesce(u.age, %(max_age)s))
       AND {at_rest}
     LIMIT %(limit)s
       FOR UPDATE OF n SKIP LOCKED
)
UPDATE notifications AS n
   SET status = 'dead', finished_at = now(), lease_token = NULL,
       last_error = coalesce(old.reason, %(no_channel)s)
                    || coalesce('; último fallo: ' || n.last_error, '')
  FROM old WHERE n.id = old.id
RETURNING n.channel, n.alert_id;

-- name: alerts_before
SELECT id, fingerprint, timestamp FROM alerts
 WHERE timestamp > %(after)s AND timestamp < %(before)s AND fingerprint IS NOT NULL;

-- name: alerts_happened
-- Our own (of channel alert_data) are no rule's. What came by a stream alone is not in eventos.
SELECT fingerprint, rule, severity, timestamp,
       CASE WHEN source = 'eventos' THEN event_id END, title,
       from_eventos > 0 OR source = 'alert_manager'
  FROM alerts
 WHERE timestamp >= %(since)s
   AND CASE WHEN source = 'eventos' THEN event_id <= %(last)s ELSE timestamp <= %(until)s END
   AND NOT (channel = %(own_channel)s AND source = 'alert_manager') AND fingerprint IS NOT NULL
 ORDER BY timestamp;
