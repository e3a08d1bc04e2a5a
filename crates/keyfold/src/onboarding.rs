//! Onboarding: the steps, and how far a user got. Everything shown is derived from the steps' own state.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::auth::AuthenticatedUser;
use crate::envelope::{DataKey, Purpose};
use crate::error::Error;
use crate::keys::{AskedBy, CheckedKey, KeyStatus, Keys, UserApiKeys, Warning};
use crate::provider::ProviderId;
use crate::provider::key_shape;
use crate::requester::Requester;
use crate::secret::ApiKey;
use crate::storage::sessions::Session;
use crate::storage::steps::StepRow;
use crate::storage::{self, Connection, Transaction};
use crate::user::UserId;

pub use crate::preset::{Preset, StepDefinition};

/// The step in which keys are entered.
pub const KEYS_STEP: u32 = 1;

/// The state of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepStatus {
    /// Not there yet.
    Pending,
    /// The step that the user is at.
    InProgress,
    /// Done.
    Completed,
    /// Passed over.
    Skipped,
}

impl StepStatus {
    /// The word in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Skipped => "skipped",
        }
    }

    fn is_settled(self) -> bool {
        matches!(self, Self::Completed | Self::Skipped)
    }
}

/// A step with its state.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Counts from 1.
    pub number: u32,
    /// What it is.
    pub definition: StepDefinition,
    /// How it stands.
    pub status: StepStatus,
    /// When it was completed or skipped.
    pub completed_at: Option<Timestamp>,
    /// What it was told; never a key.
    pub data: Option<Value>,
}

/// How far a user got.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// The session's number in the database.
    pub session_id: i64,
    /// When onboarding began.
    pub started_at: Timestamp,
    /// When anything last changed.
    pub last_updated: Timestamp,
    /// When it was completed.
    pub completed_at: Option<Timestamp>,
    /// All steps in order.
    pub steps: Vec<Step>,
}

impl Progress {
    /// Whether onboarding is over.
    pub fn is_completed(&self) -> bool {
        self.completed_at.is_some()
    }

    /// The first step that is neither completed nor skipped.
    pub fn next_step(&self) -> Option<u32> {
        self.steps.iter().find(|step| !step.status.is_settled()).map(|step| step.number)
    }

    /// The step that the user is at; the last one at the end.
    pub fn current_step(&self) -> u32 {
        self.next_step().unwrap_or(self.last())
    }

    /// How much is behind the user, 0 to 100.
    pub fn percentage(&self) -> f64 {
        let settled = self.steps.iter().filter(|step| step.status.is_settled()).count();
        let settled = f64::from(u32::try_from(settled).unwrap_or(u32::MAX));
        (settled * 10_000.0 / f64::from(self.last().max(1))).round() / 100.0
    }

    /// Whether only the last step is missing.
    pub fn can_proceed_to_final(&self) -> bool {
        self.open_required_before(self.last()).is_empty()
    }

    /// The titles of required steps before `number` that are neither completed nor skipped.
    pub fn open_required_before(&self, number: u32) -> Vec<String> {
        self.steps
            .iter()
            .filter(|step| step.number < number && step.definition.required && !step.status.is_settled())
            .map(|step| format!("{} ({})", step.number, step.definition.title))
            .collect()
    }

    fn last(&self) -> u32 {
        u32::try_from(self.steps.len()).unwrap_or(u32::MAX)
    }
}

/// One user's onboarding.
pub struct Onboarding {
    keys: Arc<Keys>,
    preset: Preset,
    user: UserId,
    asked_by: AskedBy,
    requester: Requester,
}

impl Onboarding {
    pub(crate) fn new(keys: Arc<Keys>, preset: Preset, user: &AuthenticatedUser) -> Self {
        let (asked_by, requester) = (AskedBy::token_of(user), user.requester().clone());
        Self { keys, preset, user: user.user().clone(), asked_by, requester }
    }

    /// How far the user got; a user who was never here begins now.
    pub async fn progress(&self) -> Result<Progress, Error> {
        self.session().await?;
        self.load(&self.keys.database).await
    }

