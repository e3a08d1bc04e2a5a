//! `keyfold master-key …`

use keyfold::envelope::MasterKey;
use keyfold_standin::example_key;
use serde_json::{Value, json};

use crate::harness::{Folder, Production, gemini, new_master_key};

fn id(key: &str) -> String {
    MasterKey::parse(key).unwrap().id().to_string()
}

/// What `status` says of this key.
#[track_caller]
fn standing(status: &Value, key: &str) -> Value {
    let keys = status["keys"].as_array().unwrap();
    keys.iter().find(|standing| standing["id"] == id(key)).cloned().unwrap_or_default()
}

#[test]
fn a_roll_out_in_production_step_by_step() {
    let mut production = Production::new();
    let users: Vec<String> = (1..=5).map(|n| format!("user_{n}")).collect();
    for (n, user) in (1..).zip(&users) {
        production.has_key(user, "gemini", &gemini(n));
    }
    let (old, new) = (production.master_key.clone(), new_master_key());
    let end = |n: u32| format!("****{}", &gemini(n)[gemini(n).len() - 4..]);
    let opens = |production: &Production, others: &str| {
        for (n, user) in (1..).zip(&users) {
            let list = production.keyfold(&["keys", "list", "--json", "--user", user]);
            let list = list.env("KEYFOLD_OTHER_MASTER_KEYS", others).run().json();
            assert_eq!(list["keys"][0]["masked"], end(n));
        }
    };
    let status = |production: &Production, others: &str| {
        let status = production.keyfold(&["master-key", "status", "--json"]);
        let done = status.env("KEYFOLD_OTHER_MASTER_KEYS", others).run();
        done.does_not_tell(&old).does_not_tell(&new).ok();
        done.json()
    };

    // The next key is given everywhere before it seals anything.
    opens(&production, &new);
    let before = status(&production, &new);
    assert_eq!(standing(&before, &old)["role"], "primary");
    assert_eq!(standing(&before, &old)["data_keys"], 5);
    assert_eq!(standing(&before, &new)["may_be_dropped"], true);

    // It seals, and the old one still opens.
    production.master_key.clone_from(&new);
    opens(&production, &old);
    let between = status(&production, &old);
    assert_eq!(
        (&standing(&between, &old)["role"], &standing(&between, &old)["may_be_dropped"]),
        (&json!("other"), &json!(false))
    );
    let told = production.keyfold(&["master-key", "status"]).env("KEYFOLD_OTHER_MASTER_KEYS", &old).run();
    assert!(told.ok().contains(&id(&old)) && told.out.contains("keyfold master-key rotate"), "{told:?}");
    production.keyfold(&["users", "list"]).run().refused_with(&[&id(&old), "KEYFOLD_OTHER_MASTER_KEYS"]);

    let done = production.keyfold(&["master-key", "rotate"]).env("KEYFOLD_OTHER_MASTER_KEYS", &old).run();
    done.does_not_tell(&old).does_not_tell(&new);
    assert!(
        done.ok().contains(&format!("Wrapped anew by the master key {}: 5 data keys", id(&new))),
        "{done:?}"
    );
    assert!(!done.err.contains('\r'), "nobody watches: {done:?}");
    let after = status(&production, &old);
    assert_eq!(
        (&standing(&after, &old)["data_keys"], &standing(&after, &old)["may_be_dropped"]),
        (&json!(0), &json!(true))
    );
    assert_eq!(standing(&after, &new)["data_keys"], 5);

    // Without the old one.
    opens(&production, "");
    let again = production.keyfold(&["master-key", "rotate"]).run();
    assert!(again.ok().contains("already"), "{again:?}");
    let at_last = status(&production, "");
    assert!(standing(&at_last, &old).is_null(), "{at_last}");
}

