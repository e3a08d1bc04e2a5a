//! Local mode: the database and the `.env` files change together, or not at all.

use std::collections::BTreeMap;
use std::thread;

use keyfold::dotenv::EnvFile;
use keyfold_standin::example_key;
use rustix::process::Signal;
use serde_json::json;

use crate::audit;
use crate::client::{Client, Outcome, Progress};
use crate::harness::{Folder, Server};
use crate::random::{Random, SEED, kills};

const OTHERS: &str = "# mine\nOTHER='stays'\n";
/// The second one's key stands in the front end's file too.
const PROVIDERS: [(&str, &str); 3] =
    [("gemini", "GEMINI_API_KEY"), ("copilotkit", "COPILOTKIT_API_KEY"), ("exa", "EXA_API_KEY")];
const FRONTEND: &str = "REACT_APP_COPILOTKIT_API_KEY";

fn serve(folder: &Folder) -> Server {
    folder.keyfold(&["serve"]).env("KEYFOLD_RATE_LIMIT_KEYS", "off").serve()
}

fn in_file(folder: &Folder, name: &str, variable: &str) -> Option<String> {
    EnvFile::read(folder.path(name)).unwrap().get(variable).map(str::to_owned)
}

/// Every change is in the audit log, once.
#[track_caller]
fn audit_agrees(folder: &Folder, clients: &[Client]) {
    let found = audit::changes(|arguments| folder.keyfold(arguments));
    let made = clients.iter().filter(|client| client.changes > 0);
    let made = made.map(|client| (("local".to_owned(), client.provider.to_owned()), client.changes));
    assert_eq!(found, made.collect());
}

#[test]
fn a_kill_at_any_moment_leaves_env_files_and_database_agreeing() {
    let folder = Folder::new();
    folder.write(".env", OTHERS);
    folder.write("frontend/.env", OTHERS);
    let mut clients: Vec<Client> =
        (1..).zip(PROVIDERS).map(|(number, (provider, _))| Client::new(provider, number, true)).collect();
    let mut random = Random::of(0);
    let mut outcomes = BTreeMap::<Outcome, u32>::new();
    println!("seed {SEED:#x}");
    for round in 0..2 * kills() {
        let server = serve(&folder);
        let progress = Progress::new();
        thread::scope(|scope| {
            for client in &mut clients {
                let (server, progress) = (&server, &progress);
                scope.spawn(move || client.live(progress, |method, path| server.request(method, path)));
            }
            progress.wait_for_a_point(&mut random, &server);
            server.signal(Signal::KILL);
        });
        assert_eq!(server.end().signal(), Some(9));

        let server = serve(&folder);
        for (client, (provider, variable)) in clients.iter_mut().zip(PROVIDERS) {
            // A version is listed only where the file has the key that the database has.
            let outcome = client.learn(&server.listed(provider), round);
            *outcomes.entry(outcome).or_default() += 1;
            let expected = client.state.current.map(|n| example_key(provider, n));
            assert_eq!(in_file(&folder, ".env", variable), expected, "round {round}: {provider}");
            if provider == "copilotkit" {
                let frontend = in_file(&folder, "frontend/.env", FRONTEND);
                assert_eq!(frontend, expected, "round {round}: the front end's file");
            }
        }
        for name in [".env", "frontend/.env"] {
            assert!(folder.read(name).starts_with(OTHERS), "round {round}: {}", folder.read(name));
        }
        let left = folder.files();
        let is_left = |name: &String| name.contains(".keyfold-") || name.contains("/change.");
        assert!(!left.iter().any(is_left), "round {round}: something was left: {left:?}");
        // It opens, the version before too.
        if let Some(client) = clients.iter_mut().find(|client| client.state.previous.is_some()) {
            let back = server.post(&format!("/api/keys/{}/rollback", client.provider), &json!({}));
            assert_eq!(back.status, 200, "round {round}: {}", back.body);
            client.rolled_back();
        }
        server.signal(Signal::KILL);
        server.end();
        if round % 10 == 0 {
            audit_agrees(&folder, &clients);
        }
    }
    audit_agrees(&folder, &clients);
    println!("{outcomes:?}");
    for outcome in [Outcome::Made, Outcome::NotMade] {
        assert!(outcomes.contains_key(&outcome), "it shows nothing: {outcomes:?}");
    }
}
