//! `keyfold doctor`: every check by name, in the words of the troubleshooting guide, with what to do.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use jiff::SignedDuration;
use keyfold::auth::issuer::Issuer;
use keyfold::auth::{KeySetTimeouts, TokenVerifier};
use keyfold::clock::{Clock, SystemClock};
use keyfold::dotenv::EnvFile;
use keyfold::keys::{KeyRecord, KeySource, KeyStatus};
use keyfold::mode::Mode;
use keyfold::settings::{
    DatabaseSetting, Environment, Origin, PostgresAddress, Problem, Problems, Settings, Sources,
};
use keyfold::user::UserId;
use keyfold::users::Standing;
use keyfold::{Encryption, Keyfold, Parts, PostgresFacts, Schema, inspect_postgres};
use rustix::fs::{Access, access};
use serde::Serialize;
use serde_json::json;

use super::keys::{for_the_shell, not_read, parse_user, set_command, user_option};
use super::{Failure, Start, log_for_command, print, scan, small_runtime};
use crate::config::ServerConfig;

// The words of docs/troubleshooting.md.
const NO_KEY: &str = "No API key found";
const WRONG_KEYS: &str = "Wrong user's keys being used";
const NOT_SAVING: &str = "Keys not saving to .env";
const SETTINGS: &str = "Settings";
const DATABASE: &str = "Database";
const DATABASE_AND_KEY: &str = "Database and master key";
const PLAIN_TEXT: &str = "Keys in plain text";
const ISSUER: &str = "Token issuer";
const CLOCK: &str = "Clock";

/// What the tokens' times are allowed to be off by.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_secs(5);
/// Triggers are written as this version understands them.
const OLDEST_POSTGRESQL: u32 = 11;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// In production: look at the keys of this user, too
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Look through this folder instead: for lines that read providers' keys from the environment, `.env` files that
    /// git tracks or others can read, and keys that stand in files. Ends with 1 if there are such files or keys
    #[arg(long, value_name = "DIR", conflicts_with = "user")]
    scan: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Ok,
    Warning,
    Failed,
}

#[derive(Serialize)]
struct Check {
    name: &'static str,
    outcome: Outcome,
    detail: String,
}

#[derive(Default)]
struct Report(Vec<Check>);

impl Report {
    fn add(&mut self, name: &'static str, outcome: Outcome, detail: impl Into<String>) {
        self.0.push(Check { name, outcome, detail: detail.into() });
    }

    fn has_failed(&self) -> bool {
        self.0.iter().any(|check| check.outcome == Outcome::Failed)
    }
}

pub(super) fn doctor(start: Start, arguments: &Arguments) -> Result<(), Failure> {
    log_for_command(&start);
    if let Some(dir) = &arguments.scan {
        return scan::scan(start, dir, arguments.json);
    }
    let user = arguments.user.as_deref().map(parse_user).transpose()?;
    let mut report = Report::default();
    small_runtime()?.block_on(examine(start.environment, &start.dir, user.as_ref(), &mut report));
    if arguments.json {
        print(&serde_json::to_string_pretty(&json!({ "ok": !report.has_failed(), "checks": report.0 }))?)?;
    } else {
        for check in &report.0 {
            let mark = match check.outcome {
                Outcome::Ok => "ok     ",
                Outcome::Warning => "warning",
                Outcome::Failed => "FAILED ",
            };
            print(&format!("{mark}  {:<32}  {}", check.name, check.detail))?;
        }
    }
    if report.has_failed() { Err(Failure::new("something is wrong; see above")) } else { Ok(()) }
}

