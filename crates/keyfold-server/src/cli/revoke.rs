//! `keyfold keys revoke`: for the day on which a provider is breached.

use futures_util::StreamExt;
use futures_util::stream;
use keyfold::Keyfold;
use keyfold::mode::Mode;
use keyfold::provider::ProviderId;
use keyfold::user::UserId;

use super::confirm::{Progress, confirm};
use super::keys::parse_user;
use super::{Failure, print};

/// Users that are read at once.
const BATCH: u32 = 500;
/// Users whose keys are deleted at the same time; a server beside it keeps connections for itself.
const AT_ONCE: usize = 4;

#[derive(clap::Args)]
pub(super) struct Options {
    /// The provider's id
    #[arg(long, value_name = "ID")]
    provider: String,
    /// Only of this user; without it of all users
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Only say how many users have such a key; delete none
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
}

pub(super) async fn revoke(keyfold: &Keyfold, options: &Options) -> Result<(), Failure> {
    let user = options.user.as_deref().map(parse_user).transpose()?;
    let provider = known(keyfold, &options.provider).await?;
    if keyfold.mode() == Mode::Local {
        return in_local_mode(keyfold, &provider, user.as_ref(), options).await;
    }
    let users = keyfold.users();
    let count = match &user {
        Some(user) => u64::from(users.is_holder(&provider, user).await?),
        None => users.count_holders(&provider).await?,
    };
    let whose = user.as_ref().map_or_else(|| users_in_words(count), ToString::to_string);
    if count == 0 {
        return print(&match user {
            Some(user) => format!("{user} has no {provider} key here; nothing was to be done."),
            None => format!("Nobody has a {provider} key here; nothing was to be done."),
        });
    }
    if options.dry_run {
        return print(&format!(
            "The {provider} keys of {whose} would be deleted. Nothing was done (--dry-run)."
        ));
    }
    confirm(options.yes, &format!("Delete the {provider} keys, all versions of them, of {whose}?"))?;
    let done = match user {
        Some(user) => u64::from(users.revoke(&user, &provider).await?),
        None => of_all(keyfold, &provider, count).await?,
    };
    print(&format!(
        "Deleted the {provider} keys of {}. They go on being good at the provider until they are made invalid there.",
        users_in_words(done)
    ))
}

fn users_in_words(count: u64) -> String {
    if count == 1 { "1 user".into() } else { format!("{count} users") }
}

/// One transaction per user, so that nobody is held up for long. Stopped halfway, it is simply started again.
async fn of_all(keyfold: &Keyfold, provider: &ProviderId, count: u64) -> Result<u64, Failure> {
    let users = keyfold.users();
    let mut progress = Progress::new("users", Some(count));
    let (mut after, mut done) = (None, 0);
    loop {
        let batch = users.holders(provider, after.as_ref(), BATCH).await?;
        let Some(last) = batch.last().cloned() else { return Ok(done) };
        let mut work =
            stream::iter(&batch).map(|user| users.revoke(user, provider)).buffer_unordered(AT_ONCE);
        while let Some(revoked) = work.next().await {
            done += u64::from(revoked?);
            progress.show(done);
        }
        drop(work);
        after = Some(last);
    }
}

/// A provider of the registry, or one that was taken out of it and of which keys are still here.
async fn known(keyfold: &Keyfold, id: &str) -> Result<ProviderId, Failure> {
    match keyfold.provider(id) {
        Ok(provider) => Ok(provider.id.clone()),
        Err(unknown) => {
            let Ok(provider) = ProviderId::parse(id) else { return Err(unknown.into()) };
            if keyfold.users().count_holders(&provider).await? == 0 {
                return Err(unknown.into());
            }
            Ok(provider)
        }
    }
}

/// There it is the one user's key, in the `.env` file too.
async fn in_local_mode(
    keyfold: &Keyfold,
    provider: &ProviderId,
    user: Option<&UserId>,
    options: &Options,
) -> Result<(), Failure> {
    if user.is_some_and(|user| *user != UserId::local()) {
        return Err(Failure::new(
            "local mode has one set of keys, in the .env file, and one user: leave --user out",
        ));
    }
    let keys = keyfold.users().keys_of(&UserId::local()).await?;
    if keys.record(provider)?.is_none() {
        return print(&format!("There is no {provider} key here; nothing was to be done."));
    }
    if options.dry_run {
        return print(&format!("The {provider} key would be deleted. Nothing was done (--dry-run)."));
    }
    confirm(options.yes, &format!("Delete the {provider} key, all versions of it?"))?;
    keys.remove(&keyfold.provider(provider.as_str())?).await?;
    print(&format!("Deleted the {provider} key. Make it invalid at the provider too."))
}