    /// A step by its number.
    pub async fn step(&self, number: u32) -> Result<Step, Error> {
        let progress = self.progress().await?;
        progress.steps.into_iter().find(|step| step.number == number).ok_or_else(|| self.no_step(number))
    }

    /// Begins anew unless it was begun already.
    pub async fn start(&self) -> Result<Progress, Error> {
        self.progress().await
    }

    /// Begins anew; keys stay.
    pub async fn reset(&self) -> Result<Progress, Error> {
        let transaction = self.keys.database.begin().await?;
        self.take_turn(&transaction).await?;
        storage::steps::clear(&transaction, &self.user).await?;
        storage::sessions::restart(&transaction, &self.user, self.keys.clock.now()).await?;
        transaction.commit().await?;
        self.progress().await
    }

    /// Completes a step. The first one takes keys as `data.api_keys`, or none if they were saved before.
    pub async fn complete_step(
        &self,
        number: u32,
        data: Option<Value>,
    ) -> Result<(Step, Vec<Warning>), Error> {
        self.known(number)?;
        let mut warnings = vec![];
        let kept = if number == KEYS_STEP {
            let (kept, told) = self.take_keys(data).await?;
            warnings = told;
            Some(kept)
        } else {
            data.filter(|data| !data.is_null()).map(|data| self.without_keys(data))
        };
        self.settle(number, StepStatus::Completed, kept).await?;
        Ok((self.step(number).await?, warnings))
    }

    /// Passes over an optional step.
    pub async fn skip_step(&self, number: u32) -> Result<(), Error> {
        let definition = self.known(number)?;
        if definition.required {
            return Err(Error::InvalidRequest {
                field: "step".into(),
                why: format!(
                    "{number} ({}) is required and cannot be skipped; complete it instead",
                    definition.title
                ),
            });
        }
        self.settle(number, StepStatus::Skipped, None).await
    }

    /// Ends onboarding. The last step completes with it, and open optional steps count as skipped.
    pub async fn complete(&self) -> Result<Progress, Error> {
        let progress = self.progress().await?;
        let last = self.preset.total_steps();
        let open = progress.open_required_before(last);
        if !open.is_empty() {
            return Err(Error::InvalidRequest {
                field: "steps".into(),
                why: format!("are not complete yet: finish step {} first", open.join(", step ")),
            });
        }
        self.require_usable_keys(&self.present_keys().await?, "api_keys", &[])?;
        let now = self.keys.clock.now();
        let transaction = self.keys.database.begin().await?;
        let session = self.take_turn(&transaction).await?;
        let progress = self.load(&transaction).await?;
        self.take_over_steps(&transaction, &session).await?;
        for step in progress.steps.iter().filter(|step| !step.status.is_settled()) {
            let status = if step.number == last { StepStatus::Completed } else { StepStatus::Skipped };
            let row = StepRow {
                step_number: i64::from(step.number),
                status: status.as_str().into(),
                data: None,
                completed_at: Some(now),
            };
            storage::steps::set(&transaction, &self.user, self.preset.as_str(), &row).await?;
        }
        let completed_at = progress.completed_at.unwrap_or(now);
        self.store_progress(&transaction, Some(completed_at), now).await?;
        transaction.commit().await?;
        self.progress().await
    }

    /// Providers whose keys are required and not there, or unreadable.
    pub fn missing_keys(&self, keys: &UserApiKeys) -> Result<Vec<ProviderId>, Error> {
        self.required_without(keys, |status| status != KeyStatus::Unreadable)
    }

    /// Onboarding is not complete while a required key is missing, or is known not to work.
    fn require_usable_keys(
        &self,
        keys: &UserApiKeys,
        field: &str,
        given: &[CheckedKey],
    ) -> Result<(), Error> {
        let usable = |status| !matches!(status, KeyStatus::Unreadable | KeyStatus::Rejected);
        let mut wanting = self.required_without(keys, usable)?;
        wanting.retain(|id| !given.iter().any(|given| given.provider() == id));
        if wanting.is_empty() {
            return Ok(());
        }
        let names = wanting.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        Err(Error::InvalidRequest {
            field: field.into(),
            why: format!("lacks keys that are required and work: {names}; save them first"),
        })
    }

