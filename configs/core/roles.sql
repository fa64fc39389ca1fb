-- The roles that work with corec_db, and what they may. For psql, as its superuser (or an owner who may make
-- roles), after schema.sql; safe to run again, also while CoreC runs:
--
--     COREC_HOST_PASSWORD=… ALERT_READER_PASSWORD=… psql -d corec_db -f configs/core/roles.sql
--
-- Or `-v host_password=… -v reader_password=…`, which other users of the machine see. Without a password a
-- role keeps the one it has; one that has none gets in only where pg_hba.conf asks for no password.
--
--     corec_host    the host: its own tables, and reading and adding rows of eventos
--     alert_reader  the plugin: reading and adding rows of eventos, nothing else
--
-- The owner of the tables (corec_user) is for schema.sql and for people.
\set ON_ERROR_STOP on
\if :{?host_password}
\else
    \set host_password ''
    \getenv host_password COREC_HOST_PASSWORD
\endif
\if :{?reader_password}
\else
    \set reader_password ''
    \getenv reader_password ALERT_READER_PASSWORD
\endif

BEGIN;
-- No place for a password is the server's log, whatever it is told to write down. Only a superuser can say so.
SELECT set_config(name, value, true)
  FROM (VALUES ('log_statement', 'none'), ('log_min_duration_statement', '-1'),
               ('log_min_error_statement', 'panic')) AS quiet (name, value)
 WHERE (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) \g /dev/null
SELECT :'host_password' <> '' AS host_has_one, :'reader_password' <> '' AS reader_has_one \gset

-- Two that give rights to the same table at once would get in each other's way.
SELECT pg_advisory_xact_lock(1668248165, 2) \g /dev/null

SELECT format('CREATE ROLE %I LOGIN', name)
  FROM unnest(ARRAY['corec_host', 'alert_reader']) AS name
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
\if :host_has_one
    ALTER ROLE corec_host PASSWORD :'host_password';
\endif
\if :reader_has_one
    ALTER ROLE alert_reader PASSWORD :'reader_password';
\endif

-- Whatever they had before.
REVOKE ALL ON eventos, nodos, auditoria FROM corec_host, alert_reader;
-- PostgreSQL before 15 let everybody make tables here.
REVOKE CREATE ON SCHEMA public FROM PUBLIC, corec_host, alert_reader;
GRANT USAGE ON SCHEMA public TO corec_host, alert_reader;

GRANT SELECT, INSERT ON eventos TO corec_host, alert_reader;
SELECT format('GRANT USAGE ON SEQUENCE %s TO corec_host, alert_reader', name)
  FROM pg_get_serial_sequence('eventos', 'id') AS name WHERE name IS NOT NULL \gexec
GRANT SELECT, INSERT, UPDATE, DELETE ON nodos, auditoria TO corec_host;
COMMIT;
