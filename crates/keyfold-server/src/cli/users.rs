//! `keyfold users …`

use std::io::{self, BufWriter, Write};
use std::num::NonZeroU32;

use clap::Subcommand;
use jiff::Timestamp;
use keyfold::Keyfold;
use keyfold::mode::Mode;
use keyfold::user::UserId;
use keyfold::users::{Removal, Resumption, Suspension, UserSummary};
use serde_json::json;

use super::confirm::confirm;
use super::keys::{for_the_shell, open, parse_user};
use super::{Failure, Start, log_for_command, print, reconcile, small_runtime};

/// Users that are read at once.
const PAGE: u32 = 1000;

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the users: how many keys they have, how far they are, and who is suspended
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// At most so many; without it all
        #[arg(long, value_name = "NUMBER")]
        limit: Option<NonZeroU32>,
        /// Go on after this user
        #[arg(long, value_name = "ID")]
        after: Option<String>,
    },
    /// Keep a user from using Keyfold: every request is refused, keys stay
    ///
    /// Works also for a user who was never here: whoever comes under this id is refused. `keys` commands go on
    /// working, so that an operator can look after the keys; `run` does not.
    Suspend {
        /// The user's id, the `sub` of the token
        #[arg(value_name = "ID")]
        user: String,
    },
    /// Delete a user with all keys; it asks first
    ///
    /// Tokens that were issued before are refused from then on. Whoever signs in anew under this id begins
    /// anew: suspend the user too, to keep them out.
    Delete {
        /// The user's id
        #[arg(value_name = "ID")]
        user: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Delete users who are gone at Clerk
    ///
    /// Asks Clerk's backend API about each user, with `CLERK_SECRET_KEY`, and deletes those that Clerk no longer
    /// has: for messages of the webhook that never came. Nobody is deleted before Clerk has answered about
    /// everybody.
    Reconcile(reconcile::Options),
    /// Let a suspended user use Keyfold again
    Resume {
        /// The user's id
        #[arg(value_name = "ID")]
        user: String,
    },
}

pub(super) fn users(start: Start, arguments: &Arguments) -> Result<(), Failure> {
    log_for_command(&start);
    small_runtime()?.block_on(async {
        if let Command::Reconcile(options) = &arguments.command {
            return reconcile::reconcile(start, options).await;
        }
        let keyfold = open(start.environment, &start.dir).await?;
        let done = run(&keyfold, &arguments.command).await;
        keyfold.close().await;
        done
    })
}

async fn run(keyfold: &Keyfold, command: &Command) -> Result<(), Failure> {
    match command {
        Command::List { json, limit, after } => {
            list(keyfold, *json, limit.map(NonZeroU32::get), after.clone()).await
        }
        Command::Suspend { user } => suspend(keyfold, &parse_user(user)?).await,
        Command::Resume { user } => resume(keyfold, &parse_user(user)?).await,
        Command::Delete { user, yes } => delete(keyfold, &parse_user(user)?, *yes).await,
        // It opens Keyfold itself, after it looked at its own settings.
        Command::Reconcile(_) => Ok(()),
    }
}

/// Page by page, so that a million users need no more memory than a thousand.
async fn list(
    keyfold: &Keyfold,
    json: bool,
    limit: Option<u32>,
    mut after: Option<String>,
) -> Result<(), Failure> {
    let users = keyfold.users();
    let mut out = Listing { out: BufWriter::new(io::stdout().lock()), json, listed: 0 };
    let mut left = limit.unwrap_or(u32::MAX);
    let next = loop {
        let wanted = left.min(PAGE);
        // One more than is shown tells whether there are more.
        let mut page = users.page(after.as_deref(), wanted + 1).await?;
        let more = page.len() > wanted as usize;
        page.truncate(wanted as usize);
        let last = page.last().map(|user| user.user.clone());
        if !out.write(&page)? {
            return Ok(());
        }
        if limit.is_some() {
            left -= wanted;
        }
        match last {
            Some(last) if more && left == 0 => break Some(last),
            Some(last) if more => after = Some(last),
            _ => break None,
        }
    };
    out.end(next.as_deref())
}

struct Listing<W: Write> {
    out: BufWriter<W>,
    json: bool,
    listed: u64,
}

