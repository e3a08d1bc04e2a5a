//! `KEYFOLD_PROVIDERS_FILE`: a provider of the file on the command line, and what is wrong with a file.

use crate::harness::{Folder, Start};

const ACME: &str = "[acme-ai]\nname = 'Acme'\naddress = 'https://api.acme.example'\nvariable = 'ACME_API_KEY'\n\
                    also_exported_as = ['ACME_TOKEN']\ncheck = { method = 'GET', path = '/v1/models' }\n";
const KEY: &str = "acme_TestData0123456789abcdef";

/// A folder whose `.env` names the file; its Acme is played by the stand-in's OpenAI.
fn with_file(text: &str) -> Folder {
    let folder = Folder::new();
    folder.write("providers.toml", text);
    let address = folder.standin.base_url("openai");
    let settings =
        format!("KEYFOLD_PROVIDERS_FILE=providers.toml\nKEYFOLD_PROVIDER_ACME_AI_BASE_URL={address}\n");
    folder.write(".env", &settings);
    folder
}

#[test]
fn a_provider_of_the_file_is_saved_listed_examined_and_exported() {
    let folder = with_file(ACME);
    folder.has_key("acme-ai", KEY);
    assert!(folder.read(".env").ends_with(&format!("ACME_API_KEY={KEY}\n")), "{}", folder.read(".env"));
    assert_eq!(folder.listed("acme-ai")["status"], "valid");
    let doctor = folder.keyfold(&["doctor"]).run();
    assert!(doctor.ok().contains("acme-ai: ****cdef is valid"), "{doctor:?}");
    doctor.does_not_tell(KEY);
    let run = folder.keyfold(&["run", "--", "env"]).run();
    for variable in ["ACME_API_KEY", "ACME_TOKEN"] {
        assert!(run.ok().lines().any(|line| line == format!("{variable}={KEY}")), "{variable}");
    }
    folder.keyfold(&["keys", "set", "acme-ai"]).stdin("acme_INVALID0123456789").run().refused_with(&["Acme"]);
    folder.keyfold(&["keys", "remove", "acme-ai"]).run().ok();
    assert!(!folder.read(".env").contains("ACME_API_KEY"));
}

#[test]
fn mistakes_in_the_file_stop_every_command_and_are_told_all_at_once() {
    let wrong = "key_header = 'Transfer-Encoding'\nshapes = 'S3CR3T'\n[gemini]\nvariable = 'LD_PRELOAD'\n";
    let folder = with_file(&format!("{ACME}{wrong}"));
    let told = |start: Start, told_on_error: bool| {
        let done = start.run();
        let text = if told_on_error { done.refused().to_owned() } else { done.out.clone() };
        assert_eq!(done.status.code(), Some(1));
        for part in
            ["providers.toml", "line 8, [acme-ai] `shapes`", "line 10, [gemini] `variable`", "LD_PRELOAD"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        done.does_not_tell("S3CR3T");
    };
    told(folder.keyfold(&["keys", "list"]), true);
    told(folder.keyfold(&["serve"]), true);
    told(folder.keyfold(&["doctor"]), false);
}
