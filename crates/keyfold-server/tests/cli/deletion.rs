//! `keyfold users delete|reconcile` and `keyfold keys revoke`: who and what is gone for good.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use keyfold_standin::example_key;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::form_urlencoded;

use crate::harness::{Done, Folder, Production, gemini, runtime};

/// Test data.
const CLERK_SECRET: &str = "sk_test_0000000000000000000000000000000000000000";

/// Stands in for Clerk's backend API, as far as it is asked.
#[derive(Clone, Default)]
struct Clerk(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    users: Vec<String>,
    /// What the next requests are answered with instead.
    script: VecDeque<(u16, Value)>,
    /// The addresses that were asked for, and who asked.
    asked: Vec<String>,
    /// Whether lists leave out what single questions find.
    cuts_lists_short: bool,
}

impl Clerk {
    fn with_users(users: impl IntoIterator<Item = impl Into<String>>) -> (Self, SocketAddr) {
        let clerk = Self::default();
        clerk.known(|known| known.users = users.into_iter().map(Into::into).collect());
        let router = Router::new()
            .route("/v1/users", get(list))
            .route("/v1/users/{id}", get(one))
            .with_state(clerk.clone());
        let address = runtime().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(async move { axum::serve(listener, router).await });
            address
        });
        (clerk, address)
    }

    fn known<T>(&self, look: impl FnOnce(&mut Known) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    fn script(&self, answers: impl IntoIterator<Item = (u16, Value)>) {
        self.known(|known| known.script.extend(answers));
    }

    fn asked(&self) -> Vec<String> {
        self.known(|known| std::mem::take(&mut known.asked))
    }

    /// What comes instead of the usual answer.
    fn instead(&self, headers: &HeaderMap, asked: String) -> Option<Response> {
        self.known(|known| {
            known.asked.push(asked);
            if let Some((status, body)) = known.script.pop_front() {
                let again = [("retry-after", "0")];
                return Some(
                    (StatusCode::from_u16(status).unwrap(), again, body.to_string()).into_response(),
                );
            }
            let bearer = headers.get("authorization").map_or("", |value| value.to_str().unwrap());
            (bearer != format!("Bearer {CLERK_SECRET}"))
                .then(|| (StatusCode::UNAUTHORIZED, json!({"errors": []}).to_string()).into_response())
        })
    }
}

async fn list(State(clerk): State<Clerk>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let query = query.unwrap_or_default();
    if let Some(instead) = clerk.instead(&headers, format!("/v1/users?{query}")) {
        return instead;
    }
    let values = |name: &str| -> Vec<String> {
        let pairs = form_urlencoded::parse(query.as_bytes());
        pairs.filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).collect()
    };
    let limit = values("limit").first().map_or(10, |limit| limit.parse().unwrap());
    clerk.known(|known| {
        let asked = values("user_id");
        assert!(asked.len() <= 100, "Clerk takes no more");
        let mut found: Vec<Value> =
            asked.iter().filter(|id| known.users.contains(id)).map(|id| json!({ "id": id })).collect();
        found.truncate(if known.cuts_lists_short { 1 } else { limit });
        json!(found).to_string().into_response()
    })
}

async fn one(State(clerk): State<Clerk>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    if let Some(instead) = clerk.instead(&headers, format!("/v1/users/{id}")) {
        return instead;
    }
    if clerk.known(|known| known.users.contains(&id)) {
        return json!({ "id": id }).to_string().into_response();
    }
    (StatusCode::NOT_FOUND, not_found().to_string()).into_response()
}

fn not_found() -> Value {
    json!({ "errors": [{ "code": "resource_not_found", "message": "not found" }] })
}

/// Users with these ids, without keys.
fn has_users(production: &Production, ids: &[&str]) {
    production.keyfold(&["users", "list"]).run().ok();
    for id in ids {
        production
            .sql(&format!("INSERT INTO onboarding_sessions (user_id, data_key) VALUES ('{id}', 'none')"));
    }
}