async fn examine(environment: Environment, dir: &Path, user: Option<&UserId>, report: &mut Report) {
    let sources = match Sources::load(environment, dir) {
        Ok(sources) => sources,
        Err(error) => return settings_failed(report, &error.0.0),
    };
    let decided_by = match sources.mode_origin() {
        Origin::Process => "DEBUG and DEPLOY_ENV of the process".into(),
        Origin::EnvFile => format!("DEBUG and DEPLOY_ENV in {}", sources.backend_env_file().display()),
        Origin::Default => "nothing sets DEBUG or DEPLOY_ENV".into(),
    };
    report.add("Mode", Outcome::Ok, format!("{} ({decided_by})", sources.mode().as_str()));
    let (settings, server) = read_settings(&sources, report);
    let Some(settings) = settings else { return };
    match settings.mode {
        Mode::Local => env_files(&settings, report),
        Mode::Production => {
            unused_env_files(&settings, sources.mode_origin(), report);
            unused_variables(&settings, sources.process(), report);
        }
    }
    database(&settings, sources.process(), user, report).await;
    if let Some(issuer) = server.and_then(|server| server.issuer) {
        token_issuer(&issuer, settings.mode, report).await;
    }
}

/// The library's settings, without which nothing else can be looked at, and those of the server.
fn read_settings(sources: &Sources, report: &mut Report) -> (Option<Settings>, Option<ServerConfig>) {
    let (mut problems, mut of_server) = (Problems::default(), Problems::default());
    let settings = Settings::read(sources, &mut problems);
    let server = ServerConfig::read(sources, &mut of_server);
    let has_no_issuer = sources.get("CLERK_PUBLISHABLE_KEY").is_none()
        && sources.get("KEYFOLD_AUTH_ISSUER").is_none()
        && sources.mode() == Mode::Production;
    let about_the_issuer = |problem: &Problem| {
        has_no_issuer && ["CLERK_PUBLISHABLE_KEY", "KEYFOLD_PUBLIC_URL"].contains(&problem.variable.as_str())
    };
    let (unneeded, wrong): (Vec<Problem>, Vec<Problem>) = of_server.0.into_iter().partition(about_the_issuer);
    problems.0.extend(wrong);
    settings_failed(report, &problems.0);
    if problems.0.is_empty() {
        report.add(SETTINGS, Outcome::Ok, "all are understood");
    }
    for problem in unneeded {
        let told = in_words(&problem);
        report.add(
            ISSUER,
            Outcome::Warning,
            format!("{told}; `serve` does not start before, commands need none"),
        );
    }
    (settings, server)
}

fn settings_failed(report: &mut Report, problems: &[Problem]) {
    for problem in problems {
        report.add(SETTINGS, Outcome::Failed, in_words(problem));
    }
}

fn in_words(problem: &Problem) -> String {
    format!("{} {} → {}", problem.variable, problem.what, problem.remedy)
}

/// "Keys not saving to .env"
fn env_files(settings: &Settings, report: &mut Report) {
    for path in std::iter::once(&settings.backend_env_file).chain(&settings.frontend_env_file) {
        let shown = path.display();
        if let Err(error) = EnvFile::read(path) {
            report.add(NOT_SAVING, Outcome::Failed, error.to_string());
            continue;
        }
        // A symbolic link stays, and the file that it leads to is replaced.
        let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        if let Some(folder) = path.parent().filter(|folder| access(*folder, Access::WRITE_OK).is_err()) {
            let folder = folder.display();
            report.add(
                NOT_SAVING,
                Outcome::Failed,
                format!("nothing can be written in {folder}, where {shown} is changed by replacing it; make that folder, or make it writable for this user"),
            );
            continue;
        }
        let Ok(metadata) = std::fs::metadata(path) else {
            report.add(
                NOT_SAVING,
                Outcome::Ok,
                format!("{shown} is not there yet; it is made with the first key"),
            );
            continue;
        };
        if metadata.permissions().readonly() || access(path, Access::WRITE_OK).is_err() {
            report.add(
                NOT_SAVING,
                Outcome::Failed,
                format!("{shown} is read-only; run `chmod u+w {shown}` as its owner"),
            );
        } else if metadata.permissions().mode() & 0o044 != 0 {
            report.add(
                NOT_SAVING,
                Outcome::Warning,
                format!("{shown} can be read by other users of this machine; run `chmod 600 {shown}`"),
            );
        } else {
            report.add(NOT_SAVING, Outcome::Ok, format!("{shown} can be read and written"));
        }
        if is_tracked(path) {
            let shown = path.display();
            report.add(
                "Keys in version control",
                Outcome::Failed,
                format!("git tracks {shown}: every clone has your keys; run `git rm --cached {shown}`, add it to .gitignore and replace the keys"),
            );
        }
    }
    if settings.frontend_env_file.is_none() {
        report.add(NOT_SAVING, Outcome::Warning, "there is no frontend folder here: the CopilotKit key is not written for a front end (KEYFOLD_FRONTEND_ENV_FILE names one)");
    }
}

