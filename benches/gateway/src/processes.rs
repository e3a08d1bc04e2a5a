//! Programs that run for the bench: where, what they take, and that they end with it.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// A program that is asked to end gets so long for it.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);
/// The kernel counts times of processes in these: a hundredth of a second wherever Linux runs.
const TICKS_PER_SECOND: f64 = 100.0;

/// Who runs on which CPUs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Layout {
    /// What is measured has the last CPU for itself; all else shares the others.
    Apart,
    /// Everything runs where there is room.
    Free,
}

impl Layout {
    /// The CPUs that what is measured may use.
    pub(crate) fn measured(self) -> Vec<usize> {
        let all = all_cpus();
        match (self, all.as_slice()) {
            (Self::Apart, [_, .., last]) => vec![*last],
            _ => all,
        }
    }

    /// The CPUs for all else.
    pub(crate) fn others(self) -> Vec<usize> {
        let all = all_cpus();
        match (self, all.as_slice()) {
            (Self::Apart, [others @ .., _]) if !others.is_empty() => others.to_vec(),
            _ => all,
        }
    }
}

/// Those that this program may use, whatever it is held to now.
fn all_cpus() -> Vec<usize> {
    static ALL: std::sync::OnceLock<Vec<usize>> = std::sync::OnceLock::new();
    ALL.get_or_init(|| {
        let set = sched_getaffinity(None).unwrap();
        (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect()
    })
    .clone()
}

/// Holds all threads of a process and of those that it started to these CPUs; 0 is this one.
pub(crate) fn hold_to(root: u32, cpus: &[usize]) {
    all_cpus();
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu);
    }
    let root = if root == 0 { std::process::id() } else { root };
    for process in tree(root) {
        for thread in numbers_in(&format!("/proc/{process}/task")) {
            let thread = i32::try_from(thread).ok().and_then(Pid::from_raw);
            // One that has just ended, or another user's: then it stays where it is.
            let _ = sched_setaffinity(thread, &set);
        }
    }
}

/// A running program. It ends when this is dropped, and with the bench at the latest.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// Of this program, on these CPUs, with no environment but what is set on the command afterwards.
    pub(crate) fn command(program: &std::ffi::OsStr, cpus: &[usize]) -> Command {
        let cpus = cpus.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        // Whatever ends this program, they end too.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "taskset", "--cpu-list", &cpus]).arg(program);
        command.env_clear().envs(path_variable()).stdin(Stdio::null());
        command
    }

    pub(crate) fn start(command: &mut Command) -> std::io::Result<Self> {
        command.spawn().map(Self)
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// Asks it to end, and waits for that.
    pub(crate) fn stop(&mut self) {
        if let (Ok(None), Ok(id)) = (self.0.try_wait(), i32::try_from(self.0.id())) {
            let _ = Pid::from_raw(id).map(|id| kill_process(id, Signal::TERM));
            let asked = Instant::now();
            while asked.elapsed() < PATIENCE {
                if !matches!(self.0.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(POLL);
            }
            let _ = self.0.kill();
        }
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

#[expect(clippy::disallowed_methods, reason = "programs are found by it")]
fn path_variable() -> Option<(&'static str, std::ffi::OsString)> {
    std::env::var_os("PATH").map(|path| ("PATH", path))
}

/// A port to listen on that nobody uses, and that no connection of this machine is given by chance.
pub(crate) fn unused_port() -> u16 {
    // Below those that Linux gives to connections.
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    loop {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// The time on CPUs that a process and all that it started took so far, in seconds.
pub(crate) fn cpu_seconds(root: u32) -> f64 {
    let ticks = |process: u32| {
        let stat = stat(process)?;
        // utime, stime, and those of children that ended.
        stat.get(11..15)?.iter().map(|ticks| ticks.parse::<f64>().ok()).sum::<Option<f64>>()
    };
    tree(root).into_iter().filter_map(ticks).sum::<f64>() / TICKS_PER_SECOND
}

/// The memory of a process and of all that it started, in megabytes; a page that several share counts once.
pub(crate) fn memory_mb(root: u32) -> f64 {
    let kilobytes = |process: u32| {
        let rollup = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    tree(root).into_iter().filter_map(kilobytes).sum::<f64>() / 1024.0
}

/// Whether a process is there and has not ended.
pub(crate) fn is_running(process: u32) -> bool {
    stat(process).is_some_and(|fields| fields.first().is_some_and(|state| state != "Z"))
}

/// The fields of `/proc/PID/stat` after the name, which may hold anything.
fn stat(process: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

fn tree(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = numbers_in("/proc")
        .into_iter()
        .filter_map(|process| Some((process, stat(process)?.get(1)?.parse().ok()?)))
        .collect();
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(parent) = tree.get(next).copied() {
        tree.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(process, _)| *process));
        next += 1;
    }
    tree
}

/// The entries of a folder whose names are numbers.
fn numbers_in(folder: &str) -> Vec<u32> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}
