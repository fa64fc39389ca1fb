-- Schema of alert_db. Plain SQL for `psql -f`, safe to run again; an older `alerts` table with only its
-- six first columns is upgraded in place.
--
-- One DO block: whoever starts at the same time takes turns; where all of it is there already, nothing is
-- touched, since ALTER TABLE locks its table even when it changes nothing, and a running CoreC would wait
-- behind it; and it is all or nothing. A change here has a new number, in both places, below.
DO $alerts$
BEGIN
    PERFORM pg_advisory_xact_lock(1634493810, 1);  -- 'aler'
    -- Refreshes the catalogue cache, which an advisory lock does not: another one may have made them.
    PERFORM FROM pg_class LIMIT 1;

    IF obj_description(to_regclass('alerts'), 'pg_class') = 'alert_manager: 14'
       AND NOT EXISTS (
           SELECT FROM unnest(ARRAY['notifications', 'dead_letters', 'reader_positions', 'rule_states',
                                    'threshold_changes', 'deliveries',
                                    'alert_history', 'silences']) AS t (name)
            WHERE to_regclass(t.name) IS NULL)
    THEN
        RETURN;
    END IF;

    -- Waiting for a long transaction here would make every commit behind it wait, too.
    PERFORM set_config('lock_timeout', '5s', true);
    PERFORM set_config('client_min_messages', 'warning', true);  -- what is there already is no news

    CREATE TABLE IF NOT EXISTS alerts (
        id          bigserial PRIMARY KEY,
        severity    varchar(20) NOT NULL,
        message     text NOT NULL,
        channel     varchar(50) NOT NULL,
        event_data  jsonb,
        timestamp   double precision NOT NULL    -- event time, seconds since the epoch
    );

    -- Other programs query the six columns above by position and name: new ones go behind them.
    ALTER TABLE alerts
        ADD COLUMN IF NOT EXISTS title       text,
        ADD COLUMN IF NOT EXISTS words       jsonb,              -- title and message of channels with others
        ADD COLUMN IF NOT EXISTS rule        text,
        ADD COLUMN IF NOT EXISTS status      text NOT NULL DEFAULT 'abierta',
        ADD COLUMN IF NOT EXISTS occurrences integer NOT NULL DEFAULT 1,
        ADD COLUMN IF NOT EXISTS from_eventos integer NOT NULL DEFAULT 1,   -- how many events came by
        ADD COLUMN IF NOT EXISTS from_streams integer NOT NULL DEFAULT 0,   -- each road; occurrences is
        ADD COLUMN IF NOT EXISTS from_push    integer NOT NULL DEFAULT 0,   -- the highest of the three
        ADD COLUMN IF NOT EXISTS last_seen   double precision,   -- event time of the newest repeat
        ADD COLUMN IF NOT EXISTS source      text,
        ADD COLUMN IF NOT EXISTS event_id    bigint,             -- id in the source, where it has one
        ADD COLUMN IF NOT EXISTS instance_id text,
        ADD COLUMN IF NOT EXISTS fingerprint bytea,
        ADD COLUMN IF NOT EXISTS created_at  timestamptz NOT NULL DEFAULT now(),
        ADD COLUMN IF NOT EXISTS resolved_at double precision,   -- event time of the end, where there is one
        ADD COLUMN IF NOT EXISTS resolution  text,               -- what people are told about it
        ADD COLUMN IF NOT EXISTS silence_id  bigint,             -- why nobody was told of it
        ADD COLUMN IF NOT EXISTS closed      boolean NOT NULL DEFAULT false;  -- by a person: the next one is news

    -- Promise P2: one row per (event, rule), whatever happens. An id alone is no event: a table that was
    -- truncated or restored hands its ids out again.
    DROP INDEX IF EXISTS alerts_event_rule;
    CREATE UNIQUE INDEX IF NOT EXISTS alerts_event_time_rule ON alerts (source, event_id, timestamp, rule)
        WHERE event_id IS NOT NULL;
    CREATE INDEX IF NOT EXISTS alerts_fingerprint ON alerts (fingerprint, timestamp);
    CREATE INDEX IF NOT EXISTS alerts_timestamp ON alerts (timestamp);
    CREATE INDEX IF NOT EXISTS alerts_rule ON alerts (rule);  -- people ask for the rare ones
    CREATE INDEX IF NOT EXISTS alerts_critical ON alerts (created_at)
        WHERE severity = 'critica' AND status = 'abierta';  -- what is told again, and to others
    CREATE INDEX IF NOT EXISTS alerts_silence ON alerts (silence_id) WHERE silence_id IS NOT NULL;

    CREATE INDEX IF NOT EXISTS alerts_silenced ON alerts (rule, id)
        WHERE status = 'silenciada';  -- what goes on after its silence

    -- Alerts of which people are not told for a while.
    CREATE TABLE IF NOT EXISTS silences (
        id         bigserial PRIMARY KEY,
        matchers   jsonb NOT NULL,            -- [[field, operator, value], …]; all have to hold
        starts_at  timestamptz NOT NULL,
        ends_at    timestamptz,               -- NULL: until somebody ends it
        weekly     jsonb,                     -- {weekdays, hours, zone}: when it counts; NULL: always
        who        text NOT NULL,
        reason     text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        expired_at timestamptz,
        expired_by text
    );

    -- What people and we ourselves did with an alert.
    CREATE TABLE IF NOT EXISTS alert_history (
        id       bigserial PRIMARY KEY,
        alert_id bigint NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
        at       timestamptz NOT NULL DEFAULT now(),
        action   text NOT NULL,               -- reconocida, resuelta, escalada, silenciada
        who      text NOT NULL,
        note     text
    );
    CREATE INDEX IF NOT EXISTS alert_history_alert ON alert_history (alert_id);

    -- What each channel is to tell. A claim moves next_attempt_at to the end of its lease, so that a message
    -- whose sender died comes back by itself.
    CREATE TABLE IF NOT EXISTS notifications (
        id              bigserial PRIMARY KEY,
        alert_id        bigint NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
        channel         text NOT NULL,
        severity        smallint NOT NULL,       -- 4 crítica … 1 baja: the urgent ones go first
        status          text NOT NULL DEFAULT 'pending',
        attempts        integer NOT NULL DEFAULT 0,
        next_attempt_at timestamptz NOT NULL DEFAULT now(),
        lease_token     uuid,
        created_at      timestamptz NOT NULL DEFAULT now(),
        finished_at     timestamptz,
        external_id     text,
        last_error      text
    );
    ALTER TABLE notifications
        ADD COLUMN IF NOT EXISTS progress jsonb,  -- who is still to be told, where some recipients were
        ADD COLUMN IF NOT EXISTS kind text NOT NULL DEFAULT 'alert',
        ADD COLUMN IF NOT EXISTS number smallint NOT NULL DEFAULT 0,  -- of the repetition, or of the step
        ADD COLUMN IF NOT EXISTS handed_from text,                    -- the channel that it is a fallback of
        DROP CONSTRAINT IF EXISTS notifications_alert_id_channel_key,
        DROP CONSTRAINT IF EXISTS notifications_kind_check,
        DROP CONSTRAINT IF EXISTS notifications_status_check,
        ADD CONSTRAINT notifications_kind_check
            CHECK (kind IN ('alert', 'recovery', 'escalation', 'repeat')),
        ADD CONSTRAINT notifications_status_check
            CHECK (status IN ('pending', 'sent', 'dead', 'moved', 'muted'));
    DROP INDEX IF EXISTS notifications_once;
    CREATE UNIQUE INDEX IF NOT EXISTS notifications_each ON notifications (alert_id, channel, kind, number);
    ALTER TABLE notifications
        ADD COLUMN IF NOT EXISTS queued_at timestamptz NOT NULL DEFAULT now();  -- its age counts from then
    DROP INDEX IF EXISTS notifications_due;
    CREATE INDEX IF NOT EXISTS notifications_turn
        ON notifications (channel, severity, queued_at, id, next_attempt_at) WHERE status = 'pending';

    -- Every attempt to tell a channel, whatever came of it.
    CREATE TABLE IF NOT EXISTS deliveries (
        id              bigserial PRIMARY KEY,
        notification_id bigint NOT NULL REFERENCES notifications (id) ON DELETE CASCADE,
        attempt         integer NOT NULL,
        ended_at        timestamptz NOT NULL DEFAULT now(),
        seconds         real NOT NULL,               -- that it took
        status          text NOT NULL,               -- sent, retry, throttled, rejected or disabled
        answer          text,                        -- what the server said, its first line
        external_id     text                         -- the server's own id of the message
    );
    CREATE INDEX IF NOT EXISTS deliveries_notification ON deliveries (notification_id);

    -- Until when a channel's server wants no requests, whoever sends them: also after a restart.
    CREATE TABLE IF NOT EXISTS channel_holds (
        channel text PRIMARY KEY,
        until   timestamptz NOT NULL
    );
    ALTER TABLE channel_holds
        ADD COLUMN IF NOT EXISTS target text NOT NULL DEFAULT '';  -- the address that it is about, as a hash

    -- What people were told while this database did not answer: it is not told again when it is stored.
    CREATE TABLE IF NOT EXISTS told_ahead (
        fingerprint bytea NOT NULL,
        timestamp   double precision NOT NULL,       -- event time
        span        double precision NOT NULL,       -- seconds around it in which it is the same
        channel     text NOT NULL,
        told_at     double precision NOT NULL,       -- epoch seconds
        attempts    integer NOT NULL,
        answer      text,
        external_id text,
        reported_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (fingerprint, timestamp, channel)
    );
    ALTER TABLE told_ahead
        ADD COLUMN IF NOT EXISTS alert_id bigint,    -- that it counts for, as soon as that is stored
        ADD COLUMN IF NOT EXISTS progress jsonb;     -- who is still to be told, where some recipients were

    -- Events that could not be judged. The payload itself stays in its source: it may carry secrets.
    CREATE TABLE IF NOT EXISTS dead_letters (
        id          bigserial PRIMARY KEY,
        source      text NOT NULL,
        event_id    bigint,
        channel     text NOT NULL,
        reason      text NOT NULL,
        size        integer NOT NULL,
        timestamp   double precision NOT NULL,
        instance_id text,
        created_at  timestamptz NOT NULL DEFAULT now()
    );
    DROP INDEX IF EXISTS dead_letters_event;
    CREATE UNIQUE INDEX IF NOT EXISTS dead_letters_event_time ON dead_letters (source, event_id, timestamp)
        WHERE event_id IS NOT NULL;

    -- How far each source is judged. It moves in the same transaction as what the judging brought.
    CREATE TABLE IF NOT EXISTS reader_positions (
        source     text PRIMARY KEY,
        position   jsonb NOT NULL,
        version    bigint NOT NULL DEFAULT 0,
        updated_at timestamptz NOT NULL DEFAULT now(),
        updated_by text
    );
    ALTER TABLE reader_positions
        ADD COLUMN IF NOT EXISTS caught_up double precision;  -- everything until then is judged (epoch seconds)

    -- What rules remember from one event to the next. It moves in the same transaction, too.
    CREATE TABLE IF NOT EXISTS rule_states (
        rule       text NOT NULL,
        key        bytea NOT NULL,               -- hash of the fields in the rule's `per`
        state      jsonb NOT NULL,
        version    bigint NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (rule, key)
    );
    ALTER TABLE rule_states
        ADD COLUMN IF NOT EXISTS deadline double precision;  -- when an awaited event is missed (epoch seconds)
    CREATE INDEX IF NOT EXISTS rule_states_deadline ON rule_states (deadline) WHERE deadline IS NOT NULL;

    -- Thresholds that were changed at run time: the newest row of a name counts for as long as the
    -- configuration says what it said then.
    CREATE TABLE IF NOT EXISTS threshold_changes (
        id         bigserial PRIMARY KEY,
        name       text NOT NULL,
        old_value  double precision NOT NULL,
        new_value  double precision NOT NULL,
        base_value double precision NOT NULL,    -- in the configuration at that time
        timestamp  double precision NOT NULL,    -- event time of the command
        changed_by text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX IF NOT EXISTS threshold_changes_name ON threshold_changes (name, id);

    -- What was deleted or moved on is to be used again while it is a twentieth, not a fifth, of a table.
    ALTER TABLE alerts SET (autovacuum_vacuum_scale_factor = 0.05);
    ALTER TABLE notifications SET (autovacuum_vacuum_scale_factor = 0.05);
    ALTER TABLE deliveries SET (autovacuum_vacuum_scale_factor = 0.05);

    COMMENT ON TABLE alerts IS 'alert_manager: 14';
EXCEPTION WHEN lock_not_available THEN
    RAISE EXCEPTION 'otra sesión usa las tablas de alert_db desde hace más de 5 s: no se cambiaron. '
                    'Mira en pg_stat_activity qué transacción sigue abierta, espera a que acabe y repite'
          USING ERRCODE = 'lock_not_available';  -- passes with time: the plugin tries again
END
$alerts$;
