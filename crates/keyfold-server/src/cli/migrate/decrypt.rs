//! `keyfold migrate decrypt`

use clap::error::ErrorKind;
use keyfold::Keyfold;
use keyfold::migration::Decrypted;
use keyfold::requester::{Actor, Requester};

use super::encrypt::{are, count, list};
use crate::cli::confirm::Progress;
use crate::cli::keys::{open, wrong_usage};
use crate::cli::{Failure, Start, log_for_command, print, small_runtime};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Say that all keys are to lie in the database as plain text
    #[arg(long)]
    yes_i_mean_it: bool,
}

const MEANING: &str = "this writes every user's keys into the database as plain text: whoever reads the database, a \
                       backup or a replica has them all, and can write others in their place. It is for leaving \
                       Keyfold. If that is what you want, say --yes-i-mean-it";

pub(super) fn decrypt(start: Start, arguments: &Arguments) -> Result<(), Failure> {
    if !arguments.yes_i_mean_it {
        wrong_usage(ErrorKind::MissingRequiredArgument, MEANING);
    }
    log_for_command(&start);
    small_runtime()?.block_on(async {
        let keyfold = open(start.environment, &start.dir).await?;
        let decrypted = run(&keyfold).await;
        keyfold.close().await;
        tell(&decrypted?)
    })
}

async fn run(keyfold: &Keyfold) -> Result<Decrypted, Failure> {
    let mut bar = Progress::new("keys decrypted", None);
    let decrypted = keyfold
        .migration()
        .decrypt(&Requester::new(Actor::Operator), &mut |progress| bar.show(progress.done))
        .await;
    drop(bar);
    decrypted.map_err(|error| {
        Failure::from(error).and("What was decrypted stays so, and counts; the rest is as it was. Put it right and run this again: it goes on where it stopped.")
    })
}

fn tell(decrypted: &Decrypted) -> Result<(), Failure> {
    if !decrypted.unreadable.is_empty() {
        print("These keys do not open:")?;
        list(&decrypted.unreadable)?;
        return Err(Failure::new(
            "nothing was changed, because keys would be lost. Give the master key that they are sealed with in KEYFOLD_OTHER_MASTER_KEYS, or remove them (`keyfold keys remove`), then run this again.",
        ));
    }
    print(&format!(
        "Turned to plain text: {}. Plain text counts in this database from now on.",
        count(decrypted.keys, "key")
    ))?;
    if decrypted.left > 0 {
        return Err(Failure::new(format!(
            "{} sealed still: a server goes on sealing, or something holds the rows. Stop Keyfold's servers, then run this again.",
            are(decrypted.left, "key")
        )));
    }
    print(
        "Whatever Keyfold saves from now on it seals, as always: stop its servers first if another program is to read the keys. `keyfold migrate encrypt` takes all this back; to remove what Keyfold added to the tables, see \"Leave again\" in docs/migration.md.",
    )
}
