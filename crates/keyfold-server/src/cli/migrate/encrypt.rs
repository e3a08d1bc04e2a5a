//! `keyfold migrate encrypt`

use keyfold::Keyfold;
use keyfold::migration::{Encrypted, SetAside};
use keyfold::requester::{Actor, Requester};

use crate::cli::confirm::Progress;
use crate::cli::keys::open;
use crate::cli::{Failure, Start, log_for_command, print, small_runtime};

pub(super) fn encrypt(start: Start) -> Result<(), Failure> {
    log_for_command(&start);
    small_runtime()?.block_on(async {
        let keyfold = open(start.environment, &start.dir).await?;
        let is_postgres = keyfold.pool_state().is_some();
        let encrypted = run(&keyfold).await;
        keyfold.close().await;
        tell(&encrypted?, is_postgres)
    })
}

async fn run(keyfold: &Keyfold) -> Result<Encrypted, Failure> {
    let migration = keyfold.migration();
    let plain_text = migration.plain_text().await?;
    let mut bar = Progress::new("keys encrypted", Some(plain_text.keys));
    let encrypted =
        migration.encrypt(&Requester::new(Actor::Operator), &mut |progress| bar.show(progress.done)).await;
    drop(bar);
    encrypted.map_err(|error| {
        Failure::from(error).and("What was encrypted stays so, and the rest still counts as it is. Put it right and run this again: it goes on where it stopped.")
    })
}

fn tell(encrypted: &Encrypted, is_postgres: bool) -> Result<(), Failure> {
    if !encrypted.counted {
        return match encrypted.left {
            0 => print("There is no key in plain text here: nothing to do."),
            left => Err(Failure::new(format!(
                "plain text does not count in this database, and yet there is some ({}): another program wrote it, after everything was encrypted or without leave. Nothing was done. Their users enter those keys anew, in Keyfold; then stop that program.",
                count(left, "key")
            ))),
        };
    }
    print(&format!("Encrypted, opened again and compared: {}.", count(encrypted.keys, "key")))?;
    set_aside(encrypted)?;
    if encrypted.left > 0 {
        return Err(Failure::new(format!(
            "{} still plain text: something goes on writing it, or holds the rows. Plain text still counts. Stop the other program, then run this again.",
            are(encrypted.left, "key")
        )));
    }
    print(
        "No key is plain text any more, and from now on none counts: what another program writes there is refused as unreadable.",
    )?;
    print(if is_postgres {
        "What was plain text can still be found in backups, in the write-ahead log and its archive, on replicas, and in dead rows until they are vacuumed. Run `VACUUM FULL api_keys`, delete old backups, or have the keys replaced at their providers."
    } else {
        "What was plain text can still be found in backups and copies of the file. Keyfold overwrites what it replaces; for what other programs left, stop them and run VACUUM with SQLite's own command line."
    })
}

/// Keys that do not count are listed, without the keys.
fn set_aside(encrypted: &Encrypted) -> Result<(), Failure> {
    if encrypted.set_aside.is_empty() {
        return Ok(());
    }
    print(&match encrypted.set_aside_in_all {
        1 => "1 key does not count, because a newer one of the same user and provider does. It stays in the table, encrypted:".to_owned(),
        keys => format!("{keys} keys do not count, because newer ones of the same user and provider do. They stay in the table, encrypted:"),
    })?;
    list(&encrypted.set_aside)?;
    if encrypted.set_aside_in_all > encrypted.set_aside.len() as u64 {
        print("  and more; see duplicate_of in api_keys and onboarding_sessions")?;
    }
    Ok(())
}

pub(super) fn list(keys: &[SetAside]) -> Result<(), Failure> {
    for SetAside { id, user, provider, .. } in keys {
        print(&format!("  row {id} of api_keys: provider {provider:?}, user {user:?}"))?;
    }
    Ok(())
}

/// `1 key is`, `2 keys are`
pub(super) fn are(number: u64, what: &str) -> String {
    format!("{} {}", count(number, what), if number == 1 { "is" } else { "are" })
}

pub(super) fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
