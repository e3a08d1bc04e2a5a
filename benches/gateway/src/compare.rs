//! The comparison: phases, and the tables of what came of them.

use crate::load::Kind;
use crate::measure::{Figures, HeldStreams, hold, in_rounds, leave};
use crate::peers::{DIRECT, KEYFOLD, LIMIT, OTHER, SAME_TOKENS, Way, start};
use crate::processes::{Layout, memory_mb};
use crate::report::{Table, added, median, number, or_dash, ratio, worst};
use crate::settings::Settings;
use crate::stage::{Measured, Stage, count};

const FEW: usize = 32;
const MANY: usize = 128;
/// The common rate, low enough for every gateway that is worth the name.
const PER_SECOND: f64 = 1000.0;
const TIMED_CONNECTIONS: usize = 64;
const STREAMS_AT_A_TIME: usize = 8;
/// For those who would take minutes to open more.
const FEW_STREAMS: usize = 200;
/// The phase with TLS is the smaller one.
const TLS_ROUNDS: usize = 3;

/// All phases. False if an answer was made with another user's key.
pub(crate) async fn full(settings: Settings) -> bool {
    let stage = Stage::new(settings).await;
    let rounds = stage.settings.rounds;
    describe(&stage, rounds);

    println!("\n## As much as it can\n");
    let throughput = phase(&stage, Layout::Apart, Way::Plain, &closed(&stage, &[FEW, MANY]), rounds).await;
    print_throughput(&throughput, &[FEW, MANY]);

    println!("\n## At {PER_SECOND} requests/s, and the first piece of a stream\n");
    let kinds = [timed(&stage), first_piece(&stage)];
    let (free, apart) = in_both_layouts(&stage, &kinds, rounds).await;

    println!("\n## Open streams\n");
    let held = open_streams(&stage).await;

    println!("\n## With TLS from gateway to provider\n");
    let kinds = [&closed(&stage, &[FEW])[..], &kinds].concat();
    let tls = phase(&stage, Layout::Apart, Way::Tls, &kinds, rounds.min(TLS_ROUNDS)).await;
    print_throughput(&tls, &[FEW]);
    println!();
    print_latency(&tls);

    let all = [&throughput[..], &free, &apart, &tls].concat();
    report_audit(&stage, &all, held).await;
    let wrong: usize = all.iter().map(Figures::wrong_keys).sum();
    println!("\nAnswers made with another user's key: {wrong}");
    wrong == 0
}

/// So many rounds with one number of connections.
pub(crate) async fn throughput(settings: Settings, rounds: usize) -> bool {
    let stage = Stage::new(settings).await;
    describe(&stage, rounds);
    println!();
    let connections = [stage.settings.connections];
    let figures = phase(&stage, Layout::Apart, Way::Plain, &closed(&stage, &connections), rounds).await;
    print_throughput(&figures, &connections);
    report_audit(&stage, &figures, 0).await;
    figures.iter().map(Figures::wrong_keys).sum::<usize>() == 0
}

/// So many rounds at the common rate, and of streams.
pub(crate) async fn latency(settings: Settings) -> bool {
    let stage = Stage::new(settings).await;
    let rounds = stage.settings.rounds;
    describe(&stage, rounds);
    println!();
    let (free, apart) = in_both_layouts(&stage, &[timed(&stage), first_piece(&stage)], rounds).await;
    [free, apart].concat().iter().map(Figures::wrong_keys).sum::<usize>() == 0
}

async fn in_both_layouts(stage: &Stage, kinds: &[Kind], rounds: usize) -> (Vec<Figures>, Vec<Figures>) {
    println!("Everything where there is room:\n");
    let free = phase(stage, Layout::Free, Way::Plain, kinds, rounds).await;
    print_latency(&free);
    println!("\nEach gateway on its own CPU:\n");
    let apart = phase(stage, Layout::Apart, Way::Plain, kinds, rounds).await;
    print_latency(&apart);
    (free, apart)
}