fn is_tracked(path: &Path) -> bool {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return false };
    Command::new("git")
        .args(["ls-files", "--error-unmatch", "--"])
        .arg(name)
        .current_dir(folder)
        .output()
        .is_ok_and(|output| output.status.success())
}

/// "Keys not saving to .env", in production: they are not meant to.
fn unused_env_files(settings: &Settings, mode_origin: Origin, report: &mut Report) {
    let there: Vec<String> = std::iter::once(&settings.backend_env_file)
        .chain(&settings.frontend_env_file)
        .filter(|path| path.exists())
        .map(|path| path.display().to_string())
        .collect();
    let (outcome, detail) = match (there.is_empty(), mode_origin) {
        (true, _) => (Outcome::Ok, "production keeps keys in the database only".into()),
        (false, Origin::EnvFile) => (
            Outcome::Warning,
            format!(
                "production keeps keys in the database only; of {} nothing is used but DEBUG and DEPLOY_ENV: take keys out of it",
                there.join(" and ")
            ),
        ),
        (false, _) => (
            Outcome::Warning,
            format!(
                "production keeps keys in the database only; {} is there and not used: remove it, or take keys out of it",
                there.join(" and ")
            ),
        ),
    };
    report.add(NOT_SAVING, outcome, detail);
}

/// "Wrong user's keys being used", in production: a key in the environment is nobody's.
fn unused_variables(settings: &Settings, process: &Environment, report: &mut Report) {
    let providers = settings.registry.iter();
    let mut names: Vec<&str> = providers
        .flat_map(|provider| provider.variables())
        .map(String::as_str)
        .filter(|name| process.get(name).is_some())
        .collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        report.add(WRONG_KEYS, Outcome::Ok, "no provider's key is set for the whole process");
    } else {
        report.add(
            WRONG_KEYS,
            Outcome::Warning,
            format!(
                "set for the whole process, and never used by Keyfold in production: {}; other code of the process may use such a key for everybody: unset them",
                names.join(", ")
            ),
        );
    }
}

async fn database(settings: &Settings, process: &Environment, user: Option<&UserId>, report: &mut Report) {
    if let DatabaseSetting::Postgres(address) = &settings.database
        && !server_of_database(address, report).await
    {
        return;
    }
    let keyfold =
        match Keyfold::open(&settings.clone().for_a_command(), process.clone(), Parts::default()).await {
            Ok(keyfold) => keyfold,
            Err(error) => return report.add(DATABASE_AND_KEY, Outcome::Failed, error.to_string()),
        };
    let place = &settings.database;
    report.add(DATABASE_AND_KEY, Outcome::Ok, format!("{place} opens with the given master key"));
    plain_text(&keyfold, report).await;
    match (settings.mode, user) {
        (Mode::Local, user) => local_keys(&keyfold, settings, user, report).await,
        (Mode::Production, Some(user)) => keys_of(&keyfold, settings, user, report).await,
        (Mode::Production, None) => report.add(
            NO_KEY,
            Outcome::Ok,
            "each user has their own keys; `keyfold doctor --user ID` looks at those of one",
        ),
    }
    keyfold.close().await;
}

