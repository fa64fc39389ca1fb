-- The role that works with alert_db, and what it may. For psql, as its superuser (or an owner who may make
-- roles), after schema.sql; safe to run again, also while CoreC runs:
--
--     ALERT_APP_PASSWORD=… psql -d alert_db -f configs/plugins/alert_manager/roles.sql
--
-- Or `-v app_password=…`, which other users of the machine see. Without a password the role keeps the one it
-- has; one that has none gets in only where pg_hba.conf asks for no password.
--
--     alert_manager_app  the plugin and ./scripts/alerts.sh: rows, and no tables
--
-- The owner of the tables (alert_user) is for schema.sql and for people.
\set ON_ERROR_STOP on
\if :{?app_password}
\else
    \set app_password ''
    \getenv app_password ALERT_APP_PASSWORD
\endif

BEGIN;
-- No place for a password is the server's log, whatever it is told to write down. Only a superuser can say so.
SELECT set_config(name, value, true)
  FROM (VALUES ('log_statement', 'none'), ('log_min_duration_statement', '-1'),
               ('log_min_error_statement', 'panic')) AS quiet (name, value)
 WHERE (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) \g /dev/null
SELECT :'app_password' <> '' AS app_has_one \gset

-- Two that give rights to the same table at once would get in each other's way.
SELECT pg_advisory_xact_lock(1634493810, 3) \g /dev/null

SELECT 'CREATE ROLE alert_manager_app LOGIN'
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'alert_manager_app') \gexec
\if :app_has_one
    ALTER ROLE alert_manager_app PASSWORD :'app_password';
\endif

-- Whatever it had before. PostgreSQL before 15 let everybody make tables here, and lets everybody make
-- temporary ones: nobody but the plugin works in this database.
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM alert_manager_app;
REVOKE CREATE ON SCHEMA public FROM PUBLIC, alert_manager_app;
SELECT format('REVOKE TEMPORARY, CREATE ON DATABASE %I FROM PUBLIC, alert_manager_app', current_database()) \gexec
GRANT USAGE ON SCHEMA public TO alert_manager_app;

GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO alert_manager_app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO alert_manager_app;
-- And on what a newer schema.sql adds.
SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA public GRANT %s TO alert_manager_app', owner, rights)
  FROM (SELECT pg_get_userbyid(relowner) AS owner FROM pg_class WHERE oid = 'alerts'::regclass) AS a
 CROSS JOIN (VALUES ('SELECT, INSERT, UPDATE, DELETE ON TABLES'), ('USAGE ON SEQUENCES')) AS r (rights) \gexec
COMMIT;
