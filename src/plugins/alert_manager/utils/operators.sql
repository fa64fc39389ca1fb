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
-- By the day of the family's time zone; and the first and last id among them.
SELECT coalesce(to_char(date::timestamp, 'YYYY-MM-DD'), '?') AS day, severity, alerts, events, first, last
  FROM (SELECT CASE WHEN timestamp BETWEEN 0 AND 253402300799  -- the last second of the year 9999
                    THEN (to_timestamp(timestamp) AT TIME ZONE %(zone)s)::date END AS date, severity,
               count(*) AS alerts, sum(occurrences)::bigint AS events, min(id) AS first, max(id) AS last
          FROM alerts
         WHERE {chosen}
         GROUP BY date, severity) AS days
 ORDER BY day, severity;

-- name: stats_rules
SELECT coalesce(rule, '?') AS rule, severity, count(*) AS alerts, sum(occurrences)::bigint AS events,
       count(*) FILTER (WHERE status IN ('abierta', 'reconocida')) AS open, max(timestamp) AS last
  FROM alerts
 WHERE {chosen}
 GROUP BY rule, severity ORDER BY count(*) DESC, rule, severity LIMIT %(limit)s;

-- name: stats_channels
-- `first` and `last` choose nothing more: told where they are, the planner does not read all notifications.
SELECT n.channel, n.status, count(*) AS messages
  FROM notifications AS n
 WHERE alert_id BETWEEN %(first)s AND %(last)s AND alert_id IN (SELECT id FROM alerts WHERE {chosen})
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

-- name: status_sources
-- How far each source is judged, and who judges it; seconds.
SELECT source, coalesce(updated_by, '?') AS instance, extract(epoch FROM now() - updated_at)::float8 AS silent,
       greatest(extract(epoch FROM now())::float8 - caught_up, 0) AS behind
  FROM reader_positions ORDER BY source;

-- name: status_alerts
SELECT severity, status, count(*) AS alerts FROM alerts
 WHERE status <> 'resuelta' AND created_at > now() - interval '30 days'
 GROUP BY severity, status;

-- name: status_channels
-- What waits for each channel, and what was given up within a day.
SELECT channel, count(*) FILTER (WHERE status = 'pending') AS waiting,
       count(*) FILTER (WHERE status = 'dead') AS dead,
       extract(epoch FROM now() - min(queued_at) FILTER (WHERE status = 'pending'))::float8 AS oldest,
       (SELECT extract(epoch FROM until - now())::float8 FROM channel_holds AS h
         WHERE h.channel = n.channel AND until > now()) AS held
  FROM notifications AS n
 WHERE status = 'pending' OR status = 'dead' AND finished_at > now() - interval '1 day'
 GROUP BY channel ORDER BY channel;

-- name: status_counts
SELECT (SELECT count(*) FROM dead_letters WHERE created_at > now() - interval '1 day') AS dead_letters,
       (SELECT count(*) FROM silences
         WHERE expired_at IS NULL AND starts_at <= now() AND (ends_at IS NULL OR ends_at > now())) AS silences;

-- name: doctor_corec
-- About corec_db.
SELECT current_setting('server_version_num')::int AS version, pg_is_in_recovery() AS standby, current_user AS role,
       extract(epoch FROM clock_timestamp())::float8 AS now, to_regclass('eventos') IS NOT NULL AS has_table,
       coalesce(has_table_privilege(to_regclass('eventos'), 'SELECT'), false) AS may_read,
       coalesce(has_table_privilege(to_regclass('eventos'), 'INSERT'), false)
         AND coalesce(has_sequence_privilege(pg_get_serial_sequence('eventos', 'id'), 'USAGE'), true) AS may_write,
       EXISTS (SELECT FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
                WHERE t.tgrelid = to_regclass('eventos') AND t.tgenabled IN ('O', 'A')
                  AND position('corec_eventos' IN p.prosrc) > 0) AS has_trigger,
       (SELECT max(s.seqcache) FROM pg_depend AS d JOIN pg_sequence AS s ON s.seqrelid = d.objid
         WHERE d.refobjid = to_regclass('eventos') AND d.deptype IN ('a', 'i')) AS cached;

-- name: doctor_alert
SELECT current_setting('server_version_num')::int AS version, pg_is_in_recovery() AS standby, current_user AS role,
       extract(epoch FROM clock_timestamp())::float8 AS now,
       CASE WHEN to_regclass('alerts') IS NOT NULL
            THEN coalesce(substring(obj_description(to_regclass('alerts'), 'pg_class') FROM '\d+')::int, 0) END AS schema,
       (SELECT coalesce(array_agg(right_ || ' en ' || name ORDER BY name, right_), '{}')
          FROM unnest(ARRAY['alerts', 'silences', 'alert_history', 'notifications', 'deliveries', 'channel_holds',
                            'told_ahead', 'dead_letters', 'reader_positions', 'rule_states', 'threshold_changes'])
                 AS name,
               unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'USAGE']) AS right_
         WHERE to_regclass(name) IS NOT NULL
           AND NOT CASE right_ WHEN 'USAGE' THEN has_sequence_privilege(to_regclass(name || '_id_seq'), 'USAGE')
                               ELSE has_table_privilege(to_regclass(name), right_) END) AS missing;
