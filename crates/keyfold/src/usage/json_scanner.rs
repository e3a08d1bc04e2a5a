//! Finds token counts and the model's name in JSON that comes in pieces, without building it.
//!
//! Only members at the documented places count. The texts of an answer are passed over as strings, so what stands
//! in them cannot pass for a count. What is no JSON gives nothing, or something wrong; never a failure.

use memchr::memchr2;

use super::TokenCounts;
use super::model_name::model_name;

/// The longest name of a member or model that is kept when a piece ends in it, in bytes as they are spelled.
const LONGEST_HELD: usize = 1300;
/// The objects that can be open at once at wanted places.
const DEEPEST: usize = 4;

/// An object that holds something wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The answer itself, or one event of it.
    Answer,
    /// What has a model and counts of its own: Anthropic's `message`, the `response` of OpenAI's responses.
    Inner,
    /// What has counts: Cohere's `delta`, Groq's `x_groq`.
    Around,
    /// The counts of most.
    Usage,
    /// The counts of Gemini.
    UsageMetadata,
    /// Cohere's two further ways to count.
    CohereTokens,
    CohereBilled,
    /// Cohere's older place for both of them.
    CohereMeta,
}

/// What the member that was named last stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    Unwanted,
    Model,
    Count(Slot),
    Object(Place),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Input,
    Output,
    Thoughts,
    TokensInput,
    TokensOutput,
    BilledInput,
    BilledOutput,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between the parts of a wanted object, or outside all.
    Between,
    /// Inside something unwanted.
    PassingOver,
    /// In a string of no interest, which belongs to either of the two above.
    Text,
    /// In the name of a member of a wanted object.
    Name,
    /// In the name of the model.
    Model,
    /// In a count, with its digits so far.
    Number(u64),
}

/// The counts of one document, as found.
#[derive(Debug, Clone, Copy, Default)]
struct Found([Option<u64>; 7]);

/// Reads one JSON document after the other.
#[derive(Debug)]
pub(super) struct JsonScanner {
    state: State,
    /// The wanted objects that are open.
    places: [Place; DEEPEST],
    open: usize,
    /// Brackets that are open in what is passed over.
    passed_over: u64,
    /// The document is a list of answers.
    is_list: bool,
    /// A value is due.
    after_colon: bool,
    /// The last byte was a backslash in a string.
    escaped: bool,
    member: Member,
    /// The beginning of a string that the piece before ended in.
    held: Vec<u8>,
    found: Found,
    counts: TokenCounts,
}

impl JsonScanner {
    pub(super) fn new() -> Self {
        Self {
            state: State::Between,
            places: [Place::Answer; DEEPEST],
            open: 0,
            passed_over: 0,
            is_list: false,
            after_colon: false,
            escaped: false,
            member: Member::Unwanted,
            held: Vec::new(),
            found: Found::default(),
            counts: TokenCounts::default(),
        }
    }

    pub(super) fn read(&mut self, bytes: &[u8]) {
        let mut at = 0;
        while at < bytes.len() {
            at = match self.state {
                State::Between => self.between(bytes, at),
                State::PassingOver => self.pass_over(bytes, at),
                State::Text => self.text(bytes, at),
                State::Name | State::Model => self.wanted_string(bytes, at),
                State::Number(so_far) => self.number(bytes, at, so_far),
            };
        }
    }

    /// No document is under way.
    pub(super) fn is_between_documents(&self) -> bool {
        self.state == State::Between && self.open == 0 && !self.is_list
    }

    pub(super) fn has_model(&self) -> bool {
        self.counts.model.is_some()
    }

    /// The document ends here, whole or not.
    pub(super) fn end_document(&mut self) {
        self.settle();
        self.state = State::Between;
        self.open = 0;
        self.passed_over = 0;
        self.is_list = false;
        self.after_colon = false;
        self.escaped = false;
        self.held.clear();
    }

    /// What was found, also of a document that is not whole.
    pub(super) fn finish(&mut self) -> TokenCounts {
        self.settle();
        std::mem::take(&mut self.counts)
    }

    /// Later counts take the place of earlier ones: those of streams are cumulative.
    fn settle(&mut self) {
        let found = std::mem::take(&mut self.found);
        self.counts.input = found.input().or(self.counts.input);
        self.counts.output = found.output().or(self.counts.output);
    }

    fn place(&self) -> Option<Place> {
        self.open.checked_sub(1).and_then(|last| self.places.get(last).copied())
    }