impl<W: Write> Listing<W> {
    /// False if the reader went away (`| head`): then nothing more is read.
    fn write(&mut self, page: &[UserSummary]) -> Result<bool, Failure> {
        match self.try_write(page) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            done => Ok(done.map(|()| true)?),
        }
    }

    fn try_write(&mut self, page: &[UserSummary]) -> io::Result<()> {
        for user in page {
            match (self.json, self.listed) {
                (true, 0) => write!(self.out, "{{\"users\":[\n{}", as_json(user))?,
                (true, _) => write!(self.out, ",\n{}", as_json(user))?,
                (false, 0) => write!(self.out, "{HEADING}\n{}\n", as_line(user))?,
                (false, _) => writeln!(self.out, "{}", as_line(user))?,
            }
            self.listed += 1;
        }
        self.out.flush()
    }

    fn end(mut self, next: Option<&str>) -> Result<(), Failure> {
        if self.json {
            let begin = if self.listed == 0 { "{\"users\":[" } else { "\n" };
            let end = format!("{begin}],\"next_after\":{}}}", json!(next));
            return match writeln!(self.out, "{end}").and_then(|()| self.out.flush()) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                done => Ok(done?),
            };
        }
        // The lock on standard output ends here.
        drop(self.out);
        if let Some(next) = next {
            writeln!(io::stderr(), "There are more: go on with --after {}", for_the_shell(&printable(next)))?;
        }
        if self.listed == 0 { print("Nobody.") } else { Ok(()) }
    }
}

/// The id is last: it may be long, and hold anything.
const HEADING: &str =
    "KEYS  VALID  LIMITED  REJECTED  UNVERIFIED  STARTED           COMPLETED         SUSPENDED         USER";

fn as_line(user: &UserSummary) -> String {
    let keys = &user.keys;
    format!(
        "{:<6}{:<7}{:<9}{:<10}{:<12}{:<18}{:<18}{:<18}{}",
        keys.total(),
        keys.valid,
        keys.limited,
        keys.rejected,
        keys.unverified,
        minute(user.started_at),
        minute(user.completed_at),
        minute(user.suspended_at),
        printable(&user.user)
    )
}

fn as_json(user: &UserSummary) -> String {
    let keys = &user.keys;
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
    json!({
        "user_id": user.user,
        "keys": {
            "total": keys.total(),
            "valid": keys.valid,
            "limited": keys.limited,
            "rejected": keys.rejected,
            "unverified": keys.unverified,
        },
        "started_at": time(user.started_at),
        "completed_at": time(user.completed_at),
        "suspended_at": time(user.suspended_at),
    })
    .to_string()
}

fn minute(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "-".into(), |time| time.strftime("%Y-%m-%d %H:%M").to_string())
}

/// Other programs may have written rows; their ids do nothing to a terminal.
fn printable(id: &str) -> String {
    id.chars()
        .map(|each| if each.is_control() { each.escape_default().to_string() } else { each.to_string() })
        .collect()
}

async fn suspend(keyfold: &Keyfold, user: &UserId) -> Result<(), Failure> {
    refuse_in_local_mode(keyfold)?;
    match keyfold.users().suspend(user).await? {
        Suspension::New => print(&format!("Suspended {user}. Requests of this user are refused; keys stay.")),
        Suspension::BeforeFirstVisit => print(&format!(
            "Suspended {user}, who was never here: whoever comes under this id is refused. Check the id if you expected somebody."
        )),
        Suspension::Already(since) => {
            print(&format!("{user} is suspended already, since {} UTC.", minute(Some(since))))
        }
    }
}

async fn resume(keyfold: &Keyfold, user: &UserId) -> Result<(), Failure> {
    refuse_in_local_mode(keyfold)?;
    match keyfold.users().resume(user).await? {
        Resumption::Resumed => print(&format!("{user} may use Keyfold again.")),
        Resumption::WasNotSuspended => print(&format!("{user} was not suspended.")),
    }
}

async fn delete(keyfold: &Keyfold, user: &UserId, yes: bool) -> Result<(), Failure> {
    confirm(yes, &format!("Delete {} with all keys?", printable(user.as_str())))?;
    match keyfold.users().delete(user).await? {
        Removal::Deleted => print(&format!(
            "Deleted {user}. Tokens from before are refused; whoever signs in anew begins anew."
        )),
        Removal::Already(at) => print(&format!("{user} was deleted already, at {} UTC.", minute(Some(at)))),
    }
}

fn refuse_in_local_mode(keyfold: &Keyfold) -> Result<(), Failure> {
    if keyfold.mode() == Mode::Production {
        return Ok(());
    }
    Err(Failure::new(
        "local mode has one user, who is at this machine: there is nobody to suspend. Stop `keyfold serve` instead, or set DEPLOY_ENV if you meant production",
    ))
}
