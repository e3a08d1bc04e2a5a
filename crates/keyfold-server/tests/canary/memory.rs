//! The memory of a running process, as a core of it would have it.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;

use crate::search::Search;

/// Bytes that are read at once.
const PIECE: usize = 1024 * 1024;

/// What was found in the memory of a process.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// In what spelling, in what part of the memory.
    pub(crate) places: Vec<String>,
    /// How much was read.
    pub(crate) bytes: usize,
}

/// Searches all readable memory. `None`: this machine lets nobody do that, root included, or we are not root.
pub(crate) fn search_memory(pid: u32, search: &Search) -> Option<Found> {
    let maps = match std::fs::read_to_string(format!("/proc/{pid}/maps")) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return None,
        maps => maps.unwrap(),
    };
    let memory = match File::open(format!("/proc/{pid}/mem")) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return None,
        memory => memory.unwrap(),
    };
    let mut found = Found::default();
    for line in maps.lines() {
        let (range, rest) = line.split_once(' ').unwrap();
        let name = rest.split_whitespace().nth(4).unwrap_or("nameless");
        if !rest.starts_with('r') || name.starts_with("[v") {
            continue;
        }
        let (start, end) = range.split_once('-').unwrap();
        let at = |hex: &str| u64::from_str_radix(hex, 16).unwrap();
        // What a thread gave back meanwhile cannot be read, and is not the process's any more.
        let _ = search_range(&memory, at(start)..at(end), name, search, &mut found);
    }
    Some(found)
}

fn search_range(
    memory: &File,
    range: std::ops::Range<u64>,
    name: &str,
    search: &Search,
    found: &mut Found,
) -> io::Result<()> {
    let overlap = search.longest() - 1;
    let mut piece = vec![0; PIECE + overlap];
    let (mut at, mut kept) = (range.start, 0);
    while at < range.end {
        let wanted = PIECE.min(usize::try_from(range.end - at).unwrap());
        let read = memory.read_at(&mut piece[kept..kept + wanted], at)?;
        if read == 0 {
            break;
        }
        let content = &piece[..kept + read];
        for (what, count) in search.found_in(content) {
            found.places.push(format!(
                "{what}, {count} times, near {at:x} ({name}): {}",
                search.around_first(content)
            ));
        }
        at += read as u64;
        found.bytes += read;
        // What stands across the border of two pieces is found in the second.
        let end = kept + read;
        let from = end.saturating_sub(overlap);
        piece.copy_within(from..end, 0);
        kept = end - from;
    }
    Ok(())
}