    fn required_without(
        &self,
        keys: &UserApiKeys,
        counts: impl Fn(KeyStatus) -> bool,
    ) -> Result<Vec<ProviderId>, Error> {
        let there: Vec<ProviderId> = keys
            .list()?
            .into_iter()
            .filter(|record| counts(record.status))
            .map(|record| record.provider)
            .collect();
        let required = self.preset.required_providers().iter().filter_map(|id| self.keys.registry.get(id));
        Ok(required.map(|provider| provider.id.clone()).filter(|id| !there.contains(id)).collect())
    }

    /// Checks all given keys first and saves them only if none is wrong.
    async fn take_keys(&self, data: Option<Value>) -> Result<(Value, Vec<Warning>), Error> {
        let mut given = vec![];
        for (provider, text) in given_keys(data)? {
            let provider = self.keys.provider(&provider)?;
            let key = ApiKey::parse(&text).map_err(|why| Error::InvalidKeyFormat {
                provider: provider.id.clone(),
                name: provider.name.clone(),
                why: why.to_string(),
            })?;
            given.push((provider, key));
        }
        let mut keys = self.present_keys().await?;
        let mut checked: Vec<CheckedKey> = vec![];
        for (provider, key) in given {
            checked.push(keys.check_before_saving(&provider, key).await?);
        }
        self.require_usable_keys(&keys, "data.api_keys", &checked)?;
        let mut warnings = vec![];
        for key in checked {
            warnings.extend(keys.store(key).await?.warnings);
            keys = self.present_keys().await?;
        }
        let configured: Vec<String> = keys.list()?.iter().map(|record| record.provider.to_string()).collect();
        Ok((json!({ "providers": configured }), warnings))
    }

    /// What a host application keeps in a step never holds a key: members of that name, and texts that can be
    /// nothing else, are left out.
    fn without_keys(&self, data: Value) -> Value {
        const NAMES: [&str; 4] = ["api_key", "api_keys", "apikey", "apikeys"];
        match data {
            Value::Object(members) => members
                .into_iter()
                .filter(|(name, _)| !NAMES.contains(&name.to_ascii_lowercase().replace('-', "_").as_str()))
                .map(|(name, value)| (name, self.without_keys(value)))
                .collect(),
            Value::Array(values) => values.into_iter().map(|value| self.without_keys(value)).collect(),
            Value::String(text) if key_shape::is_somebodys_key(&self.keys.registry, &text) => Value::Null,
            other => other,
        }
    }

