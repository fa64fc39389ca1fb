-- Every statement about `eventos` and the tables around it, in corec_db. Loaded by queries.py, as queries.sql is.

-- name: eventos_rows
-- Other channels' rows are read too, without their payload: left out, they would look like holes.
-- `only`: a replay knows no holes, and takes the rows of some channels alone.
SELECT id, canal, timestamp, instance_id, size, CASE WHEN fetched IS NOT NULL THEN payload END AS payload
  FROM (SELECT *, sum(fetched) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) AS total
          FROM (SELECT *, CASE WHEN canal = ANY(%(channels)s) AND size <= %(max_bytes)s THEN size END AS fetched
                  FROM (SELECT id, canal, timestamp, instance_id, {payload} AS payload,
                               coalesce(octet_length({payload}), 0) AS size
                          FROM eventos
                         WHERE id > %(hi)s AND (%(only)s::text[] IS NULL OR canal = ANY(%(only)s::text[]))
                         ORDER BY id LIMIT %(limit)s) AS page) AS measured) AS counted
 WHERE coalesce(total, 0) - coalesce(fetched, 0) <= %(batch_bytes)s
 ORDER BY id;

-- name: eventos_count
SELECT canal, count(*) FROM eventos WHERE id > %(before)s AND id <= %(last)s GROUP BY canal;

-- name: eventos_holes
-- Single ids in one look-up; LATERAL with a LIMIT of its own for ranges: as a plain join the planner may
-- walk the whole index for the order's sake, and compare each row with each range.
SELECT id, canal, timestamp, instance_id, size, CASE WHEN fetched IS NOT NULL THEN payload END AS payload
  FROM (SELECT *, sum(fetched) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) AS total
          FROM (SELECT *, CASE WHEN canal = ANY(%(channels)s) AND size <= %(max_bytes)s THEN size END AS fetched
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
                        ORDER BY id LIMIT %(limit)s) AS page) AS measured) AS counted
 WHERE coalesce(total, 0) - coalesce(fetched, 0) <= %(batch_bytes)s
 ORDER BY id;

-- name: eventos_any
SELECT EXISTS (SELECT FROM eventos WHERE id > %(after)s)
    OR EXISTS (SELECT FROM eventos WHERE id = ANY(%(ids)s::bigint[]))
    OR EXISTS (SELECT FROM unnest(%(lo)s::bigint[], %(hi)s::bigint[]) AS hole (lo, hi)
                CROSS JOIN LATERAL (SELECT FROM eventos WHERE id BETWEEN hole.lo AND hole.hi
                                     ORDER BY id LIMIT 1) AS e);

-- name: eventos_server
-- A standby shows no locks of the primary's writers. A session that was handed out a block of ids holds
-- no lock for them: between its transactions they look like ids of one that was rolled back.
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
SELECT timestamp::float8 FROM eventos WHERE id = %(hi)s;

-- name: eventos_first_since
-- A broken clock (NaN sorts above everything) must not stand for the whole table.
-- OFFSET 0 makes the planner use the index on timestamp: for min(id) it would walk the primary key
-- through all that is older.
SELECT min(id) FROM (SELECT id FROM eventos
                      WHERE timestamp >= %(since)s AND timestamp < %(now)s + 86400 OFFSET 0) AS recent;

-- name: eventos_last_before
-- Rows without a time, or with one that is none, belong to what comes after them.
SELECT coalesce(max(id), 0) FROM eventos
 WHERE timestamp < %(since)s AND id < %(first)s;

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
