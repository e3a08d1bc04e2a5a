//! `keyfold doctor`: every check by name, in the words of the troubleshooting guide, with what to do.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use keyfold::dotenv::EnvFile;
use keyfold::keys::{KeyRecord, KeySource, KeyStatus};
use keyfold::mode::Mode;
use keyfold::settings::{DatabaseSetting, Environment, Origin, Problems, Settings, Sources};
use keyfold::{Keyfold, Parts};
use rustix::fs::{Access, access};
use serde::Serialize;
use serde_json::json;

use super::{Failure, Start, log_for_command, print, small_runtime};
use crate::config::ServerConfig;

#[derive(clap::Args)]
pub(super) struct Arguments {
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
    let mut report = Report::default();
    small_runtime()?.block_on(examine(start.environment, &start.dir, &mut report));
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

async fn examine(environment: Environment, dir: &Path, report: &mut Report) {
    let sources = match Sources::load(environment, dir) {
        Ok(sources) => sources,
        Err(error) => return settings_failed(report, &error.0),
    };
    let decided_by = match sources.mode_origin() {
        Origin::Process => "DEBUG and DEPLOY_ENV of the process".into(),
        Origin::EnvFile => format!("DEBUG and DEPLOY_ENV in {}", sources.backend_env_file().display()),
        Origin::Default => "nothing sets DEBUG or DEPLOY_ENV".into(),
    };
    report.add("Mode", Outcome::Ok, format!("{} ({decided_by})", sources.mode().as_str()));
    let mut problems = Problems::default();
    let settings = Settings::read(&sources, &mut problems);
    ServerConfig::read(&sources, &mut problems);
    let Some(settings) = settings.filter(|_| problems.0.is_empty()) else {
        return settings_failed(report, &problems);
    };
    report.add("Settings", Outcome::Ok, "all are understood");
    if settings.mode == Mode::Local {
        env_files(&settings, report);
    }
    let keyfold = match Keyfold::open(&settings, sources.process().clone(), Parts::default()).await {
        Ok(keyfold) => keyfold,
        Err(error) => return report.add("Database and master key", Outcome::Failed, error.to_string()),
    };
    let place = match &settings.database {
        DatabaseSetting::Sqlite(path) => path.display().to_string(),
        DatabaseSetting::Postgres => "PostgreSQL".into(),
    };
    report.add("Database and master key", Outcome::Ok, format!("{place} opens with the given master key"));
    keys(&keyfold, &settings, report).await;
    keyfold.close().await;
}

fn settings_failed(report: &mut Report, problems: &Problems) {
    for problem in &problems.0 {
        report.add(
            "Settings",
            Outcome::Failed,
            format!("{} {} → {}", problem.variable, problem.what, problem.remedy),
        );
    }
}

/// "Keys not saving to .env"
fn env_files(settings: &Settings, report: &mut Report) {
    const NAME: &str = "Keys not saving to .env";
    for path in std::iter::once(&settings.backend_env_file).chain(&settings.frontend_env_file) {
        let shown = path.display();
        if let Err(error) = EnvFile::read(path) {
            report.add(NAME, Outcome::Failed, error.to_string());
            continue;
        }
        // A symbolic link stays, and the file that it leads to is replaced.
        let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        if let Some(folder) = path.parent().filter(|folder| access(*folder, Access::WRITE_OK).is_err()) {
            let folder = folder.display();
            report.add(
                NAME,
                Outcome::Failed,
                format!("nothing can be written in {folder}, where {shown} is changed by replacing it; make that folder, or make it writable for this user"),
            );
            continue;
        }
        let Ok(metadata) = std::fs::metadata(path) else {
            report.add(NAME, Outcome::Ok, format!("{shown} is not there yet; it is made with the first key"));
            continue;
        };
        if metadata.permissions().readonly() || access(path, Access::WRITE_OK).is_err() {
            report.add(
                NAME,
                Outcome::Failed,
                format!("{shown} is read-only; run `chmod u+w {shown}` as its owner"),
            );
        } else if metadata.permissions().mode() & 0o044 != 0 {
            report.add(
                NAME,
                Outcome::Warning,
                format!("{shown} can be read by other users of this machine; run `chmod 600 {shown}`"),
            );
        } else {
            report.add(NAME, Outcome::Ok, format!("{shown} can be read and written"));
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
        report.add(NAME, Outcome::Warning, "there is no frontend folder here: the CopilotKit key is not written for a front end (KEYFOLD_FRONTEND_ENV_FILE names one)");
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

/// "No API key found", "Wrong user's keys being used"
async fn keys(keyfold: &Keyfold, settings: &Settings, report: &mut Report) {
    const FOUND: &str = "No API key found";
    const WRONG: &str = "Wrong user's keys being used";
    let user = keyfold::user::LOCAL_USER;
    let records = match keyfold.user_api_keys(user).await.and_then(|keys| keys.list()) {
        Ok(records) => records,
        Err(error) => return report.add(FOUND, Outcome::Failed, error.to_string()),
    };
    for id in settings.preset.required_providers() {
        if !records.iter().any(|record| record.provider.as_str() == *id)
            && let Some(provider) = settings.registry.get(id)
        {
            report.add(
                FOUND,
                Outcome::Warning,
                format!(
                    "{id}: there is none; run `keyfold keys set {id}` or set {} in {}; you get one at {}",
                    provider.variable,
                    settings.backend_env_file.display(),
                    provider.setup_url
                ),
            );
        }
    }
    for record in &records {
        let (outcome, detail) = describe(record);
        report.add(FOUND, outcome, format!("{}: {detail}", record.provider));
    }
    let overridden: Vec<&str> = records
        .iter()
        .filter(|record| record.source == KeySource::Environment)
        .map(|record| record.provider.as_str())
        .collect();
    if overridden.is_empty() {
        report.add(WRONG, Outcome::Ok, "no variable of the process hides the keys in the .env file");
    } else {
        report.add(
            WRONG,
            Outcome::Warning,
            format!("variables of the process are used and hide the .env file for: {}; unset them if that is not meant", overridden.join(", ")),
        );
    }
}

fn describe(record: &KeyRecord) -> (Outcome, String) {
    let masked = &record.masked;
    match record.status {
        KeyStatus::Valid => (Outcome::Ok, format!("{masked} is valid")),
        KeyStatus::Limited => (
            Outcome::Warning,
            format!("{masked} is live but limited; `keyfold keys validate {}` says why", record.provider),
        ),
        KeyStatus::Rejected => (
            Outcome::Failed,
            format!("{masked} was refused by the provider; run `keyfold keys set {}`", record.provider),
        ),
        KeyStatus::Unverified => (
            Outcome::Ok,
            format!("{masked} is there, not verified; `keyfold keys validate {}` asks", record.provider),
        ),
        KeyStatus::Unreadable => {
            (Outcome::Failed, format!("what is stored is no key; run `keyfold keys set {}`", record.provider))
        }
    }
}
