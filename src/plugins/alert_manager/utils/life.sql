-- The life of an alert after it was told: acknowledged, resolved, told again, told to others.

-- name: alerts_acknowledge
WITH over AS (
    UPDATE alerts SET status = 'reconocida'
     WHERE id = ANY(%(ids)s) AND status IN ('abierta', 'silenciada')
    RETURNING id
), noted AS (
    INSERT INTO alert_history (alert_id, action, who, note)
    SELECT id, 'reconocida', %(who)s, %(note)s FROM over
), spared AS ({spare})
SELECT id FROM over ORDER BY id;

-- name: alerts_close
-- By a person: whoever was told of it is told so, and whoever is about to be.
WITH over AS (
    UPDATE alerts
       SET status = 'resuelta', resolved_at = extract(epoch FROM now()), resolution = %(resolution)s,
           closed = true
     WHERE id = ANY(%(ids)s) AND status <> 'resuelta'
    RETURNING id
), noted AS (
    INSERT INTO alert_history (alert_id, action, who, note)
    SELECT id, 'resuelta', %(who)s, %(note)s FROM over
), spared AS ({spare}), told AS (
    INSERT INTO notifications (alert_id, channel, severity, kind)
    SELECT DISTINCT ON (n.alert_id, n.channel) n.alert_id, n.channel, n.severity, 'recovery'
      FROM over AS o JOIN notifications AS n ON n.alert_id = o.id
     WHERE {hears_the_end} AND n.channel <> ALL(%(silent)s)
    ON CONFLICT (alert_id, channel, kind, number) DO NOTHING
)
SELECT id FROM over ORDER BY id;

-- name: alert_history
SELECT at, action, who, note FROM alert_history WHERE alert_id = %(id)s ORDER BY id;

-- name: escalations_due
-- Of critical alerts that nobody has acknowledged a step's time after people were told, or were to be. What
-- was due more than a day ago, was due while nobody was there to send it.
SELECT a.id, s.channel, s.number, a.rule, a.channel, a.event_data
  FROM alerts AS a
 CROSS JOIN LATERAL (SELECT min(coalesce(n.finished_at, n.queued_at)) AS at FROM notifications AS n
                      WHERE n.alert_id = a.id AND n.kind = 'alert' AND n.status <> 'muted'
                        AND n.channel <> ALL(%(machines)s)) AS told
  JOIN unnest(%(number)s::int[], %(after)s::float8[], %(channel)s::text[]) AS s (number, after, channel)
    ON told.at < now() - make_interval(secs => s.after)
   AND told.at > now() - make_interval(secs => s.after) - interval '1 day'
 WHERE a.severity = 'critica' AND a.status = 'abierta' AND a.id > %(last)s
   AND NOT EXISTS (SELECT FROM notifications AS n
                    WHERE n.alert_id = a.id AND n.channel = s.channel AND n.kind = 'escalation'
                      AND n.number = s.number)
 ORDER BY a.id LIMIT %(limit)s;

-- name: repeats_due
-- To whoever was told: only the newest repetition that is due, if CoreC was away for several.
SELECT DISTINCT ON (a.id, n.channel) a.id, n.channel, r.number, a.rule, a.channel, a.event_data
  FROM alerts AS a
  JOIN notifications AS n ON n.alert_id = a.id AND n.kind = 'alert' AND n.status = 'sent'
                         AND n.channel <> ALL(%(machines)s)
  JOIN unnest(%(number)s::int[], %(after)s::float8[]) AS r (number, after)
    ON n.finished_at < now() - make_interval(secs => r.after)
   AND n.finished_at > now() - make_interval(secs => r.after) - interval '1 day'
 WHERE a.severity = 'critica' AND a.status = 'abierta' AND a.id > %(last)s
   AND NOT EXISTS (SELECT FROM notifications AS later
                    WHERE later.alert_id = a.id AND later.channel = n.channel
                      AND later.kind = 'repeat' AND later.number >= r.number)
 ORDER BY a.id, n.channel, r.number DESC LIMIT %(limit)s;

-- name: follow_ups_spare
-- Somebody took care of it while it was being sent, or was put back.
UPDATE notifications AS n
   SET status = 'muted', finished_at = now(), lease_token = NULL,
       last_error = CASE a.status WHEN 'resuelta' THEN 'ya está resuelta'
                                  WHEN 'reconocida' THEN 'alguien la reconoció' ELSE 'está silenciada' END
  FROM alerts AS a
 WHERE a.id = n.alert_id AND n.kind IN ('repeat', 'escalation') AND n.status = 'pending' AND {at_rest}
   AND a.status <> 'abierta';