fn users(production: &Production) -> Vec<String> {
    production.column("SELECT user_id FROM onboarding_sessions ORDER BY user_id")
}

fn deleted(production: &Production) -> Vec<String> {
    production.column("SELECT user_id FROM deleted_users ORDER BY user_id")
}

/// To whom this was done, and by whom, as the audit log says.
fn audited(production: &Production, action: &str) -> Vec<String> {
    production.column(&format!(
        "SELECT user_id || ' ' || actor FROM audit_events WHERE action = '{action}' AND outcome = 'ok' ORDER BY 1"
    ))
}

fn reconcile(production: &Production, clerk: SocketAddr, options: &[&str]) -> Done {
    let arguments = [&["users", "reconcile"], options].concat();
    let start = production.keyfold(&arguments).env("CLERK_SECRET_KEY", CLERK_SECRET);
    let done = start.env("KEYFOLD_CLERK_API_URL", &format!("http://{clerk}")).run();
    done.does_not_tell(CLERK_SECRET);
    done
}

#[test]
fn a_user_is_deleted_with_everything() {
    let production = Production::new();
    production.has_key("user_a", "gemini", &gemini(1));
    production.has_key("user_a", "gemini", &gemini(2));
    production.has_key("user_b", "gemini", &gemini(3));
    // Nobody is there to be asked.
    let done = production.keyfold(&["users", "delete", "user_a"]).run();
    done.wrong_usage();
    assert!(done.err.contains("--yes"), "{done:?}");
    assert_eq!(users(&production), ["user_a", "user_b"]);

    let done = production.keyfold(&["users", "delete", "user_a", "--yes"]).run();
    assert!(done.ok().starts_with("Deleted user_a."), "{done:?}");
    assert_eq!((users(&production), deleted(&production)), (vec!["user_b".into()], vec!["user_a".into()]));
    assert!(production.column("SELECT key FROM api_key_versions").is_empty());
    assert_eq!(production.listed("user_b", "gemini")["status"], "valid");
    let done = production.keyfold(&["keys", "list", "--user", "user_a"]).run();
    assert!(done.ok().contains("No API key found") && done.out.contains("user_a was deleted at"), "{done:?}");

    assert_eq!(audited(&production, "user.deleted"), ["user_a operator"]);
    let done = production.keyfold(&["users", "delete", "user_a", "--yes"]).run();
    assert!(done.ok().starts_with("user_a was deleted already, at "), "{done:?}");
    let done = production.keyfold(&["users", "delete", "user_x", "--yes"]).run();
    done.refused_with(&["There is no user user_x", "keyfold users list"]);
    assert_eq!(deleted(&production), ["user_a"]);
}

#[test]
fn a_person_at_a_terminal_is_asked_first() {
    let production = Production::new();
    production.has_key("user_a", "gemini", &gemini(1));
    let answered = |answer: &str| {
        // `script` gives it a terminal.
        let wrapper = ["sh", "-c", "exec script -qec \"$0 $*\" /dev/null"];
        let start = production.folder.keyfold_through(&wrapper, &["users", "delete", "user_a"]);
        production.configured(start).stdin(answer).run()
    };
    for no in ["n\n", "\n", "yess\n"] {
        let done = answered(no);
        assert_eq!(done.status.code(), Some(1), "{done:?}");
        assert!(done.out.contains("Delete user_a with all keys? This cannot be undone. [y/N]"), "{done:?}");
        assert!(done.out.contains("nothing was done"), "{done:?}");
        assert_eq!(users(&production), ["user_a"]);
    }
    let done = answered("y\n");
    assert!(done.out.contains("Deleted user_a."), "{done:?}");
    assert_eq!((done.status.code(), users(&production).len()), (Some(0), 0));
}

