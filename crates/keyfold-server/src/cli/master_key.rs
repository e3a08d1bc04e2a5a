//! `keyfold master-key …`

use std::io::{self, IsTerminal, Write};

use clap::Subcommand;
use keyfold::clock::SystemRandom;
use keyfold::envelope::MasterKey;
use keyfold::master_keys::{KeyStanding, MasterKeyStatus, Progress, Role, Rotation};
use keyfold::requester::{Actor, Requester};
use keyfold::settings::{DatabaseSetting, MasterKeySetting, Problems, Settings, Sources};
use keyfold::{Error, Keyfold, Parts, inspect_postgres};
use serde_json::json;
use tokio::runtime::Builder;

use super::keys::open;
use super::{Failure, Start, build_runtime, log_for_command, print, small_runtime};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print a new master key: 32 random bytes as base64, for `KEYFOLD_MASTER_KEY`
    Generate,
    /// Show what each master key still wraps, and which may be dropped
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Wrap everything anew under the master key of `KEYFOLD_MASTER_KEY`
    ///
    /// First add the new key to `KEYFOLD_OTHER_MASTER_KEYS` of every replica, then make it `KEYFOLD_MASTER_KEY` and
    /// the old one one of the others, then run this; users notice nothing. It may be interrupted at any point and
    /// run again. When `status` says that the old key may be dropped, leave it out.
    ///
    /// In local mode without `KEYFOLD_MASTER_KEY` it makes the new key itself and keeps the old file beside it,
    /// under a name with the date. Stop the server before.
    #[command(verbatim_doc_comment)]
    Rotate,
}

pub(super) fn master_key(start: Start, arguments: &Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Generate => print(&MasterKey::generate(&SystemRandom)?),
        Command::Status { json } => {
            log_for_command(&start);
            small_runtime()?.block_on(async {
                let keyfold = open(start.environment, &start.dir).await?;
                let status = keyfold.master_keys().status().await;
                keyfold.close().await;
                show(&status?, json)
            })
        }
        Command::Rotate => {
            log_for_command(&start);
            // While one batch is written the next one is sealed.
            build_runtime(Builder::new_multi_thread())?.block_on(rotate(start))
        }
    }
}

fn show(status: &MasterKeyStatus, as_json: bool) -> Result<(), Failure> {
    if as_json {
        let keys: Vec<_> = status
            .keys
            .iter()
            .map(|key| {
                json!({
                    "id": key.id.to_string(),
                    "role": role(key.role).replace(' ', "_"),
                    "keeper": key.keeper,
                    "data_keys": key.data_keys,
                    "root_secrets": key.root_secrets,
                    "put_aside": key.put_aside,
                    "may_be_dropped": key.may_be_dropped(),
                })
            })
            .collect();
        return print(
            &json!({ "keys": keys, "unreadable_data_keys": status.unreadable_data_keys }).to_string(),
        );
    }
    print(HEADING)?;
    for key in &status.keys {
        print(&line(key))?;
    }
    if status.unreadable_data_keys > 0 {
        print(&format!(
            "{} data keys name no master key: they are damaged, or a later Keyfold's.",
            status.unreadable_data_keys
        ))?;
    }
    let others = || status.keys.iter().filter(|key| key.role != Role::Primary);
    if !others().all(KeyStanding::may_be_dropped) {
        print(
            "Not everything is wrapped by the primary key yet. `keyfold master-key rotate` wraps it anew; until then the others are needed.",
        )?;
    }
    Ok(())
}

const HEADING: &str =
    "MASTER KEY        ROLE       DATA KEYS  ROOT SECRETS  PUT ASIDE  MAY BE DROPPED  KEPT BY";

fn line(key: &KeyStanding) -> String {
    format!(
        "{:<18}{:<11}{:<11}{:<14}{:<11}{:<16}{}",
        key.id.to_string(),
        role(key.role),
        key.data_keys,
        key.root_secrets,
        key.put_aside,
        if key.may_be_dropped() { "yes" } else { "no" },
        key.keeper.as_deref().unwrap_or("-")
    )
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Primary => "primary",
        Role::Other => "other",
        Role::NotGiven => "not given",
    }
}