    fn between(&mut self, bytes: &[u8], mut at: usize) -> usize {
        while let Some(&byte) = bytes.get(at) {
            at += 1;
            match byte {
                b'"' => {
                    self.state = match self.member {
                        _ if self.open > 0 && !self.after_colon => State::Name,
                        Member::Model if self.counts.model.is_none() => State::Model,
                        _ => State::Text,
                    };
                    at = if self.state == State::Text {
                        self.text(bytes, at)
                    } else {
                        self.wanted_string(bytes, at)
                    };
                    // Most strings end in the piece that they begin in.
                    if self.state != State::Between {
                        return at;
                    }
                }
                b':' => self.after_colon = true,
                b',' => self.next_member(),
                b'{' => {
                    if self.enter() {
                        self.next_member();
                    } else {
                        self.state = State::PassingOver;
                        self.passed_over = 1;
                        return at;
                    }
                }
                b'}' => {
                    self.open = self.open.saturating_sub(1);
                    self.next_member();
                    if self.open == 0 {
                        self.settle();
                    }
                }
                b'[' if self.open == 0 && !self.is_list => self.is_list = true,
                b'[' => {
                    self.state = State::PassingOver;
                    self.passed_over = 1;
                    return at;
                }
                b']' if self.open == 0 => self.is_list = false,
                b'0'..=b'9' if matches!(self.member, Member::Count(_)) => {
                    self.state = State::Number(u64::from(byte - b'0'));
                    return at;
                }
                b' ' | b'\t' | b'\n' | b'\r' => {}
                // A sign, `null`: no count.
                _ => self.member = Member::Unwanted,
            }
        }
        at
    }

    fn next_member(&mut self) {
        self.after_colon = false;
        self.member = Member::Unwanted;
    }

    /// Whether the object that begins here holds something wanted.
    fn enter(&mut self) -> bool {
        let place = match self.member {
            _ if self.open == 0 => Place::Answer,
            Member::Object(place) if self.after_colon => place,
            _ => return false,
        };
        let Some(free) = self.places.get_mut(self.open) else { return false };
        *free = place;
        self.open += 1;
        true
    }

    fn number(&mut self, bytes: &[u8], mut at: usize, mut so_far: u64) -> usize {
        while let Some(&byte) = bytes.get(at) {
            match byte {
                b'0'..=b'9' => {
                    let longer = so_far.checked_mul(10).and_then(|n| n.checked_add(u64::from(byte - b'0')));
                    let Some(longer) = longer else { break };
                    so_far = longer;
                    at += 1;
                }
                b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r' => {
                    if let Member::Count(slot) = self.member {
                        self.found.set(slot, so_far);
                    }
                    self.state = State::Between;
                    return at;
                }
                _ => break,
            }
        }
        if at < bytes.len() {
            // A fraction, or more than there can be.
            self.member = Member::Unwanted;
            self.state = State::Between;
        } else {
            self.state = State::Number(so_far);
        }
        at
    }

    fn pass_over(&mut self, bytes: &[u8], mut at: usize) -> usize {
        while let Some(found) = find_mark(bytes, at) {
            at = found + 1;
            match bytes.get(found) {
                Some(b'"') => {
                    // Most strings end in the same piece.
                    let Some(end) = string_end(bytes, at, &mut self.escaped) else {
                        self.state = State::Text;
                        return bytes.len();
                    };
                    at = end + 1;
                }
                Some(b'{' | b'[') => self.passed_over += 1,
                _ => {
                    self.passed_over -= 1;
                    if self.passed_over == 0 {
                        self.member = Member::Unwanted;
                        self.state = State::Between;
                        return at;
                    }
                }
            }
        }
        bytes.len()
    }

    fn text(&mut self, bytes: &[u8], at: usize) -> usize {
        let Some(end) = string_end(bytes, at, &mut self.escaped) else { return bytes.len() };
        self.member = Member::Unwanted;
        self.state = if self.passed_over > 0 { State::PassingOver } else { State::Between };
        end + 1
    }

    fn wanted_string(&mut self, bytes: &[u8], at: usize) -> usize {
        let Some(end) = string_end(bytes, at, &mut self.escaped) else {
            self.hold(bytes.get(at..).unwrap_or_default());
            return bytes.len();
        };
        let here = bytes.get(at..end).unwrap_or_default();
        if self.held.is_empty() {
            self.take_string(here);
        } else {
            self.hold(here);
            let mut held = std::mem::take(&mut self.held);
            // One that was too long is neither a wanted name nor a model's.
            if held.len() > LONGEST_HELD {
                held.clear();
            }
            self.take_string(&held);
        }
        self.state = State::Between;
        end + 1
    }

    /// Keeps at most one byte more than counts, which says that it was too long.
    fn hold(&mut self, bytes: &[u8]) {
        let room = (LONGEST_HELD + 1).saturating_sub(self.held.len());
        self.held.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    fn take_string(&mut self, spelled: &[u8]) {
        let decoded;
        let name = if spelled.contains(&b'\\') {
            decoded = decode(spelled);
            decoded.as_bytes()
        } else {
            spelled
        };
        if self.state == State::Model {
            self.counts.model = model_name(name);
            self.member = Member::Unwanted;
        } else if let Some(place) = self.place() {
            self.member = member(place, name);
        }
    }
}

impl Found {
    fn set(&mut self, slot: Slot, count: u64) {
        if let Some(place) = self.0.get_mut(slot as usize) {
            *place = Some(count);
        }
    }

    fn get(&self, slot: Slot) -> Option<u64> {
        self.0.get(slot as usize).copied().flatten()
    }

    fn input(&self) -> Option<u64> {
        self.get(Slot::Input).or(self.get(Slot::TokensInput)).or(self.get(Slot::BilledInput))
    }