#[test]
fn a_suspension_outlives_a_deletion_until_an_operator_ends_it() {
    let production = Production::new();
    production.has_key("user_a", "gemini", &gemini(1));
    production.keyfold(&["users", "suspend", "user_a"]).run().ok();
    production.keyfold(&["users", "delete", "user_a", "--yes"]).run().ok();
    let run = || production.keyfold(&["run", "--user", "user_a", "--", "true"]).run();
    run().refused_with(&["suspended"]);
    let resumed = production.keyfold(&["users", "resume", "user_a"]).run();
    assert_eq!(resumed.ok(), "user_a may use Keyfold again.\n");
    run().ok();
    assert_eq!(production.keyfold(&["users", "resume", "user_a"]).run().ok(), "user_a was not suspended.\n");
    assert_eq!(audited(&production, "user.suspended"), ["user_a operator"]);
    assert_eq!(audited(&production, "user.resumed"), ["user_a operator"]);
}

#[test]
fn local_mode_deletes_its_one_user_and_the_lines_of_the_env_file() {
    let folder = Folder::new();
    folder.has_key("gemini", &gemini(1));
    assert!(folder.read(".env").contains(&gemini(1)));
    folder.keyfold(&["users", "delete", "local"]).run().wrong_usage();
    folder.keyfold(&["users", "delete", "local", "--yes"]).run().ok();
    assert!(!folder.read(".env").contains(&gemini(1)));
    // Also a key that was only ever entered by hand.
    folder.write(".env", &format!("GEMINI_API_KEY={}\n", gemini(3)));
    folder.keyfold(&["users", "delete", "local", "--yes"]).run().ok();
    assert_eq!(folder.read(".env"), "");
    folder.has_key("gemini", &gemini(2));
    folder.keyfold(&["run", "--", "true"]).run().ok();
}

#[test]
fn a_signing_secret_that_is_none_stops_the_start() {
    let folder = Folder::new();
    let serve = |name: &str, secret: &str| folder.keyfold(&["serve"]).env(name, secret).refused_start();
    // Test data.
    let good = "whsec_dGVzdCBkYXRhLCBub3QgYSByZWFsIHNlY3JldA==";
    for (name, bad) in [
        ("CLERK_WEBHOOK_SIGNING_SECRET", "sk_test_of_another_kind"),
        ("CLERK_WEBHOOK_SIGNING_SECRET", "whsec_too-short"),
        ("CLERK_WEBHOOK_SECRET", "whsec_c2hvcnQ="),
    ] {
        serve(name, bad).does_not_tell(bad).refused_with(&[name, "is not a signing secret", "dashboard"]);
    }
    let both = folder.keyfold(&["serve"]).env("CLERK_WEBHOOK_SIGNING_SECRET", good);
    let both = both.env("CLERK_WEBHOOK_SECRET", "whsec_YW5vdGhlciB0ZXN0IHNlY3JldCwgbm90IHJlYWw=");
    both.refused_start().refused_with(&["CLERK_WEBHOOK_SECRET", "which one counts is unclear"]);
    let same = folder.keyfold(&["serve"]).env("CLERK_WEBHOOK_SIGNING_SECRET", good);
    same.env("CLERK_WEBHOOK_SECRET", good).serve().stop();
}

