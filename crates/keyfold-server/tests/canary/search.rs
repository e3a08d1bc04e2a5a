//! Canaries, and looking for them.

use std::path::Path;

use data_encoding::{BASE64, HEXLOWER};
use keyfold_standin::example_key;
use memchr::memmem::Finder;

use crate::program::files_below;

/// What every canary sings, three times or more. Nothing else in the world has it, so a part of a key of twice
/// its length is found too.
pub(crate) const SONG: &str = "Zq7Canary";

/// The n-th key of a provider that sings. The stand-in accepts it; a marker in it makes it fail.
pub(crate) fn singing_key(provider: &str, n: u32, marker: &str) -> String {
    let usual = example_key(provider, 0);
    let beginning =
        ["AQ.", "sk-proj-", "sk-ant-api03-", "sk-or-v1-", "ck_pub_", "gsk_", "xai-", "tvly-", "pplx-"]
            .into_iter()
            .chain(["fc-", "tgp_v1_", "hf_", "sk-", "sk_"])
            .find(|beginning| usual.starts_with(beginning))
            .unwrap_or_default();
    format!("{beginning}{}{marker}{n:08x}", SONG.repeat(4))
}

/// Finds a song, and other secrets, in whatever spelling.
pub(crate) struct Search(Vec<(String, Finder<'static>)>);

impl Search {
    /// For the song.
    pub(crate) fn for_the_song() -> Self {
        let mut search = Self(vec![]);
        let song = SONG.as_bytes();
        let each = |of: &dyn Fn(u8) -> String| song.iter().map(|byte| of(*byte)).collect::<String>();
        search.add("plain text", song);
        search.add("lower case", SONG.to_lowercase().as_bytes());
        search.add("upper case", SONG.to_uppercase().as_bytes());
        search.add("backwards", &song.iter().rev().copied().collect::<Vec<_>>());
        search.add("hex", HEXLOWER.encode(song).as_bytes());
        search.add("upper-case hex", HEXLOWER.encode(song).to_uppercase().as_bytes());
        search.add("percent-encoding", each(&|byte| format!("%{byte:02x}")).as_bytes());
        search.add("upper-case percent-encoding", each(&|byte| format!("%{byte:02X}")).as_bytes());
        search.add("JSON escapes", each(&|byte| format!("\\u{byte:04x}")).as_bytes());
        search.add("octal escapes", each(&|byte| format!("\\{byte:03o}")).as_bytes());
        search.add("a list of bytes", format!("{song:?}").trim_matches(['[', ']']).as_bytes());
        search.add("UTF-16", &song.iter().flat_map(|byte| [*byte, 0]).collect::<Vec<_>>());
        // Base64 of the song at each of the three places where it can stand among what is encoded: it has three
        // times three letters, so the next song stands at the same one. No letter of it is one in which the two
        // alphabets differ.
        for turn in 0..3 {
            let mut turned = song.to_vec();
            turned.rotate_left(turn);
            search.add("base64", BASE64.encode(&turned).as_bytes());
        }
        search
    }

    /// Looks for this as well.
    pub(crate) fn add(&mut self, what: &str, pattern: &[u8]) {
        self.0.push((what.to_owned(), Finder::new(pattern).into_owned()));
    }

    /// Looks for a secret as it is, and in hex and base64.
    pub(crate) fn add_secret(&mut self, what: &str, secret: &str) {
        self.add(what, secret.as_bytes());
        self.add(&format!("{what}, in hex"), HEXLOWER.encode(secret.as_bytes()).as_bytes());
        let whole = secret.len() / 3 * 3;
        self.add(&format!("{what}, in base64"), BASE64.encode(&secret.as_bytes()[..whole]).as_bytes());
    }

    /// In what spellings something stands in this, and how often.
    pub(crate) fn found_in(&self, content: &[u8]) -> Vec<(String, usize)> {
        let count =
            |(what, finder): &(String, Finder<'static>)| (what.clone(), finder.find_iter(content).count());
        self.0.iter().map(count).filter(|(_, count)| *count > 0).collect()
    }

    /// What stands around the first of them, so that a failure tells where it comes from. It is test data.
    pub(crate) fn around_first(&self, content: &[u8]) -> String {
        let at = self.0.iter().filter_map(|(_, finder)| finder.find(content)).min().unwrap_or_default();
        content[at.saturating_sub(150)..content.len().min(at + 80)].escape_ascii().to_string()
    }

    /// The length of the longest of what is looked for.
    pub(crate) fn longest(&self) -> usize {
        self.0.iter().map(|(_, finder)| finder.needle().len()).max().unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn assert_absent(&self, place: &str, content: &[u8]) {
        let found = self.found_in(content);
        assert!(
            found.is_empty(),
            "a secret stands in {place}: {found:?}, first in {}",
            self.around_first(content)
        );
    }

    /// Searches every file below a folder, and returns how many bytes there were.
    #[track_caller]
    pub(crate) fn assert_absent_below(&self, dir: &Path) -> usize {
        let mut bytes = 0;
        for path in files_below(dir) {
            // A server at work removes files of its own.
            let Ok(content) = std::fs::read(&path) else { continue };
            self.assert_absent(&path.display().to_string(), &content);
            bytes += content.len();
        }
        bytes
    }
}

#[test]
fn every_spelling_is_found_and_part_of_a_key_too() {
    let search = Search::for_the_song();
    let key = singing_key("openai", 7, "");
    let bytes = key.as_bytes();
    let spellings = [
        key.clone(),
        key[14..34].to_owned(),
        key.to_uppercase(),
        key.chars().rev().collect(),
        HEXLOWER.encode(bytes),
        BASE64.encode(bytes),
        BASE64.encode(&bytes[1..]),
        BASE64.encode(&bytes[2..]),
        data_encoding::BASE64URL_NOPAD.encode(format!("{{\"key\":\"{key}\"}}").as_bytes()),
        bytes.iter().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat(),
        bytes.iter().map(|byte| format!("\\u{byte:04x}")).collect::<Vec<_>>().concat(),
        format!("{bytes:?}"),
        format!("{bytes:02x?}").replace(", ", "").replace(['[', ']'], ""),
    ];
    for spelling in spellings {
        assert!(!search.found_in(spelling.as_bytes()).is_empty(), "{spelling}");
    }
    assert!(search.found_in(&key.as_bytes()[..16]).is_empty());
    assert!(search.found_in(&key.as_bytes()[key.len() - 8..]).is_empty());
}
