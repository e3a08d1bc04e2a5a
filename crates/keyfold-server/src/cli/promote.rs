//! `keyfold promote --to URL --token-stdin`: a developer's local keys become their own keys in production.
//!
//! It is the one command that sends keys to an address that no registry names, so the person who runs it confirms
//! that address before the token or a key leaves.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Read, Write};
use std::time::Duration;

use clap::error::ErrorKind;
use keyfold::keys::{KeyRecord, KeyStatus};
use keyfold::mode::Mode;
use keyfold::provider::BaseAddress;
use keyfold::provider::other_keyfold::{OtherKeyfold, OtherKeyfoldError, OtherSaved, Patience};
use keyfold::secret::{ApiKey, MAX_KEY_BYTES, SERVICE_TOKEN_PREFIX};
use keyfold::settings::Sources;
use keyfold::user::LOCAL_USER;
use keyfold::{Keyfold, UserApiKeys};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::confirm::ask_at_terminal;
use super::keys::{open_with, set_command, wrong_usage};
use super::{Failure, Start, in_full, log_for_command, print, small_runtime};

/// A wait that is longer is left to the person.
const LONGEST_WAIT: Duration = Duration::from_secs(120);
/// How often one request waits.
const MOST_WAITS: u32 = 5;

#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(super) struct Arguments {
    /// The address of the Keyfold in production, such as `https://keys.example.com`
    #[arg(long, value_name = "URL")]
    to: String,
    /// Read your own token of that Keyfold from standard input; at a terminal it is asked for and not shown
    #[arg(long, required = true)]
    token_stdin: bool,
    /// Only the keys of these providers
    #[arg(long, value_name = "ID", num_args = 1..)]
    provider: Vec<String>,
    /// Take the place of other keys that you have there; without it they stay
    #[arg(long)]
    replace: bool,
    /// Only say what would be sent
    #[arg(long)]
    dry_run: bool,
    /// Do not ask whether the address is the right one
    #[arg(long)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn promote(start: Start, arguments: &Arguments) -> Result<(), Failure> {
    log_for_command(&start);
    let address = BaseAddress::parse(&arguments.to)
        .unwrap_or_else(|why| wrong_usage(ErrorKind::InvalidValue, &format!("the address in --to {why}")));
    small_runtime()?.block_on(async {
        let sources = Sources::load(start.environment, &start.dir)?;
        if sources.mode() == Mode::Production {
            return Err(Failure::new(
                "this is production, and promote takes keys of local mode: run it where you develop",
            ));
        }
        let keyfold = open_with(&sources).await?;
        let done = from(&keyfold, address, arguments).await;
        keyfold.close().await;
        done
    })
}

async fn from(keyfold: &Keyfold, address: BaseAddress, options: &Arguments) -> Result<(), Failure> {
    let keys = keyfold.user_api_keys(LOCAL_USER).await?;
    let records = chosen(keyfold, &keys, &options.provider)?;
    let token = read_token()?;
    let shown = address.to_string();
    let host = address.authority().to_owned();
    let other = OtherKeyfold::new(address, token, Patience::default())
        .map_err(|error| Failure::new(format!("{shown}: {error}")))?;
    let config = other
        .config()
        .await
        .map_err(|error| Failure::new(format!("Nothing was sent to {shown}: {error}.")))?;
    if config.mode != Mode::Production.as_str() {
        return Err(Failure::new(format!(
            "Nothing was sent: the Keyfold at {shown} is not in production, so keys there are not kept per user."
        )));
    }
    let what = match records.len() {
        1 => "local key".to_owned(),
        count => format!("{count} local keys"),
    };
    let question = format!("Send your {what}, and your token, to {host} ({shown})?");
    if !options.yes && !agreed(&question, "say --yes if that is the right address") {
        return Err(Failure::new("nothing was sent"));
    }
    let there = patiently(|| other.keys()).await.map_err(|error| refused_at_once(&shown, &error))?;
    let there = there.into_iter().map(|key| (key.provider, as_mask(&key.masked))).collect();
    let mut sending = Sending { keys: &keys, other: &other, there, options, rows: vec![], all_done: true };
    sending.all(keyfold, &records).await?;
    sending.end(&shown)
}