-- name: follow_ups_put
WITH told AS (
    INSERT INTO notifications (alert_id, channel, severity, kind, number)
    SELECT a.id, f.channel, 4, %(kind)s, f.number
      FROM unnest(%(id)s::bigint[], %(channel)s::text[], %(number)s::int[]) AS f (id, channel, number)
      JOIN alerts AS a ON a.id = f.id AND a.status = 'abierta'
    ON CONFLICT (alert_id, channel, kind, number) DO NOTHING
    RETURNING alert_id, channel, kind, number
), noted AS (
    INSERT INTO alert_history (alert_id, action, who, note)
    SELECT DISTINCT alert_id, 'escalada', 'alert_manager', 'paso ' || number FROM told WHERE kind = 'escalation'
)
SELECT channel FROM told;

-- name: hand_over
-- What a channel cannot tell now goes to its fallback, too.
INSERT INTO notifications (alert_id, channel, severity, kind, number, queued_at, handed_from)
SELECT alert_id, %(fallback)s, severity, kind, number, queued_at, channel
  FROM notifications AS n
 WHERE channel = %(channel)s AND status = 'pending' AND severity >= %(least)s
   AND {at_rest}
   AND queued_at >= now() - make_interval(secs => %(max_age)s)
   AND NOT EXISTS (SELECT FROM notifications AS f
                    WHERE f.alert_id = n.alert_id AND f.channel = %(fallback)s AND f.kind = n.kind
                      AND f.number = n.number)
ON CONFLICT (alert_id, channel, kind, number) DO NOTHING;

-- name: take_back
-- What the fallback has told needs not be told any more, nor the end of what was never told here. It may
-- have handed it on, and so may who took it.
WITH done AS (
    SELECT n.id, teller.channel
      FROM notifications AS n
     CROSS JOIN LATERAL (
        WITH RECURSIVE taker AS (
            SELECT f.channel, f.status FROM notifications AS f
             WHERE f.alert_id = n.alert_id AND f.kind = n.kind AND f.number = n.number
               AND f.channel = %(fallback)s AND f.handed_from IS NOT NULL
            UNION
            SELECT f.channel, f.status FROM taker AS t JOIN notifications AS f ON f.handed_from = t.channel
             WHERE f.alert_id = n.alert_id AND f.kind = n.kind AND f.number = n.number
        ) SELECT channel FROM taker WHERE status = 'sent' LIMIT 1) AS teller
     WHERE n.channel = %(channel)s AND n.status = 'pending' AND n.severity >= %(least)s AND {at_rest}
), told AS (
    UPDATE notifications AS n
       SET status = 'moved', finished_at = now(), lease_token = NULL,
           last_error = 'lo entregó ' || d.channel || coalesce('; último fallo: ' || n.last_error, '')
      FROM done AS d WHERE n.id = d.id
    RETURNING n.alert_id, n.kind, n.last_error
)
UPDATE notifications AS n
   SET status = 'moved', finished_at = now(), lease_token = NULL, last_error = t.last_error
  FROM told AS t
 WHERE t.kind = 'alert' AND n.alert_id = t.alert_id AND n.channel = %(channel)s AND n.kind = 'recovery'
   AND n.status = 'pending';

-- name: now
SELECT extract(epoch FROM now())::float8;

-- name: silences_version
-- With the server's time now: that of the transaction may be seconds old, where it waited for its turn.
SELECT coalesce(string_agg(s.id::text, ' ' ORDER BY s.id), ''), extract(epoch FROM clock_timestamp())::float8
  FROM silences AS s WHERE {is_alive};

-- name: is_alive
-- It counts now, or will.
(s.expired_at IS NULL AND (s.ends_at IS NULL OR s.ends_at > now()))

-- name: silences_get
-- With the server's time, also where there is none.
SELECT s.id, matchers, extract(epoch FROM starts_at)::float8, extract(epoch FROM ends_at)::float8, weekly,
       extract(epoch FROM clock_timestamp())::float8
  FROM (VALUES (1)) AS one (row) LEFT JOIN silences AS s ON {is_alive}
 ORDER BY s.id;

