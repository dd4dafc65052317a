-- What other databases may see of a user, through postgres_fdw.
CREATE VIEW users_public AS SELECT id, username FROM users;

-- The role is made by the superuser's bootstrap, which a development database may lack.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'marquee_fdw') THEN
        GRANT USAGE ON SCHEMA public TO marquee_fdw;
        GRANT SELECT ON users_public TO marquee_fdw;
    END IF;
END
$$;