    async fn settle(&self, number: u32, status: StepStatus, data: Option<Value>) -> Result<(), Error> {
        let now = self.keys.clock.now();
        let transaction = self.keys.database.begin().await?;
        let session = self.take_turn(&transaction).await?;
        let data = data.map(|data| self.seal(&session, number, &data)).transpose()?;
        // Read in the transaction: the whole may have been completed meanwhile.
        let completed_at = self.load(&transaction).await?.completed_at;
        self.take_over_steps(&transaction, &session).await?;
        let row = StepRow {
            step_number: i64::from(number),
            status: status.as_str().into(),
            data,
            completed_at: Some(now),
        };
        storage::steps::set(&transaction, &self.user, self.preset.as_str(), &row).await?;
        self.store_progress(&transaction, completed_at, now).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Makes steps of what another program's row says, before Keyfold writes that row: of every preset, so that another
    /// one may be chosen later. The caller has the user's turn.
    async fn take_over_steps(&self, transaction: &Transaction, session: &Session) -> Result<(), Error> {
        if storage::steps::any(transaction, &self.user).await? {
            return Ok(());
        }
        for preset in Preset::ALL {
            for number in 1..=settled_by_row(session, preset) {
                let row = StepRow {
                    step_number: i64::from(number),
                    status: StepStatus::Completed.as_str().into(),
                    data: None,
                    completed_at: Some(session.updated_at),
                };
                storage::steps::set(transaction, &self.user, preset.as_str(), &row).await?;
            }
        }
        Ok(())
    }

    async fn store_progress(
        &self,
        transaction: &Transaction,
        completed_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let progress = self.load(transaction).await?;
        let current = i64::from(progress.current_step());
        storage::sessions::set_progress(
            transaction,
            &self.user,
            current,
            progress.percentage(),
            completed_at,
            now,
        )
        .await?;
        Ok(())
    }

    async fn session(&self) -> Result<Session, Error> {
        if let Some(session) = storage::sessions::find(&self.keys.database, &self.user).await? {
            self.keys.admit_to(&session, self.asked_by)?;
            return Ok(session);
        }
        let transaction = self.keys.database.begin().await?;
        let session = self.take_turn(&transaction).await?;
        transaction.commit().await?;
        Ok(session)
    }

    /// The user's session; other changes of this user wait from here on.
    async fn take_turn(&self, transaction: &Transaction) -> Result<Session, Error> {
        self.keys.take_turn_asked_by(transaction, &self.user, self.asked_by).await
    }

    async fn present_keys(&self) -> Result<UserApiKeys, Error> {
        let keys = self.keys.of_to_change_asked_by(&self.user, self.asked_by).await?;
        Ok(keys.asked_for(&self.requester))
    }

    async fn load(&self, connection: &impl Connection) -> Result<Progress, Error> {
        let session = storage::sessions::find(connection, &self.user)
            .await?
            .ok_or_else(|| Error::Internal("a user's session vanished".into()))?;
        let rows = storage::steps::load(connection, &self.user, self.preset.as_str()).await?;
        // The row of a session that Keyfold never led through a step was written by another program, or is new.
        let is_anothers = rows.is_empty() && !storage::steps::any(connection, &self.user).await?;
        let settled = if is_anothers { settled_by_row(&session, self.preset) } else { 0 };
        let ended = (is_anothers && settled == self.preset.total_steps()).then_some(session.updated_at);
        let mut at_current = true;
        let steps = self.preset.steps().iter().zip(1_u32..).map(|(definition, number)| {
            let row = rows.iter().find(|row| row.step_number == i64::from(number));
            let status = match row.map(|row| row.status.as_str()) {
                Some("completed") => StepStatus::Completed,
                Some("skipped") => StepStatus::Skipped,
                _ if number <= settled => StepStatus::Completed,
                _ if std::mem::take(&mut at_current) => StepStatus::InProgress,
                _ => StepStatus::Pending,
            };
            Step {
                number,
                definition: *definition,
                status,
                completed_at: row
                    .and_then(|row| row.completed_at)
                    .or_else(|| (number <= settled).then_some(session.updated_at)),
                data: row
                    .and_then(|row| row.data.as_deref())
                    .and_then(|data| self.open(&session, number, data)),
            }
        });
        Ok(Progress {
            session_id: session.id,
            started_at: session.started_at,
            last_updated: session.updated_at,
            completed_at: session.completed_at.or(ended),
            steps: steps.collect(),
        })
    }

    fn seal(&self, session: &Session, number: u32, data: &Value) -> Result<String, Error> {
        let data_key = self.data_key(session)?;
        let sealed = data_key.seal(&*self.keys.random, &self.purpose(number), data.to_string().as_bytes())?;
        Ok(sealed.to_string())
    }

    /// What does not open is not shown; the step itself still counts.
    fn open(&self, session: &Session, number: u32, data: &str) -> Option<Value> {
        let opened = self.data_key(session).ok()?.open(&self.purpose(number), &data.parse().ok()?).ok()?;
        serde_json::from_slice(&opened).ok()
    }

    fn data_key(&self, session: &Session) -> Result<DataKey, Error> {
        Ok(DataKey::unwrap(&self.keys.ring, &self.user, &session.data_key.parse()?)?)
    }

    fn purpose(&self, number: u32) -> Purpose<'_> {
        Purpose::StepData { user: &self.user, preset: self.preset.as_str(), step: i64::from(number) }
    }

