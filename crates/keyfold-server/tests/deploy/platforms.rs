//! Render, Railway, Heroku and Compose: what their files set, and what the platforms add, starts Keyfold in production.

use std::fs;
use std::process::Command;

use data_encoding::{BASE64, HEXLOWER};
use keyfold::clock::{Random, SystemRandom};

use crate::files::{Given, Variables, heroku, path, railway, render};
use crate::harness::gemini;
use crate::site::{PUBLIC_URL, Site};

/// `clerk.localhost$`, as a publishable key has it. Nothing answers there; Keyfold starts all the same.
const CLERK_KEY: &str = "pk_test_Y2xlcmsubG9jYWxob3N0JA==";

/// Started with the platform's own marks, and with a master key in the form that it makes.
#[track_caller]
fn starts(variables: Variables, marks: &[(&str, &str)], master_key: &str) {
    let site = Site::new();
    let mut start = site.folder().keyfold(&["serve"]);
    for (name, value) in marks {
        start = start.env(name, value);
    }
    let mut has_master_key = false;
    for (name, given) in variables {
        let value = match (given, name.as_str()) {
            (Given::Fixed(value), _) => value,
            (Given::Database, _) => site.production.database_url(),
            (Given::Made | Given::Asked, "KEYFOLD_MASTER_KEY") => {
                has_master_key = true;
                master_key.to_owned()
            }
            (Given::Asked, "KEYFOLD_PUBLIC_URL") => PUBLIC_URL.to_owned(),
            (Given::Asked, "CLERK_PUBLISHABLE_KEY") => CLERK_KEY.to_owned(),
            (given, _) => panic!("{name} is {given:?}"),
        };
        start = start.env(&name, &value);
    }
    assert!(has_master_key);
    let server = start.serve();
    assert_eq!(server.get("/readyz").status, 200);
    let config = server.get("/api/config").body;
    assert_eq!((&config["mode"], &config["auth"]["kind"]), (&"production".into(), &"clerk".into()));
    assert_eq!(server.get("/api/keys").status, 401);
    // Nothing that goes with the instance.
    assert!(site.folder().files().is_empty(), "{:?}", site.folder().files());
    let done = server.stop();
    done.does_not_tell(master_key);
}

fn random_bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    SystemRandom.fill(&mut bytes).unwrap();
    bytes
}

#[test]
fn what_render_sets_starts_it() {
    // "A base64-encoded 256-bit value".
    let master_key = BASE64.encode(&random_bytes());
    starts(render(), &[("RENDER", "true"), ("RENDER_SERVICE_TYPE", "web")], &master_key);
}

#[test]
fn what_railway_sets_starts_it() {
    let master_key = HEXLOWER.encode(&random_bytes());
    starts(railway(), &[("RAILWAY_ENVIRONMENT_NAME", "production")], &master_key);
}

#[test]
fn what_heroku_sets_starts_it() {
    // A generated secret has 64 hex digits.
    let master_key = HEXLOWER.encode(&random_bytes());
    starts(heroku(), &[("DYNO", "web.1")], &master_key);
}

#[test]
fn a_reference_that_railway_did_not_resolve_is_told() {
    let site = Site::new();
    let start = site.serve().env("DATABASE_URL", "${{Postgres.DATABASE_URL}}");
    start.refused_start().refused_with(&["DATABASE_URL"]);
}

#[test]
fn the_secrets_that_are_made_for_compose_start_it_and_stay() {
    let site = Site::new();
    let at = site.folder().path("secrets");
    let make = || {
        let made = Command::new(path("deploy/make-secrets.sh")).arg(&at).output().unwrap();
        assert!(made.status.success(), "{made:?}");
    };
    make();
    let master_key = site.folder().read("secrets/master_key");
    let address = site.folder().read("secrets/database_url");
    let password = site.folder().read("secrets/postgres_password");
    assert_eq!(
        address.trim(),
        format!("postgres://keyfold:{}@postgres:5432/keyfold?sslmode=disable", password.trim())
    );
    // Containers' users read the files; nobody else on this machine comes so far.
    assert_eq!((site.folder().mode("secrets"), site.folder().mode("secrets/master_key")), (0o700, 0o444));
    make();
    assert_eq!(site.folder().read("secrets/master_key"), master_key);

    // PostgreSQL is elsewhere in a test.
    let database = site.folder().path("database_url");
    fs::write(&database, format!("{}\n", site.production.database_url())).unwrap();
    let server = site
        .signed_in(site.folder().keyfold(&["serve"]))
        .env("DEPLOY_ENV", "compose")
        .env("DATABASE_URL_FILE", &database.display().to_string())
        .env("KEYFOLD_MASTER_KEY_FILE", &at.join("master_key").display().to_string())
        .serve();
    site.is_in_use(&server, &gemini(1));
    server.stop().does_not_tell(master_key.trim());
}