/// A database that was another program's.
async fn plain_text(keyfold: &Keyfold, report: &mut Report) {
    let plain_text = match keyfold.migration().plain_text().await {
        Ok(plain_text) => plain_text,
        Err(error) => return report.add(PLAIN_TEXT, Outcome::Failed, error.to_string()),
    };
    let (keys, aside) = (plain_text.keys, plain_text.set_aside);
    if plain_text.counts {
        report.add(
            PLAIN_TEXT,
            Outcome::Warning,
            format!("keys in the database that are plain text, and count, for another program's sake: {keys} (set aside, because newer ones count: {aside}); when it is stopped, run `keyfold migrate encrypt`"),
        );
    } else if keys > 0 {
        report.add(
            PLAIN_TEXT,
            Outcome::Failed,
            format!("keys in the database that are plain text, which does not count there: {keys}; another program writes them: stop it, and have those keys entered anew"),
        );
    }
}

/// What the server says of itself; whether it makes sense to open the database there. Nothing is changed: the
/// schema is left to the next start.
async fn server_of_database(address: &PostgresAddress, report: &mut Report) -> bool {
    let facts = match inspect_postgres(address).await {
        Ok(facts) => facts,
        Err(error) => {
            report.add(DATABASE, Outcome::Failed, error.to_string());
            return false;
        }
    };
    let version = facts.version.split(['.', ' ']).next().and_then(|major| major.parse::<u32>().ok());
    let (outcome, remedy) = match version {
        Some(version) if version < OLDEST_POSTGRESQL => {
            (Outcome::Failed, format!("; Keyfold needs {OLDEST_POSTGRESQL} or newer"))
        }
        _ => (Outcome::Ok, String::new()),
    };
    report.add(DATABASE, outcome, format!("{address} answers; version {}{remedy}", facts.version));
    encryption(&facts, report);
    connections(&facts, report);
    if facts.is_read_only {
        report.add(
            DATABASE,
            Outcome::Failed,
            "it takes no changes: it is a replica, or set read-only; name the primary in DATABASE_URL",
        );
    }
    clock(&facts, report);
    schema(&facts, report) && !facts.is_read_only
}

fn encryption(facts: &PostgresFacts, report: &mut Report) {
    let (outcome, detail) = match facts.encryption {
        Encryption::Required => {
            (Outcome::Ok, "the connection is encrypted (TLS), which DATABASE_URL insists on")
        }
        Encryption::Used => (
            Outcome::Warning,
            "the connection is encrypted (TLS), but would go on without; add sslmode=require to DATABASE_URL",
        ),
        Encryption::SameMachine => (Outcome::Ok, "the connection stays on this machine"),
        Encryption::None => (
            Outcome::Warning,
            "the connection is not encrypted; add sslmode=require to DATABASE_URL, unless nobody else is on that network",
        ),
    };
    report.add(DATABASE, outcome, detail);
}

fn connections(facts: &PostgresFacts, report: &mut Report) {
    let PostgresFacts { free_connections: free, wanted_connections: wanted, .. } = facts;
    if usize::try_from(*free).is_ok_and(|free| free >= *wanted) {
        report.add(
            DATABASE,
            Outcome::Ok,
            format!("{free} connections are free; one `serve` takes up to {wanted}"),
        );
    } else {
        report.add(
            DATABASE,
            Outcome::Warning,
            format!("{free} connections are free, and one `serve` takes up to {wanted}; end other programs' idle ones, or raise the limit"),
        );
    }
}

fn clock(facts: &PostgresFacts, report: &mut Report) {
    let skew = SystemClock.now().duration_since(facts.now);
    let seconds = skew.as_secs();
    if skew.abs() <= CLOCK_SKEW {
        report.add(CLOCK, Outcome::Ok, "goes with that of the database");
    } else {
        report.add(
            CLOCK,
            Outcome::Warning,
            format!("is {seconds} s ahead of the database's (less than 0: behind); tokens count by this clock, so let both follow a time server"),
        );
    }
}

