//! Where Keyfold's time goes: `perf` looks at it while it does as much as it can.

use std::process::Stdio;

use crate::load::Kind;
use crate::peers::{KEYFOLD, Way, start};
use crate::processes::Layout;
use crate::settings::Settings;
use crate::stage::Stage;

const CONNECTIONS: usize = 32;
/// Lines of the report that are shown.
const SHOWN: usize = 90;

/// False if there was nothing to look at.
pub(crate) async fn run(mut settings: Settings) -> bool {
    settings.only = Some(vec![KEYFOLD.to_owned()]);
    let seconds = settings.seconds;
    let stage = Stage::new(settings).await;
    let provider = stage.provider(Layout::Apart);
    let peers = start(&stage.place(&provider, Layout::Apart, Way::Plain), &stage.deployment).await;
    let Some(peer) = peers.first() else { return false };
    let Some(id) = peer.id else { return false };
    let kind = |seconds| Kind::Closed { connections: CONNECTIONS, seconds };
    stage.measure(&provider, peer, kind(2.0)).await;
    let data = stage.folder().join("perf.data");
    let mut record = tokio::process::Command::new("perf");
    record.args(["record", "-g", "-F", "1999", "-o"]).arg(&data).args(["-p", &id.to_string()]);
    record.args(["--", "sleep", &seconds.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
    let recorded = record.kill_on_drop(true).status();
    let (measured, recorded) = tokio::join!(stage.measure(&provider, peer, kind(seconds)), recorded);
    println!(
        "{:.0} requests/s, {:.1} µs of CPU per request, {:.1} µs of PostgreSQL's, {} bad answers",
        measured.per_second(),
        measured.cpu_us,
        measured.database_cpu_us,
        measured.outcome.bad()
    );
    if !recorded.is_ok_and(|status| status.success()) {
        println!("perf is not there, or may not look: no profile");
        return false;
    }
    for arguments in [&["--sort", "symbol,dso"][..], &["--sort", "dso"]] {
        let mut report = std::process::Command::new("perf");
        report
            .arg("report")
            .arg("-i")
            .arg(&data)
            .args(["--no-children", "--stdio", "-g", "none"])
            .args(arguments);
        let output = report.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        println!();
        lines.take(SHOWN).for_each(|line| println!("{}", line.trim_end()));
    }
    true
}
