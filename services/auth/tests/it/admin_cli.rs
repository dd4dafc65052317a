//! `auth admin …`

use std::{process::Stdio, time::Duration};

use marquee_testkit::{eventually, free_port};
use reqwest::StatusCode;
use tokio::{io::AsyncWriteExt, process::Command};

use crate::fixture::{Auth, PASSWORD, SignedIn, redis_address};

struct Done {
    ok: bool,
    stdout: String,
    stderr: String,
}

async fn admin(auth: &Auth, args: &[&str], env: Option<&str>, stdin: &str) -> Done {
    admin_with(redis_address(), auth, args, env, stdin).await
}

async fn admin_with(
    (redis_host, redis_port): (String, u16),
    auth: &Auth,
    args: &[&str],
    env: Option<&str>,
    stdin: &str,
) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auth"));
    command
        .arg("admin")
        .args(args)
        .env("DB_URL", &auth.database.url)
        .env("REDIS_HOST", redis_host)
        .env("REDIS_PORT", redis_port.to_string())
        .env("BCRYPT_COST", "4")
        .env_remove("MARQUEE_PASSWORD")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if let Some(password) = env {
        command.env("MARQUEE_PASSWORD", password);
    }
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    // A command that needs no password has closed its end already.
    let _ = pipe.write_all(stdin.as_bytes()).await;
    drop(pipe);
    let output = child.wait_with_output().await.unwrap();
    Done {
        ok: output.status.success(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

const CREATE: [&str; 5] = [
    "create",
    "--username",
    "root",
    "--email",
    "root@example.org",
];

#[tokio::test]
async fn an_operator_makes_an_admin_who_signs_in() {
    let auth = Auth::start().await;
    let create = [&CREATE[..], &["--role", "admin"]].concat();
    let done = admin(&auth, &create, Some(PASSWORD), "").await;
    assert!(done.ok, "{}", done.stderr);
    assert_eq!(done.stdout, "root: created\n");
    let signed_in = auth.login("root", PASSWORD).await;
    assert_eq!(signed_in.body["user"]["role"], "admin");
}

#[tokio::test]
async fn the_password_may_come_by_stdin_and_never_by_argument() {
    let auth = Auth::start().await;
    let done = admin(&auth, &CREATE, None, &format!("{PASSWORD}\n")).await;
    assert!(done.ok, "{}", done.stderr);
    assert_eq!(auth.login("root", PASSWORD).await.status, StatusCode::OK);

    let by_argument = [&CREATE[..], &["--password", PASSWORD]].concat();
    assert!(!admin(&auth, &by_argument, None, "").await.ok);
    let without = ["create", "--username", "bob", "--email", "bob@example.org"];
    let refused = admin(&auth, &without, None, "").await;
    assert!(!refused.ok);
    assert!(
        refused.stderr.contains("MARQUEE_PASSWORD"),
        "{}",
        refused.stderr
    );
}

#[tokio::test]
async fn the_databases_url_may_stand_in_a_file() {
    let auth = Auth::start().await;
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(&auth.database.name);
    let list = async || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_auth"));
        command
            .args(["admin", "list"])
            .env_remove("DB_URL")
            .env("DB_URL_FILE", &file)
            .kill_on_drop(true);
        command.output().await.unwrap()
    };
    std::fs::write(&file, format!("{}\n", auth.database.url)).unwrap();
    let listed = list().await;
    assert!(listed.status.success(), "{listed:?}");

    std::fs::remove_file(&file).unwrap();
    let refused = list().await;
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        said.contains("DB_URL_FILE: the file cannot be read"),
        "{said}"
    );
}

#[tokio::test]
async fn creating_again_changes_nothing() {
    let auth = Auth::start().await;
    assert!(admin(&auth, &CREATE, Some(PASSWORD), "").await.ok);
    let again = [&CREATE[..], &["--role", "admin"]].concat();
    let done = admin(&auth, &again, Some("another password"), "").await;
    assert!(done.ok, "{}", done.stderr);
    assert_eq!(done.stdout, "root: already exists\n");
    let signed_in = auth.login("root", PASSWORD).await;
    assert_eq!(signed_in.body["user"]["role"], "user");
}

