//! The comparison: rounds, phases, tables.

use crate::load::Kind;
use crate::peers::{LIMIT, Way, start};
use crate::processes::{Layout, memory_mb};
use crate::settings::Settings;
use crate::stage::Stage;

const WARM_UP: f64 = 2.0;

/// One short round at 32 connections.
pub(crate) async fn quick(settings: Settings) {
    let stage = Stage::new(settings).await;
    let provider = stage.provider(Layout::Apart);
    let peers = start(&stage.place(&provider, Layout::Apart, Way::Plain), &stage.deployment).await;
    let kind = |seconds| Kind::Closed { connections: 32, seconds };
    let idle: Vec<f64> = peers.iter().map(|peer| peer.id.map_or(0.0, memory_mb)).collect();
    for peer in &peers {
        stage.measure(&provider, peer, kind(WARM_UP)).await;
    }
    let mut limit = None;
    println!(
        "{:<12} {:>9} {:>8} {:>8} {:>8} {:>9} {:>9} {:>7} {:>5}",
        "", "req/s", "x nginx", "CPU us", "x nginx", "PG us", "idle MB", "MB", "bad"
    );
    for (peer, idle) in peers.iter().zip(idle) {
        let measured = stage.measure(&provider, peer, kind(stage.settings.seconds)).await;
        let figures = (measured.per_second(), measured.cpu_us);
        if peer.name == LIMIT {
            limit = Some(figures);
        }
        let (rate, cpu) = limit.unwrap_or((f64::NAN, f64::NAN));
        println!(
            "{:<12} {:>9.0} {:>8.2} {:>8.1} {:>8.2} {:>9.1} {:>9.1} {:>7.1} {:>5}",
            peer.name,
            figures.0,
            figures.0 / rate,
            figures.1,
            figures.1 / cpu,
            measured.database_cpu_us,
            idle,
            measured.memory_mb,
            measured.outcome.bad()
        );
    }
}
