//! `keyfold keys …`

use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal, Read};
use std::path::Path;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Subcommand};
use keyfold::keys::KeyRecord;
use keyfold::mode::Mode;
use keyfold::secret::ApiKey;
use keyfold::settings::{DatabaseSetting, Environment, Problems, Settings, Sources};
use keyfold::user::{LOCAL_USER, UserId};
use keyfold::users::Standing;
use keyfold::{Error, Keyfold, Parts, UserApiKeys, inspect_postgres};
use serde_json::json;
use zeroize::Zeroizing;

use super::{Failure, Start, log_for_command, print, revoke, small_runtime};
use crate::routes::key_view::{KeyView, VerdictView};

/// Most openings are done by then, and nobody looks.
const LOOK_AFTER: Duration = Duration::from_millis(100);

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
    /// Remove all versions of a key; in local mode also its line in the .env files
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
    /// Delete all users' keys of a provider, all versions of them: for the day on which it is breached
    ///
    /// Deleted in batches, and recorded for each user. Stopped halfway, it is simply started again. The keys
    /// go on being good at the provider until they are made invalid there.
    Revoke(revoke::Options),
    /// Go back to the version before the current one (kept for 24 hours)
    Rollback {
        /// The provider's id
        provider: String,
        #[command(flatten)]
        user: User,
    },
}

/// The user whose keys a command is about.
#[derive(clap::Args)]
pub(super) struct User {
    /// Whose keys: the user's id, the `sub` of the token. Needed in production; local mode has one user
    #[arg(long = "user", value_name = "ID")]
    id: Option<String>,
}

impl User {
    /// In production there is no user whom leaving it out could mean; ends with the status of wrong usage then.
    pub(super) fn in_mode(&self, mode: Mode) -> Result<UserId, Failure> {
        match (&self.id, mode) {
            (Some(id), _) => parse_user(id),
            (None, Mode::Local) => Ok(UserId::local()),
            (None, Mode::Production) => wrong_usage(
                ErrorKind::MissingRequiredArgument,
                "production has many users: say whose keys with --user ID (the `sub` of that user's token; `keyfold users list` shows those there are)",
            ),
        }
    }
}

pub(super) fn parse_user(id: &str) -> Result<UserId, Failure> {
    let user = UserId::parse(id)
        .map_err(|why| Error::InvalidRequest { field: "user_id".into(), why: why.to_string() });
    Ok(user?)
}

/// Tells it as clap does, and ends the process.
pub(super) fn wrong_usage(kind: ErrorKind, text: &str) -> ! {
    super::Arguments::command().error(kind, text).exit()
}

pub(super) fn keys(start: Start, arguments: Arguments) -> Result<(), Failure> {
    refuse_key_as_argument(&arguments);
    log_for_command(&start);
    small_runtime()?.block_on(async {
        let sources = Sources::load(start.environment, &start.dir)?;
        let user = arguments.command.user().map(|user| user.in_mode(sources.mode())).transpose()?;
        let keyfold = open_with(&sources).await?;
        let done = run(&keyfold, arguments.command, &user.unwrap_or_else(UserId::local)).await;
        keyfold.close().await;
        done
    })
}

/// Ends with the status of wrong usage.
fn refuse_key_as_argument(arguments: &Arguments) {
    if let Command::Set { key: Some(_), .. } = arguments.command {
        wrong_usage(
            ErrorKind::UnknownArgument,
            "a key is not given as an argument, where it stays in the shell's history and other users can see it: enter it when asked, or pipe it in (replace the key you just gave)",
        );
    }
}

impl Command {
    /// `None` for the one that may be about all users.
    fn user(&self) -> Option<&User> {
        match self {
            Self::List { user, .. }
            | Self::Set { user, .. }
            | Self::Remove { user, .. }
            | Self::Validate { user, .. }
            | Self::Rollback { user, .. } => Some(user),
            Self::Revoke(_) => None,
        }
    }
}

/// Opens Keyfold for a command: the same settings as `serve`, and no token issuer needed.
pub(super) async fn open(environment: Environment, dir: &Path) -> Result<Keyfold, Failure> {
    open_with(&Sources::load(environment, dir)?).await
}

pub(super) async fn open_with(sources: &Sources) -> Result<Keyfold, Failure> {
    let mut problems = Problems::default();
    let settings = Settings::read(sources, &mut problems);
    problems.into_result()?;
    let settings = settings.ok_or_else(|| Failure::new("settings are missing"))?.for_a_command();
    let opening = Keyfold::open(&settings, sources.process().clone(), Parts::default());
    let DatabaseSetting::Postgres(address) = &settings.database else { return Ok(opening.await?) };
    // Opening waits for a database that wakes up, and for another's migration. Whoever waits for a command learns
    // within three seconds if there is no database at all.
    let looking = async {
        tokio::time::sleep(LOOK_AFTER).await;
        inspect_postgres(address).await
    };
    tokio::select! {
        opened = opening => Ok(opened?),
        Err(error) = looking => Err(error.into()),
    }
}