#[tokio::test]
async fn a_reset_password_ends_the_sessions_of_the_old_one() {
    let auth = Auth::start().await;
    assert!(admin(&auth, &CREATE, Some(PASSWORD), "").await.ok);
    let before = SignedIn::from(auth.login("root", PASSWORD).await);
    let reset = [&CREATE[..], &["--reset-password"]].concat();
    let done = admin(&auth, &reset, Some("another password"), "").await;
    assert!(done.ok, "{}", done.stderr);

    auth.login("root", PASSWORD)
        .await
        .is_problem(401, "invalid_credentials");
    auth.refresh(&before.refresh_token)
        .await
        .is_problem(401, "refresh_token_invalid");
    auth.get_as("/api/auth/me", &before.access_token)
        .await
        .is_problem(401, "unauthenticated");
    assert_eq!(
        auth.login("root", "another password").await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn what_cannot_be_an_account_is_refused_in_words() {
    let auth = Auth::start().await;
    let bad_name = ["create", "--username", "a b", "--email", "a@b.c"];
    let refused = admin(&auth, &bad_name, Some(PASSWORD), "").await;
    assert!(
        !refused.ok && refused.stderr.contains("--username"),
        "{}",
        refused.stderr
    );
    let refused = admin(&auth, &CREATE, Some("short"), "").await;
    assert!(
        !refused.ok && refused.stderr.contains("at least 8"),
        "{}",
        refused.stderr
    );
    auth.register("ann").await;
    let taken = ["create", "--username", "bob", "--email", "ANN@example.org"];
    let refused = admin(&auth, &taken, Some(PASSWORD), "").await;
    assert!(
        !refused.ok && refused.stderr.contains("e-mail"),
        "{}",
        refused.stderr
    );
}

#[tokio::test]
async fn an_operator_grants_subscriptions_and_roles() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    let subscribe = [
        "subscribe",
        "--username",
        "ann",
        "--plan",
        "monthly",
        "--days",
        "30",
    ];
    let done = admin(&auth, &subscribe, None, "").await;
    assert!(done.ok, "{}", done.stderr);
    let own = auth
        .get_as("/api/auth/me/subscription", &ann.access_token)
        .await
        .body;
    assert_eq!(
        (own["active"].as_bool(), own["plan"].as_str()),
        (Some(true), Some("monthly"))
    );
    assert!(own["expires_at"].is_string());

    let forever = ["subscribe", "--username", "ann", "--plan", "friend"];
    assert!(admin(&auth, &forever, None, "").await.ok);
    let own = auth
        .get_as("/api/auth/me/subscription", &ann.access_token)
        .await
        .body;
    assert_eq!(own["plan"], "friend");
    assert!(own["expires_at"].is_null());

    let promote = ["promote", "--username", "ann"];
    assert!(admin(&auth, &promote, None, "").await.ok);
    assert_eq!(
        auth.login("ann", PASSWORD).await.body["user"]["role"],
        "admin"
    );

    let nobody = ["promote", "--username", "nobody"];
    assert!(!admin(&auth, &nobody, None, "").await.ok);
}

#[tokio::test]
async fn an_operator_closes_opens_and_deletes_accounts_and_revokes_subscriptions() {
    let auth = Auth::start().await;
    let ann = auth.register("ann").await;
    let run = async |command: &'static str| {
        let done = admin(&auth, &[command, "--username", "ann"], None, "").await;
        assert!(done.ok, "{command}: {}", done.stderr);
        done.stdout
    };
    assert_eq!(run("disable").await, "ann: disabled\n");
    auth.get_as("/api/auth/me/subscription", &ann.access_token)
        .await
        .is_problem(401, "unauthenticated");
    assert_eq!(run("enable").await, "ann: enabled\n");
    let subscribe = ["subscribe", "--username", "ann", "--plan", "monthly"];
    assert!(admin(&auth, &subscribe, None, "").await.ok);

    auth.register("bob").await;
    let list = admin(&auth, &["list", "--search", "ANN"], None, "").await;
    let line = format!("{}\tann\tann@example.org\tuser\tenabled\tmonthly\n", ann.id);
    assert_eq!(list.stdout, line);

    assert_eq!(run("unsubscribe").await, "ann: no subscription\n");
    assert_eq!(run("delete").await, "ann: deleted\n");
    auth.login("ann", PASSWORD)
        .await
        .is_problem(401, "invalid_credentials");
    let told: Vec<String> = sqlx::query_scalar("SELECT topic FROM outbox ORDER BY id")
        .fetch_all(&auth.pool().await)
        .await
        .unwrap();
    let expected = [
        "user.disabled",
        "subscription.changed",
        "subscription.changed",
        "user.deleted",
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn an_operator_ends_a_lock_out() {
    let auth = Auth::start().await;
    auth.register("ann").await;
    for _ in 0..5 {
        auth.login("ann", "wrong password").await;
    }
    auth.login("ann", PASSWORD).await.is_problem(429, "locked");
    let done = admin(&auth, &["unlock", "--username", "ann"], None, "").await;
    assert!(done.ok, "{}", done.stderr);
    assert_eq!(auth.login("ann", PASSWORD).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_operator_is_told_that_redis_was_not_and_the_service_tells_it() {
    let auth = Auth::start().await;
    let away = ("127.0.0.1".to_owned(), free_port());
    for command in ["disable", "delete"] {
        let ann = auth.register("ann").await;
        let args = [command, "--username", "ann"];
        let done = admin_with(away.clone(), &auth, &args, None, "").await;
        assert!(!done.ok);
        let said = format!("ann: {command}d, but access tokens");
        assert!(done.stderr.contains(&said), "{}", done.stderr);
        let soon = Duration::from_secs(15);
        eventually("the access token is refused", soon, async || {
            let subscription = "/api/auth/me/subscription";
            let answer = auth.get_as(subscription, &ann.access_token).await;
            (answer.status == StatusCode::UNAUTHORIZED).then_some(())
        })
        .await;
        // Nothing is left to tell, or there is no such account any more.
        let again = admin(&auth, &args, None, "").await;
        assert_eq!(again.ok, command == "disable");
        auth.sql("DELETE FROM users").await;
    }
}
