//! The grammar of python-dotenv, with three differences:
//!
//! - Lines that python-dotenv warns of and skips are errors.
//! - A value in backticks is quoted, as it is for Node's dotenv and Vite; to python-dotenv the
//!   backticks are a part of it.
//! - A quoted name ends on its line: one that does not is more likely a stray quote.
//!
//! Elsewhere the readers differ too, and python-dotenv's reading is the one taken: Node's end an
//! unquoted value at any `#` (`A=b#c`) and know no escapes but `\n` and `\r`; the shell and `dotenvy`
//! take quotes within a value for quotes (`A=it's`); the shell reads no spaces around `=`.

use std::ops::Range;

use zeroize::Zeroizing;

use super::error::{DotenvError, Problem};

pub(super) const BOM: &str = "\u{feff}";

/// One definition, comment or blank line with its line ending. All ranges are of bytes in the text;
/// the spans of a file's statements follow each other without gaps.
pub(super) struct Statement {
    pub span: Range<usize>,
    /// 1-based.
    pub line: usize,
    pub binding: Option<Binding>,
    /// Where the line ending begins; the end of `span` if there is none.
    pub end: usize,
}

pub(super) struct Binding {
    pub indent: Range<usize>,
    pub exported: bool,
    pub name: Range<usize>,
    /// `None` for a bare name without a `=`.
    pub value: Option<Zeroizing<String>>,
    pub comment: Option<Range<usize>>,
}

pub(super) fn parse(text: &str) -> Result<Vec<Statement>, DotenvError> {
    if let Some(position) = text.find('\0') {
        return Err(DotenvError::Syntax {
            path: None,
            line: 1 + count_line_ends(&text[..position]),
            problem: Problem::NulByte,
        });
    }
    let start = if text.starts_with(BOM) { BOM.len() } else { 0 };
    let mut parser = Parser { text, at: start };
    let mut statements = Vec::new();
    let mut line = 1;
    while parser.at < text.len() {
        let statement =
            parser.statement(line).map_err(|problem| DotenvError::Syntax { path: None, line, problem })?;
        line += count_line_ends(&text[statement.span.clone()]);
        statements.push(statement);
    }
    Ok(statements)
}