#[test]
fn users_who_are_gone_at_clerk_are_deleted_and_nobody_else() {
    let production = Production::new();
    production.has_key("user_gone", "gemini", &gemini(1));
    production.has_key("user_here", "gemini", &gemini(2));
    let here: Vec<String> = (0..20).map(|n| format!("user_{n}")).chain(["user_here".into()]).collect();
    has_users(&production, &here[..20].iter().map(String::as_str).collect::<Vec<_>>());
    // Clerk cannot have made these, so it says nothing of them.
    has_users(&production, &["local", "auth0|user_1", "user_a/../user_here", "user_"]);
    let (clerk, address) = Clerk::with_users(here.clone());
    let before = users(&production);

    let done = reconcile(&production, address, &["--dry-run"]);
    assert!(done.ok().contains("user_gone\n1 of 22 users are gone at Clerk; nobody was deleted"), "{done:?}");
    assert!(done.out.contains("4 have ids that are not Clerk's"), "{done:?}");
    assert_eq!(users(&production), before);

    clerk.asked();
    let done = reconcile(&production, address, &["--json"]);
    done.ok();
    assert_eq!(
        done.json(),
        json!({ "asked": 22, "skipped": 4, "gone": ["user_gone"], "deleted": 1, "dry_run": false })
    );
    let asked = clerk.asked();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert_eq!(asked[1], "/v1/users/user_gone");
    let expected: Vec<String> = before.into_iter().filter(|user| user != "user_gone").collect();
    assert_eq!((users(&production), deleted(&production)), (expected, vec!["user_gone".into()]));
    assert_eq!(production.listed("user_here", "gemini")["status"], "valid");
    assert_eq!(audited(&production, "user.deleted"), ["user_gone operator"]);
    // The user is refused for a day, as after the webhook's message.
    production.keyfold(&["run", "--user", "user_gone", "--", "true"]).run().refused_with(&["deleted"]);

    let done = reconcile(&production, address, &[]);
    assert!(done.ok().starts_with("Nobody of 21 users is gone at Clerk."), "{done:?}");
}

#[test]
fn many_users_are_asked_about_in_pages() {
    let production = Production::new();
    production.keyfold(&["users", "list"]).run().ok();
    production.sql(
        "INSERT INTO onboarding_sessions (user_id, data_key) \
         SELECT 'user_' || lpad(n::TEXT, 5, '0'), 'none' FROM generate_series(1, 2150) n",
    );
    production.sql("INSERT INTO onboarding_sessions (user_id, data_key) VALUES ('other', 'none')");
    let gone = [1, 100, 101, 1000, 1001, 2150];
    let here = (1..=2150).filter(|n| !gone.contains(n)).map(|n| format!("user_{n:05}"));
    let (clerk, address) = Clerk::with_users(here);
    let done = reconcile(&production, address, &[]);
    assert!(done.ok().contains("6 of 2150 users are gone at Clerk; all of them were deleted."), "{done:?}");
    assert_eq!(deleted(&production), gone.map(|n| format!("user_{n:05}")));
    let lists = clerk.asked().iter().filter(|asked| asked.contains('?')).count();
    assert_eq!(lists, 22, "a hundred at a time");
}

#[test]
fn what_passes_by_itself_is_waited_for() {
    let production = Production::new();
    has_users(&production, &["user_1", "user_2", "user_3", "user_4", "user_5", "user_6"]);
    let (clerk, address) = Clerk::with_users(["user_1", "user_2", "user_3", "user_4", "user_5"]);
    clerk.script([(429, json!({})), (503, json!({})), (429, json!({}))]);
    reconcile(&production, address, &[]).ok();
    assert_eq!(deleted(&production), ["user_6"]);
    assert_eq!(clerk.asked().len(), 5);
}

