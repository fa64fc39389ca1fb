-- What is told while alert_db does not answer: a SQLite file of each instance. Loaded by spool_file.py.

-- name: make
CREATE TABLE IF NOT EXISTS alerts (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    fingerprint BLOB NOT NULL,
    timestamp   REAL NOT NULL,      -- event time (epoch seconds)
    window      REAL NOT NULL,      -- seconds in which the same is a repeat
    severity    INTEGER NOT NULL,
    alert       TEXT NOT NULL,      -- what a message is made of, as JSON; redacted
    event_data  TEXT NOT NULL DEFAULT '{}',  -- likewise; a digest does without
    own         INTEGER NOT NULL,   -- 1: no source brings it once more, it is stored from here
    road        TEXT NOT NULL       -- the source whose reader brought it
);
CREATE INDEX IF NOT EXISTS alerts_fingerprint ON alerts (fingerprint);
CREATE TABLE IF NOT EXISTS messages (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    alert       INTEGER NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
    channel     TEXT NOT NULL,
    severity    INTEGER NOT NULL,
    status      TEXT NOT NULL DEFAULT 'waiting'
                CHECK (status IN ('waiting', 'told', 'reported', 'dead', 'moved')),
    attempts    INTEGER NOT NULL DEFAULT 0,
    progress    TEXT,
    told_at     REAL,
    answer      TEXT,
    external_id TEXT,
    handed_to   TEXT,               -- the fallback that tells it instead
    UNIQUE (alert, channel)
);
CREATE INDEX IF NOT EXISTS messages_waiting ON messages (channel, severity) WHERE status = 'waiting';
-- Events that the host handed over, and that no source brings once more.
CREATE TABLE IF NOT EXISTS events (
    id    INTEGER PRIMARY KEY,
    event BLOB NOT NULL            -- as MessagePack
);
-- Where reading stood when it was last stored in alert_db.
CREATE TABLE IF NOT EXISTS positions (
    source   TEXT PRIMARY KEY,
    position TEXT NOT NULL
);

-- name: has_event_data
SELECT 1 FROM pragma_table_info('alerts') WHERE name = 'event_data';

-- name: add_event_data
ALTER TABLE alerts ADD COLUMN event_data TEXT NOT NULL DEFAULT '{}';
UPDATE alerts SET event_data = coalesce(alert -> 'event_data', '{}');

-- name: known
SELECT id, timestamp FROM alerts WHERE fingerprint = :fingerprint AND (abs(timestamp - :timestamp) < :window OR timestamp = :timestamp)
 ORDER BY abs(timestamp - :timestamp) LIMIT 1;

-- name: add_alert
INSERT INTO alerts (fingerprint, timestamp, window, severity, alert, event_data, own, road)
VALUES (:fingerprint, :timestamp, :window, :severity, :alert, :event_data, :own, :road);

-- name: last_alert
SELECT last_insert_rowid();

-- name: add_message
INSERT OR IGNORE INTO messages (alert, channel, severity) VALUES (:alert, :channel, :severity);

-- name: count_alerts
SELECT count(*) FROM alerts;

-- name: count_waiting
SELECT channel, count(*) FROM messages WHERE status = 'waiting' GROUP BY channel;

-- name: claim
SELECT m.id, m.attempts, m.progress, a.severity, a.alert, CASE WHEN :brief THEN '{}' ELSE a.event_data END
  FROM messages AS m JOIN alerts AS a ON a.id = m.alert
 WHERE m.status = 'waiting' AND m.channel = :channel AND m.severity >= :least
   AND (:mark IS NULL OR coalesce(m.progress ->> 'digest', '') = :mark)
   AND (NOT :brief OR :mark <> '' OR m.progress IS NULL)
   AND m.id NOT IN (SELECT value FROM json_each(:held))
 ORDER BY m.severity DESC, m.id LIMIT :limit;

-- name: claimed
SELECT m.id, m.attempts, m.progress, a.severity, a.alert, a.event_data
  FROM messages AS m JOIN alerts AS a ON a.id = m.alert WHERE m.id = :id;

-- name: count_due
SELECT count(*) FILTER (WHERE severity = 4 AND progress IS NULL),
       count(*) FILTER (WHERE severity < 4 AND progress IS NULL), min(nullif(progress ->> 'digest', ''))
  FROM messages
 WHERE status = 'waiting' AND channel = :channel AND severity >= :least
   AND id NOT IN (SELECT value FROM json_each(:held));

