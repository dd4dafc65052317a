//! The accounts of the local stack, made by the auth service's own command line.

use std::path::Path;

use super::{StackDir, report::User, services::Service};
use crate::{error::Result, servers::run};

/// Makes the accounts `admin`, `viewer` (who has a subscription) and `demo` (who broadcasts) where
/// they are not there yet.
pub async fn seed(dir: &StackDir, auth: &Service) -> Result<Vec<User>> {
    let mut users = Vec::new();
    for (name, role, subscribed) in [
        ("admin", "admin", false),
        ("viewer", "user", true),
        ("demo", "user", false),
    ] {
        users.push(User {
            username: name.to_owned(),
            email: format!("{name}@marquee.example"),
            // Short enough to be typed from the terminal into a page.
            password: dir.secret(&format!("user_{name}"))?[..16].to_owned(),
            role: role.to_owned(),
            subscribed,
        });
    }
    let marker = dir.root().join("data/accounts-made");
    if marker.exists() {
        return Ok(users);
    }
    for user in &users {
        create(dir, auth, user).await?;
    }
    std::fs::write(&marker, "").map_err(crate::error::StackError::io(&marker))?;
    Ok(users)
}

async fn create(dir: &StackDir, auth: &Service, user: &User) -> Result<()> {
    let program = auth.spec.argv.first().map_or("auth", String::as_str);
    let mut env: Vec<(&str, &str)> = auth
        .spec
        .env
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    env.push(("MARQUEE_PASSWORD", &user.password));
    let what = format!("making the account {}", user.username);
    let binary = Path::new(program).display().to_string();
    let argv = [
        &binary,
        "admin",
        "create",
        "--username",
        &user.username,
        "--email",
        &user.email,
        "--role",
        &user.role,
    ];
    run(dir, &what, &argv, &env).await?;
    if user.subscribed {
        let argv = [
            &binary,
            "admin",
            "subscribe",
            "--username",
            &user.username,
            "--plan",
            "monthly",
        ];
        run(dir, &what, &argv, &env).await?;
    }
    Ok(())
}