#[test]
fn an_answer_that_says_nothing_deletes_nobody() {
    let production = Production::new();
    let all = ["user_1", "user_2", "user_3", "user_4", "user_5", "user_6"];
    has_users(&production, &all);
    let (clerk, address) = Clerk::with_users(all[..5].iter().copied());
    let list = json!(all[..5].iter().map(|id| json!({ "id": id })).collect::<Vec<_>>());
    let nothing_happens = |answers: Vec<(u16, Value)>, words: &str| {
        clerk.script(answers.clone());
        let done = reconcile(&production, address, &["--yes"]);
        done.refused_with(&[words]);
        assert_eq!(users(&production), all, "{answers:?}");
        assert!(deleted(&production).is_empty());
        clerk.known(|known| known.script.clear());
    };
    // About the list, and about the one user whom it lacks.
    for before in [vec![], vec![(200, list)]] {
        let then = |answer: (u16, Value), times| {
            before.iter().cloned().chain(std::iter::repeat_n(answer, times)).collect::<Vec<_>>()
        };
        nothing_happens(then((500, json!({})), 4), "status 500");
        nothing_happens(then((429, json!({})), 4), "fewer questions");
        nothing_happens(then((401, json!({})), 1), "CLERK_SECRET_KEY");
        nothing_happens(then((403, json!({})), 1), "CLERK_SECRET_KEY");
        nothing_happens(then((302, json!({})), 1), "status 302");
    }
    nothing_happens(vec![(404, json!({}))], "status 404");
    nothing_happens(vec![(200, json!({ "data": [] }))], "no sense");
    nothing_happens(vec![(200, json!("[]"))], "no sense");
    // A filter that is not understood gives anybody.
    nothing_happens(vec![(200, json!([{ "id": "user_1" }, { "id": "user_7" }]))], "not asked for");
    // Somebody else's 404.
    let list = json!(all[..5].iter().map(|id| json!({ "id": id })).collect::<Vec<_>>());
    nothing_happens(vec![(200, list.clone()), (404, json!({}))], "no sense");
    nothing_happens(vec![(200, list), (404, json!({ "errors": [{ "code": "other" }] }))], "no sense");

    // A list that was cut short: each is asked about by itself.
    clerk.known(|known| known.cuts_lists_short = true);
    reconcile(&production, address, &[]).ok();
    assert_eq!(deleted(&production), ["user_6"]);
}

#[test]
fn if_many_are_gone_the_key_may_be_the_wrong_one() {
    let production = Production::new();
    has_users(&production, &["user_1", "user_2", "user_3", "user_4", "user_5"]);
    let (_clerk, address) = Clerk::with_users(["user_1", "user_2", "user_3"]);
    let done = reconcile(&production, address, &[]);
    done.refused_with(&["2 of 5 users", "more than a fifth", "--yes", "--dry-run"]);
    assert!(deleted(&production).is_empty());
    assert!(reconcile(&production, address, &["--dry-run"]).ok().contains("user_5"));
    reconcile(&production, address, &["--yes"]).ok();
    assert_eq!(deleted(&production), ["user_4", "user_5"]);
}

#[test]
fn clerk_is_asked_with_the_right_key_at_the_right_place_only() {
    let production = Production::new();
    has_users(&production, &["user_1"]);
    let start = || production.keyfold(&["users", "reconcile"]);
    start().run().refused_with(&["CLERK_SECRET_KEY is not set", "dashboard"]);
    for wrong in ["pk_test_x", "sk_test_", "nonsense"] {
        let done = start().env("CLERK_SECRET_KEY", wrong).run();
        done.does_not_tell("nonsense").refused_with(&["CLERK_SECRET_KEY", "sk_live_"]);
    }
    for elsewhere in ["https://api.clerk.example.com", "http://10.0.0.1:80", "https://api.clerk.com"] {
        let done =
            start().env("CLERK_SECRET_KEY", CLERK_SECRET).env("KEYFOLD_CLERK_API_URL", elsewhere).run();
        done.does_not_tell(CLERK_SECRET).refused_with(&["KEYFOLD_CLERK_API_URL", "this machine"]);
    }
    let (_clerk, address) = Clerk::with_users(["user_1"]);
    let other = start()
        .env("CLERK_SECRET_KEY", "sk_test_1111")
        .env("KEYFOLD_CLERK_API_URL", &format!("http://{address}"));
    other.run().refused_with(&["Clerk refused the secret key (401)"]);
    // As an argument it would stay in the shell's history.
    production.keyfold(&["users", "reconcile", CLERK_SECRET]).run().wrong_usage();
    let folder = Folder::new();
    folder
        .keyfold(&["users", "reconcile"])
        .env("CLERK_SECRET_KEY", CLERK_SECRET)
        .run()
        .refused_with(&["local mode"]);
}

