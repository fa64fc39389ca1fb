-- Rows of alert_db that became older than its retention. Loaded by queries.py, as queries.sql is.
--
-- Tables are walked by their key, a page at a time: no index is kept for the sake of deleting. Nothing here
-- waits for a lock, and whoever holds one keeps its row until the next round. `seconds` is the retention.

-- name: retention_take
SELECT pg_try_advisory_lock(%(key)s, %(object)s);

-- name: retention_release
SELECT pg_advisory_unlock(%(key)s, %(object)s);

-- name: retention_relax
-- A crash of the server may take the newest pieces back: the next round deletes them again.
SET LOCAL synchronous_commit TO off;

-- name: alert_is_old
-- By its last sign of life, never by that of an event whose clock was wrong. What nobody has minded although
-- it is crítica stays, and so does what lasts: its end is still to be told. `rules`, `since`: what lasts now.
(a.created_at < now() - make_interval(secs => %(seconds)s)
 AND NOT coalesce(a.last_seen, a.timestamp) BETWEEN extract(epoch FROM now())::float8 - %(seconds)s
                                                AND extract(epoch FROM now())::float8 + 86400
 AND NOT coalesce(a.resolved_at >= extract(epoch FROM now())::float8 - %(seconds)s, false)
 AND NOT (a.severity = 'critica' AND a.status = 'abierta')
 AND NOT (a.status <> 'resuelta'
          AND EXISTS (SELECT FROM unnest(%(rules)s::text[], %(since)s::float8[]) AS l (rule, since)
                       WHERE l.rule = a.rule AND l.since <= a.timestamp)))

-- name: alerts_old
-- The page's last id, whether the next one may hold old ones, how many open críticas are older than all of
-- them, and the ids of those that are over.
SELECT max(id), count(*) = %(limit)s AND bool_or(aged), count(*) FILTER (WHERE aged AND waits),
       coalesce(array_agg(id) FILTER (WHERE over), '{}')
  FROM (SELECT a.id, a.created_at < now() - make_interval(secs => %(seconds)s) AS aged,
               a.severity = 'critica' AND a.status = 'abierta' AS waits,
               {alert_is_old}
               AND NOT EXISTS (SELECT FROM notifications AS n
                                WHERE n.alert_id = a.id AND n.status = 'pending')
               AND NOT EXISTS (SELECT FROM alert_history AS h
                                WHERE h.alert_id = a.id
                                  AND h.at >= now() - make_interval(secs => %(seconds)s)) AS over
          FROM (SELECT * FROM alerts WHERE id > %(after)s ORDER BY id LIMIT %(limit)s) AS a) AS page;

-- name: alerts_lock
-- From here on nothing can be added to them, and what was changed meanwhile stays.
SELECT a.id FROM alerts AS a WHERE a.id = ANY(%(ids)s::bigint[]) AND {alert_is_old}
   FOR UPDATE SKIP LOCKED;

-- name: alerts_delete
-- Only with all of their messages in hand, none of which waits (again): a retry may have come first.
WITH told AS (
    SELECT id, alert_id, status FROM notifications WHERE alert_id = ANY(%(ids)s::bigint[])
       FOR UPDATE SKIP LOCKED
), hand AS (
    SELECT alert_id, count(*) AS messages FROM told WHERE status <> 'pending' GROUP BY alert_id
), known AS (
    SELECT alert_id, count(*) AS messages FROM notifications WHERE alert_id = ANY(%(ids)s::bigint[])
     GROUP BY alert_id
), held AS (
    SELECT i.id FROM unnest(%(ids)s::bigint[]) AS i (id)
      LEFT JOIN hand ON hand.alert_id = i.id LEFT JOIN known ON known.alert_id = i.id
     WHERE coalesce(hand.messages, 0) = coalesce(known.messages, 0)
), d AS (
    DELETE FROM deliveries WHERE notification_id IN (SELECT t.id FROM told AS t JOIN held ON held.id = t.alert_id)
    RETURNING 1
), n AS (
    DELETE FROM notifications WHERE alert_id IN (SELECT id FROM held) RETURNING 1
), h AS (
    DELETE FROM alert_history WHERE alert_id IN (SELECT id FROM held) RETURNING 1
), a AS (
    DELETE FROM alerts WHERE id IN (SELECT id FROM held) RETURNING 1
)
SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM n), (SELECT count(*) FROM d), (SELECT count(*) FROM h);