fn schema(facts: &PostgresFacts, report: &mut Report) -> bool {
    let made_at_start = |what: String, report: &mut Report| {
        if facts.may_create_tables {
            report.add(DATABASE, Outcome::Ok, format!("{what}; the next `serve` does that"));
        } else {
            report.add(
                DATABASE,
                Outcome::Failed,
                format!("{what}, and the user in DATABASE_URL may not make tables; as its owner run GRANT CREATE ON SCHEMA public TO that user"),
            );
        }
    };
    match &facts.schema {
        Schema::Empty => made_at_start("there are no tables yet".into(), report),
        Schema::Older { found, known } => {
            made_at_start(format!("the tables have version {found} and must be brought to {known}"), report);
        }
        Schema::Current(version) => {
            report.add(DATABASE, Outcome::Ok, format!("the tables have version {version}, as this Keyfold knows them"));
            return true;
        }
        Schema::Ahead { found, known } => {
            report.add(
                DATABASE,
                Outcome::Ok,
                format!("the tables have version {found}, and this Keyfold knows versions up to {known}, but works on them as well; replace it by the newer one"),
            );
            return true;
        }
        Schema::Newer { found, known } => report.add(
            DATABASE,
            Outcome::Failed,
            format!("the tables have version {found}, and this Keyfold knows versions up to {known}; run a newer one"),
        ),
        Schema::PlainText { in_the_way } if in_the_way.is_empty() => made_at_start(
            "another program's keys lie there as plain text; Keyfold takes its tables over and leaves the keys readable for both, until `keyfold migrate encrypt`".into(),
            report,
        ),
        Schema::PlainText { in_the_way } => report.add(
            DATABASE,
            Outcome::Failed,
            format!("another program's tables with keys cannot be taken over as they are: {in_the_way}; put that right, or give Keyfold a database of its own with DATABASE_URL"),
        ),
        Schema::Foreign(table) => report.add(
            DATABASE,
            Outcome::Failed,
            format!("there is a table `{table}` that Keyfold did not make; give it a database of its own with DATABASE_URL"),
        ),
    }
    false
}

async fn token_issuer(issuer: &Issuer, mode: Mode, report: &mut Report) {
    let name = &issuer.issuer;
    let verifier = TokenVerifier::new(issuer, Arc::new(SystemClock), KeySetTimeouts::default());
    match verifier.refresh().await {
        Ok(count) => report.add(ISSUER, Outcome::Ok, format!("{name} answers; {count} of its keys can be used")),
        Err(why) => report.add(
            ISSUER,
            Outcome::Failed,
            format!("{name} gives no keys, so nobody can sign in: {why}; check its address and this machine's way there"),
        ),
    }
    if mode == Mode::Production && issuer.is_clerk_for_development() {
        report.add(
            ISSUER,
            Outcome::Warning,
            "this is a development instance of Clerk (pk_test_), in which anybody may sign up; use the key that begins with pk_live_",
        );
    }
}

/// "No API key found", "Wrong user's keys being used", in production.
async fn keys_of(keyfold: &Keyfold, settings: &Settings, user: &UserId, report: &mut Report) {
    match keyfold.users().standing(user).await {
        Ok(Standing::Active) => {}
        Ok(Standing::NeverHere) => {
            return report.add(
                NO_KEY,
                Outcome::Warning,
                format!("nobody of the id {user} was ever here; it is the `sub` of the user's token, and `keyfold users list` shows those there are"),
            );
        }
        Ok(Standing::Deleted(at)) => {
            return report.add(
                NO_KEY,
                Outcome::Warning,
                format!(
                    "{user} was deleted at {}; whoever signs in anew under this id begins anew",
                    at.strftime("%Y-%m-%d %H:%M UTC")
                ),
            );
        }
        Ok(Standing::Suspended(since)) => report.add(
            NO_KEY,
            Outcome::Warning,
            format!(
                "{user} is suspended since {}, and refused; `keyfold users resume {}` ends that",
                since.strftime("%Y-%m-%d %H:%M UTC"),
                for_the_shell(user.as_str())
            ),
        ),
        Err(error) => return report.add(NO_KEY, Outcome::Failed, error.cause()),
    }
    let records = match keyfold.users().keys_of(user).await.and_then(|keys| keys.list()) {
        Ok(records) => records,
        Err(error) => return report.add(NO_KEY, Outcome::Failed, error.cause()),
    };
    missing_keys(keyfold, settings, user, &records, report);
    for record in &records {
        let (outcome, detail) = describe(record, &user_option(settings.mode, user));
        report.add(NO_KEY, outcome, format!("{}: {detail}", record.provider));
    }
    let opened = records.iter().filter(|record| record.status != KeyStatus::Unreadable).count();
    report.add(
        WRONG_KEYS,
        Outcome::Ok,
        format!("{opened} of {} keys open, as keys of {user} and of nobody else", records.len()),
    );
}