/// The keys to send: all there are, or those that were named.
fn chosen(keyfold: &Keyfold, keys: &UserApiKeys, named: &[String]) -> Result<Vec<KeyRecord>, Failure> {
    let mut records = keys.list()?;
    for id in named {
        let provider = keyfold.provider(id)?;
        if records.iter().all(|record| record.provider != provider.id) {
            return Err(Failure::new(format!("There is no {} key here.", provider.name)));
        }
    }
    records.retain(|record| named.is_empty() || named.iter().any(|id| id == record.provider.as_str()));
    if records.is_empty() {
        let command = set_command(keyfold, "gemini", keys.user());
        return Err(Failure::new(format!(
            "No API key found, so there is nothing to send. Save one with `{command}`."
        )));
    }
    Ok(records)
}

fn read_token() -> Result<ApiKey, Failure> {
    let stdin = io::stdin();
    let mut text = Zeroizing::new(String::new());
    if stdin.is_terminal() {
        *text = rpassword::prompt_password("Your token (not shown): ")?;
    } else {
        stdin.lock().take(MAX_KEY_BYTES as u64 + 16).read_to_string(&mut text)?;
    }
    let token = text.trim();
    let token = token.strip_prefix("Bearer ").unwrap_or(token).trim();
    if token.starts_with(SERVICE_TOKEN_PREFIX) {
        return Err(Failure::new(
            "that is a service token, which changes nobody's keys: give the token of your own session",
        ));
    }
    ApiKey::parse(token).map_err(|why| {
        Failure::new(format!(
            "Standard input holds no token: {why}. Give the token of your own session there."
        ))
    })
}

/// Asks at the terminal, for standard input has the token; ends with the status of wrong usage where there is none.
fn agreed(question: &str, remedy: &str) -> bool {
    ask_at_terminal(question).unwrap_or_else(|| {
        let words = format!("{question} Nobody is at a terminal to be asked: {remedy}");
        wrong_usage(ErrorKind::MissingRequiredArgument, &words)
    })
}

struct Sending<'a> {
    keys: &'a UserApiKeys,
    other: &'a OtherKeyfold,
    /// What the user has there, masked, by provider.
    there: BTreeMap<String, String>,
    options: &'a Arguments,
    rows: Vec<Value>,
    all_done: bool,
}

