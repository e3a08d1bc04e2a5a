use std::fmt;
use std::ops::Range;

use zeroize::Zeroizing;

use super::EnvFile;
use super::error::DotenvError;
use super::parse::{BOM, Binding, Statement};

/// What a variable's definitions looked like; see [`EnvFile::snapshot`].
pub struct Snapshot {
    name: String,
    text: Zeroizing<String>,
}

impl EnvFile {
    /// Gives `name` a new value. Every line that defines it is rewritten in place (so readers that
    /// take the first definition agree with those that take the last), keeping `export`, an
    /// indentation with spaces and the comment behind the value. A new variable gets a line at the
    /// end.
    ///
    /// The name must be one that the shell could use, and the value printable ASCII without spaces
    /// and without any of `` $ ' " ` \ ``, because not all readers agree on other ones.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), DotenvError> {
        if !is_portable_name(name) {
            return Err(DotenvError::InvalidName);
        }
        if !value.bytes().all(is_portable_byte) {
            return Err(DotenvError::InvalidValue);
        }
        let assignment = assignment(name, value);
        let rewritten: Vec<_> = self
            .defining(name)
            .map(|(statement, binding)| self.rewrite(statement, binding, &assignment))
            .collect();
        if rewritten.is_empty() { self.insert(&assignment) } else { self.replace(&rewritten) }
    }

    /// Removes every line that defines `name`, and says whether there was one.
    pub fn remove(&mut self, name: &str) -> Result<bool, DotenvError> {
        let found = self.defining(name).next().is_some();
        if found {
            *self = Self::from_text(self.without(name))?;
        }
        Ok(found)
    }

    /// Remembers the definitions of `name` as they are now, for [`Self::restore`].
    pub fn snapshot(&self, name: &str) -> Snapshot {
        // All of the text, because the way back of a removed line is found by what surrounded it.
        Snapshot { name: name.to_owned(), text: self.text.clone() }
    }

    /// Puts the definitions of the snapshot's variable back, whatever they hold, byte for byte. If
    /// other lines have changed since then, those changes stay; a removed definition then comes
    /// back at the end of the file.
    pub fn restore(&mut self, snapshot: &Snapshot) -> Result<(), DotenvError> {
        let name = &snapshot.name;
        let old = Self::from_text(snapshot.text.clone())?;
        if self.without(name) == old.without(name) {
            *self = old;
            return Ok(());
        }
        let old_lines: Vec<&str> =
            old.defining(name).map(|(statement, _)| &old.text[statement.span.start..statement.end]).collect();
        let places: Vec<_> =
            self.defining(name).map(|(statement, _)| statement.span.start..statement.end).collect();
        if places.len() == old_lines.len() {
            let restored = places.into_iter().zip(old_lines.into_iter().map(secret_copy));
            return self.replace(&restored.collect::<Vec<_>>());
        }
        self.remove(name)?;
        old_lines.into_iter().try_for_each(|line| self.insert(line))
    }

    fn defining(&self, name: &str) -> impl Iterator<Item = (&Statement, &Binding)> {
        self.statements.iter().filter_map(move |statement| {
            let binding = statement.binding.as_ref()?;
            (self.text[binding.name.clone()] == *name).then_some((statement, binding))
        })
    }

    /// A definition's new text and the range that it replaces.
    fn rewrite(
        &self,
        statement: &Statement,
        binding: &Binding,
        assignment: &str,
    ) -> (Range<usize>, Zeroizing<String>) {
        let start = statement.span.start;
        // The shell and Vite take a byte order mark for a part of the line that it stands on.
        let after_mark = if start == BOM.len() && self.has_bom() { self.line_ending() } else { "" };
        // Vite and Compose misread tabs and other whitespace here; the shell, spaces around `=`.
        let indent = &self.text[binding.indent.clone()];
        let indent = if indent.bytes().all(|byte| byte == b' ') { indent } else { "" };
        let export = if binding.exported { "export " } else { "" };
        let comment = binding.comment.clone().map_or("", |comment| &self.text[comment]);
        let gap = if comment.is_empty() { "" } else { " " };
        let parts = [after_mark, indent, export, assignment, gap, comment];
        (start..statement.end, concat(&parts))
    }

    /// Adds a line where every reader is between two statements.
    fn insert(&mut self, line: &str) -> Result<(), DotenvError> {
        let at = self.end_of_safe_part();
        let before = &self.text[..at];
        let ending = self.line_ending();
        let unended = at == self.text.len() && !before.is_empty() && !before.ends_with(['\r', '\n']);
        // A last line without an ending stays one: so removing the new line gives back the old file.
        let new = if unended { concat(&[ending, line]) } else { concat(&[line, ending]) };
        self.replace(&[(at..at, new)])
    }

    /// The last place where Node 20's `parseEnv` (and so Vite) expects a new statement. To it, a
    /// bare name, an indented comment, a line of whitespace or a byte order mark begins the name of
    /// the next variable, up to the next `=`.
    fn end_of_safe_part(&self) -> usize {
        let mut safe = !self.has_bom();
        let mut end = safe.then_some(0);
        for statement in &self.statements {
            let text = &self.text[statement.span.clone()];
            safe = match &statement.binding {
                // It also ends a quoted value at the first quote, escaped or not, and then skips
                // the rest of that line.
                Some(binding) => {
                    let one_line = !text.trim_end().contains(['\r', '\n']);
                    binding.value.is_some() && (one_line || !text.contains('\\'))
                }
                None => safe && text.starts_with(['#', '\r', '\n']),
            };
            if safe {
                end = Some(statement.span.end);
            }
        }
        end.unwrap_or(self.text.len())
    }

    /// The text without the lines that define `name`.
    fn without(&self, name: &str) -> Zeroizing<String> {
        let is_kept = |statement: &&Statement| {
            let binding = statement.binding.as_ref();
            binding.is_none_or(|binding| self.text[binding.name.clone()] != *name)
        };
        let text = |statement: &Statement| &self.text[statement.span.clone()];
        let mut parts: Vec<&str> = self.statements.iter().filter(is_kept).map(text).collect();

        if let Some(last) = self.statements.last()
            && !is_kept(&last)
            && last.end == last.span.end
            && let Some(new_last) = parts.pop()
        {
            // The file's last line had no ending, so the one that is last now has none either;
            // but an empty line is not to vanish, unless it was put behind a byte order mark.
            let unended = new_last.strip_suffix(['\r', '\n']).unwrap_or(new_last);
            let unended = unended.strip_suffix('\r').unwrap_or(unended);
            let keep = unended.is_empty() && !(self.has_bom() && parts.is_empty());
            parts.push(if keep { new_last } else { unended });
        }
        let first_removed = self.statements.first().is_some_and(|first| !is_kept(&first));
        // No other line may come to stand behind the mark, see `rewrite`; and where there is none, a
        // mark that begins a line (of files put together) may not become the file's.
        let displaced = parts.first().is_some_and(|part| {
            if self.has_bom() { !part.starts_with(['\r', '\n']) } else { part.starts_with(BOM) }
        });
        if first_removed && displaced {
            parts.insert(0, self.line_ending());
        }
        if self.has_bom() {
            parts.insert(0, BOM);
        }
        concat(&parts)
    }

    /// Replaces ranges, which are in ascending order and do not overlap.
    fn replace(&mut self, edits: &[(Range<usize>, Zeroizing<String>)]) -> Result<(), DotenvError> {
        let mut parts: Vec<&str> = Vec::new();
        let mut at = 0;
        for (range, new) in edits {
            parts.push(&self.text[at..range.start]);
            parts.push(new);
            at = range.end;
        }
        parts.push(&self.text[at..]);
        *self = Self::from_text(concat(&parts))?;
        Ok(())
    }

    /// The most frequent line ending.
    fn line_ending(&self) -> &'static str {
        let crlf = self.text.matches("\r\n").count();
        let lf = self.text.matches('\n').count() - crlf;
        let cr = self.text.matches('\r').count() - crlf;
        if lf >= crlf && lf >= cr {
            "\n"
        } else if crlf >= cr {
            "\r\n"
        } else {
            "\r"
        }
    }

    fn has_bom(&self) -> bool {
        self.text.starts_with(BOM)
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Snapshot").field("name", &self.name).finish_non_exhaustive()
    }
}

fn is_portable_name(name: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(is_word) && !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit())
}

fn is_portable_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !br#"$'"`\"#.contains(&byte)
}

/// `NAME=value`, bare where no reader gives a character of it a meaning, else in single quotes,
/// inside which none of the allowed characters has one.
fn assignment(name: &str, value: &str) -> Zeroizing<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.+/=:@%,-".contains(&byte);
    // zsh takes `=command` for that command's path.
    let bare = !value.is_empty() && value.bytes().all(is_plain) && !value.starts_with('=');
    let quote = if bare { "" } else { "'" };
    concat(&[name, "=", quote, value, quote])
}

/// Joins into memory of the right size at once: growing would leave copies behind.
fn concat(parts: &[&str]) -> Zeroizing<String> {
    Zeroizing::new(parts.concat())
}

fn secret_copy(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}
