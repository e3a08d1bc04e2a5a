//! Code as names, texts and marks, without its comments: as much of three languages as is needed to tell code from
//! what only looks like it.

use super::Language;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name, a keyword or a number.
    Name,
    /// A text in quotes; its content, with escapes as they are.
    Text,
    /// Any other character.
    Mark,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    /// 1-based.
    pub(super) line: usize,
    /// How far it stands from the beginning of its line, in bytes.
    pub(super) column: usize,
}

/// Code within texts within code is followed so deep.
const DEEPEST: usize = 16;

/// Regular expressions are shorter, and looking for their ends must not take long.
const LONGEST_EXPRESSION: usize = 2000;

/// Keywords of JavaScript after which a `/` begins a regular expression.
const BEFORE_EXPRESSIONS: [&str; 9] = ["return", "typeof", "case", "in", "of", "do", "else", "void", "throw"];

pub(super) fn of(language: Language, text: &str) -> Vec<Token<'_>> {
    let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
    let lines = std::iter::once(0).chain(breaks).collect();
    let mut lexer = Lexer { language, text, at: 0, lines, depth: 0, found: vec![] };
    lexer.run(&End::Text);
    lexer.found
}

/// Where a stretch of code ends.
enum End {
    Text,
    /// At its own `}`; if `on_line`, with the line at the latest.
    Brace {
        on_line: bool,
    },
}

struct Lexer<'a> {
    language: Language,
    text: &'a str,
    at: usize,
    /// Where lines begin.
    lines: Vec<usize>,
    depth: usize,
    found: Vec<Token<'a>>,
}

impl<'a> Lexer<'a> {
    fn run(&mut self, end: &End) {
        let mut open = 0_usize;
        while let Some(character) = self.peek() {
            match character {
                '\n' if matches!(end, End::Brace { on_line: true }) => return,
                _ if character.is_whitespace() => self.at += character.len_utf8(),
                '#' if self.language == Language::Python => self.skip_line(),
                '/' if self.language != Language::Python => self.slash(),
                '\'' if self.language == Language::Rust => self.character_or_lifetime(),
                '"' | '\'' => self.quoted(""),
                '`' if self.language == Language::JavaScript => self.template(),
                _ if is_name(character) => self.name(),
                '}' if open == 0 && matches!(end, End::Brace { .. }) => {
                    self.at += 1;
                    return;
                }
                _ => {
                    match character {
                        '{' => open += 1,
                        '}' => open = open.saturating_sub(1),
                        _ => {}
                    }
                    let start = self.at;
                    self.at += character.len_utf8();
                    self.push(Kind::Mark, start, self.at, start);
                }
            }
        }
    }

    /// A name, or the prefix of a text.
    fn name(&mut self) {
        let start = self.at;
        let rest = &self.text[start..];
        let end = start + rest.find(|character| !is_name(character)).unwrap_or(rest.len());
        let name = &self.text[start..end];
        let next = self.text[end..].chars().next();
        match self.language {
            Language::Python if matches!(next, Some('"' | '\'')) && is_python_prefix(name) => {
                self.at = end;
                self.quoted(name);
            }
            Language::Rust if ["r", "br", "cr"].contains(&name) && matches!(next, Some('"' | '#')) => {
                self.at = end;
                self.raw(start);
            }
            _ => {
                self.at = end;
                self.push(Kind::Name, start, end, start);
            }
        }
    }

    /// `r#"…"#`, behind its `r`; `r#name` is a name.
    fn raw(&mut self, start: usize) {
        let hashes = self.text[self.at..].bytes().take_while(|byte| *byte == b'#').count();
        let Some(body) = self.text[self.at + hashes..].strip_prefix('"') else {
            self.at += hashes;
            return;
        };
        let from = self.at + hashes + 1;
        let closing = format!("\"{}", "#".repeat(hashes));
        let length = body.find(&closing).unwrap_or(body.len());
        self.push(Kind::Text, from, from + length, start);
        self.at = (from + length + closing.len()).min(self.text.len());
    }

    /// A text in single or double quotes; Python's may be tripled, and may have code in it.
    fn quoted(&mut self, prefix: &str) {
        let opened = self.at;
        let rest = &self.text[opened..];
        let quote = &rest[..1];
        let triple = [quote, quote, quote].concat();
        let is_triple = self.language == Language::Python && rest.starts_with(&triple);
        let closing = if is_triple { triple.as_str() } else { quote };
        let spans_lines = is_triple || self.language == Language::Rust;
        let has_code = prefix.contains(['f', 'F', 't', 'T']) && self.language == Language::Python;
        self.at += closing.len();
        let start = self.at;
        let place = self.found.len();
        while let Some(character) = self.peek() {
            if self.text[self.at..].starts_with(closing) {
                self.insert(place, start, self.at, opened);
                self.at += closing.len();
                return;
            }
            match character {
                '\n' if !spans_lines => break,
                '\\' => self.skip(2),
                '{' if has_code && self.text[self.at..].starts_with("{{") => self.skip(2),
                '{' if has_code && self.depth < DEEPEST => {
                    self.at += 1;
                    self.nested(&End::Brace { on_line: !is_triple });
                }
                _ => self.skip(1),
            }
        }
        // It has no end on its line: an apostrophe in a page's text, for instance.
    }

