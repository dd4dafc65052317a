-- The superuser's part, run by psql before any service starts and as often as one likes: one database
-- a service, each with a role that owns it and reaches no other; the foreign data wrapper; and the role
-- by which other databases read auth_db.users_public. Tables are the services' own (../auth, ../stream, …).
-- The passwords come from the environment, so that they stand in no command line.
\set ON_ERROR_STOP on
\set QUIET on
\getenv auth_password AUTH_DB_PASSWORD
\getenv stream_password STREAM_DB_PASSWORD
\getenv recording_password RECORDING_DB_PASSWORD
\getenv vod_password VOD_DB_PASSWORD
\getenv playback_password PLAYBACK_DB_PASSWORD
\getenv fdw_password AUTH_FDW_PASSWORD

-- Two runs at the same time (two Kubernetes jobs, say) take turns.
SELECT pg_advisory_lock(hashtext('marquee bootstrap')) \g /dev/null

SELECT format('CREATE ROLE %I LOGIN', role)
FROM unnest(ARRAY ['marquee_auth', 'marquee_stream', 'marquee_recording', 'marquee_vod',
                   'marquee_playback', 'marquee_fdw']) AS wanted (role)
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role)
\gexec

ALTER ROLE marquee_auth PASSWORD :'auth_password';
ALTER ROLE marquee_stream PASSWORD :'stream_password';
ALTER ROLE marquee_recording PASSWORD :'recording_password';
ALTER ROLE marquee_vod PASSWORD :'vod_password';
ALTER ROLE marquee_playback PASSWORD :'playback_password';
ALTER ROLE marquee_fdw PASSWORD :'fdw_password';

SELECT format('CREATE DATABASE %I OWNER %I', name, owner)
FROM (VALUES ('auth_db', 'marquee_auth'),
             ('streams_db', 'marquee_stream'),
             ('recordings_db', 'marquee_recording'),
             ('vod_db', 'marquee_vod'),
             ('streaming_db', 'marquee_playback')) AS wanted (name, owner)
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = name)
\gexec

REVOKE CONNECT, TEMPORARY ON DATABASE auth_db, streams_db, recordings_db, vod_db, streaming_db FROM PUBLIC;
GRANT CONNECT ON DATABASE auth_db TO marquee_fdw;

-- auth's migrations grant this too; here it is for a role that is younger than the view.
\connect auth_db
SELECT 'GRANT USAGE ON SCHEMA public TO marquee_fdw; GRANT SELECT ON public.users_public TO marquee_fdw'
WHERE to_regclass('public.users_public') IS NOT NULL
\gexec

-- Each service makes its foreign server and user mapping itself, from AUTH_FDW_*.
\connect streams_db
CREATE EXTENSION IF NOT EXISTS postgres_fdw;
GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO marquee_stream;

\connect vod_db
CREATE EXTENSION IF NOT EXISTS postgres_fdw;
GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO marquee_vod;