#[test]
fn all_keys_of_a_breached_provider_are_deleted_with_their_versions() {
    let production = Production::new();
    for user in ["user_a", "user_b", "user_c"] {
        production.has_key(user, "gemini", &gemini(1));
        production.has_key(user, "gemini", &gemini(2));
    }
    production.has_key("user_a", "exa", &example_key("exa", 1));
    production.has_key("user_d", "exa", &example_key("exa", 2));
    let revoke = |options: &[&str]| {
        production.keyfold(&[&["keys", "revoke", "--provider", "gemini"], options].concat()).run()
    };
    let holders = || {
        production.column(
            "SELECT user_id FROM onboarding_sessions s WHERE EXISTS (SELECT 1 FROM api_keys k \
             WHERE k.session_id = s.id AND provider = 'gemini') ORDER BY 1",
        )
    };
    revoke(&[]).wrong_usage();
    assert!(revoke(&["--dry-run"]).ok().starts_with("The gemini keys of 3 users would be deleted."));
    assert_eq!(holders().len(), 3);
    // One of them first.
    assert!(revoke(&["--user", "user_b", "--yes"]).ok().starts_with("Deleted the gemini keys of 1 user."));
    assert_eq!(holders(), ["user_a", "user_c"]);
    assert!(revoke(&["--user", "user_d", "--yes"]).ok().starts_with("user_d has no gemini key"));
    let done = revoke(&["--yes"]);
    assert!(done.ok().starts_with("Deleted the gemini keys of 2 users."), "{done:?}");
    assert!(holders().is_empty());
    assert!(production.column("SELECT key FROM api_key_versions").is_empty());
    assert_eq!(production.listed("user_a", "exa")["status"], "valid");
    assert_eq!(production.listed("user_d", "exa")["status"], "valid");
    assert_eq!(
        audited(&production, "key.deleted"),
        ["user_a operator", "user_b operator", "user_c operator"]
    );
    assert!(revoke(&["--yes"]).ok().starts_with("Nobody has a gemini key here"));
    // A new key is as good as any.
    production.has_key("user_a", "gemini", &gemini(3));
    for wrong in ["nobody", "GEMINI "] {
        production.keyfold(&["keys", "revoke", "--provider", wrong, "--yes"]).run().refused();
    }
    production.keyfold(&["keys", "revoke", "--yes"]).run().wrong_usage();
}

#[test]
fn a_revocation_of_many_that_was_stopped_halfway_goes_on() {
    let production = Production::new();
    production.keyfold(&["users", "list"]).run().ok();
    production.sql(
        "INSERT INTO onboarding_sessions (user_id, data_key) \
         SELECT 'user_' || lpad(n::TEXT, 5, '0'), 'none' FROM generate_series(1, 1200) n; \
         INSERT INTO api_keys (session_id, provider, key) SELECT id, 'gemini', 'kf1.x' FROM onboarding_sessions; \
         CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$; \
         CREATE TRIGGER no BEFORE DELETE ON api_keys FOR EACH ROW WHEN (OLD.session_id = 700) \
         EXECUTE FUNCTION no()",
    );
    let revoke = || production.keyfold(&["keys", "revoke", "--provider", "gemini", "--yes"]).run();
    revoke().refused();
    let left = production.column("SELECT key FROM api_keys").len();
    assert!((1..1200).contains(&left), "{left}");
    production.sql("DROP TRIGGER no ON api_keys");
    let done = revoke();
    assert!(done.ok().contains(&format!("of {left} users")), "{done:?}");
    assert!(production.column("SELECT key FROM api_keys").is_empty());
}

#[test]
fn in_local_mode_a_revocation_is_that_of_the_one_user() {
    let folder = Folder::new();
    folder.has_key("gemini", &gemini(1));
    let revoke = |options: &[&str]| {
        folder.keyfold(&[&["keys", "revoke", "--provider", "gemini"], options].concat()).run()
    };
    revoke(&["--yes", "--user", "user_a"]).refused_with(&["local mode"]);
    revoke(&["--dry-run"]).ok();
    assert!(folder.read(".env").contains(&gemini(1)));
    revoke(&["--yes"]).ok();
    assert!(!folder.read(".env").contains(&gemini(1)));
    assert!(revoke(&["--yes"]).ok().starts_with("There is no gemini key"));
}