-- name: silence_get
SELECT id, matchers, extract(epoch FROM starts_at)::float8, extract(epoch FROM ends_at)::float8, weekly
  FROM silences WHERE id = %(id)s;

-- name: silence_put
INSERT INTO silences (matchers, starts_at, ends_at, weekly, who, reason)
VALUES (%(matchers)s, coalesce(to_timestamp(%(starts)s), now()),
        coalesce(to_timestamp(%(ends)s),
                 coalesce(to_timestamp(%(starts)s), now()) + make_interval(secs => %(lasts)s)),
        %(weekly)s, %(who)s, %(reason)s)
RETURNING id;

-- name: silences_list
SELECT id, matchers, starts_at, ends_at, weekly, who, reason, created_at, expired_at, expired_by,
       (SELECT count(*) FROM alerts AS a WHERE a.silence_id = s.id) AS alerts
  FROM silences AS s
 WHERE %(all)s OR {is_alive}
 ORDER BY id DESC LIMIT %(limit)s;

-- name: silence_expire
UPDATE silences AS s SET expired_at = now(), expired_by = %(who)s WHERE id = ANY(%(ids)s) AND {is_alive}
RETURNING id;

-- name: notifications_to_mute
-- Whether a silence covers what was queued just now was known then; what failed, or all, is looked at again.
SELECT n.id, a.rule, a.severity, a.channel, a.event_data
  FROM notifications AS n JOIN alerts AS a ON a.id = n.alert_id
 WHERE n.status = 'pending' AND n.kind <> 'recovery' AND n.channel <> ALL(%(machines)s)
   AND (%(every)s OR n.attempts > 0) AND {at_rest};

-- name: notifications_mute
UPDATE notifications SET status = 'muted', finished_at = now(), lease_token = NULL, last_error = %(reason)s
 WHERE id = ANY(%(ids)s::bigint[]) AND status = 'pending';

-- name: alerts_muted
-- Of which people were to be told, and are not: by this silence; and as silenced, where nobody was.
WITH muted AS (
    UPDATE alerts AS a
       SET silence_id = %(silence)s,
           status = CASE WHEN a.status = 'abierta' AND NOT EXISTS (
                        SELECT FROM notifications AS n
                         WHERE n.alert_id = a.id AND n.kind = 'alert' AND n.status IN ('sent', 'pending')
                           AND n.channel <> ALL(%(machines)s)) THEN 'silenciada' ELSE a.status END
     WHERE a.status IN ('abierta', 'silenciada')
       AND a.id IN (SELECT alert_id FROM notifications WHERE id = ANY(%(ids)s::bigint[]) AND kind = 'alert')
    RETURNING a.id, a.status
)
INSERT INTO alert_history (alert_id, action, who, note)
SELECT m.id, 'silenciada', s.who, s.reason FROM muted AS m JOIN silences AS s ON s.id = %(silence)s
 WHERE m.status = 'silenciada';

-- name: alerts_silenced
WITH muted AS (
    UPDATE alerts AS a SET status = 'silenciada', silence_id = s.silence
      FROM unnest(%(id)s::bigint[], %(silence)s::bigint[]) AS s (id, silence) WHERE a.id = s.id
    RETURNING a.id, a.silence_id
)
INSERT INTO alert_history (alert_id, action, who, note)
SELECT m.id, 'silenciada', s.who, s.reason FROM muted AS m JOIN silences AS s ON s.id = m.silence_id;

-- name: alerts_heard
-- They go on after their silence.
WITH heard AS (
    UPDATE alerts SET status = 'abierta' WHERE id = ANY(%(ids)s) AND status = 'silenciada' RETURNING id, silence_id
), noted AS (
    INSERT INTO alert_history (alert_id, action, who, note)
    SELECT id, 'abierta', 'alert_manager', 'sigue, y el silencio ' || coalesce(silence_id || ' ', '') || 'ya no cuenta'
      FROM heard
)
SELECT id FROM heard ORDER BY id;

-- name: silenced_lasting
-- Alerts whose end a rule tells: as long as that has not come, they go on.
SELECT id, severity, rule, channel, event_data FROM alerts
 WHERE status = 'silenciada' AND rule = ANY(%(rules)s) AND id > %(last)s
 ORDER BY id LIMIT %(limit)s;
