//! `keyfold serve`

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use keyfold::auth::REFRESH_EVERY;
use keyfold::clock::SystemRandom;
use keyfold::mode::Mode;
use keyfold::settings::{DatabaseAccess, Problems, Settings, SinkSetting, Sources};
use keyfold::state_dir::StateDir;
use keyfold::{Keyfold, Parts};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::{Failure, Start, build_runtime};
use crate::app::App;
use crate::config::{Config, ServerConfig};
use crate::lane::serve_app;
use crate::logging;
use crate::metrics::Metrics;
use crate::serve::{Limits, raise_descriptor_limit, serve as serve_connections};

/// How often the times of last use are written down.
const FLUSH_EVERY: Duration = Duration::from_secs(5);
/// The most connections at once to the listener of the metrics.
const METRICS_CONNECTIONS: usize = 16;
/// How often replaced keys are looked for whose day is over; the first time is at start.
const WIPE_EVERY: Duration = Duration::from_secs(600);

/// How often checks of stored keys are looked for that are due.
const RECHECK_EVERY: Duration = Duration::from_secs(60);
/// How often old rows of the audit log are looked for; the first time is at start.
const LOOK_AFTER_AUDIT_EVERY: Duration = Duration::from_secs(24 * 3600);

pub(super) fn serve(start: &Start) -> Result<(), Failure> {
    let runtime = build_runtime(Builder::new_multi_thread())?;
    let config = match Config::for_serving(start.environment.clone(), &start.dir) {
        Ok(config) => config,
        Err(mut error) => {
            runtime.block_on(add_what_the_database_says(start, &mut error.0));
            return Err(error.into());
        }
    };
    logging::start(&config.server.log);
    raise_descriptor_limit();
    runtime.block_on(run(config))
}

/// All reasons are told at once, so the database is looked at whatever else is wrong.
async fn add_what_the_database_says(start: &Start, problems: &mut Problems) {
    // What is wrong with these was told already.
    let mut told = Problems::default();
    let Some(sources) = Sources::read(start.environment.clone(), &start.dir, &mut told) else { return };
    let Some(access) = DatabaseAccess::read(&sources) else { return };
    match keyfold::check_database(&access).await {
        Ok(()) => {}
        Err(error @ keyfold::Error::MasterKey(_)) => {
            problems.add("KEYFOLD_MASTER_KEY", "does not fit the database", error.to_string());
        }
        Err(error) => problems.add("DATABASE_URL", "names a database that cannot be used", error.to_string()),
    }
}

