-- What the command line and the pages ask alert_db, on behalf of a person.

-- name: chosen
-- The alerts that a person asked for; what is not filtered by is NULL.
(%(severities)s::text[] IS NULL OR severity = ANY(%(severities)s))
   AND (%(channels)s::text[] IS NULL OR channel = ANY(%(channels)s))
   AND (%(rules)s::text[] IS NULL OR rule = ANY(%(rules)s))
   AND (%(states)s::text[] IS NULL OR status = ANY(%(states)s))
   AND (%(plugins)s::text[] IS NULL OR event_data ->> 'plugin' = ANY(%(plugins)s))
   AND (%(since)s::float8 IS NULL OR timestamp >= %(since)s)
   AND (%(until)s::float8 IS NULL OR timestamp < %(until)s)
   AND (%(text)s::text IS NULL OR concat_ws(' ', title, message) ILIKE %(text)s)

-- name: alert_lines
SELECT id, severity, title, message, channel, event_data ->> 'plugin' AS plugin, rule, status, occurrences,
       timestamp, last_seen
  FROM alerts

-- name: alerts_list
-- The newest first; up to the one with the id `last`, where there is one.
{alert_lines} WHERE (%(last)s::bigint IS NULL OR id <= %(last)s) AND {chosen}
 ORDER BY id DESC LIMIT %(limit)s;

-- name: alerts_after
-- Newer than the last one that was seen, the oldest first: commits take turns, so that ids come in order.
{alert_lines} WHERE id > %(after)s AND {chosen}
 ORDER BY id LIMIT %(limit)s;

-- name: alerts_newest
SELECT coalesce(max(id), 0) AS id FROM alerts;

-- name: stats_days
-- By the day of the family's time zone.
SELECT CASE WHEN timestamp BETWEEN 0 AND 253402300799  -- the last second of the year 9999
            THEN to_char(to_timestamp(timestamp) AT TIME ZONE %(zone)s, 'YYYY-MM-DD') ELSE '?' END AS day, severity,
       count(*) AS alerts, sum(occurrences)::bigint AS events
  FROM alerts
 WHERE {chosen}
 GROUP BY day, severity ORDER BY day, severity;

-- name: stats_rules
SELECT coalesce(rule, '?') AS rule, severity, count(*) AS alerts, sum(occurrences)::bigint AS events,
       count(*) FILTER (WHERE status IN ('abierta', 'reconocida')) AS open, max(timestamp) AS last
  FROM alerts
 WHERE {chosen}
 GROUP BY rule, severity ORDER BY count(*) DESC, rule, severity LIMIT %(limit)s;

-- name: stats_channels
SELECT n.channel, n.status, count(*) AS messages
  FROM notifications AS n
 WHERE alert_id IN (SELECT id FROM alerts WHERE {chosen})
 GROUP BY n.channel, n.status ORDER BY n.channel, n.status;

-- name: alert_show
SELECT id, severity, title, message, channel, rule, status, occurrences, timestamp, last_seen, source,
       event_id, instance_id, event_data, created_at, resolved_at, resolution
  FROM alerts WHERE id = %(id)s;

-- name: alert_notifications
SELECT n.id, channel, kind, number, handed_from, n.status, attempts, created_at, finished_at, n.external_id, last_error,
       (SELECT coalesce(jsonb_agg(jsonb_build_object(
                   'attempt', d.attempt, 'ended_at', d.ended_at, 'seconds', d.seconds, 'status', d.status,
                   'answer', d.answer, 'external_id', d.external_id) ORDER BY d.id), '[]')
          FROM deliveries AS d WHERE d.notification_id = n.id) AS deliveries
  FROM notifications AS n WHERE alert_id = %(id)s ORDER BY n.id;

-- name: notifications_list
SELECT n.id, n.alert_id, n.channel, n.kind, n.number, n.status, n.attempts, n.created_at, n.finished_at,
       n.next_attempt_at, n.last_error, a.severity, a.title
  FROM notifications AS n JOIN alerts AS a ON a.id = n.alert_id
 WHERE (%(status)s::text IS NULL OR n.status = %(status)s)
   AND (%(channel)s::text IS NULL OR n.channel = %(channel)s)
 ORDER BY n.id DESC LIMIT %(limit)s;

-- name: notifications_again
-- To somebody who was not told: it is due at once, and its age begins anew. Not that nobody has acknowledged
-- what somebody has.
UPDATE notifications AS n
   SET status = 'pending', next_attempt_at = now(), queued_at = now(), finished_at = NULL, attempts = 0,
       lease_token = NULL
  FROM alerts AS a
 WHERE a.id = n.alert_id AND n.status = 'dead' AND (%(ids)s::bigint[] IS NULL OR n.id = ANY(%(ids)s))
   AND (%(channel)s::text IS NULL OR n.channel = %(channel)s)
   AND (n.kind NOT IN ('repeat', 'escalation') OR a.status = 'abierta')
RETURNING n.id, n.channel;

-- name: dead_letters_list
SELECT id, source, event_id, channel, reason, size, timestamp, instance_id, created_at
  FROM dead_letters
 WHERE (%(channel)s::text IS NULL OR channel = %(channel)s)
   AND (%(ids)s::bigint[] IS NULL OR id = ANY(%(ids)s))
 ORDER BY id DESC LIMIT %(limit)s;
