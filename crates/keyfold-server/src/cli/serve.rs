//! `keyfold serve`

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use keyfold::clock::SystemRandom;
use keyfold::settings::DatabaseSetting;
use keyfold::state_dir::StateDir;
use keyfold::{Keyfold, Parts};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::{Failure, Start, build_runtime};
use crate::app::App;
use crate::config::{Config, ServerConfig};
use crate::logging;
use crate::metrics::Metrics;
use crate::router::router;
use crate::serve::{Limits, serve as serve_connections};

/// How often the times of last use are written down.
const FLUSH_EVERY: Duration = Duration::from_secs(5);
/// How often replaced keys are looked for whose day is over; the first time is at start.
const WIPE_EVERY: Duration = Duration::from_secs(600);

pub(super) fn serve(start: Start) -> Result<(), Failure> {
    let config = Config::for_serving(start.environment, &start.dir)?;
    logging::start(&config.server.log);
    let runtime = build_runtime(Builder::new_multi_thread())?;
    runtime.block_on(run(config))
}

async fn run(config: Config) -> Result<(), Failure> {
    let Config { settings, server, process } = config;
    let _lock = StateDir::prepare(&settings.state_dir)?.lock_for_serving()?;
    let keyfold = Keyfold::open(&settings, process, Parts::default()).await?;
    let listener = listen(server.listen).await?;
    let address = listener.local_addr()?;
    let server = ServerConfig { listen: address, ..server };
    let app = App::new(keyfold.clone(), &server, Arc::new(SystemRandom));

    let (stop, stopped) = watch::channel(false);
    let metrics = start_metrics(server.metrics, app.metrics.clone(), stopped.clone()).await;
    let flushing = tokio::spawn(flush_regularly(keyfold.clone(), stopped.clone()));
    // Listened for before readiness is told, so that whoever waits for that may stop it at once.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!(
            "stopping: answers under way may end, new ones are refused; a second signal ends them"
        );
        let _ = stop.send(true);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("stopped at the second signal; answers under way were cut off");
        std::process::exit(1);
    });

    tracing::info!(
        mode = settings.mode.as_str(),
        database = match &settings.database {
            DatabaseSetting::Sqlite(path) => path.display().to_string(),
            DatabaseSetting::Postgres => "PostgreSQL".into(),
        },
        backend_env = %settings.backend_env_file.display(),
        frontend_env = settings.frontend_env_file.as_ref().map(|path| path.display().to_string()),
        "keyfold {}", env!("CARGO_PKG_VERSION")
    );
    tracing::info!("ready at http://{address}");
    serve_connections(listener, router(&app), Limits::default(), stop_asked(stopped)).await;
    let _ = flushing.await;
    if let Some(metrics) = metrics {
        let _ = metrics.await;
    }
    drop(app);
    keyfold.close().await;
    tracing::info!("stopped");
    Ok(())
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        Failure::new(format!(
            "cannot listen on {address}: {error}. Stop the program that uses this port, or choose another one with PORT."
        ))
    })
}

/// Metrics on a listener of their own; a busy port is no reason not to serve.
async fn start_metrics(
    address: Option<SocketAddr>,
    metrics: Metrics,
    stopped: watch::Receiver<bool>,
) -> Option<tokio::task::JoinHandle<()>> {
    let address = address?;
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(
                "metrics are not served: cannot listen on {address}: {error}; choose another address with KEYFOLD_METRICS_ADDR, or `off`"
            );
            return None;
        }
    };
    let text = move || {
        let text = metrics.text();
        async { ([("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")], text) }
    };
    let router = Router::new().route("/metrics", get(text));
    Some(tokio::spawn(async move {
        serve_connections(listener, router, Limits::default(), stop_asked(stopped)).await;
    }))
}

async fn flush_regularly(keyfold: Keyfold, stopped: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(FLUSH_EVERY);
    let mut wipes = tokio::time::interval(WIPE_EVERY);
    let stopped = stop_asked(stopped);
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            _ = ticks.tick() => keyfold.flush().await,
            _ = wipes.tick() => keyfold.wipe_expired_versions().await,
            () = &mut stopped => return,
        }
    }
}

async fn stop_asked(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it the reason to go on.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
