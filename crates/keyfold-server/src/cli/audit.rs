//! `keyfold audit …`

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use keyfold::Keyfold;
use keyfold::audit::{AuditLog, CSV_HEADING, Entry, Heads, Report, Selection};
use keyfold::clock::{Clock, SystemClock};
use keyfold::user::UserId;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use super::keys::{open, parse_user};
use super::{Failure, Start, build_runtime, log_for_command, print};

/// Events that are read at once.
const PAGE: u32 = 1000;
/// How often new events are looked for.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);
/// How often a person is told how far the verification is.
const PROGRESS_EVERY: u64 = 20_000;
/// Warnings that are shown one by one.
const MOST_WARNINGS: usize = 20;

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check that no event was changed, removed, added or moved
    ///
    /// Ends with status 1 if something was found. An opened key whose call has no end (a process that was killed)
    /// is a warning only. Rows that were cut off at the end together with the record of how many there were are
    /// found only against heads from an earlier export: `--heads`.
    Verify {
        /// What `audit export` wrote earlier: its JSON lines, or the file of its `--heads`
        #[arg(long, value_name = "FILE")]
        heads: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the latest events, the newest last
    Tail {
        /// Go on showing what comes
        #[arg(long, short)]
        follow: bool,
        /// Only what concerns this user
        #[arg(long, value_name = "ID")]
        user: Option<String>,
        /// Print JSON, one event per line
        #[arg(long)]
        json: bool,
        /// How many
        #[arg(long, short = 'n', value_name = "NUMBER", default_value = "20")]
        lines: u32,
    },
    /// Write events to a file or standard output, in the order of their times
    Export {
        /// JSON lines, or CSV for a spreadsheet
        #[arg(long, value_enum, default_value = "json")]
        format: Format,
        /// Only what concerns this user
        #[arg(long, value_name = "ID")]
        user: Option<String>,
        /// From then on: a time such as 2026-01-31T00:00:00Z, or how long ago, such as 7d
        #[arg(long, value_name = "TIME", value_parser = parse_moment)]
        since: Option<Moment>,
        /// Before then
        #[arg(long, value_name = "TIME", value_parser = parse_moment)]
        until: Option<Moment>,
        /// The file; without it standard output
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Write the signed heads to this file, for `audit verify --heads`; JSON lines end with them anyway
        #[arg(long, value_name = "FILE")]
        heads: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Json,
    Csv,
}

/// A moment, or how long ago it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    At(Timestamp),
    Ago(SignedDuration),
}

impl Moment {
    fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Ago(time) => now.checked_sub(time).unwrap_or(Timestamp::MIN),
        }
    }
}

fn parse_moment(text: &str) -> Result<Moment, String> {
    const HELP: &str =
        "write a time such as 2026-01-31T00:00:00Z, or how long ago, such as 7d (s, m, h, d or w)";
    if let Ok(time) = text.parse() {
        return Ok(Moment::At(time));
    }
    let seconds = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        Some('w') => 604_800,
        _ => return Err(HELP.into()),
    };
    let number = &text[..text.len() - 1];
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number: Option<i64> = is_number.then(|| number.parse().ok()).flatten();
    let ago = number.and_then(|number| number.checked_mul(seconds)).ok_or(HELP)?;
    Ok(Moment::Ago(SignedDuration::from_secs(ago)))
}

pub(super) fn audit(start: Start, arguments: &Arguments) -> Result<(), Failure> {
    log_for_command(&start);
    // The next rows are read while the last ones are looked at.
    build_runtime(Builder::new_multi_thread())?.block_on(async {
        let keyfold = open(start.environment, &start.dir).await?;
        let done = run(&keyfold, &arguments.command).await;
        keyfold.close().await;
        done
    })
}

async fn run(keyfold: &Keyfold, command: &Command) -> Result<(), Failure> {
    let log = keyfold.audit_log();
    match command {
        Command::Verify { heads, json } => verify(&log, heads.as_deref(), *json).await,
        Command::Tail { follow, user, json, lines } => {
            let user = user.as_deref().map(parse_user).transpose()?;
            until_the_reader_goes(tail(&log, user, *lines, *follow, *json).await)
        }
        Command::Export { format, user, since, until, output, heads } => {
            let user = user.as_deref().map(parse_user).transpose()?;
            let now = SystemClock.now();
            let selection = Selection {
                user,
                since: since.map(|since| since.before(now)),
                until: until.map(|until| until.before(now)),
            };
            let out: Box<dyn Write> = match output {
                Some(path) => Box::new(create(path)?),
                None => Box::new(io::stdout().lock()),
            };
            let heads = heads.as_deref();
            until_the_reader_goes(export(&log, selection, *format, BufWriter::new(out), heads).await)
        }
    }
}