/// "No API key found", "Wrong user's keys being used", in local mode.
async fn local_keys(keyfold: &Keyfold, settings: &Settings, asked: Option<&UserId>, report: &mut Report) {
    let user = UserId::local();
    if asked.is_some_and(|asked| *asked != user) {
        report.add(
            WRONG_KEYS,
            Outcome::Warning,
            "local mode has one set of keys, whoever asks: --user says nothing here",
        );
    }
    let records = match keyfold.user_api_keys(user.as_str()).await.and_then(|keys| keys.list()) {
        Ok(records) => records,
        Err(error) => return report.add(NO_KEY, Outcome::Failed, error.to_string()),
    };
    missing_keys(keyfold, settings, &user, &records, report);
    match keyfold.user_api_keys(user.as_str()).await.and_then(|keys| keys.not_read()) {
        Ok(unread) if unread.is_empty() => {}
        Ok(unread) => report.add(NO_KEY, Outcome::Warning, not_read(&unread)),
        Err(error) => report.add(NO_KEY, Outcome::Failed, error.to_string()),
    }
    for record in &records {
        let (outcome, detail) = describe(record, "");
        report.add(NO_KEY, outcome, format!("{}: {detail}", record.provider));
    }
    let overridden: Vec<&str> = records
        .iter()
        .filter(|record| record.source == KeySource::Environment)
        .map(|record| record.provider.as_str())
        .collect();
    if overridden.is_empty() {
        report.add(WRONG_KEYS, Outcome::Ok, "no variable of the process hides the keys in the .env file");
    } else {
        report.add(
            WRONG_KEYS,
            Outcome::Warning,
            format!("variables of the process are used and hide the .env file for: {}; unset them if that is not meant", overridden.join(", ")),
        );
    }
}

fn missing_keys(
    keyfold: &Keyfold,
    settings: &Settings,
    user: &UserId,
    records: &[KeyRecord],
    report: &mut Report,
) {
    let required = settings.preset.required_providers().iter().filter_map(|id| settings.registry.get(id));
    for provider in required.filter(|provider| !records.iter().any(|record| record.provider == provider.id)) {
        let command = set_command(keyfold, provider.id.as_str(), user);
        let or_by_hand = match settings.mode {
            Mode::Local => {
                format!(" or set {} in {}", provider.variable, settings.backend_env_file.display())
            }
            Mode::Production => ", or let the user enter it on the keys page".into(),
        };
        report.add(
            NO_KEY,
            Outcome::Warning,
            format!(
                "{}: there is none; run `{command}`{or_by_hand}; you get one at {}",
                provider.id, provider.setup_url
            ),
        );
    }
}

/// `option` is the ` --user ID` of the commands that are recommended.
fn describe(record: &KeyRecord, option: &str) -> (Outcome, String) {
    let KeyRecord { masked, provider, .. } = record;
    match record.status {
        KeyStatus::Valid => (Outcome::Ok, format!("{masked} is valid")),
        KeyStatus::Limited => (
            Outcome::Warning,
            format!("{masked} is live but limited; `keyfold keys validate {provider}{option}` says why"),
        ),
        KeyStatus::Rejected => (
            Outcome::Failed,
            format!("{masked} was refused by the provider; run `keyfold keys set {provider}{option}`"),
        ),
        KeyStatus::Unverified => (
            Outcome::Ok,
            format!("{masked} is there, not verified; `keyfold keys validate {provider}{option}` asks"),
        ),
        KeyStatus::Unreadable => {
            let what = match record.source {
                KeySource::Database => "what is stored does not open for this user",
                _ => "what is stored is no key",
            };
            (Outcome::Failed, format!("{what}; run `keyfold keys set {provider}{option}`"))
        }
    }
}
