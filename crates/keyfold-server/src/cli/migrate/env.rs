//! `keyfold migrate env FILE`: a shared `.env` becomes one user's keys.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use keyfold::env_import::{Candidate, EnvImport, Outcome, Place, Repeated, remove_from_file};
use keyfold::mode::Mode;
use keyfold::settings::Sources;
use keyfold::user::{LOCAL_USER, UserId};
use keyfold::users::Standing;
use keyfold::{Error, Keyfold};
use serde_json::{Value, json};

use crate::cli::keys::{User, open_with};
use crate::cli::{Failure, Start, in_full, log_for_command, print, small_runtime};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The `.env` file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    user: User,
    /// Only say what would be done: no provider is asked, and neither the file nor a key is changed
    #[arg(long)]
    dry_run: bool,
    /// Take the lines of the keys that are now safely stored out of the file, which is kept as it was beside it
    #[arg(long, conflicts_with = "dry_run")]
    remove: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn env(start: Start, arguments: &Arguments) -> Result<(), Failure> {
    log_for_command(&start);
    small_runtime()?.block_on(async {
        let file = start.dir.join(&arguments.file);
        let sources = Sources::load(start.environment, &start.dir)?;
        let user = arguments.user.in_mode(sources.mode())?;
        if sources.mode() == Mode::Local && user.as_str() != LOCAL_USER {
            return Err(Failure::new(
                "local mode has one set of keys, in the .env file, and one user: leave --user out",
            ));
        }
        let keyfold = open_with(&sources).await?;
        let done = import(&keyfold, &user, &file, arguments).await;
        keyfold.close().await;
        done
    })
}

async fn import(keyfold: &Keyfold, user: &UserId, file: &Path, options: &Arguments) -> Result<(), Failure> {
    let import = EnvImport::read(keyfold.registry(), file)?;
    let keys = keyfold.users().keys_of(user).await?;
    let is_own = keys.are_kept_in(file);
    if is_own && options.remove {
        return Err(Failure::new(format!(
            "{} is a .env file that local mode itself keeps keys in: without its lines they would be gone. Leave --remove out",
            file.display()
        )));
    }
    let mut report = Report { options, rows: vec![], notes: vec![], counts: BTreeMap::new(), all_done: true };
    if is_own {
        report.note(format!(
            "{} is the very .env that local mode uses: its keys count already.",
            file.display()
        ))?;
    }
    if keyfold.mode() == Mode::Production && keyfold.users().standing(user).await? == Standing::NeverHere {
        report
            .note(format!("Nobody of the id {user} was ever here: it is the `sub` of the user's tokens."))?;
    }
    for candidate in &import.candidates {
        let outcome = if options.dry_run {
            candidate.look(keyfold.registry(), &keys)
        } else {
            candidate.save(&keys).await
        };
        let goes_on = outcome.as_ref().err().is_none_or(is_about_the_key);
        report.candidate(candidate, &outcome)?;
        if !goes_on {
            report.note("Stopped here; what was saved stays, and the command can be run again.".into())?;
            break;
        }
    }
    for unusable in &import.unusable {
        report.unusable(unusable.provider.id.as_str(), &unusable.places, &unusable.why)?;
    }
    report.doubtful(&import)?;
    report.unknown(&import)?;
    if options.remove {
        let now = keyfold.users().keys_of(user).await?;
        report.remove(file, &import, |candidate| candidate.is_stored(&now))?;
    }
    report.end(user, file)
}

/// Whether the next key may fare better.
fn is_about_the_key(error: &Error) -> bool {
    matches!(
        error,
        Error::KeyRejectedOnSaving { .. } | Error::InvalidKeyFormat { .. } | Error::Conflict { .. }
    )
}

struct Report<'a> {
    options: &'a Arguments,
    rows: Vec<Value>,
    notes: Vec<String>,
    /// How many keys became what, in words.
    counts: BTreeMap<&'static str, usize>,
    all_done: bool,
}