async fn run(keyfold: &Keyfold, command: Command, user: &UserId) -> Result<(), Failure> {
    let changes = !matches!(command, Command::List { .. } | Command::Validate { .. });
    if changes && keyfold.mode() == Mode::Local && user.as_str() != LOCAL_USER {
        return Err(Failure::new(
            "local mode has one set of keys, in the .env file, and one user: leave --user out",
        ));
    }
    // An operator looks after the keys of a suspended user too.
    let keys = async || keyfold.users().keys_of(user).await;
    match command {
        Command::List { json, .. } => list(keyfold, &keys().await?, json).await,
        Command::Set { provider, .. } => set(keyfold, &provider, user).await,
        Command::Remove { provider, .. } => {
            let provider = keyfold.provider(&provider)?;
            keys().await?.remove(&provider).await?;
            print(&format!("Removed the {} key{}.", provider.name, of_whom(keyfold, user)))?;
            if keys().await?.record(&provider.id)?.is_some() {
                print(&format!(
                    "Note: the variable {} of the process still holds a key, which is used. Unset it.",
                    provider.variable
                ))?;
            }
            Ok(())
        }
        Command::Validate { provider, json, .. } => {
            validate(keyfold, &keys().await?, provider.as_deref(), json).await
        }
        Command::Revoke(options) => revoke::revoke(keyfold, &options).await,
        Command::Rollback { provider, .. } => {
            let provider = keyfold.provider(&provider)?;
            let record = keys().await?.roll_back(&provider).await?;
            print(&format!("Went back to the earlier {} key ({}).", provider.name, record.masked))
        }
    }
}

async fn list(keyfold: &Keyfold, keys: &UserApiKeys, json: bool) -> Result<(), Failure> {
    let records = keys.list()?;
    if json {
        let views = KeyView::of_all(&records, &keys.with_previous().await?);
        return print(&serde_json::to_string_pretty(&json!({ "keys": views }))?);
    }
    if records.is_empty() {
        print(&format!(
            "No API key found. Save one with `{}`.",
            set_command(keyfold, "gemini", keys.user())
        ))?;
        note_unread(keys)?;
        return note_standing(keyfold, keys.user()).await;
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
    note_unread(keys)?;
    note_standing(keyfold, keys.user()).await
}

fn note_unread(keys: &UserApiKeys) -> Result<(), Failure> {
    let unread = keys.not_read()?;
    if unread.is_empty() { Ok(()) } else { print(&format!("Note: {}", not_read(&unread))) }
}

/// Where keys of local mode's user are that it does not use: in the database only.
pub(super) fn not_read(unread: &[KeyRecord]) -> String {
    let keys: Vec<String> =
        unread.iter().map(|record| format!("{} {}", record.provider, record.masked)).collect();
    format!(
        "the database has keys of the user {LOCAL_USER} that stand in no .env file, where local mode reads them: {}; save them with `keyfold keys set` to use them here",
        keys.join(", ")
    )
}

/// What else an operator should know who looks at a user's keys.
async fn note_standing(keyfold: &Keyfold, user: &UserId) -> Result<(), Failure> {
    if keyfold.mode() == Mode::Local {
        return Ok(());
    }
    match keyfold.users().standing(user).await? {
        Standing::Active => Ok(()),
        Standing::NeverHere => print(&format!("Note: nobody of the id {user} was ever here.")),
        Standing::Deleted(at) => {
            let at = at.strftime("%Y-%m-%d %H:%M UTC");
            print(&format!("Note: {user} was deleted at {at}."))
        }
        Standing::Suspended(since) => {
            let since = since.strftime("%Y-%m-%d %H:%M UTC");
            print(&format!("Note: {user} is suspended since {since}; these keys are not used."))
        }
    }
}

/// ` of USER`, where there can be several.
fn of_whom(keyfold: &Keyfold, user: &UserId) -> String {
    match keyfold.mode() {
        Mode::Local => String::new(),
        Mode::Production => format!(" of {user}"),
    }
}

/// The command that saves a key of this user.
pub(super) fn set_command(keyfold: &Keyfold, provider: &str, user: &UserId) -> String {
    format!("keyfold keys set {provider}{}", user_option(keyfold.mode(), user))
}

/// ` --user ID` where it is needed, as a shell takes it.
pub(super) fn user_option(mode: Mode, user: &UserId) -> String {
    match mode {
        Mode::Local => String::new(),
        Mode::Production => format!(" --user {}", for_the_shell(user.as_str())),
    }
}

/// A word of a command, quoted if a shell would take it for something else.
pub(super) fn for_the_shell(word: &str) -> String {
    let plain = |each: char| each.is_ascii_alphanumeric() || "_-.@:/".contains(each);
    if word.chars().all(plain) && !word.starts_with('-') {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

async fn set(keyfold: &Keyfold, provider: &str, user: &UserId) -> Result<(), Failure> {
    let provider = keyfold.provider(provider)?;
    let text = read_key(&provider.name)?;
    let key = ApiKey::parse(&text).map_err(|why| Failure::new(format!("This cannot be a key: {why}.")))?;
    // Read after the key was entered, which may have taken its time.
    let saved = keyfold.users().keys_of(user).await?.save(&provider, key).await?;
    let verb = if saved.is_new { "Saved" } else { "Replaced" };
    print(&format!(
        "{verb} the {} key{} ({}): {}.",
        provider.name,
        of_whom(keyfold, user),
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
        // A provider that was taken out of the registry cannot be asked.
        let registry = keyfold.registry();
        keys.list()?.iter().filter_map(|record| registry.get(record.provider.as_str()).cloned()).collect()
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