-- name: dead_letters_old
WITH page AS (
    SELECT id, created_at < now() - make_interval(secs => %(seconds)s) AS aged
      FROM dead_letters WHERE id > %(after)s ORDER BY id LIMIT %(limit)s
), gone AS (
    DELETE FROM dead_letters
     WHERE id IN (SELECT d.id FROM dead_letters AS d JOIN page ON page.id = d.id
                   WHERE page.aged FOR UPDATE OF d SKIP LOCKED)
    RETURNING 1
)
SELECT max(id), count(*) = %(limit)s AND bool_or(aged), (SELECT count(*) FROM gone) FROM page;

-- name: rule_states_old
-- What a rule remembers and nothing more can come of: not what awaits an event, not what lasts. An absence
-- that somebody resolved by hand is over, as far as people go. Also the oldest beginning, by rule, of what lasts.
WITH page AS MATERIALIZED (
    SELECT s.rule, s.key, s.version,
           CASE jsonb_typeof(s.state #> '{lasting,episode,0}')
               WHEN 'number' THEN (s.state #>> '{lasting,episode,0}')::float8 END AS episode,
           CASE jsonb_typeof(s.state #> '{heard,absent}')
               WHEN 'number' THEN (s.state #>> '{heard,absent}')::float8 END AS absent,
           s.rule = ANY(%(forgettable)s) AND s.deadline IS NULL
           AND s.updated_at < now() - make_interval(secs => %(seconds)s) AS aged
      FROM (SELECT * FROM rule_states WHERE (rule, key) > (%(rule)s, %(key)s)
             ORDER BY rule, key LIMIT %(limit)s) AS s
), spent AS (
    SELECT p.rule, p.key, p.version FROM page AS p
     WHERE p.aged AND p.episode IS NULL
       AND (p.absent IS NULL OR NOT EXISTS (SELECT FROM alerts AS a
                                             WHERE a.timestamp = p.absent AND a.rule = p.rule
                                               AND a.status <> 'resuelta'))
), held AS (
    SELECT s.rule, s.key FROM rule_states AS s
      JOIN spent AS p ON p.rule = s.rule AND p.key = s.key AND p.version = s.version
       FOR UPDATE OF s SKIP LOCKED
), gone AS (
    DELETE FROM rule_states AS s USING held AS h WHERE s.rule = h.rule AND s.key = h.key RETURNING 1
)
SELECT (SELECT jsonb_build_array(rule, encode(key, 'hex')) FROM page ORDER BY rule DESC, key DESC LIMIT 1),
       (SELECT count(*) = %(limit)s FROM page), (SELECT count(*) FROM gone),
       (SELECT coalesce(jsonb_object_agg(rule, since), '{}')
          FROM (SELECT rule, min(least(episode, absent)) AS since FROM page GROUP BY rule) AS lasting
         WHERE since IS NOT NULL);

-- name: threshold_changes_old
-- Those that another one had followed by then: the newest that was made before the retention still counts,
-- or says what counted at its begin.
DELETE FROM threshold_changes WHERE id IN (
    SELECT c.id FROM threshold_changes AS c
     WHERE c.created_at < now() - make_interval(secs => %(seconds)s)
       AND EXISTS (SELECT FROM threshold_changes AS f
                    WHERE f.name = c.name AND f.id > c.id
                      AND greatest(to_timestamp(f.timestamp), f.created_at)
                          < now() - make_interval(secs => %(seconds)s))
     LIMIT %(limit)s FOR UPDATE OF c SKIP LOCKED);

-- name: silences_old
-- Those that ended, and that no alert names as the reason for which nobody was told. The newest stays: by its
-- number others know whether there are new ones.
DELETE FROM silences WHERE id IN (
    SELECT s.id FROM silences AS s
     WHERE least(s.expired_at, s.ends_at) < now() - make_interval(secs => %(seconds)s)
       AND NOT EXISTS (SELECT FROM alerts AS a WHERE a.silence_id = s.id)
       AND s.id < (SELECT max(id) FROM silences)
     LIMIT %(limit)s FOR UPDATE OF s SKIP LOCKED);

-- name: told_ahead_old
DELETE FROM told_ahead AS t USING (
    SELECT fingerprint, timestamp, channel FROM told_ahead
     WHERE reported_at < now() - make_interval(secs => %(seconds)s)
     LIMIT %(limit)s FOR UPDATE SKIP LOCKED) AS o
 WHERE t.fingerprint = o.fingerprint AND t.timestamp = o.timestamp AND t.channel = o.channel;