async fn run(config: Config) -> Result<(), Failure> {
    let Config { settings, server, process } = config;
    // In production the state directory has the audit spool only, of which each process has its own.
    let _lock = match settings.mode {
        Mode::Local => Some(StateDir::prepare(&settings.state_dir)?.lock_for_serving()?),
        Mode::Production => None,
    };
    let keyfold = Keyfold::open(&settings, process, Parts::default()).await?;
    let listener = listen(server.listen).await?;
    keyfold.limits().connect().await;
    let address = listener.local_addr()?;
    let server = ServerConfig { listen: address, ..server };
    let app = App::new(keyfold.clone(), &server, Arc::new(SystemRandom));

    let (stop, stopped) = watch::channel(false);
    let metrics = start_metrics(server.metrics, app.metrics.clone(), stopped.clone()).await;
    let flushing = tokio::spawn(flush_regularly(keyfold.clone(), stopped.clone()));
    let rechecking = tokio::spawn(recheck_regularly(keyfold.clone(), stopped.clone()));
    let caring = tokio::spawn(look_after_audit_log_daily(keyfold.clone(), stopped.clone()));
    let hang_up = settings.audit.sinks.iter().any(|sink| matches!(sink, SinkSetting::File(_)));
    // Otherwise a terminal that is closed ends what runs in it, as usual.
    let reopening = if hang_up {
        let hang_up = signal(SignalKind::hangup())?;
        Some(tokio::spawn(reopen_at_hang_up(keyfold.clone(), hang_up, stopped.clone())))
    } else {
        None
    };
    // Nobody waits for the issuer: it may be away while Keyfold starts.
    let refreshing = tokio::spawn(refresh_key_set_regularly(app.clone(), stopped.clone()));
    app.pages.prepare();
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

    record_start(&keyfold, &settings, &server).await;
    let is_local = settings.mode == Mode::Local;
    tracing::info!(
        mode = settings.mode.as_str(),
        database = %settings.database,
        backend_env = is_local.then(|| settings.backend_env_file.display().to_string()),
        frontend_env = settings.frontend_env_file.filter(|_| is_local).map(|path| path.display().to_string()),
        "keyfold {}", env!("CARGO_PKG_VERSION")
    );
    if let Some(issuer) = &server.issuer {
        tracing::info!(issuer = issuer.issuer, "tokens of this issuer are verified");
        if settings.mode == Mode::Production && issuer.is_clerk_for_development() {
            tracing::warn!(
                "CLERK_PUBLISHABLE_KEY is a test key (pk_test_): its users are those of a development instance of Clerk; use the production instance's key (pk_live_)"
            );
        }
    }
    tracing::info!("ready at http://{address}");
    serve_app(listener, &app, Limits::default(), stop_asked(stopped)).await?;
    let _ = flushing.await;
    let _ = rechecking.await;
    let _ = caring.await;
    if let Some(reopening) = reopening {
        let _ = reopening.await;
    }
    let _ = refreshing.await;
    if let Some(metrics) = metrics {
        let _ = metrics.await;
    }
    drop(app);
    keyfold.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Which settings count from now on, without the secret ones.
async fn record_start(keyfold: &Keyfold, settings: &Settings, server: &ServerConfig) {
    let note = serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "mode": settings.mode.as_str(),
        "database": settings.database.to_string(),
        "listen": server.listen.to_string(),
        "issuer": server.issuer.as_ref().map(|issuer| &issuer.issuer),
        "audit": keyfold.audit_durability().as_str(),
        "audit_retention_days": settings.audit.retention.map(|keep| keep.as_hours() / 24),
        "deleted_users_days": settings.audit.deleted_users.map(|keep| keep.as_hours() / 24),
        "master_keys": keyfold.master_key_ids(),
    });
    if let Err(error) = keyfold.record_start(&note.to_string()).await {
        tracing::warn!(cause = error.cause(), "the start was not written into the audit log");
    }
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
        let limits = Limits { connections: METRICS_CONNECTIONS, ..Limits::default() };
        serve_connections(listener, router, limits, stop_asked(stopped)).await;
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
            () = keyfold.much_usage_waits() => keyfold.flush().await,
            _ = wipes.tick() => keyfold.wipe_expired_versions().await,
            () = &mut stopped => return,
        }
    }
}

/// Checks under way at the stop are dropped: another replica makes them, or the next start.
async fn recheck_regularly(keyfold: Keyfold, stopped: watch::Receiver<bool>) {
    let rechecks = keyfold.rechecks();
    let mut ticks = tokio::time::interval(RECHECK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let checking = async {
        let mut has_begun = false;
        loop {
            ticks.tick().await;
            has_begun = has_begun || rechecks.begin().await.is_ok();
            if let Err(error) = rechecks.run_due().await {
                tracing::debug!(cause = error.cause(), "planned checks of keys were put off");
            }
        }
    };
    tokio::select! {
        () = checking => {}
        () = stop_asked(stopped) => {}
    }
}

async fn look_after_audit_log_daily(keyfold: Keyfold, stopped: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(LOOK_AFTER_AUDIT_EVERY);
    let caring = async {
        loop {
            ticks.tick().await;
            keyfold.look_after_audit_log().await;
        }
    };
    tokio::select! {
        () = caring => {}
        // Wherever it was: the next start goes on.
        () = stop_asked(stopped) => {}
    }
}

/// SIGHUP: the files of the audit log were moved away.
async fn reopen_at_hang_up(keyfold: Keyfold, mut hang_up: Signal, stopped: watch::Receiver<bool>) {
    let reopening = async {
        while hang_up.recv().await.is_some() {
            keyfold.reopen_audit_files();
            tracing::info!("the files of the audit log are opened anew");
        }
    };
    tokio::select! {
        () = reopening => {}
        () = stop_asked(stopped) => {}
    }
}

/// What goes wrong is logged where it does, and tried again for the next token.
async fn refresh_key_set_regularly(app: App, stopped: watch::Receiver<bool>) {
    let Some(verifier) = &app.verifier else { return };
    let mut ticks = tokio::time::interval(REFRESH_EVERY);
    // A process that stood still asks once, not once for every time that it missed.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let refreshing = async {
        loop {
            ticks.tick().await;
            let _ = verifier.refresh().await;
        }
    };
    tokio::select! {
        () = refreshing => {}
        () = stop_asked(stopped) => {}
    }
}

async fn stop_asked(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it the reason to go on.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