fn closed(stage: &Stage, connections: &[usize]) -> Vec<Kind> {
    let seconds = stage.settings.seconds;
    connections.iter().map(|&connections| Kind::Closed { connections, seconds }).collect()
}

fn timed(stage: &Stage) -> Kind {
    let seconds = stage.settings.seconds;
    Kind::Timed { connections: TIMED_CONNECTIONS, per_second: PER_SECOND, seconds }
}

fn first_piece(stage: &Stage) -> Kind {
    Kind::FirstPiece { streams: STREAMS_AT_A_TIME, seconds: stage.settings.seconds }
}

/// Starts everything anew, and measures.
async fn phase(stage: &Stage, layout: Layout, way: Way, kinds: &[Kind], rounds: usize) -> Vec<Figures> {
    let provider = stage.provider(layout);
    let mut peers = start(&stage.place(&provider, layout, way), &stage.deployment).await;
    if !matches!(kinds, [Kind::Closed { .. }, ..]) || way == Way::Tls {
        peers.retain(|peer| peer.name != SAME_TOKENS);
    }
    in_rounds(stage, &provider, &peers, kinds, rounds).await
}

fn describe(stage: &Stage, rounds: usize) {
    let Settings { seconds, users, .. } = &stage.settings;
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    println!(
        "{} CPUs ({}), {users} users, {rounds} × {seconds} s of each, medians",
        Layout::Free.measured().len(),
        model.map_or("of an unknown kind", |(_, name)| name)
    );
}

/// `figures` has the closed loops first, one for each of `connections`.
fn print_throughput(figures: &[Figures], connections: &[usize]) {
    let mut head = vec![String::new()];
    for connections in connections {
        head.extend([format!("req/s, {connections} conn."), "× nginx".into()]);
    }
    let more = [
        "CPU µs/req",
        "× nginx",
        "its CPU busy %",
        "PostgreSQL CPU µs/req",
        "MB idle",
        "MB at work",
        "bad answers",
    ];
    head.extend(more.map(str::to_owned));
    let mut table = Table::new(head);
    let limit = figures.iter().find(|one| one.name == LIMIT);
    for one in figures {
        let mut row = vec![one.name.to_owned()];
        for at in 0..connections.len() {
            let rate = |one: &Figures| median(one.each(at, Measured::per_second));
            row.extend([number(rate(one), 0), ratio(rate(one), limit.and_then(rate))]);
        }
        let is_gateway = one.name != DIRECT;
        let cpu = |one: &Figures| median(one.each(0, |measured| measured.cpu_us)).filter(|_| is_gateway);
        row.extend([number(cpu(one), 1), ratio(cpu(one), limit.and_then(cpu))]);
        let busy = median(one.each(0, Measured::cpu_share)).filter(|_| is_gateway);
        row.push(number(busy.map(|share| share * 100.0), 0));
        let database = median(one.each(0, |measured| measured.database_cpu_us));
        row.push(number(database.filter(|_| matches!(one.name, KEYFOLD | OTHER)), 1));
        let at_work = (0..connections.len()).flat_map(|at| one.each(at, |measured| measured.memory_mb));
        let at_work = worst(at_work.collect()).filter(|_| is_gateway);
        row.extend([number(one.idle_mb, 1), number(at_work, 1), one.bad().to_string()]);
        table.add(row);
    }
    table.print();
}