-- name: tell
UPDATE messages SET status = 'told', told_at = :now, answer = :answer, external_id = :external_id,
                    attempts = attempts + 1
 WHERE id IN (SELECT value FROM json_each(:ids));

-- name: put_back
UPDATE messages SET attempts = attempts + :attempts, progress = coalesce(:progress, progress)
 WHERE id IN (SELECT value FROM json_each(:ids)) AND status = 'waiting';

-- name: give_up
UPDATE messages SET status = 'dead', answer = :reason WHERE id IN (SELECT value FROM json_each(:ids));

-- name: give_over
-- To the fallback; there it may already be.
INSERT OR IGNORE INTO messages (alert, channel, severity)
SELECT alert, :fallback, severity FROM messages WHERE id IN (SELECT value FROM json_each(:ids));

-- name: given_over
UPDATE messages SET status = 'moved', handed_to = :fallback, answer = :reason
 WHERE id IN (SELECT value FROM json_each(:ids));

-- name: waiting
SELECT id FROM messages WHERE status = 'waiting' AND channel = :channel;

-- name: move
-- To the fallback, what is waiting; there it may already be.
INSERT OR IGNORE INTO messages (alert, channel, severity)
SELECT alert, :fallback, severity FROM messages
 WHERE status = 'waiting' AND channel = :channel AND severity >= :least
   AND id NOT IN (SELECT value FROM json_each(:held));

-- name: moved
UPDATE messages SET status = 'moved', handed_to = :fallback
 WHERE status = 'waiting' AND channel = :channel AND severity >= :least
   AND id NOT IN (SELECT value FROM json_each(:held));

-- name: unreported
-- What a fallback told, or the fallback of that, need not be told by the channel that it stood in for. Of what
-- some recipients have, alert_db hears who is left.
WITH RECURSIVE teller (id, alert, channel) AS (
    SELECT id, alert, coalesce(handed_to, channel) FROM messages WHERE status IN ('told', 'moved') AND id > :after
    UNION
    SELECT t.id, t.alert, m.handed_to FROM teller AS t JOIN messages AS m ON m.alert = t.alert AND m.channel = t.channel
     WHERE m.handed_to IS NOT NULL  -- it may have been reported with a page before
)
SELECT m.id, a.fingerprint, a.timestamp, a.window, m.channel, t.told_at, t.attempts, t.answer, t.external_id, NULL
  FROM teller JOIN messages AS m ON m.id = teller.id JOIN alerts AS a ON a.id = m.alert
  JOIN messages AS t ON t.alert = teller.alert AND t.channel = teller.channel
 WHERE t.status IN ('told', 'reported') AND t.told_at IS NOT NULL
UNION ALL
SELECT m.id, a.fingerprint, a.timestamp, a.window, m.channel, (julianday('now') - 2440587.5) * 86400.0, m.attempts,
       m.answer, m.external_id, m.progress
  FROM messages AS m JOIN alerts AS a ON a.id = m.alert
 WHERE m.status = 'waiting' AND m.progress ->> 'told' AND m.id > :after
 ORDER BY 1 LIMIT :limit;

-- name: report
UPDATE messages SET status = 'reported' WHERE id IN (SELECT value FROM json_each(:ids)) AND status <> 'waiting';

-- name: drop_waiting
-- What was not told here is told by alert_db, which answers again.
DELETE FROM messages WHERE status = 'waiting' AND id NOT IN (SELECT value FROM json_each(:held));

-- name: drop_untold
DELETE FROM alerts WHERE NOT own AND NOT EXISTS (SELECT 1 FROM messages WHERE alert = alerts.id);

-- name: clear
DELETE FROM alerts
 WHERE road = :road AND NOT own
   AND NOT EXISTS (SELECT 1 FROM messages WHERE alert = alerts.id AND status IN ('waiting', 'told'));

-- name: own
SELECT id, alert, event_data FROM alerts WHERE own ORDER BY id LIMIT 100;

-- name: forget_own
-- Whom it was told, and is being told, alert_db is to hear: `clear` deletes it.
UPDATE alerts SET own = 0 WHERE id = :id;

-- name: keep_event
INSERT OR IGNORE INTO events (id, event) VALUES (:id, :event);

-- name: events
SELECT id, event FROM events ORDER BY rowid LIMIT 100;

-- name: forget_event
DELETE FROM events WHERE id = :id;

-- name: save_position
INSERT INTO positions (source, position) VALUES (:source, :position)
ON CONFLICT (source) DO UPDATE SET position = excluded.position;

-- name: forget_position
DELETE FROM positions WHERE source = :source;

-- name: position
SELECT position FROM positions WHERE source = :source;
