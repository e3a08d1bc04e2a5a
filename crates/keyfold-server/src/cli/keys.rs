//! `keyfold keys …`

use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal, Read};
use std::path::Path;

use clap::error::ErrorKind;
use clap::{CommandFactory, Subcommand};
use keyfold::keys::KeyRecord;
use keyfold::mode::Mode;
use keyfold::secret::ApiKey;
use keyfold::settings::{Environment, Problems, Settings, Sources};
use keyfold::user::{LOCAL_USER, UserId};
use keyfold::{Error, Keyfold, Parts, UserApiKeys};
use serde_json::json;
use zeroize::Zeroizing;

use super::{Failure, Start, log_for_command, print, small_runtime};
use crate::routes::key_view::{KeyView, VerdictView};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List a user's keys, masked
    List {
        #[command(flatten)]
        user: User,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Check a key and save it; it is asked for, or read from standard input
    Set {
        /// The provider's id, such as gemini
        provider: String,
        /// There for its refusal: clap's own would show the key
        #[arg(hide = true)]
        key: Option<OsString>,
        #[command(flatten)]
        user: User,
    },
    /// Remove all versions of a key, and its line in the .env files
    Remove {
        /// The provider's id
        provider: String,
        #[command(flatten)]
        user: User,
    },
    /// Ask the providers about stored keys
    Validate {
        /// The provider's id; without it all keys are checked
        provider: Option<String>,
        #[command(flatten)]
        user: User,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Go back to the version before the current one (kept for 24 hours)
    Rollback {
        /// The provider's id
        provider: String,
        #[command(flatten)]
        user: User,
    },
}

#[derive(clap::Args)]
pub(super) struct User {
    /// Whose keys
    #[arg(long, value_name = "ID", default_value = LOCAL_USER)]
    pub(super) user: String,
}

pub(super) fn keys(start: Start, arguments: Arguments) -> Result<(), Failure> {
    refuse_key_as_argument(&arguments);
    log_for_command(&start);
    small_runtime()?.block_on(async {
        let keyfold = open(start.environment, &start.dir).await?;
        let done = run(&keyfold, arguments.command).await;
        keyfold.close().await;
        done
    })
}

/// Ends with the status of wrong usage.
fn refuse_key_as_argument(arguments: &Arguments) {
    if let Command::Set { key: Some(_), .. } = arguments.command {
        super::Arguments::command()
            .error(
                ErrorKind::UnknownArgument,
                "a key is not given as an argument, where it stays in the shell's history and other users can see it: enter it when asked, or pipe it in (replace the key you just gave)",
            )
            .exit();
    }
}

/// Opens Keyfold for a command: the same settings as `serve`, and no token issuer needed.
pub(super) async fn open(environment: Environment, dir: &Path) -> Result<Keyfold, Failure> {
    let sources = Sources::load(environment, dir)?;
    let mut problems = Problems::default();
    let settings = Settings::read(&sources, &mut problems);
    problems.into_result()?;
    let settings = settings.ok_or_else(|| Failure::new("settings are missing"))?;
    Ok(Keyfold::open(&settings, sources.process().clone(), Parts::default()).await?)
}

async fn run(keyfold: &Keyfold, command: Command) -> Result<(), Failure> {
    if let Command::Set { user, .. } | Command::Remove { user, .. } | Command::Rollback { user, .. } =
        &command
        && keyfold.mode() == Mode::Local
        && user.user != LOCAL_USER
        && UserId::parse(&user.user).is_ok()
    {
        return Err(Failure::new(
            "local mode has one set of keys, in the .env file, and one user: leave --user out",
        ));
    }
    match command {
        Command::List { user, json } => list(&keyfold.user_api_keys(&user.user).await?, json),
        Command::Set { provider, user, .. } => set(keyfold, &provider, &user.user).await,
        Command::Remove { provider, user } => {
            let provider = keyfold.provider(&provider)?;
            keyfold.user_api_keys(&user.user).await?.remove(&provider).await?;
            print(&format!("Removed the {} key.", provider.name))?;
            if keyfold.user_api_keys(&user.user).await?.record(&provider.id)?.is_some() {
                print(&format!(
                    "Note: the variable {} of the process still holds a key, which is used. Unset it.",
                    provider.variable
                ))?;
            }
            Ok(())
        }
        Command::Validate { provider, user, json } => {
            let keys = keyfold.user_api_keys(&user.user).await?;
            validate(keyfold, &keys, provider.as_deref(), json).await
        }
        Command::Rollback { provider, user } => {
            let provider = keyfold.provider(&provider)?;
            let record = keyfold.user_api_keys(&user.user).await?.roll_back(&provider).await?;
            print(&format!("Went back to the earlier {} key ({}).", provider.name, record.masked))
        }
    }
}

fn list(keys: &UserApiKeys, json: bool) -> Result<(), Failure> {
    let records = keys.list()?;
    if json {
        let views: Vec<KeyView> = records.iter().map(KeyView::from).collect();
        return print(&serde_json::to_string_pretty(&json!({ "keys": views }))?);
    }
    if records.is_empty() {
        return print("No API key found. Save one with `keyfold keys set gemini`.");
    }
    let line = |provider: &str, masked: &str, status: &str, source: &str, used: &str| {
        format!("{provider:<14}{masked:<12}{status:<12}{source:<13}{used}")
    };
    print(&line("PROVIDER", "KEY", "STATUS", "SOURCE", "LAST USED"))?;
    for KeyRecord { provider, masked, status, source, last_used_at, .. } in &records {
        let used =
            last_used_at.map_or_else(|| "-".into(), |at| at.strftime("%Y-%m-%d %H:%M UTC").to_string());
        print(&line(provider.as_str(), masked, status.as_str(), source.as_str(), &used))?;
    }
    Ok(())
}

async fn set(keyfold: &Keyfold, provider: &str, user: &str) -> Result<(), Failure> {
    let provider = keyfold.provider(provider)?;
    let text = read_key(&provider.name)?;
    let key = ApiKey::parse(&text).map_err(|why| Failure::new(format!("This cannot be a key: {why}.")))?;
    let saved = keyfold.user_api_keys(user).await?.save(&provider, key).await?;
    let verb = if saved.is_new { "Saved" } else { "Replaced" };
    print(&format!(
        "{verb} the {} key ({}): {}.",
        provider.name,
        saved.record.masked,
        saved.record.status.as_str()
    ))?;
    for warning in &saved.warnings {
        print(&format!("Note: {warning}"))?;
    }
    Ok(())
}

async fn validate(
    keyfold: &Keyfold,
    keys: &UserApiKeys,
    provider: Option<&str>,
    json: bool,
) -> Result<(), Failure> {
    let providers = if let Some(id) = provider {
        vec![keyfold.provider(id)?]
    } else {
        let records = keys.list()?;
        records.iter().map(|record| keyfold.provider(record.provider.as_str())).collect::<Result<_, _>>()?
    };
    let mut results = serde_json::Map::new();
    let mut all_usable = true;
    for provider in providers {
        let (valid, status, detail) = match keys.validate(&provider).await {
            Ok(verdict) => {
                let view = VerdictView::new(&verdict, &provider.name, &provider.setup_url);
                (view.valid(), view.status(), view.detail().to_owned())
            }
            Err(error @ Error::KeyUnreadable { .. }) => (Some(false), "unreadable", error.to_string()),
            Err(error) => return Err(error.into()),
        };
        all_usable &= valid != Some(false);
        if json {
            results.insert(
                provider.id.to_string(),
                json!({ "valid": valid, "status": status, "detail": detail }),
            );
        } else {
            print(&format!("{:<14}{status:<12}{detail}", provider.id.as_str()))?;
        }
    }
    if json {
        print(&serde_json::to_string_pretty(&json!({ "results": results }))?)?;
    }
    if all_usable { Ok(()) } else { Err(Failure::new("a key cannot be used; see above")) }
}

/// Asks for a key without showing it, or reads one line of standard input.
fn read_key(name: &str) -> Result<Zeroizing<String>, Failure> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Ok(Zeroizing::new(rpassword::prompt_password(format!("{name} key (not shown): "))?));
    }
    let mut text = Zeroizing::new(String::new());
    // One byte more than the longest key and its line end, so that a longer one is noticed.
    stdin.lock().take(keyfold::secret::MAX_KEY_BYTES as u64 + 3).read_line(&mut text)?;
    Ok(text)
}