/// Line ends are `\n`, `\r\n` and a lone `\r`.
pub(super) fn count_line_ends(text: &str) -> usize {
    let bytes = text.as_bytes();
    let is_end =
        |&(i, &byte): &(usize, &u8)| byte == b'\n' || byte == b'\r' && bytes.get(i + 1) != Some(&b'\n');
    bytes.iter().enumerate().filter(is_end).count()
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn statement(&mut self, line: usize) -> Result<Statement, Problem> {
        let start = self.at;
        let indent = self.take_while(is_blank);
        let exported = self.take_export();
        let mut binding = match self.peek() {
            Some('#') => None,
            None | Some('\r' | '\n') if !exported => None,
            _ => Some(self.binding(indent, exported)?),
        };
        self.take_while(is_blank);
        let comment = self.take_comment();
        let end = self.at;
        if !self.take_line_end() {
            return Err(match &binding {
                Some(binding) if binding.value.is_some() => Problem::TextAfterQuote,
                _ => Problem::NotAnAssignment,
            });
        }
        if let Some(binding) = &mut binding {
            binding.comment = comment;
        }
        Ok(Statement { span: start..self.at, line, binding, end })
    }

    fn binding(&mut self, indent: Range<usize>, exported: bool) -> Result<Binding, Problem> {
        let name = self.name()?;
        self.take_while(is_blank);
        let value = if self.take("=") {
            let gap = self.take_while(is_blank);
            Some(match self.peek() {
                // Without the gap, python-dotenv takes the `#` for the value's first character.
                Some('#') if !gap.is_empty() => Zeroizing::default(),
                Some(quote @ ('\'' | '"' | '`')) => self.quoted(quote)?,
                _ => self.unquoted(),
            })
        } else {
            None
        };
        Ok(Binding { indent, exported, name, value, comment: None })
    }

    fn name(&mut self) -> Result<Range<usize>, Problem> {
        let name = if self.take("'") {
            let name = self.take_while(|c| c != '\'' && c != '\r' && c != '\n');
            if !self.take("'") {
                return Err(Problem::UnclosedQuote);
            }
            name
        } else {
            self.take_while(|c| c != '=' && c != '#' && !is_space(c))
        };
        match (name.is_empty(), self.peek()) {
            (false, _) => Ok(name),
            (true, Some('=')) => Err(Problem::MissingName),
            (true, _) => Err(Problem::NotAnAssignment),
        }
    }

    /// Up to the comment (whitespace and a `#`) or the end of the line.
    fn unquoted(&mut self) -> Zeroizing<String> {
        let start = self.at;
        let mut after_space = false;
        self.take_while(|c| {
            let comment = c == '#' && after_space;
            after_space = is_blank(c);
            !comment && c != '\r' && c != '\n'
        });
        let value = self.text[start..self.at].trim_end_matches(is_space);
        Zeroizing::new(value.to_owned())
    }

    fn quoted(&mut self, quote: char) -> Result<Zeroizing<String>, Problem> {
        self.at += quote.len_utf8();
        let mut escaped = false;
        let raw = self.take_while(|c| {
            let closing = c == quote && !escaped;
            // In backticks it escapes nothing but a backtick, not even itself.
            escaped = c == '\\' && (!escaped || quote == '`');
            !closing
        });
        if self.peek() != Some(quote) {
            return Err(Problem::UnclosedQuote);
        }
        self.at += quote.len_utf8();
        Ok(unescape(&self.text[raw], quote))
    }

    fn take_export(&mut self) -> bool {
        let rest = &self.text[self.at..];
        let exported = rest.strip_prefix("export").is_some_and(|rest| rest.starts_with(is_blank));
        if exported {
            self.at += "export".len();
            self.take_while(is_blank);
        }
        exported
    }

    fn take_comment(&mut self) -> Option<Range<usize>> {
        let is_comment = self.peek() == Some('#');
        is_comment.then(|| self.take_while(|c| c != '\r' && c != '\n'))
    }

    /// Whether the line ends here, which the end of the text does too.
    fn take_line_end(&mut self) -> bool {
        self.take("\r\n") || self.take("\n") || self.take("\r") || self.peek().is_none()
    }

    fn take(&mut self, prefix: &str) -> bool {
        let found = self.text[self.at..].starts_with(prefix);
        if found {
            self.at += prefix.len();
        }
        found
    }

    fn take_while(&mut self, mut wanted: impl FnMut(char) -> bool) -> Range<usize> {
        let start = self.at;
        let rest = &self.text[start..];
        self.at += rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        start..self.at
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }
}

/// A quoted value without its escapes. Line ends become `\n`, as they do for python-dotenv.
fn unescape(raw: &str, quote: char) -> Zeroizing<String> {
    // As large as it can get: growing would leave copies behind.
    let mut value = Zeroizing::new(String::with_capacity(raw.len()));
    let mut chars = raw.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\r' {
            chars.next_if_eq(&'\n');
            value.push('\n');
        } else if let Some(meant) =
            (c == '\\').then(|| chars.peek().and_then(|&next| escape(next, quote))).flatten()
        {
            chars.next();
            value.push(meant);
        } else {
            value.push(c);
        }
    }
    value
}

/// What a backslash and `next` mean together; `None` where the backslash is just a character.
fn escape(next: char, quote: char) -> Option<char> {
    match (quote, next) {
        ('\'' | '"', '\\' | '\'') | ('"', '"') => Some(next),
        ('"', 'a') => Some('\x07'),
        ('"', 'b') => Some('\x08'),
        ('"', 'f') => Some('\x0c'),
        ('"', 'n') => Some('\n'),
        ('"', 'r') => Some('\r'),
        ('"', 't') => Some('\t'),
        ('"', 'v') => Some('\x0b'),
        _ => None,
    }
}

/// Python's idea of whitespace, within a line.
fn is_blank(c: char) -> bool {
    is_space(c) && c != '\r' && c != '\n'
}

fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}