    fn output(&self) -> Option<u64> {
        let thoughts = self.get(Slot::Thoughts);
        let said = self.get(Slot::Output).map(|output| output.saturating_add(thoughts.unwrap_or(0)));
        // Thinking alone may have used up the limit.
        said.or(thoughts).or(self.get(Slot::TokensOutput)).or(self.get(Slot::BilledOutput))
    }
}

/// Every place where a provider puts something wanted.
fn member(place: Place, name: &[u8]) -> Member {
    match place {
        Place::Answer => match name {
            b"model" | b"modelVersion" => Member::Model,
            b"usage" => Member::Object(Place::Usage),
            b"usageMetadata" => Member::Object(Place::UsageMetadata),
            b"message" | b"response" => Member::Object(Place::Inner),
            b"delta" | b"x_groq" => Member::Object(Place::Around),
            b"meta" => Member::Object(Place::CohereMeta),
            _ => Member::Unwanted,
        },
        Place::Inner => match name {
            b"model" => Member::Model,
            b"usage" => Member::Object(Place::Usage),
            _ => Member::Unwanted,
        },
        Place::Around if name == b"usage" => Member::Object(Place::Usage),
        Place::Usage => match name {
            b"prompt_tokens" | b"input_tokens" => Member::Count(Slot::Input),
            b"completion_tokens" | b"output_tokens" => Member::Count(Slot::Output),
            b"tokens" => Member::Object(Place::CohereTokens),
            b"billed_units" => Member::Object(Place::CohereBilled),
            _ => Member::Unwanted,
        },
        Place::UsageMetadata => match name {
            b"promptTokenCount" => Member::Count(Slot::Input),
            b"candidatesTokenCount" => Member::Count(Slot::Output),
            b"thoughtsTokenCount" => Member::Count(Slot::Thoughts),
            _ => Member::Unwanted,
        },
        Place::CohereMeta => match name {
            b"tokens" => Member::Object(Place::CohereTokens),
            b"billed_units" => Member::Object(Place::CohereBilled),
            _ => Member::Unwanted,
        },
        Place::CohereTokens => match name {
            b"input_tokens" => Member::Count(Slot::TokensInput),
            b"output_tokens" => Member::Count(Slot::TokensOutput),
            _ => Member::Unwanted,
        },
        Place::CohereBilled => match name {
            b"input_tokens" => Member::Count(Slot::BilledInput),
            b"output_tokens" => Member::Count(Slot::BilledOutput),
            _ => Member::Unwanted,
        },
        Place::Around => Member::Unwanted,
    }
}

/// The characters of a string that is spelled with backslashes; nothing if that is no JSON.
fn decode(spelled: &[u8]) -> String {
    let mut quoted = Vec::with_capacity(spelled.len() + 2);
    quoted.push(b'"');
    quoted.extend_from_slice(spelled);
    quoted.push(b'"');
    serde_json::from_slice(&quoted).unwrap_or_default()
}

/// Where the string ends that `from` is in. `escaped` goes on from piece to piece.
#[inline]
fn string_end(bytes: &[u8], mut from: usize, escaped: &mut bool) -> Option<usize> {
    loop {
        if *escaped {
            if from >= bytes.len() {
                return None;
            }
            from += 1;
            *escaped = false;
        }
        let found = find_quote(bytes, from)?;
        if bytes.get(found) == Some(&b'"') {
            return Some(found);
        }
        *escaped = true;
        from = found + 1;
    }
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = ONES << 7;

/// The high bit of each byte that is zero. A byte above a zero may be marked too; the lowest mark is right.
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

fn word_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk::<8>().map(|word| u64::from_le_bytes(*word))
}

/// The next quote or backslash. Most strings are short: eight bytes at a time, before a search for long ones begins.
#[inline]
fn find_quote(bytes: &[u8], from: usize) -> Option<usize> {
    const SHORT: usize = 32;
    let mut at = from;
    while at < from + SHORT {
        let Some(word) = word_at(bytes, at) else {
            let rest = bytes.get(at..)?;
            return rest.iter().position(|&byte| byte == b'"' || byte == b'\\').map(|found| at + found);
        };
        let marks = zero_bytes(word ^ (ONES * 0x22)) | zero_bytes(word ^ (ONES * 0x5c));
        if marks != 0 {
            return Some(at + (marks.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    memchr2(b'"', b'\\', bytes.get(at..)?).map(|found| at + found)
}

/// The next quote or bracket of any kind.
#[inline]
fn find_mark(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(word) = word_at(bytes, at) {
        // One bit tells `[` from `{`, and `]` from `}`.
        let folded = word | (ONES * 0x20);
        let marks = zero_bytes(word ^ (ONES * 0x22))
            | zero_bytes(folded ^ (ONES * 0x7b))
            | zero_bytes(folded ^ (ONES * 0x7d));
        if marks != 0 {
            return Some(at + (marks.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    let rest = bytes.get(at..)?;
    rest.iter().position(|byte| matches!(byte, b'"' | b'[' | b']' | b'{' | b'}')).map(|found| at + found)
}