async fn rotate(start: Start) -> Result<(), Failure> {
    let sources = Sources::load(start.environment, &start.dir)?;
    let mut problems = Problems::default();
    let settings = Settings::read(&sources, &mut problems);
    problems.into_result()?;
    let settings = settings.ok_or_else(|| Failure::new("settings are missing"))?.for_a_command();
    if let DatabaseSetting::Postgres(address) = &settings.database {
        // Opening waits for long for a database that does not answer.
        inspect_postgres(address).await?;
    }
    let makes_its_key = matches!(settings.master_key, MasterKeySetting::StateDirectory);
    let mut bar = Bar::default();
    let rotated = Keyfold::rotate_master_key(
        &settings,
        sources.process().clone(),
        Parts::default(),
        &Requester::new(Actor::Operator),
        &mut |progress| bar.draw(progress),
    )
    .await;
    bar.clear();
    match rotated {
        Ok(rotation) => tell(&rotation, makes_its_key),
        Err(error @ Error::StateDirectory(_)) if makes_its_key => Err(Failure::new(format!(
            "{error}\nA server that runs would not know the new key: stop it, rotate, and start it again."
        ))),
        Err(error) => {
            Err(Failure::from(error).and("What was wrapped anew stays so, and the rest is as it was. Put it right and run this again: it goes on where it stopped."))
        }
    }
}

fn tell(rotation: &Rotation, made_its_key: bool) -> Result<(), Failure> {
    let to = rotation.to;
    if rotation.data_keys + rotation.root_secrets + rotation.put_aside == 0 {
        print(&format!("Everything was wrapped by the master key {to} already."))?;
        if rotation.left == 0 && !made_its_key {
            print(
                "For a new one, set KEYFOLD_MASTER_KEY to it and add the present one to KEYFOLD_OTHER_MASTER_KEYS; see docs/master-key.md.",
            )?;
        }
    } else {
        let from = rotation.from.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        print(&format!(
            "Wrapped anew by the master key {to}: {}, {}; before: {from}.",
            count(rotation.data_keys, "data key"),
            count(rotation.root_secrets, "secret of the database's own"),
        ))?;
    }
    if let Some(file) = &rotation.replaced_file {
        print(&format!(
            "The new key is in place. The one before is kept as {}: move it to where you keep backups, or delete it once no backup needs it.",
            file.display()
        ))?;
    }
    if rotation.put_aside > 0 {
        print(&format!(
            "{} did not open and were put aside. Their users have new ones, and enter their keys again.",
            count(rotation.put_aside, "damaged data key")
        ))?;
    }
    if rotation.goes_on {
        return Err(Failure::new(
            "something still wraps new data keys with another master key. Make the new one KEYFOLD_MASTER_KEY of every replica, then run this again.",
        ));
    }
    if rotation.left > 0 {
        return Err(Failure::new(format!(
            "{} could not be opened with the given master keys and stay as they are. `keyfold master-key status` shows by which key they are wrapped: add that one to KEYFOLD_OTHER_MASTER_KEYS and run this again.",
            count(rotation.left, "data key or secret")
        )));
    }
    Ok(())
}

fn count(number: u64, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => match what.split_once(" of ") {
            Some((what, rest)) => format!("{number} {what}s of {rest}"),
            None => format!("{number} {what}s"),
        },
    }
}

/// A line that draws itself anew, for a person who watches.
struct Bar {
    is_watched: bool,
    /// What stands there, in hundredths.
    drawn: Option<u32>,
}

impl Default for Bar {
    fn default() -> Self {
        Self { is_watched: io::stderr().is_terminal(), drawn: None }
    }
}

impl Bar {
    const WIDTH: usize = 30;

    fn draw(&mut self, progress: Progress) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 100")]
        let percent = (progress.part * 100.0) as u32;
        if !self.is_watched || self.drawn == Some(percent) {
            return;
        }
        self.drawn = Some(percent);
        let full = percent as usize * Self::WIDTH / 100;
        let bar = "#".repeat(full.min(Self::WIDTH));
        // Whether it is seen is nobody's concern.
        let _ = write!(
            io::stderr(),
            "\r[{bar:<width$}] {percent:>3} %  {} data keys wrapped anew",
            progress.rewrapped,
            width = Self::WIDTH
        );
    }

    fn clear(&mut self) {
        if self.drawn.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
