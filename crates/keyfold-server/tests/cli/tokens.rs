//! `keyfold token …`: tokens of backend services.

use std::io::Write;

use serde_json::{Value, json};

use crate::harness::{Answer, Folder, Production, Server, gemini};

/// The token that a command printed: alone on standard output.
#[track_caller]
fn printed(done: &crate::harness::Done) -> String {
    let token = done.ok().strip_suffix('\n').unwrap().to_owned();
    assert!(token.starts_with("kfs_") && token.len() == 64, "{done:?}");
    assert!(!done.err.contains(&token), "{done:?}");
    token
}

#[track_caller]
fn listed(production: &Production) -> Vec<Value> {
    production.keyfold(&["token", "list", "--json"]).run().json()["tokens"].as_array().unwrap().clone()
}

fn get(server: &Server, path: &str, token: &str) -> Answer {
    Answer::to(server.request("GET", path).bearer_auth(token)).unwrap()
}

#[test]
fn a_token_is_printed_once_alone_and_listed_without_it() {
    let production = Production::new();
    assert_eq!(production.keyfold(&["token", "list"]).run().ok(), "None.\n");
    assert!(listed(&production).is_empty());
    let create = [
        "token",
        "create",
        "billing",
        "--scope",
        "keys:read",
        "--scope",
        "gateway",
        "--user",
        "user_b",
        "--user",
        "user_a",
        "--provider",
        "gemini",
        "--expires",
        "90d",
    ];
    let done = production.keyfold(&create).run();
    let token = printed(&done);
    for part in ["billing", "keys:read,gateway", "user_a, user_b", "gemini", "until 20", "shown this once"] {
        assert!(done.err.contains(part), "{part:?} is missing in: {}", done.err);
    }
    // Several after one option, and no limits at all.
    let done = production
        .keyfold(&[
            "token",
            "create",
            "worker",
            "--scope",
            "gateway",
            "--user",
            "u1",
            "u2",
            "--provider",
            "exa",
            "gemini",
        ])
        .run();
    printed(&done);
    printed(&production.keyfold(&["token", "create", "all", "--scope", "keys:read"]).run());

    let tokens = listed(&production);
    let of = |name: &str| tokens.iter().find(|token| token["name"] == name).unwrap();
    let billing = of("billing");
    assert_eq!(billing["scopes"], json!(["keys:read", "gateway"]));
    assert_eq!(
        (&billing["users"], &billing["providers"]),
        (&json!(["user_a", "user_b"]), &json!(["gemini"]))
    );
    assert_eq!((&billing["standing"], &billing["last_used_at"]), (&json!("active"), &Value::Null));
    assert!(billing["expires_at"].is_string() && billing["revoked_at"].is_null(), "{billing}");
    assert_eq!(
        (&of("worker")["users"], &of("worker")["providers"]),
        (&json!(["u1", "u2"]), &json!(["exa", "gemini"]))
    );
    let all = of("all");
    assert_eq!(
        (&all["users"], &all["providers"], &all["expires_at"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );

    let list = production.keyfold(&["token", "list"]).run();
    list.does_not_tell(&token).does_not_tell(&token[4..14]);
    for part in
        ["billing", "active", "keys:read,gateway", "only users: user_a, user_b", "only providers: gemini"]
    {
        assert!(list.ok().contains(part), "{part:?} is missing in: {}", list.out);
    }
    let rows = production.column("SELECT service_tokens::TEXT FROM service_tokens");
    assert!(rows.iter().all(|row| !row.contains(&token[4..14])), "{rows:?}");
}

#[test]
fn a_token_is_revoked_by_name_or_id() {
    let production = Production::new();
    let token = printed(&production.keyfold(&["token", "create", "one", "--scope", "keys:read"]).run());
    printed(&production.keyfold(&["token", "create", "two", "--scope", "keys:read"]).run());
    let id = listed(&production)[1]["id"].to_string();
    let done = production.keyfold(&["token", "revoke", "one"]).run();
    assert!(done.ok().contains("Revoked the service token one"), "{done:?}");
    production.keyfold(&["token", "revoke", &id]).run().ok();
    assert!(listed(&production).iter().all(|token| token["standing"] == "revoked"));
    let again = production.keyfold(&["token", "revoke", "one"]).run();
    assert!(again.ok().contains("was revoked already"), "{again:?}");
    for nothing in ["three", "999"] {
        production
            .keyfold(&["token", "revoke", nothing])
            .run()
            .refused_with(&["no service token", "token list"]);
    }
    let given = production.keyfold(&["token", "revoke", &token]).run();
    given.refused_with(&["no service token"]);
    given.does_not_tell(&token);
}

#[test]
fn what_cannot_be_is_refused_in_words() {
    let production = Production::new();
    let wrong_usage: [&[&str]; 9] = [
        &["token"],
        &["token", "create"],
        &["token", "create", "x"],
        &["token", "create", "--scope", "keys:read"],
        &["token", "create", "x", "--scope", "keys:write"],
        &["token", "create", "x", "--scope", "keys:read", "--expires", "soon"],
        &["token", "create", "x", "--scope", "keys:read", "--expires", "0d"],
        &["token", "create", "x", "--scope", "keys:read", "--expires", "99999d"],
        &["token", "revoke"],
    ];
    for arguments in wrong_usage {
        production.keyfold(arguments).run().wrong_usage();
    }
    let refused: [(&[&str], &[&str]); 5] = [
        (&["token", "create", "x", "--scope", "keys:read", "--provider", "nothing"], &["gemini"]),
        (&["token", "create", "x", "--scope", "keys:read", "--user", ""], &["user_id", "empty"]),
        (&["token", "create", "x", "--scope", "keys:read", "--user", "a\nb"], &["user_id", "control"]),
        (&["token", "create", "1x", "--scope", "keys:read"], &["`name`", "begin with a letter"]),
        (&["token", "create", "a b", "--scope", "keys:read"], &["`name`"]),
    ];
    for (arguments, parts) in refused {
        let done = production.keyfold(arguments).run();
        done.refused_with(parts);
        assert_eq!(done.out, "", "{arguments:?}");
    }
    assert!(listed(&production).is_empty());
    printed(&production.keyfold(&["token", "create", "x", "--scope", "keys:read"]).run());
    let taken = production.keyfold(&["token", "create", "x", "--scope", "gateway"]).run();
    taken.refused_with(&["`name`", "another service token"]);
}

#[test]
fn a_token_works_beside_a_running_server_until_it_is_revoked_and_is_never_logged() {
    let folder = Folder::new();
    folder.has_key("gemini", &gemini(1));
    let server = folder.keyfold(&["serve"]).env("KEYFOLD_LOG", "trace").serve();
    let token = printed(&folder.keyfold(&["token", "create", "billing", "--scope", "keys:read"]).run());
    let path = "/api/service/users/local/keys/gemini";
    let answer = get(&server, path, &token);
    assert_eq!((answer.status, answer.body), (200, json!({ "keys": { "gemini": gemini(1) } })));
    get(&server, &format!("/healthz?key={token}"), &token);
    get(&server, &format!("/api/keys?key={token}"), &token).problem(400, "invalid_request");
    get(&server, "/api/keys", &token).problem(403, "forbidden");
    folder.keyfold(&["token", "revoke", "billing"]).run().ok();
    assert!(get(&server, path, &token).problem(401, "unauthenticated").contains("revoked"));
    let done = server.stop();
    assert!(done.err.contains("service=\"billing\"") || done.err.contains("service=billing"), "{}", done.err);
    done.does_not_tell(&token).does_not_tell(&token[4..14]);
    assert!(folder.files_with(&token[4..14]).is_empty());
}

#[test]
fn a_token_that_could_not_be_printed_does_not_count() {
    let production = Production::new();
    let standing = |name: &str| {
        let tokens = listed(&production);
        tokens.iter().find(|token| token["name"] == name).unwrap()["standing"].clone()
    };
    // A full disk; and somebody who reads no more: it is gone before the command begins.
    for (name, how) in [("full", "read go; exec \"$@\" >/dev/full"), ("gone", "read go; exec \"$@\"")] {
        let create = ["token", "create", name, "--scope", "gateway"];
        let start = production.folder.keyfold_through(&["sh", "-c", how, "sh"], &create);
        let mut process = production.configured(start).spawn();
        drop(process.stdout());
        process.stdin().write_all(b"go\n").unwrap();
        let done = process.end();
        assert_eq!(done.status.code(), Some(1), "{done:?}");
        assert!(done.err.contains("could not be printed") && done.err.contains("revoked"), "{done:?}");
        assert_eq!(standing(name), "revoked", "{done:?}");
    }
}