    /// A template of JavaScript, with code in it.
    fn template(&mut self) {
        let opened = self.at;
        self.at += 1;
        let start = self.at;
        let place = self.found.len();
        while let Some(character) = self.peek() {
            match character {
                '`' => {
                    self.insert(place, start, self.at, opened);
                    self.at += 1;
                    return;
                }
                '\\' => self.skip(2),
                '$' if self.text[self.at..].starts_with("${") && self.depth < DEEPEST => {
                    self.at += 2;
                    self.nested(&End::Brace { on_line: false });
                }
                _ => self.skip(1),
            }
        }
    }

    fn nested(&mut self, end: &End) {
        self.depth += 1;
        self.run(end);
        self.depth -= 1;
    }

    /// A comment, a regular expression, or just a `/`.
    fn slash(&mut self) {
        let rest = &self.text[self.at..];
        if rest.starts_with("//") {
            self.skip_line();
        } else if rest.starts_with("/*") {
            self.block_comment();
        } else if let Some(length) = self.length_of_expression() {
            self.at += length;
        } else {
            self.push(Kind::Mark, self.at, self.at + 1, self.at);
            self.at += 1;
        }
    }

    fn block_comment(&mut self) {
        let nests = self.language == Language::Rust;
        let mut open = 0_usize;
        while self.at < self.text.len() {
            let rest = &self.text[self.at..];
            if rest.starts_with("/*") && (nests || open == 0) {
                open += 1;
                self.at += 2;
            } else if rest.starts_with("*/") {
                open -= 1;
                self.at += 2;
                if open == 0 {
                    return;
                }
            } else {
                self.skip(1);
            }
        }
    }

    /// How long a regular expression is that begins here, if one does.
    fn length_of_expression(&self) -> Option<usize> {
        if self.language != Language::JavaScript {
            return None;
        }
        let may_begin = self.found.last().is_none_or(|last| match last.kind {
            Kind::Mark => !matches!(last.text, ")" | "]" | "}" | "<"),
            Kind::Name => BEFORE_EXPRESSIONS.contains(&last.text),
            Kind::Text => false,
        });
        if !may_begin {
            return None;
        }
        let (mut escaped, mut in_class) = (false, false);
        let bytes = self.text[self.at..].bytes().enumerate();
        for (at, byte) in bytes.skip(1).take(LONGEST_EXPRESSION) {
            match byte {
                b'\n' => return None,
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'[' => in_class = true,
                b']' => in_class = false,
                b'/' if !in_class => return Some(at + 1),
                _ => {}
            }
        }
        None
    }

    /// `'a'` or `'a`.
    fn character_or_lifetime(&mut self) {
        let rest = &self.text[self.at + 1..];
        let mut characters = rest.char_indices();
        let is_escape = characters.next().is_some_and(|(_, first)| first == '\\');
        let close = if is_escape {
            characters.next();
            let line = rest.split('\n').next().unwrap_or_default();
            line.get(2..).and_then(|tail| tail.find('\'')).map(|at| at + 2)
        } else {
            characters.next().filter(|(_, second)| *second == '\'').map(|(at, _)| at)
        };
        self.at += 1 + close.map_or(0, |at| at + 1);
    }

    fn skip_line(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.find('\n').unwrap_or(rest.len());
    }

    fn skip(&mut self, characters: usize) {
        let rest = &self.text[self.at..];
        self.at += rest.char_indices().nth(characters).map_or(rest.len(), |(at, _)| at);
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn push(&mut self, kind: Kind, start: usize, end: usize, at: usize) {
        let token = self.token(kind, start, end, at);
        self.found.push(token);
    }

    /// A text stands before the code that is in it.
    fn insert(&mut self, place: usize, start: usize, end: usize, at: usize) {
        let token = self.token(Kind::Text, start, end, at);
        if place == self.found.len() { self.found.push(token) } else { self.found.insert(place, token) }
    }

    fn token(&self, kind: Kind, start: usize, end: usize, at: usize) -> Token<'a> {
        let line = self.lines.partition_point(|begin| *begin <= at);
        let column = at - self.lines[line - 1];
        Token { kind, text: &self.text[start..end], line, column }
    }
}

fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_' || character == '$' || character > '\u{7f}'
}

fn is_python_prefix(name: &str) -> bool {
    name.len() <= 2 && name.bytes().all(|byte| b"rbuftRBUFT".contains(&byte))
}