impl Report<'_> {
    fn candidate(&mut self, candidate: &Candidate, outcome: &Result<Outcome, Error>) -> Result<(), Failure> {
        let (word, detail, warnings) = match outcome {
            Ok(Outcome::WouldSave) => ("would_save", "would be checked and saved".to_owned(), vec![]),
            Ok(Outcome::WouldReplace { masked }) => {
                let own = masked.as_deref().unwrap_or("a key that does not open");
                ("would_replace", format!("would be checked and would replace {own}"), vec![])
            }
            Ok(Outcome::Unchanged) => ("unchanged", "unchanged: the user has it already".into(), vec![]),
            Ok(Outcome::Saved(saved)) => {
                let (word, verb) =
                    if saved.is_new { ("saved", "saved") } else { ("replaced", "replaced the old one") };
                let warnings = saved.warnings.iter().map(ToString::to_string).collect();
                (word, format!("{verb}: {}", saved.record.status.as_str()), warnings)
            }
            Err(error) => {
                self.all_done = false;
                let cause = if is_about_the_key(error) { error.to_string() } else { in_full(error) };
                let word = if self.options.dry_run { "would_not_save" } else { "not_saved" };
                (word, cause, vec![])
            }
        };
        let Candidate { provider, places, masked, .. } = candidate;
        self.row(provider.id.as_str(), places, Some(masked), word, &detail, &warnings)
    }

    fn unusable(&mut self, provider: &str, places: &[Place], why: &str) -> Result<(), Failure> {
        self.all_done = false;
        self.row(provider, places, None, "not_guessed", &format!("left alone: {why}"), &[])
    }

    fn row(
        &mut self,
        provider: &str,
        places: &[Place],
        masked: Option<&String>,
        outcome: &'static str,
        detail: &str,
        warnings: &[String],
    ) -> Result<(), Failure> {
        *self.counts.entry(outcome).or_default() += 1;
        if self.options.json {
            self.rows.push(json!({
                "provider": provider,
                "variables": places.iter().map(|place| &place.variable).collect::<Vec<_>>(),
                "lines": places.iter().map(|place| place.line).collect::<Vec<_>>(),
                "masked": masked,
                "outcome": outcome,
                "detail": detail,
                "warnings": warnings,
            }));
            return Ok(());
        }
        let masked = masked.map_or("", String::as_str);
        print(&format!("{provider:<14}{masked:<10}{}  {detail}", in_words(places)))?;
        warnings.iter().try_for_each(|warning| print(&format!("{:<24}Note: {warning}", "")))
    }

    fn unknown(&mut self, import: &EnvImport) -> Result<(), Failure> {
        for unknown in &import.unknown {
            let what = match &unknown.name {
                Some(name) => format!("{name} (line {})", unknown.line),
                None => format!("Line {}", unknown.line),
            };
            self.note(format!(
                "{what} looks like a key, and is no variable of a provider that Keyfold knows: left alone."
            ))?;
        }
        if import.others.is_empty() {
            return Ok(());
        }
        self.note(format!("No provider's variables, and left alone: {}.", import.others.join(", ")))
    }

    /// Lines that give a provider's variable another value than the one that counts, or none.
    fn doubtful(&mut self, import: &EnvImport) -> Result<(), Failure> {
        for Repeated { variable, lines, are_same, .. } in &import.repeated {
            let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
            let how = if *are_same { "with the same value" } else { "with different values" };
            self.note(format!(
                "{variable} stands in the lines {} {how}: the last one counts, as for all who read the file.",
                lines.join(", ")
            ))?;
        }
        if import.empty.is_empty() {
            return Ok(());
        }
        self.note(format!("No key, but nothing or a placeholder: {}.", in_words(&import.empty)))
    }

    fn remove(
        &mut self,
        file: &Path,
        import: &EnvImport,
        is_stored: impl Fn(&Candidate) -> Result<bool, Error>,
    ) -> Result<(), Failure> {
        let mut stored = vec![];
        for candidate in &import.candidates {
            if is_stored(candidate)? {
                stored.push(candidate);
            }
        }
        let removed = remove_from_file(file, &stored)?;
        if !removed.kept.is_empty() {
            self.note(format!(
                "{} stays in the file: another line, or a change meanwhile, gives another value.",
                in_words(&removed.kept)
            ))?;
        }
        match &removed.backup {
            None => self.note("No line was taken out of the file.".into()),
            Some(backup) => self.note(format!(
                "Taken out of the file: {}. The file as it was is {}: remove it when all works, for it holds the keys.",
                removed.variables.join(", "),
                backup.display()
            )),
        }
    }

    fn note(&mut self, text: String) -> Result<(), Failure> {
        if self.options.json {
            self.notes.push(text);
            return Ok(());
        }
        print(&text)
    }

    fn end(mut self, user: &UserId, file: &Path) -> Result<(), Failure> {
        let counts: Vec<String> = self
            .counts
            .iter()
            .map(|(outcome, count)| format!("{count} {}", outcome.replace('_', " ")))
            .collect();
        let file = file.file_name().unwrap_or(file.as_os_str()).display();
        self.note(if counts.is_empty() {
            format!("There is no key of a provider that Keyfold knows in {file}.")
        } else {
            format!("Keys in {file}: {}.", counts.join(", "))
        })?;
        if self.options.dry_run {
            self.note("Nothing was done (--dry-run).".into())?;
        }
        if self.options.json {
            print(&serde_json::to_string_pretty(&json!({
                "ok": self.all_done,
                "user": user.as_str(),
                "dry_run": self.options.dry_run,
                "keys": self.rows,
                "notes": self.notes,
            }))?)?;
        }
        if self.all_done { Ok(()) } else { Err(Failure::new("not every key could be taken; see above")) }
    }
}

fn in_words(places: &[Place]) -> String {
    let words: Vec<String> =
        places.iter().map(|place| format!("{} (line {})", place.variable, place.line)).collect();
    words.join(", ")
}
