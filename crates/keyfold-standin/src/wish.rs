//! What a request's own text asks for: programs in other processes cannot script the stand-in.

use crate::key::{MARKERS, Standing};

/// How much of a body is looked at.
const LOOKED_AT: usize = 4096;
const BEGINNING: &[u8] = b"standin:";

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish<'b> {
    /// No answer.
    Slow,
    /// An answer that breaks off.
    Cut,
    /// As if the key had that marker.
    Refusal(Standing),
    /// 429 for the first requests with these words, then the usual answer.
    Flaky {
        times: u32,
        words: &'b str,
    },
    Unknown,
}

/// What the body asks for, if it has `standin:` near its beginning.
pub(crate) fn wish(body: &[u8]) -> Option<Wish<'_>> {
    let body = &body[..body.len().min(LOOKED_AT)];
    let at = body.windows(BEGINNING.len()).position(|window| window == BEGINNING)? + BEGINNING.len();
    let rest = &body[at..];
    let end = rest.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'-');
    let words = str::from_utf8(&rest[..end.unwrap_or(rest.len())]).unwrap_or_default();
    Some(match words {
        "slow" => Wish::Slow,
        "cut" => Wish::Cut,
        _ => {
            let refusal = MARKERS.iter().find(|(marker, _)| *marker == words);
            let flaky = words.strip_prefix("flaky-").and_then(|rest| rest.split('-').next()?.parse().ok());
            match (refusal, flaky) {
                (Some((_, standing)), _) => Wish::Refusal(*standing),
                (None, Some(times)) => Wish::Flaky { times, words },
                (None, None) => Wish::Unknown,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_stands_anywhere_near_the_beginning() {
        assert_eq!(wish(b"{}"), None);
        assert_eq!(wish(br#"{"q":"please standin:slow"}"#), Some(Wish::Slow));
        assert_eq!(wish(b"standin:cut"), Some(Wish::Cut));
        assert_eq!(wish(b"standin:QUOTA, or not"), Some(Wish::Refusal(Standing::Quota)));
        let flaky = Wish::Flaky { times: 2, words: "flaky-2-openai-async" };
        assert_eq!(wish(br#"["standin:flaky-2-openai-async"]"#), Some(flaky));
        for unknown in ["standin:", "standin:slowly", "standin:flaky-x", "standin:quota"] {
            assert_eq!(wish(unknown.as_bytes()), Some(Wish::Unknown), "{unknown}");
        }
        let late = [&[b' '; LOOKED_AT][..], b"standin:cut"].concat();
        assert_eq!(wish(&late), None);
    }
}
