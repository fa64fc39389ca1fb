-- corec_db: the tables of CoreC v4. Plain SQL for `psql -f`, PostgreSQL 15 or newer, safe to run again.
--
-- Everything sits in one DO block, for three reasons: the advisory lock makes two hosts that start
-- together take turns; what exists is looked up in the catalogue instead of with IF NOT EXISTS, which
-- asks for ownership and a table lock even when there is nothing to do; and it is all or nothing.
-- An older installation keeps its columns: `datos` may be text or jsonb there.
DO $corec$
DECLARE
    tabla   regclass;
    indexed name;
    wrong   boolean;
BEGIN
    PERFORM pg_advisory_xact_lock(1668248165, 0);
    -- An advisory lock does not refresh the session's catalogue cache, a table's lock does: without
    -- this, to_regclass() may still deny the tables that the other host has just made.
    PERFORM FROM pg_class LIMIT 1;

    IF to_regclass('eventos') IS NULL THEN
        CREATE TABLE eventos (
            id          serial PRIMARY KEY,
            canal       varchar(50),
            datos       bytea,
            timestamp   double precision,
            instance_id varchar(50)
        );
    END IF;

    IF to_regclass('nodos') IS NULL THEN
        CREATE TABLE nodos (
            nodo_id          varchar(50),
            instance_id      varchar(50),
            ultima_actividad double precision,
            carga            double precision,
            es_espejo        boolean,
            original_id      varchar(50),
            PRIMARY KEY (nodo_id, instance_id)
        );
    END IF;

    IF to_regclass('auditoria') IS NULL THEN
        CREATE TABLE auditoria (
            evento_id   varchar(50) PRIMARY KEY,
            tipo        varchar(50),
            detalle     text,
            timestamp   double precision,
            instance_id varchar(50)
        );
    END IF;

    tabla := to_regclass('eventos');
    IF NOT pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = tabla), 'USAGE') THEN
        RAISE NOTICE 'eventos pertenece a otro rol: sus índices y su aviso quedan como están';
        RETURN;
    END IF;

    -- Waiting for a long transaction here would make every writer behind it wait too.
    PERFORM set_config('lock_timeout', '5s', true);

    FOREACH indexed IN ARRAY ARRAY['canal', 'timestamp']::name[] LOOP
        IF NOT EXISTS (
            SELECT FROM pg_index i
              JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
             WHERE i.indrelid = tabla AND a.attname = indexed
        ) THEN
            EXECUTE format('CREATE INDEX %I ON %s (%I)', 'idx_eventos_' || indexed, tabla, indexed);
        END IF;
    END LOOP;

    -- The wake-up call of whoever reads `eventos`. NOTIFY takes one lock for the whole cluster at
    -- commit, so a plain NOTIFY for each INSERT would put all writers into single file. A reader that
    -- goes to sleep therefore holds the advisory lock (1668248165, 1) exclusively ('core', 1); a
    -- writer that gets it shared knows that nobody sleeps, and stays silent.
    CREATE OR REPLACE FUNCTION corec_avisar_eventos() RETURNS trigger LANGUAGE plpgsql AS $aviso$
    BEGIN
        IF NOT pg_catalog.pg_try_advisory_xact_lock_shared(1668248165, 1) THEN
            PERFORM pg_catalog.pg_notify('corec_eventos', '');
        END IF;
        RETURN NULL;
    END
    $aviso$;

    -- tgtype 4: AFTER INSERT, once for each statement. A trigger that is already right is left alone,
    -- since making one locks the table.
    SELECT t.tgfoid <> 'corec_avisar_eventos'::regproc OR t.tgtype <> 4 INTO wrong
      FROM pg_trigger t
     WHERE t.tgrelid = tabla AND t.tgname = 'corec_avisar_eventos' AND NOT t.tgisinternal;
    IF wrong THEN
        DROP TRIGGER corec_avisar_eventos ON eventos;
    END IF;
    IF wrong IS DISTINCT FROM false THEN
        CREATE TRIGGER corec_avisar_eventos AFTER INSERT ON eventos
            FOR EACH STATEMENT EXECUTE FUNCTION corec_avisar_eventos();
    END IF;
END
$corec$;
