//! `keyfold token …`

use std::io::{self, Write};

use clap::Subcommand;
use jiff::{SignedDuration, Timestamp};
use keyfold::Keyfold;
use keyfold::service_tokens::{NewToken, Revocation, Scope, ServiceToken, TokenRecord, TokenStanding};
use serde_json::json;

use super::keys::{open, parse_user};
use super::{Failure, Start, log_for_command, print, small_runtime};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a token and print it; it is shown this once
    Create {
        /// How it is called in lists and in the audit log
        name: String,
        /// What it may be used for: keys:read (users' keys in plain text) or gateway; can be given more than once
        #[arg(long = "scope", value_name = "SCOPE", required = true, value_parser = parse_scope)]
        scopes: Vec<Scope>,
        /// Limits it to these users; without it, it is for all
        #[arg(long = "user", value_name = "ID", num_args = 1..)]
        users: Vec<String>,
        /// Limits it to these providers; without it, it is for all
        #[arg(long = "provider", value_name = "ID", num_args = 1..)]
        providers: Vec<String>,
        /// How long it counts, such as 12h, 90d or 4w; without it, until it is revoked
        #[arg(long = "expires", value_name = "TIME", value_parser = parse_lifetime)]
        lifetime: Option<SignedDuration>,
    },
    /// List the tokens: what they may do, when they were last used, how they stand
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke a token: it counts no more, at once and everywhere
    Revoke {
        /// Its name or id
        #[arg(value_name = "NAME|ID")]
        token: String,
    },
}

fn parse_scope(word: &str) -> Result<Scope, &'static str> {
    Scope::parse(word).ok_or("say keys:read or gateway")
}

/// A number of hours, days or weeks.
fn parse_lifetime(text: &str) -> Result<SignedDuration, &'static str> {
    const FORM: &str = "give a number of hours, days or weeks, such as 12h, 90d or 4w";
    const LONG: &str = "at most ten years (3650d); leave it out for a token without an end";
    let unit = text.chars().next_back().ok_or(FORM)?;
    let hours = match unit {
        'h' => 1,
        'd' => 24,
        'w' => 24 * 7,
        _ => return Err(FORM),
    };
    let number = &text[..text.len() - 1];
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(FORM);
    }
    let number: i64 = number.parse().map_err(|_| LONG)?;
    let lifetime = number.checked_mul(hours).filter(|hours| *hours <= 24 * 3650).ok_or(LONG)?;
    if lifetime == 0 { Err(FORM) } else { Ok(SignedDuration::from_hours(lifetime)) }
}

pub(super) fn token(start: Start, arguments: Arguments) -> Result<(), Failure> {
    log_for_command(&start);
    small_runtime()?.block_on(async {
        let keyfold = open(start.environment, &start.dir).await?;
        let done = run(&keyfold, arguments.command).await;
        keyfold.close().await;
        done
    })
}

async fn run(keyfold: &Keyfold, command: Command) -> Result<(), Failure> {
    match command {
        Command::Create { name, scopes, users, providers, lifetime } => {
            let users = users.iter().map(|id| parse_user(id)).collect::<Result<_, _>>()?;
            create(keyfold, &NewToken { name, scopes, users, providers, lifetime }).await
        }
        Command::List { json } => list(keyfold, json).await,
        Command::Revoke { token } => revoke(keyfold, &token).await,
    }
}

/// One that could not be printed is nobody's, and does not stay.
async fn create(keyfold: &Keyfold, new: &NewToken) -> Result<(), Failure> {
    let (record, token) = keyfold.service_tokens().create(new).await?;
    let Err(error) = show(&record, &token) else { return Ok(()) };
    let (id, name) = (record.id, &record.name);
    Err(Failure::new(match keyfold.service_tokens().revoke(&id.to_string()).await {
        Ok(_) => format!(
            "The token {name} (id {id}) could not be printed ({error}), so it was revoked at once. Make room or send the output elsewhere, and make another one."
        ),
        Err(why) => format!(
            "The token {name} (id {id}) could not be printed ({error}) and still counts, since it could not be revoked either: {} Nobody has it; run `keyfold token revoke {id}`.",
            why.cause()
        ),
    }))
}