#[test]
fn a_rotation_is_told_in_the_audit_with_its_counts() {
    let mut production = Production::new();
    production.has_key("user_a", "gemini", &gemini(1));
    let (old, new) = (production.master_key.clone(), new_master_key());
    production.master_key.clone_from(&new);
    production.keyfold(&["master-key", "rotate"]).env("KEYFOLD_OTHER_MASTER_KEYS", &old).run().ok();
    let rows = production.column(
        "SELECT actor || ' ' || outcome || ' ' || COALESCE(note, '') FROM audit_events \
         WHERE action = 'master_key.rotated'",
    );
    let [row] = &rows[..] else { panic!("{rows:?}") };
    let (who, note) = row.split_at("operator ok ".len());
    assert_eq!(who, "operator ok ");
    let note: Value = serde_json::from_str(note).unwrap();
    assert_eq!((&note["to"], &note["from"]), (&json!(id(&new)), &json!([id(&old)])));
    assert_eq!(note["data_keys"], 1);
}

#[test]
fn keys_that_are_not_given_are_named_and_nothing_is_lost() {
    let mut production = Production::new();
    production.has_key("user_a", "gemini", &gemini(1));
    let (first, second) = (production.master_key.clone(), new_master_key());
    production.master_key.clone_from(&second);
    for arguments in [["master-key", "rotate"], ["master-key", "status"]] {
        let done = production.keyfold(&arguments).run();
        done.does_not_tell(&second).refused_with(&[&id(&first), &id(&second), "KEYFOLD_OTHER_MASTER_KEYS"]);
    }
    production.master_key = first;
    assert_eq!(production.listed("user_a", "gemini")["status"], "valid");
}

#[test]
fn in_local_mode_one_command_does_it_all() {
    let folder = Folder::new();
    folder.has_key("gemini", &gemini(1));
    let old = folder.read(".keyfold/master.key");
    let done = folder.keyfold(&["master-key", "rotate"]).run();
    done.does_not_tell(old.trim()).ok();
    let new = folder.read(".keyfold/master.key");
    assert_ne!(old, new);
    let replaced: Vec<String> =
        folder.files().into_iter().filter(|name| name.contains("master.key.replaced-")).collect();
    let [replaced] = &replaced[..] else { panic!("{replaced:?}") };
    assert_eq!(folder.read(replaced), old);
    assert_eq!((folder.mode(replaced), folder.mode(".keyfold/master.key")), (0o600, 0o600));
    assert!(done.out.contains(replaced.rsplit('/').next().unwrap()), "{done:?}");
    // What is saved before and after it can be rolled back to.
    folder.has_key("gemini", &gemini(2));
    folder.keyfold(&["keys", "rollback", "gemini"]).run().ok();
    let key = gemini(1);
    assert_eq!(folder.listed("gemini")["masked"], format!("****{}", &key[key.len() - 4..]));
    std::fs::remove_file(folder.path(replaced)).unwrap();
    let server = folder.serve();
    assert_eq!(server.listed("gemini")["status"], "valid");
    server.stop();
}

#[test]
fn in_local_mode_a_server_is_stopped_first() {
    let folder = Folder::new();
    folder.has_key("gemini", &gemini(1));
    let server = folder.serve();
    let key = folder.read(".keyfold/master.key");
    let done = folder.keyfold(&["master-key", "rotate"]).run();
    done.refused_with(&["already serves", "stop it, rotate, and start it again", &server.id().to_string()]);
    assert_eq!(folder.read(".keyfold/master.key"), key);
    assert_eq!(server.listed("gemini")["status"], "valid");
    // What it wraps can be looked at meanwhile.
    let status = folder.keyfold(&["master-key", "status", "--json"]).run().json();
    assert_eq!(standing(&status, key.trim())["data_keys"], 1);
    server.stop();
    folder.keyfold(&["master-key", "rotate"]).run().ok();
}

#[test]
fn a_key_of_the_settings_is_used_in_local_mode_too() {
    let folder = Folder::new();
    let (old, new) = (new_master_key(), new_master_key());
    let start = |arguments: &[&str]| {
        folder.keyfold(arguments).env("KEYFOLD_MASTER_KEY", &new).env("KEYFOLD_OTHER_MASTER_KEYS", &old)
    };
    let set = folder.keyfold(&["keys", "set", "exa"]).env("KEYFOLD_MASTER_KEY", &old);
    set.stdin(&example_key("exa", 1)).run().ok();
    start(&["master-key", "rotate"]).run().ok();
    assert!(folder.files().iter().all(|name| !name.contains("master.key")), "{:?}", folder.files());
    start(&["keys", "list"]).without("KEYFOLD_OTHER_MASTER_KEYS").run().ok();
}