/// What stops a command that writes as it reads.
enum Stop {
    /// The reader went away (`| head`): no failure.
    NobodyReads,
    Failed(Failure),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::NobodyReads,
            _ => Self::Failed(error.into()),
        }
    }
}

impl From<keyfold::Error> for Stop {
    fn from(error: keyfold::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

fn until_the_reader_goes(done: Result<(), Stop>) -> Result<(), Failure> {
    match done {
        Ok(()) | Err(Stop::NobodyReads) => Ok(()),
        Err(Stop::Failed(failure)) => Err(failure),
    }
}

/// A private file: it says what people did.
fn create(path: &Path) -> Result<File, Failure> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| Failure::new(format!("{} cannot be written: {error}", path.display())))
}

async fn tail(
    log: &AuditLog,
    user: Option<UserId>,
    lines: u32,
    follow: bool,
    json: bool,
) -> Result<(), Stop> {
    let mut out = io::stdout().lock();
    let mut show = |entries: &[Entry]| {
        for entry in entries {
            if json {
                writeln!(out, "{}", entry.to_json())?;
            } else {
                writeln!(out, "{}", as_line(entry))?;
            }
        }
        out.flush()
    };
    // Before the first look, so that nothing falls between.
    let mut follower = if follow { Some(log.follow(user.clone()).await?) } else { None };
    let latest = log.latest(user.as_ref(), lines).await?;
    if let Some(follower) = &mut follower {
        follower.skip(&latest);
    }
    show(&latest)?;
    let Some(mut follower) = follower else { return Ok(()) };
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut ticks = tokio::time::interval(FOLLOW_EVERY);
    loop {
        tokio::select! {
            _ = ticks.tick() => show(&follower.new_entries().await?)?,
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            () = reader_gone() => return Ok(()),
        }
    }
}

/// Ready when nobody reads standard output any more. Otherwise a closed pipe is noticed with the next event only.
async fn reader_gone() {
    use rustix::event::{PollFd, PollFlags, poll};
    loop {
        let stdout = io::stdout();
        let mut look = [PollFd::new(&stdout, PollFlags::empty())];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        if poll(&mut look, Some(&now)).is_ok_and(|_| look[0].revents().contains(PollFlags::ERR)) {
            return;
        }
        tokio::time::sleep(FOLLOW_EVERY).await;
    }
}

async fn export(
    log: &AuditLog,
    selection: Selection,
    format: Format,
    mut out: impl Write,
    heads: Option<&Path>,
) -> Result<(), Stop> {
    if format == Format::Csv {
        out.write_all(CSV_HEADING.as_bytes())?;
    }
    let mut last = None;
    loop {
        let page = log.page(&selection, last, PAGE).await?;
        for entry in &page {
            match format {
                Format::Json => writeln!(out, "{}", entry.to_json())?,
                Format::Csv => out.write_all(entry.to_csv().as_bytes())?,
            }
        }
        match page.last() {
            Some(entry) if page.len() == PAGE as usize => last = Some(entry.place()),
            _ => break,
        }
    }
    let signed = log.heads().await?.to_json();
    if format == Format::Json {
        writeln!(out, "{signed}")?;
    }
    out.flush()?;
    if let Some(path) = heads {
        writeln!(create(path)?, "{signed}")?;
    }
    Ok(())
}