/// The token alone goes to standard output, so that it can be piped to where it is kept.
fn show(record: &TokenRecord, token: &ServiceToken) -> io::Result<()> {
    let mut words = io::stderr();
    writeln!(
        words,
        "Made the service token {} (id {}): {}; {}; {}; {}.",
        record.name,
        record.id,
        scopes(record),
        limited_to("users", record.users.as_deref()),
        limited_to("providers", record.providers.as_deref()),
        record.expires_at.map_or_else(
            || "until it is revoked".into(),
            |end| format!("until {}", end.strftime("%Y-%m-%d %H:%M UTC"))
        )
    )?;
    writeln!(words, "It is shown this once; only its hash is stored:")?;
    words.flush()?;
    // Whoever reads no more has not got it either, so a broken pipe counts here.
    let mut out = io::stdout();
    writeln!(out, "{}", token.expose())?;
    out.flush()
}

async fn list(keyfold: &Keyfold, json: bool) -> Result<(), Failure> {
    let tokens = keyfold.service_tokens().list().await?;
    if json {
        let tokens: Vec<_> = tokens.iter().map(as_json).collect();
        return print(&serde_json::to_string_pretty(&json!({ "tokens": tokens }))?);
    }
    if tokens.is_empty() {
        return print("None.");
    }
    print("ID    STANDING  SCOPES             CREATED           EXPIRES           LAST USED         NAME")?;
    for record in &tokens {
        print(&format!(
            "{:<6}{:<10}{:<19}{:<18}{:<18}{:<18}{}",
            record.id,
            record.standing.as_str(),
            scopes(record),
            minute(Some(record.created_at)),
            minute(record.expires_at),
            minute(record.last_used_at),
            printable(&record.name)
        ))?;
        for (what, limits) in [("users", &record.users), ("providers", &record.providers)] {
            if let Some(limits) = limits {
                print(&format!("      only {what}: {}", printable(&limits.join(", "))))?;
            }
        }
    }
    Ok(())
}

async fn revoke(keyfold: &Keyfold, token: &str) -> Result<(), Failure> {
    let (record, revocation) = keyfold.service_tokens().revoke(token).await?;
    let name = printable(&record.name);
    match revocation {
        Revocation::Revoked => print(&format!("Revoked the service token {name} (id {}).", record.id)),
        Revocation::Already(since) => {
            print(&format!("{name} (id {}) was revoked already, {} UTC.", record.id, minute(Some(since))))
        }
    }
}

fn as_json(record: &TokenRecord) -> serde_json::Value {
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
    json!({
        "id": record.id,
        "name": record.name,
        "scopes": record.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>(),
        "users": record.users,
        "providers": record.providers,
        "created_at": time(Some(record.created_at)),
        "expires_at": time(record.expires_at),
        "last_used_at": time(record.last_used_at),
        "revoked_at": time(record.revoked_at),
        "standing": record.standing.as_str(),
    })
}

fn scopes(record: &TokenRecord) -> String {
    if record.standing == TokenStanding::Damaged {
        return "-".into();
    }
    record.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(",")
}

fn limited_to(what: &str, limits: Option<&[String]>) -> String {
    limits.map_or_else(
        || format!("all {what}"),
        |limits| format!("only {what} {}", printable(&limits.join(", "))),
    )
}

fn minute(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "-".into(), |time| time.strftime("%Y-%m-%d %H:%M").to_string())
}

/// Ids may hold anything; they do nothing to a terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|each| if each.is_control() { each.escape_default().to_string() } else { each.to_string() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_a_number_and_a_unit() {
        for (text, hours) in [("1h", 1), ("90d", 2160), ("4w", 672), ("3650d", 87_600)] {
            assert_eq!(parse_lifetime(text).unwrap(), SignedDuration::from_hours(hours), "{text}");
        }
        for wrong in [
            "",
            "d",
            "90",
            "0d",
            "-1d",
            "+1d",
            "1.5d",
            "90 d",
            "90D",
            "1m",
            "1y",
            "3651d",
            "99999999999999999999d",
            "9é",
        ] {
            assert!(parse_lifetime(wrong).is_err(), "{wrong}");
        }
    }
}