impl Sending<'_> {
    async fn all(&mut self, keyfold: &Keyfold, records: &[KeyRecord]) -> Result<(), Failure> {
        let mut may_replace = self.options.replace;
        let others: Vec<String> = records.iter().filter_map(|record| self.another(record)).collect();
        if !may_replace && !others.is_empty() && !self.options.dry_run && io::stderr().is_terminal() {
            let question = format!("Replace the keys that you have there: {}?", others.join(", "));
            may_replace = ask_at_terminal(&question).unwrap_or(false);
        }
        let mut stopped = false;
        for record in records {
            if stopped {
                self.row(record, "not_tried", "not tried", &[])?;
                continue;
            }
            stopped = !self.one(keyfold, record, may_replace).await?;
        }
        if stopped {
            writeln!(io::stderr(), "Stopped. What was sent stays; run the command again for the rest.")?;
        }
        Ok(())
    }

    /// `provider ****abcd` where the user has another key there. Keys are not compared, only their ends.
    fn another(&self, record: &KeyRecord) -> Option<String> {
        let there = self.there.get(record.provider.as_str())?;
        (*there != record.masked || there == "****").then(|| format!("{} {there}", record.provider))
    }

    /// Sends one key; whether it makes sense to go on.
    async fn one(
        &mut self,
        keyfold: &Keyfold,
        record: &KeyRecord,
        may_replace: bool,
    ) -> Result<bool, Failure> {
        if record.status == KeyStatus::Unreadable {
            self.row(record, "not_sent", "not sent: what stands here is no key", &[])?;
            return Ok(true);
        }
        let there = self.there.get(record.provider.as_str()).cloned();
        let is_another = self.another(record).is_some();
        if let Some(there) = there.as_ref().filter(|_| !may_replace) {
            if is_another && !self.options.dry_run {
                let words =
                    format!("not sent: you have another key there ({there}); --replace takes its place");
                self.row(record, "left", &words, &[])?;
                return Ok(true);
            }
            if !is_another {
                self.row(record, "there", "there already, by its last characters", &[])?;
                return Ok(true);
            }
        }
        let replaces = there.map(|there| format!("replaces {there}"));
        if self.options.dry_run {
            let (outcome, words) = match (&replaces, may_replace) {
                (None, _) => ("would_send", "would be sent, and checked there".to_owned()),
                (Some(replaces), true) => {
                    ("would_send", format!("would be sent, and checked there; {replaces}"))
                }
                (Some(replaces), false) => {
                    ("would_leave", format!("would be left out: with --replace it {replaces}"))
                }
            };
            self.row(record, outcome, &words, &[])?;
            return Ok(true);
        }
        let provider = keyfold.provider(record.provider.as_str())?;
        let key = match self.keys.open(&provider) {
            Ok(opened) => opened,
            Err(error) => {
                self.row(record, "not_sent", &format!("not sent: {}", in_full(&error)), &[])?;
                return Ok(true);
            }
        };
        let key = ApiKey::parse(key.expose())?;
        match patiently(|| self.other.save(&provider.id, &key)).await {
            Ok(OtherSaved { status, warnings }) => {
                let replaces = replaces.map(|replaces| format!("; {replaces}")).unwrap_or_default();
                self.row(record, "sent", &format!("sent: {status}{replaces}"), &warnings)?;
                Ok(true)
            }
            Err(error) => {
                self.row(record, "not_sent", &format!("not sent: {}", in_words(&error)), &[])?;
                Ok(is_about_the_key(&error))
            }
        }
    }

    fn row(
        &mut self,
        record: &KeyRecord,
        outcome: &str,
        words: &str,
        warnings: &[String],
    ) -> Result<(), Failure> {
        self.all_done &= ["sent", "there", "would_send"].contains(&outcome);
        let KeyRecord { provider, masked, .. } = record;
        if self.options.json {
            self.rows.push(json!({
                "provider": provider.as_str(),
                "masked": masked,
                "outcome": outcome,
                "detail": words,
                "warnings": warnings,
            }));
            return Ok(());
        }
        print(&format!("{:<14}{masked:<12}{words}", provider.as_str()))?;
        warnings.iter().try_for_each(|warning| print(&format!("{:<26}Note: {warning}", "")))
    }

    fn end(self, address: &str) -> Result<(), Failure> {
        let dry_run = self.options.dry_run;
        if self.options.json {
            print(&serde_json::to_string_pretty(
                &json!({ "ok": self.all_done, "to": address, "dry_run": dry_run, "keys": self.rows }),
            )?)?;
        } else if dry_run {
            print("No key was sent (--dry-run).")?;
        } else {
            print("Your local keys stay where they are.")?;
        }
        if self.all_done {
            return Ok(());
        }
        let tense = if dry_run { "would be" } else { "was" };
        Err(Failure::new(format!("not every key {tense} sent; see above")))
    }
}

/// Waits when it is asked to, a few times and not for long, and says so.
async fn patiently<T>(call: impl AsyncFn() -> Result<T, OtherKeyfoldError>) -> Result<T, OtherKeyfoldError> {
    let mut waits = 0;
    loop {
        match call().await {
            Err(OtherKeyfoldError::Refused { status: 429, retry_after: Some(seconds), .. })
                if waits < MOST_WAITS && Duration::from_secs(seconds) <= LONGEST_WAIT =>
            {
                // A terminal that went away is no reason to stop.
                let _ = writeln!(io::stderr(), "Too many requests there; going on in {seconds} s.");
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                waits += 1;
            }
            done => return done,
        }
    }
}

fn refused_at_once(address: &str, error: &OtherKeyfoldError) -> Failure {
    Failure::new(format!("No key was sent to {address}: {}", in_words(error)))
}

fn in_words(error: &OtherKeyfoldError) -> String {
    match error {
        OtherKeyfoldError::Refused { status: 401, detail, .. } => {
            format!("your token does not count there. {detail} Sign in there again and use the new token.")
        }
        OtherKeyfoldError::Refused { detail, .. } => detail.clone(),
        error => format!("{error}."),
    }
}

/// Whether the next key may fare better: the refusal is not about who asks or about the other Keyfold as a whole.
fn is_about_the_key(error: &OtherKeyfoldError) -> bool {
    let OtherKeyfoldError::Refused { code, .. } = error else { return false };
    ["invalid_key_format", "key_rejected", "unknown_provider", "conflict", "key_unreadable"]
        .contains(&code.as_str())
}

/// What another Keyfold says of a key's end, if it can be one.
fn as_mask(text: &str) -> String {
    let end = text.strip_prefix("****").unwrap_or_default();
    let is_end = end.len() <= 4 && end.bytes().all(|byte| byte.is_ascii_graphic());
    format!("****{}", if is_end { end } else { "" })
}