    fn known(&self, number: u32) -> Result<&'static StepDefinition, Error> {
        let index = usize::try_from(number).unwrap_or(usize::MAX).wrapping_sub(1);
        self.preset.steps().get(index).ok_or_else(|| self.no_step(number))
    }

    fn no_step(&self, number: u32) -> Error {
        Error::NotFound(format!(
            "There is no step {number}; the steps are 1 to {}.",
            self.preset.total_steps()
        ))
    }
}

/// How many steps are behind the user by the row of a program that keeps no steps: by its progress, or those before the
/// current step if that is more. The current one may be the last one that was completed or the next one; only all of the
/// progress, or a time, says that the last step was completed.
fn settled_by_row(session: &Session, preset: Preset) -> u32 {
    /// One percent: such programs round, and 33 is two steps of six.
    const ROUNDING: i64 = 100;
    let total = i64::from(preset.total_steps());
    let settled = if session.completed_at.is_some() {
        total
    } else {
        let by_progress = (session.progress + ROUNDING) * total / 10_000;
        by_progress.max(session.current_step.saturating_sub(1).min(total - 1)).clamp(0, total)
    };
    u32::try_from(settled).unwrap_or(0)
}

/// The texts in `data.api_keys` by provider, each to be wiped when it is dropped.
fn given_keys(data: Option<Value>) -> Result<BTreeMap<String, Zeroizing<String>>, Error> {
    let wrong = |field: &str, why: &str| Error::InvalidRequest { field: field.into(), why: why.into() };
    let Some(Value::Object(mut data)) =
        data.filter(|data| !data.is_null()).or(Some(Value::Object(Map::new())))
    else {
        return Err(wrong("data", "must be an object"));
    };
    let Some(given) = data.remove("api_keys").filter(|given| !given.is_null()) else {
        return Ok(BTreeMap::new());
    };
    let Value::Object(given) = given else {
        return Err(wrong("data.api_keys", "must be an object from provider to key"));
    };
    let mut keys = BTreeMap::new();
    for (provider, value) in given {
        let Value::String(text) = value else {
            return Err(wrong("data.api_keys", "must hold the keys as texts"));
        };
        let text = Zeroizing::new(text);
        // An empty field of a form is no key.
        if !text.trim().is_empty() {
            keys.insert(provider, text);
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(preset: Preset, settled: &[u32]) -> Progress {
        let steps = preset.steps().iter().zip(1..).map(|(definition, number)| Step {
            number,
            definition: *definition,
            status: if settled.contains(&number) { StepStatus::Completed } else { StepStatus::Pending },
            completed_at: None,
            data: None,
        });
        Progress {
            session_id: 1,
            started_at: Timestamp::UNIX_EPOCH,
            last_updated: Timestamp::UNIX_EPOCH,
            completed_at: None,
            steps: steps.collect(),
        }
    }

    #[test]
    fn where_a_user_stands_follows_from_the_steps() {
        type Case = (Preset, &'static [u32], u32, Option<u32>, f64, bool);
        let cases: [Case; 6] = [
            (Preset::Keyfold, &[], 1, Some(1), 0.0, false),
            (Preset::Keyfold, &[1], 2, Some(2), 33.33, true),
            (Preset::Keyfold, &[1, 2], 3, Some(3), 66.67, true),
            (Preset::Keyfold, &[1, 2, 3], 3, None, 100.0, true),
            (Preset::Alwrity, &[1, 2], 3, Some(3), 33.33, false),
            (Preset::Alwrity, &[1, 2, 3], 4, Some(4), 50.0, true),
        ];
        for (preset, settled, current, next, percentage, can_finish) in cases {
            let progress = progress(preset, settled);
            assert_eq!(progress.current_step(), current, "{preset:?} {settled:?}");
            assert_eq!(progress.next_step(), next, "{preset:?} {settled:?}");
            assert!((progress.percentage() - percentage).abs() < 0.001, "{preset:?} {settled:?}");
            assert_eq!(progress.can_proceed_to_final(), can_finish, "{preset:?} {settled:?}");
        }
    }
}
