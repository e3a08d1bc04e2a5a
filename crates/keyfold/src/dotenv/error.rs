use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a `.env` file could not be read or written. The messages say what to do, and never hold any of
/// the file's content.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DotenvError {
    /// A line that cannot be understood.
    #[error("{}line {line}: {problem}; correct that line", in_file(path.as_deref()))]
    Syntax {
        /// The file, if it is one.
        path: Option<PathBuf>,
        /// 1-based.
        line: usize,
        /// What is wrong with it.
        problem: Problem,
    },
    /// More than [`super::MAX_BYTES`].
    #[error("{}larger than 1 MiB, which no .env file is; check the path", in_file(path.as_deref()))]
    TooLarge {
        /// The file, if it is one.
        path: Option<PathBuf>,
    },
    /// A name that the shell could not use.
    #[error("a variable's name must be made of ASCII letters, digits and _, and not start with a digit")]
    InvalidName,
    /// A value that some readers would not read back.
    #[error(
        "a value must be made of printable ASCII characters, without spaces and without any of $ ' \" ` \\"
    )]
    InvalidValue,
    /// A directory, a named pipe or the like.
    #[error("{} is {kind}, not a file; check the path", path.display())]
    NotAFile {
        /// Where it is.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// Symbolic links that lead to no end.
    #[error("the symbolic link {} leads back to itself; point it at a file", path.display())]
    LinkLoop {
        /// The first of them.
        path: PathBuf,
    },
    /// The file must not be written.
    #[error("{} is read-only; make it writable (`chmod u+w`, as its owner) if Keyfold may change it", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// There is no directory for the file.
    #[error("there is no directory {}; make it first, or check the path", directory.display())]
    NoDirectory {
        /// Where it should be.
        directory: PathBuf,
    },
    /// Nothing can be made beside the file, as its replacement would be.
    #[error(
        "no file can be made beside {}, which is how it is changed safely ({cause}); make its directory writable",
        path.display()
    )]
    DirectoryNotWritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The disk, the quota or the permitted file size does not suffice.
    #[error("there is no room for {} ({cause}); free some and try again", path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Somebody else keeps the lock.
    #[error(
        "another program has held the lock on {} for 5 seconds; try again when it has finished",
        directory.display()
    )]
    Locked {
        /// The file's directory.
        directory: PathBuf,
    },
    /// A file that is mounted on its own cannot be replaced.
    #[error("{} is mounted on its own, so it cannot be replaced; mount its directory instead", path.display())]
    MountPoint {
        /// The file.
        path: PathBuf,
    },
    /// Anything else that the system refused.
    #[error("cannot {action} {}: {cause}", path.display())]
    Io {
        /// The file, or its directory.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        cause: io::Error,
    },
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// Bytes that are no UTF-8.
    NotUtf8,
    /// A NUL, as text in UTF-16 has many.
    NulByte,
    /// A quoted value (or name) without its end.
    UnclosedQuote,
    /// Neither a comment nor nothing after a quoted value.
    TextAfterQuote,
    /// `=value`.
    MissingName,
    /// Words.
    NotAnAssignment,
}

impl DotenvError {
    /// The 1-based number of the line that cannot be understood.
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::Syntax { line, .. } => Some(*line),
            _ => None,
        }
    }

    /// The file or directory in question.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Syntax { path, .. } | Self::TooLarge { path } => path.as_deref(),
            Self::InvalidName | Self::InvalidValue => None,
            Self::NotAFile { path, .. }
            | Self::LinkLoop { path }
            | Self::ReadOnly { path }
            | Self::DirectoryNotWritable { path, .. }
            | Self::DiskFull { path, .. }
            | Self::NoDirectory { directory: path }
            | Self::Locked { directory: path }
            | Self::MountPoint { path }
            | Self::Io { path, .. } => Some(path),
        }
    }

    pub(super) fn of_file(mut self, file: &Path) -> Self {
        if let Self::Syntax { path, .. } | Self::TooLarge { path } = &mut self {
            *path = Some(file.to_owned());
        }
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NotUtf8 => "it is not UTF-8",
            Self::NulByte => "it holds a NUL byte, as files do that are not saved as UTF-8",
            Self::UnclosedQuote => "a quote is opened and never closed",
            Self::TextAfterQuote => "there is text after the closing quote",
            Self::MissingName => "there is no name before the =",
            Self::NotAnAssignment => "it is neither NAME=value nor a comment",
        })
    }
}

fn in_file(path: Option<&Path>) -> String {
    path.map_or_else(String::new, |path| format!("{}: ", path.display()))
}
