//! `keyfold users reconcile`

use keyfold::Keyfold;
use keyfold::mode::Mode;
use keyfold::provider::clerk::ClerkApi;
use keyfold::settings::{Problems, Sources};
use keyfold::users::Gone;
use serde_json::json;

use super::confirm::Progress;
use super::keys::open_with;
use super::{Failure, Start, print};
use crate::config::read_clerk_api;

#[derive(clap::Args)]
pub(super) struct Options {
    /// Only say who is gone; delete nobody
    #[arg(long)]
    dry_run: bool,
    /// Also where more than a fifth of the users are gone
    #[arg(long)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Nobody is deleted before Clerk has answered about everybody: an error on the way leaves all as it was.
pub(super) async fn reconcile(start: Start, options: &Options) -> Result<(), Failure> {
    let sources = Sources::load(start.environment, &start.dir)?;
    if sources.mode() == Mode::Local {
        return Err(Failure::new(
            "local mode has one user, whom Clerk does not know: there is nobody to look for. Set DEPLOY_ENV if you meant production",
        ));
    }
    let mut problems = Problems::default();
    let clerk = read_clerk_api(&sources, &mut problems);
    problems.into_result()?;
    let clerk = clerk.ok_or_else(|| {
        Failure::new(
            "CLERK_SECRET_KEY is not set: copy it from the Clerk dashboard under “API keys”, of the instance that your users sign in to",
        )
    })?;
    let keyfold = open_with(&sources).await?;
    let done = run(&keyfold, &clerk, options).await;
    keyfold.close().await;
    done
}

async fn run(keyfold: &Keyfold, clerk: &ClerkApi, options: &Options) -> Result<(), Failure> {
    let users = keyfold.users();
    let mut progress = Progress::new("users asked about", None);
    let gone = users.gone(clerk, |asked| progress.show(asked)).await?;
    drop(progress);
    if gone.are_suspiciously_many() && !options.yes && !options.dry_run {
        return Err(Failure::new(format!(
            "{} of {} users are gone at Clerk, more than a fifth. Is CLERK_SECRET_KEY that of the instance that they sign in to? Nobody was deleted. Look with --dry-run, and say --yes if it is right",
            gone.users.len(),
            gone.asked
        )));
    }
    let mut deleted = 0;
    if !options.dry_run {
        let mut progress = Progress::new("users deleted", Some(gone.users.len() as u64));
        for user in &gone.users {
            users.delete_gone(user).await?;
            deleted += 1;
            progress.show(deleted);
        }
    }
    report(&gone, deleted, options)
}

fn report(gone: &Gone, deleted: u64, options: &Options) -> Result<(), Failure> {
    if options.json {
        let ids: Vec<&str> = gone.users.iter().map(keyfold::user::UserId::as_str).collect();
        let report = json!({
            "asked": gone.asked,
            "skipped": gone.skipped,
            "gone": ids,
            "deleted": deleted,
            "dry_run": options.dry_run,
        });
        return print(&serde_json::to_string_pretty(&report)?);
    }
    for user in &gone.users {
        print(user.as_str())?;
    }
    let skipped = match gone.skipped {
        0 => String::new(),
        skipped => format!(" {skipped} have ids that are not Clerk's, and were left alone."),
    };
    let done = if options.dry_run { "nobody was deleted (--dry-run)" } else { "all of them were deleted" };
    match gone.users.len() {
        0 => print(&format!("Nobody of {} users is gone at Clerk.{skipped}", gone.asked)),
        count => print(&format!("{count} of {} users are gone at Clerk; {done}.{skipped}", gone.asked)),
    }
}