async fn verify(log: &AuditLog, heads: Option<&Path>, json: bool) -> Result<(), Failure> {
    let heads = heads.map(read_heads).transpose()?;
    let watched = io::stderr().is_terminal();
    let mut told = 0;
    let report = log
        .verify(heads.as_ref(), |checked| {
            if watched && checked >= told + PROGRESS_EVERY {
                told = checked;
                let _ = write!(io::stderr(), "\r{checked} events checked");
            }
        })
        .await;
    if told > 0 {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
    let report = report?;
    if json {
        print(&report.to_json())?;
    } else {
        tell(&report)?;
    }
    match report.findings.len() {
        0 => Ok(()),
        1 => Err(Failure::new("the audit log is not as Keyfold wrote it: 1 finding, see above")),
        many => {
            Err(Failure::new(format!("the audit log is not as Keyfold wrote it: {many} findings, see above")))
        }
    }
}

fn tell(report: &Report) -> Result<(), Failure> {
    for finding in &report.findings {
        print(&format!("FOUND    {finding}"))?;
    }
    if report.unlisted_findings > 0 {
        print(&format!("FOUND    {} more", report.unlisted_findings))?;
    }
    for warning in report.warnings.iter().take(MOST_WARNINGS) {
        print(&format!("warning  {warning}"))?;
    }
    if report.warnings.len() > MOST_WARNINGS || report.unlisted_warnings > 0 {
        let more =
            (report.warnings.len() as u64).saturating_sub(MOST_WARNINGS as u64) + report.unlisted_warnings;
        print(&format!("warning  {more} more of these"))?;
    }
    if report.calls_not_matched {
        print(
            "warning  which calls have no end was not looked at: too many begin in one chain and end in another",
        )?;
    }
    let counted = format!("{} events of {} writers", report.events, report.writers);
    if report.findings.is_empty() {
        print(&format!("{counted}: none was changed, removed, added or moved."))
    } else {
        print(&format!("{counted} were checked."))
    }
}

/// The heads that an earlier export wrote: the last ones in the file.
fn read_heads(path: &Path) -> Result<Heads, Failure> {
    let cannot = |error: io::Error| Failure::new(format!("{} cannot be read: {error}", path.display()));
    let mut found = None;
    for line in BufReader::new(File::open(path).map_err(cannot)?).lines() {
        let line = line.map_err(cannot)?;
        if line.starts_with("{\"heads\":") {
            found = Some(line);
        }
    }
    found.as_deref().and_then(Heads::from_json).ok_or_else(|| {
        Failure::new(format!(
            "{} has no heads: give a file that `keyfold audit export` wrote as JSON lines, or the one of its --heads",
            path.display()
        ))
    })
}

/// One event for people. What is long or may hold anything is last.
fn as_line(entry: &Entry) -> String {
    let mut line = format!(
        "{}  {:<18} {:<11} {:<12} {}",
        entry.at.strftime("%Y-%m-%d %H:%M:%S"),
        entry.action,
        entry.outcome,
        entry.provider.as_deref().unwrap_or("-"),
        entry.user_id.as_deref().unwrap_or("-"),
    );
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            line.push_str("  ");
            line.push_str(name);
            line.push('=');
            line.push_str(&value);
        }
    };
    add("by", (entry.actor != "user").then(|| entry.actor.clone()));
    add("version", entry.key_version.map(|version| version.to_string()));
    add("for", entry.purpose.clone());
    add("status", entry.provider_status.map(|status| status.to_string()));
    add("ms", entry.duration_ms.map(|milliseconds| milliseconds.to_string()));
    add("from", entry.address.clone());
    add("request", entry.request_id.clone());
    add("note", entry.note.clone());
    printable(&line)
}

/// What others wrote does nothing to a terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|each| if each.is_control() { each.escape_default().to_string() } else { each.to_string() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_times_or_how_long_ago() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2026-01-30T12:00:00Z", "2026-01-30T12:00:00Z"),
            ("2026-01-30T12:00:00+02:00", "2026-01-30T10:00:00Z"),
            ("7d", "2026-01-24T12:00:00Z"),
            ("2w", "2026-01-17T12:00:00Z"),
            ("36h", "2026-01-30T00:00:00Z"),
            ("90m", "2026-01-31T10:30:00Z"),
            ("30s", "2026-01-31T11:59:30Z"),
        ] {
            assert_eq!(parse_moment(text).unwrap().before(now).to_string(), expected, "{text}");
        }
        for text in
            ["", "d", "-7d", "7", "7y", "yesterday", "2026-01-30", "99999999999999999999d", "7 d", "１d"]
        {
            assert!(parse_moment(text).unwrap_err().contains("such as 7d"), "{text}");
        }
        assert_eq!(parse_moment("9999999999999d").unwrap().before(now), Timestamp::MIN);
    }
}
