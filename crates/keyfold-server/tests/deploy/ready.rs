//! `keyfold ready`, the image's health check.

use crate::harness::Folder;
use crate::site::Site;

#[test]
fn it_ends_well_when_the_server_is_ready_wherever_that_listens() {
    let site = Site::new();
    for host in ["127.0.0.1", "0.0.0.0", "::"] {
        let server = site.serve().env("HOST", host).serve();
        let port = server.address.port().to_string();
        let ready = || site.folder().keyfold(&["ready"]).env("PORT", &port).env("HOST", host);
        // What else is missing is the server's to say.
        assert_eq!(ready().env("DEPLOY_ENV", "docker").run().ok(), "ready\n", "{host}");
        server.stop();
        ready().env("DEPLOY_ENV", "docker").run().refused_with(&["nothing answers", &port]);
    }
}

#[test]
fn it_fails_with_the_servers_words_when_that_is_not_ready() {
    let site = Site::new();
    let server = site.serve().serve();
    let port = server.address.port().to_string();
    site.production.sql("ALTER TABLE root_secrets RENAME TO gone");
    let done = site.folder().keyfold(&["ready"]).env("PORT", &port).env("DEPLOY_ENV", "docker").run();
    done.refused_with(&["not ready: 50", "request_id"]);
}

#[test]
fn in_local_mode_it_brings_the_token() {
    let folder = Folder::new();
    let token = "TEST-local-token-TEST-local-token";
    let server = folder.keyfold(&["serve"]).env("KEYFOLD_LOCAL_TOKEN", token).serve();
    let port = server.address.port().to_string();
    let ready = || folder.keyfold(&["ready"]).env("PORT", &port);
    let done = ready().env("KEYFOLD_LOCAL_TOKEN", token).run();
    assert_eq!(done.does_not_tell(token).ok(), "ready\n");
    ready().run().refused_with(&["not ready: 401"]);
    folder.keyfold(&["ready"]).env("PORT", "many").run().refused_with(&["HOST and PORT"]);
}
