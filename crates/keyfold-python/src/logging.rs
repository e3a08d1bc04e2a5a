//! What the library logs, for Python's `logging`.
//!
//! Threads of the runtime must not wait for the interpreter, so what they log waits here until a thread of Python
//! comes by.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::process::Awaited;

const MOST: usize = 1000;

static LINES: Mutex<VecDeque<(u8, String)>> = Mutex::new(VecDeque::new());
static ARE_THERE_ANY: AtomicBool = AtomicBool::new(false);

/// From now on events are kept for [`hand_over`].
pub(crate) fn install() {
    // Another module of this process may have been first; then they go there.
    let _ = tracing::subscriber::set_global_default(Keeper);
}

/// Keeps an error that the text of an exception leaves out.
pub(crate) fn note_error(line: &str) {
    keep(40, line.to_owned());
}

/// Gives what is kept to the logger `keyfold`. What goes wrong there is nobody's to handle here.
pub(crate) fn hand_over(py: Python<'_>) {
    if !ARE_THERE_ANY.load(Ordering::Relaxed) {
        return;
    }
    let Ok(_awaited) = Awaited::begin() else { return };
    ARE_THERE_ANY.store(false, Ordering::Relaxed);
    // A thread that held this when the process forked never lets go in the child.
    let Ok(lines) = LINES.try_lock().map(|mut lines| std::mem::take(&mut *lines)) else { return };
    let Ok(logger) = py.import("logging").and_then(|logging| logging.call_method1("getLogger", ("keyfold",)))
    else {
        return;
    };
    for (level, line) in lines {
        let _ = logger.call_method1("log", (level, "%s", line));
    }
}

fn keep(level: u8, line: String) {
    let Ok(mut lines) = LINES.try_lock() else { return };
    if lines.len() < MOST {
        lines.push_back((level, line));
        ARE_THERE_ANY.store(true, Ordering::Relaxed);
    }
}

struct Keeper;

impl Subscriber for Keeper {
    /// Only the library's own words, which hold no key.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO && metadata.target().starts_with("keyfold")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let level = match *event.metadata().level() {
            Level::ERROR => 40,
            Level::WARN => 30,
            _ => 20,
        };
        keep(level, line.message + &line.fields);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        } else {
            let _ = write!(self.fields, " {}={value:?}", field.name());
        }
    }
}
