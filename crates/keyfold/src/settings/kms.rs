//! The address of a key of AWS KMS.

use std::fmt;

use super::Problems;

/// A key of AWS KMS, by its ARN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KmsKey {
    arn: String,
    region: String,
}

impl KmsKey {
    /// Reads `arn:aws:kms:REGION:ACCOUNT:key/ID`. An alias is refused: it can be pointed at another key.
    pub fn parse(arn: &str) -> Option<Self> {
        let parts: Vec<&str> = arn.split(':').collect();
        let ["arn", partition, "kms", region, account, resource] = parts[..] else { return None };
        let is_word = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        let is_key = resource.strip_prefix("key/").is_some_and(is_word) && arn.len() <= 200;
        (partition.starts_with("aws") && is_word(partition) && is_word(region) && is_account && is_key)
            .then(|| Self { arn: arn.to_owned(), region: region.to_owned() })
    }

    /// All of it.
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// Where it is.
    pub fn region(&self) -> &str {
        &self.region
    }
}

impl fmt::Display for KmsKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.arn)
    }
}

/// Reads what stands behind `awskms:`. What is not understood is not shown: it may be a secret in the wrong place.
pub(super) fn read(name: &str, arn: &str, problems: &mut Problems) -> Option<KmsKey> {
    if !cfg!(feature = "kms") {
        problems.add(
            name,
            "names a key of AWS KMS, which this build of Keyfold cannot use",
            "give the key itself, or file:PATH; or use a build with the feature `kms`, which releases have",
        );
        return None;
    }
    let key = KmsKey::parse(arn.trim());
    if key.is_none() {
        problems.add(
            name,
            "names a key of AWS KMS by something that is not the ARN of a key",
            "write awskms:arn:aws:kms:REGION:ACCOUNT:key/ID, as `aws kms describe-key` shows it; an alias is not enough, since it can be pointed at another key",
        );
    }
    key
}