/// `figures` has the timed load and the first pieces last.
fn print_latency(figures: &[Figures]) {
    let head = [
        "",
        "p50 µs",
        "p99 µs",
        "added p50",
        "× nginx",
        "added p99",
        "× nginx",
        "first piece p50",
        "added",
        "× nginx",
        "first piece p99",
        "bad answers",
    ];
    let mut table = Table::new(head.map(str::to_owned).to_vec());
    let direct = figures.iter().find(|one| one.name == DIRECT);
    let limit = figures.iter().find(|one| one.name == LIMIT);
    for one in figures {
        let first = one.kinds() - 1;
        let timed = first - 1;
        let p50 = |one: &Figures, at| one.each(at, |measured| measured.outcome.p50_us);
        let p99 = |one: &Figures, at| one.each(at, |measured| measured.outcome.p99_us);
        let more = |of: &dyn Fn(&Figures, usize) -> Vec<f64>, one: &Figures, at| {
            direct
                .filter(|direct| direct.name != one.name)
                .and_then(|direct| added(&of(one, at), &of(direct, at)))
        };
        let (m50, m99, mfirst) = (more(&p50, one, timed), more(&p99, one, timed), more(&p50, one, first));
        table.add(vec![
            one.name.to_owned(),
            number(median(p50(one, timed)), 0),
            number(median(p99(one, timed)), 0),
            number(m50, 0),
            ratio(m50, limit.and_then(|limit| more(&p50, limit, timed))),
            number(m99, 0),
            ratio(m99, limit.and_then(|limit| more(&p99, limit, timed))),
            number(median(p50(one, first)), 0),
            number(mfirst, 0),
            ratio(mfirst, limit.and_then(|limit| more(&p50, limit, first))),
            number(median(p99(one, first)), 0),
            one.bad().to_string(),
        ]);
    }
    table.print();
}

/// Each peer fresh, for what was allocated before would hide what a stream takes. Returns how many streams Keyfold
/// was asked for.
async fn open_streams(stage: &Stage) -> usize {
    let head = [
        "",
        "streams open",
        "MB before",
        "MB with them",
        "KB per stream",
        "CPU %",
        "ms until cancelled",
        "bad answers",
    ];
    let mut table = Table::new(head.map(str::to_owned).to_vec());
    let layout = Layout::Free;
    let provider = stage.provider(layout);
    let mut asked = 0;
    for peer in start(&stage.place(&provider, layout, Way::Plain), &stage.deployment).await {
        if matches!(peer.name, DIRECT | SAME_TOKENS | OTHER) {
            continue;
        }
        let before = peer.id.map_or(0.0, memory_mb);
        let streams = if matches!(peer.name, LIMIT | KEYFOLD) { stage.most_streams() } else { FEW_STREAMS };
        let HeldStreams { open, memory_mb, cpu_share, bad } = hold(&provider, &peer, streams).await;
        let cancelled = leave(&provider, &peer, FEW_STREAMS).await;
        if peer.name == KEYFOLD {
            // And the one that showed that it was ready.
            asked = open + FEW_STREAMS + 1;
        }
        table.add(vec![
            peer.name.to_owned(),
            open.to_string(),
            number(Some(before), 1),
            number(Some(memory_mb), 1),
            number((open > 0).then(|| (memory_mb - before) * 1024.0 / count(open)), 1),
            number(Some(cpu_share * 100.0), 0),
            number(cancelled, 0),
            bad.to_string(),
        ]);
    }
    table.print();
    let possible = stage.most_streams();
    if possible < stage.settings.streams {
        println!(
            "\nAsked for {}; this system lets a process open files for {possible}, of two connections each.",
            stage.settings.streams
        );
    }
    asked
}

/// Whether each use of a key is in the audit log: one row before the provider was called, and one at the end.
async fn report_audit(stage: &Stage, figures: &[Figures], streams: usize) {
    let keyfold: Vec<_> = figures.iter().filter(|one| matches!(one.name, KEYFOLD | OTHER)).collect();
    if keyfold.is_empty() {
        return;
    }
    let answers: usize = keyfold.iter().map(|one| one.answers()).sum::<usize>() + streams;
    let (begun, ended) = stage.deployment.recorded_uses().await;
    let slowest = worst(keyfold.iter().flat_map(|one| one.drained()).collect());
    println!(
        "\nKeyfold's audit log, after {answers} answers: {begun} uses of keys begun, {ended} ended; in the database at most {} s after a load",
        or_dash(slowest.map(|seconds| format!("{seconds:.1}")))
    );
}
