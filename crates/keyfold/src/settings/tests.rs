//! Which source decides, what each setting accepts, and what is said of what it does not.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use tempfile::TempDir;

use super::*;
use crate::envelope::KeyId;

/// Part of every secret that is given here; no message may contain it.
const SECRET: &str = "S3CR3T";

/// No pattern, and `+` and `/` in its base64.
const KEY: [u8; 32] = [
    0xfb, 0xef, 0xbe, 0x12, 0x34, 0x90, 0xab, 0xcd, 0xff, 0xff, 0x01, 0x77, 0x3e, 0x5c, 0x68, 0xd2, 0x9a,
    0x04, 0x41, 0xe7, 0x8b, 0x23, 0x6f, 0xb0, 0xc5, 0x19, 0x82, 0xfa, 0x57, 0x0d, 0xee, 0x31,
];

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

fn load(folder: &Path, variables: &[(&str, &str)]) -> Result<Sources, SettingsError> {
    Sources::load(variables.iter().copied().collect(), folder)
}

fn read_in(folder: &Path, variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let sources = load(folder, variables)?;
    let mut problems = Problems::default();
    let settings = Settings::read(&sources, &mut problems);
    assert_eq!(settings.is_none(), !problems.0.is_empty(), "{problems:?}");
    problems.into_result().map(|()| settings.unwrap())
}

fn read(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    read_in(folder(&[]).path(), variables)
}

/// The variables that are complained about, and the whole message, in which no secret may be.
#[track_caller]
fn complaints<T>(result: Result<T, SettingsError>) -> (Vec<String>, String) {
    let error = result.err().expect("these settings are not right");
    for problem in &error.0.0 {
        assert!(!problem.what.is_empty() && !problem.remedy.is_empty(), "{problem:?}");
    }
    let shown = format!("{error}\n{error:?}");
    assert!(!shown.contains(SECRET), "{shown}");
    (error.0.0.iter().map(|problem| problem.variable.clone()).collect(), error.to_string())
}

/// Asserts that exactly one thing is wrong, with this variable, and that the message has these parts.
#[track_caller]
fn one_complaint<T>(result: Result<T, SettingsError>, variable: &str, parts: &[&str]) {
    let (variables, message) = complaints(result);
    assert_eq!(variables, [variable], "{message}");
    for part in parts.iter().chain(&[variable]) {
        assert!(message.contains(part), "{part:?} is missing in: {message}");
    }
}

fn id_of(setting: &MasterKeySetting) -> KeyId {
    match setting {
        MasterKeySetting::Given(key) => key.id(),
        _ => panic!("no master key was given"),
    }
}

mod the_mode {
    use super::*;

    type Pair = (Option<&'static str>, Option<&'static str>);

    fn decided(process: Pair, file: Pair) -> Result<(Mode, Origin), SettingsError> {
        let variables = |(debug, deploy_env): Pair| {
            [("DEBUG", debug), ("DEPLOY_ENV", deploy_env)]
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)))
                .collect::<Vec<_>>()
        };
        let lines: Vec<String> =
            variables(file).iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        let text = lines.concat();
        let folder = folder(&[(".env", text.as_str())]);
        load(folder.path(), &variables(process)).map(|sources| (sources.mode(), sources.mode_origin()))
    }

    #[test]
    fn the_whole_table_from_either_source() {
        for debug in
            [None, Some(""), Some("false"), Some("OFF"), Some("0"), Some("true"), Some("Yes"), Some("1")]
        {
            for deploy_env in
                [None, Some(""), Some("local"), Some("render"), Some("heroku"), Some("anything")]
            {
                let is_debug = matches!(debug, Some("true" | "Yes" | "1"));
                let is_deployed = !matches!(deploy_env, None | Some("" | "local"));
                let mode = if is_deployed && !is_debug { Mode::Production } else { Mode::Local };
                let is_set = [debug, deploy_env].iter().flatten().any(|value| !value.is_empty());
                let origin = |origin| if is_set { origin } else { Origin::Default };
                let here = (debug, deploy_env);
                assert_eq!(decided(here, (None, None)).unwrap(), (mode, origin(Origin::Process)), "{here:?}");
                assert_eq!(decided((None, None), here).unwrap(), (mode, origin(Origin::EnvFile)), "{here:?}");
            }
        }
    }

    #[test]
    fn if_the_process_sets_either_variable_the_file_has_no_say() {
        let (local, production) = (Mode::Local, Mode::Production);
        let cases: [(Pair, Pair, Mode); 8] = [
            ((Some("true"), None), (None, Some("render")), local),
            ((Some("true"), None), (Some("false"), Some("render")), local),
            ((Some("false"), None), (None, Some("render")), local),
            ((Some("false"), None), (Some("true"), Some("render")), local),
            ((None, Some("local")), (None, Some("render")), local),
            ((None, Some("render")), (Some("true"), None), production),
            ((None, Some("render")), (Some("true"), Some("local")), production),
            // What nobody looks at cannot be unclear.
            ((None, Some("local")), (Some("perhaps"), None), local),
        ];
        for (process, file, mode) in cases {
            let decided = decided(process, file).unwrap();
            assert_eq!(decided, (mode, Origin::Process), "process {process:?}, file {file:?}");
        }
    }

    #[test]
    fn empty_variables_of_the_process_leave_the_decision_to_the_file() {
        for empty in ["", " "] {
            for process in [(Some(empty), None), (None, Some(empty)), (Some(empty), Some(empty))] {
                let from_file = |file| decided(process, file).unwrap();
                assert_eq!(
                    from_file((None, Some("render"))),
                    (Mode::Production, Origin::EnvFile),
                    "{process:?}"
                );
                let both = (Some("true"), Some("render"));
                assert_eq!(from_file(both), (Mode::Local, Origin::EnvFile), "{process:?}");
                assert_eq!(from_file((Some(""), Some(""))), (Mode::Local, Origin::Default), "{process:?}");
            }
        }
    }

    #[test]
    fn quotes_around_either_variable_do_not_count() {
        // `docker --env-file` and platforms keep them, and so does a `.env` line with two pairs.
        let debugs = [
            (None, false),
            (Some("\"\""), false),
            (Some("''"), false),
            (Some("\" \""), false),
            (Some("\"false\""), false),
            (Some("'0'"), false),
            (Some("\"true\""), true),
            (Some("'Yes'"), true),
            (Some(" \"1\" "), true),
        ];
        let places = [
            (None, false),
            (Some("\"\""), false),
            (Some("''"), false),
            (Some("\"local\""), false),
            (Some("'local'"), false),
            (Some("\" local \""), false),
            (Some("\"render\""), true),
            (Some("'heroku'"), true),
        ];
        let says_something =
            |value: Option<&str>| value.is_some_and(|value| value.contains(char::is_alphanumeric));
        for (debug, is_debug) in debugs {
            for (place, is_deployed) in places {
                let mode = if is_deployed && !is_debug { Mode::Production } else { Mode::Local };
                let is_set = says_something(debug) || says_something(place);
                let here = (debug, place);
                let origin = if is_set { Origin::Process } else { Origin::Default };
                assert_eq!(decided(here, (None, None)).unwrap(), (mode, origin), "{here:?}");
                // Once the file's own quotes are off, the value has quotes still.
                let [debug, place] = [debug, place].map(|value| {
                    value.map(|value| {
                        &*Box::leak(
                            format!("`{value}`")
                                .replace('`', if value.contains('"') { "'" } else { "\"" })
                                .into_boxed_str(),
                        )
                    })
                });
                let origin = if is_set { Origin::EnvFile } else { Origin::Default };
                assert_eq!(decided((None, None), (debug, place)).unwrap(), (mode, origin), "{here:?}");
                // Quotes with nothing in them leave the decision to the file.
                let from_file = decided(here, (None, Some("render"))).unwrap();
                let expected =
                    if is_set { (mode, Origin::Process) } else { (Mode::Production, Origin::EnvFile) };
                assert_eq!(from_file, expected, "{here:?}");
            }
        }
        one_complaint(decided((Some("\"maybe\""), None), (None, None)), "DEBUG", &["is `maybe`"]);
    }

    #[test]
    fn an_unclear_boolean_is_named_with_its_value() {
        for value in ["maybe", "2", "truee", "y"] {
            let parts = [value, "true", "false"];
            one_complaint(decided((Some(value), None), (None, None)), "DEBUG", &parts);
            one_complaint(decided((Some(value), Some("render")), (Some("true"), None)), "DEBUG", &parts);
            let leaked: &'static str = Box::leak(value.to_owned().into_boxed_str());
            one_complaint(decided((None, None), (Some(leaked), Some("render"))), "DEBUG", &parts);
        }
    }

    #[test]
    fn nothing_else_in_a_file_that_says_production_is_used() {
        let master_key = BASE64.encode(&KEY);
        let text = format!(
            "DEPLOY_ENV=render\nKEYFOLD_MASTER_KEY={master_key}\nDATABASE_URL=postgres://user:{SECRET}@host/db\n\
             KEYFOLD_ONBOARDING=nonsense\nKEYFOLD_PROVIDER_NOSUCH_BASE_URL=x\nKEYFOLD_STATE_DIR=elsewhere\n"
        );
        let folder = folder(&[(".env", text.as_str())]);
        let (variables, message) = complaints(read_in(folder.path(), &[]));
        assert_eq!(variables, ["DATABASE_URL", "KEYFOLD_MASTER_KEY"]);
        // Both say why what stands in the file does not count.
        let env_file = folder.path().join(".env").display().to_string();
        assert_eq!(message.matches(&format!("{env_file} says production")).count(), 2, "{message}");
        assert!(!message.contains(&master_key));

        let url = ("DATABASE_URL", "postgres://u:p@h/d");
        let settings = read_in(folder.path(), &[url, ("KEYFOLD_MASTER_KEY", &master_key)]).unwrap();
        assert_eq!(settings.mode, Mode::Production);
        assert_eq!(settings.preset, Preset::Keyfold);
        assert_eq!(settings.state_dir, folder.path().join(".keyfold"));
    }

    #[test]
    fn where_the_process_says_production_the_file_is_not_even_read() {
        for broken in ["this is no .env file\n", "DEBUG=true\n"] {
            let folder = folder(&[(".env", broken)]);
            let sources = load(folder.path(), &[("DEPLOY_ENV", "render")]).unwrap();
            assert_eq!(sources.mode(), Mode::Production);
            // The file is not to blame for what is missing.
            let (_, message) = complaints(read_in(folder.path(), &[("DEPLOY_ENV", "render")]));
            assert!(!message.contains(".env"), "{message}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_used_stops_a_start_in_local_mode() {
        let folder = folder(&[(".env", &format!("GOOD=1\nno assignment {SECRET}\n"))]);
        let path = folder.path().join(".env").display().to_string();
        for variables in [&[][..], &[("DEBUG", "true")]] {
            one_complaint(load(folder.path(), variables), "KEYFOLD_BACKEND_ENV_FILE", &[&path, "line 2"]);
        }
        let directory = folder.path().join("directory");
        fs::create_dir(&directory).unwrap();
        let variables = [("KEYFOLD_BACKEND_ENV_FILE", "directory")];
        one_complaint(load(folder.path(), &variables), "KEYFOLD_BACKEND_ENV_FILE", &["directory"]);
    }

    #[test]
    fn local_mode_is_refused_on_every_hosting_platform() {
        let markers = [
            ("RENDER", "render"),
            ("DYNO", "heroku"),
            ("RAILWAY_ENVIRONMENT_NAME", "railway"),
            ("FLY_APP_NAME", "fly"),
            ("K_SERVICE", "cloud-run"),
        ];
        for (marker, platform) in markers {
            let advice = format!("DEPLOY_ENV={platform}");
            for variables in
                [vec![(marker, "x")], vec![(marker, "x"), ("DEBUG", "true"), ("DEPLOY_ENV", "render")]]
            {
                one_complaint(read(&variables), marker, &[&advice, "DEBUG=false", "no login"]);
            }
            read(&[(marker, "")]).unwrap();
            // A line in a file does not make this machine a platform.
            let folder = folder(&[(".env", &format!("{marker}=x\n"))]);
            read_in(folder.path(), &[]).unwrap();
            // In production it is where it belongs.
            let (variables, _) = complaints(read(&[(marker, "x"), ("DEPLOY_ENV", "render")]));
            assert!(!variables.contains(&marker.to_owned()));
        }
        let (variables, _) =
            complaints(read(&[("DYNO", "web.1"), ("KEYFOLD_ONBOARDING", "x"), ("RENDER", "true")]));
        assert_eq!(variables, ["RENDER", "DYNO", "KEYFOLD_ONBOARDING"]);
    }
}

mod the_sources {
    use super::*;

    #[test]
    fn the_process_wins_over_the_env_file_and_that_over_keyfold_toml() {
        let toml = ("keyfold.toml", "state_dir = 'from-toml'\n");
        let env = (".env", "KEYFOLD_STATE_DIR=from-env\n");
        let process = ("KEYFOLD_STATE_DIR", "from-process");
        let state_dir = |files: &[(&str, &str)], variables: &[(&str, &str)]| {
            let folder = folder(files);
            let path = read_in(folder.path(), variables).unwrap().state_dir;
            path.strip_prefix(folder.path()).unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(state_dir(&[toml, env], &[process]), "from-process");
        assert_eq!(state_dir(&[toml, env], &[]), "from-env");
        assert_eq!(state_dir(&[toml], &[]), "from-toml");
        assert_eq!(state_dir(&[], &[]), ".keyfold");
        // Empty counts as unset, wherever it stands.
        for empty in ["", "  "] {
            assert_eq!(state_dir(&[toml, env], &[("KEYFOLD_STATE_DIR", empty)]), "from-env");
            let quoted = format!("KEYFOLD_STATE_DIR='{empty}'\n");
            assert_eq!(state_dir(&[toml, (".env", &quoted)], &[("KEYFOLD_STATE_DIR", empty)]), "from-toml");
        }
        assert_eq!(state_dir(&[("keyfold.toml", "state_dir = ''")], &[]), ".keyfold");
        assert_eq!(state_dir(&[(".env", "KEYFOLD_STATE_DIR=one\nKEYFOLD_STATE_DIR=two\n")], &[]), "two");
        assert_eq!(state_dir(&[(".env", "export KEYFOLD_STATE_DIR=\" spaced \" # why\n")], &[]), "spaced");
    }

    #[test]
    fn production_takes_settings_from_the_process_and_keyfold_toml_only() {
        let folder = folder(&[
            (".env", "KEYFOLD_STATE_DIR=from-env\nKEYFOLD_ONBOARDING=keyfold\n"),
            ("keyfold.toml", "state_dir = 'from-toml'\nonboarding = 'alwrity'\n"),
        ]);
        let (master_key, url) = (BASE64.encode(&KEY), "postgres://u:p@h/d");
        let variables = [("DEPLOY_ENV", "fly"), ("KEYFOLD_MASTER_KEY", &master_key), ("DATABASE_URL", url)];
        let settings = read_in(folder.path(), &variables).unwrap();
        assert_eq!((settings.mode, settings.preset), (Mode::Production, Preset::Alwrity));
        assert_eq!(settings.state_dir, folder.path().join("from-toml"));
        assert_eq!(settings.database, DatabaseSetting::Postgres(url.parse().unwrap()));
    }

    #[test]
    fn env_files_are_found_where_they_usually_are() {
        let places = |dirs: &[&str], start: &str, variables: &[(&str, &str)]| {
            let folder = TempDir::new().unwrap();
            for dir in dirs {
                fs::create_dir_all(folder.path().join(dir)).unwrap();
            }
            let root = folder.path().canonicalize().unwrap();
            let settings = read_in(&root.join(start), variables).unwrap();
            let shown = |path: PathBuf| {
                let parent = path.parent().unwrap().canonicalize().unwrap();
                parent
                    .join(path.file_name().unwrap())
                    .strip_prefix(&root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned()
            };
            (shown(settings.backend_env_file), settings.frontend_env_file.map(shown))
        };
        let two = |backend: &str, frontend: &str| (backend.to_owned(), Some(frontend.to_owned()));
        let one = |backend: &str| (backend.to_owned(), None);
        assert_eq!(places(&[], "", &[]), one(".env"));
        assert_eq!(places(&["backend"], "", &[]), one("backend/.env"));
        assert_eq!(places(&["frontend"], "", &[]), two(".env", "frontend/.env"));
        assert_eq!(places(&["backend", "frontend"], "", &[]), two("backend/.env", "frontend/.env"));
        assert_eq!(places(&["backend", "frontend"], "backend", &[]), two("backend/.env", "frontend/.env"));
        assert_eq!(places(&["backend"], "backend", &[]), one("backend/.env"));
        // A folder of another name is not inside the project.
        assert_eq!(places(&["api", "frontend"], "api", &[]), one("api/.env"));
        let named = [("KEYFOLD_BACKEND_ENV_FILE", "x/.env.local"), ("KEYFOLD_FRONTEND_ENV_FILE", "y/.env")];
        assert_eq!(places(&["backend", "frontend", "x", "y"], "", &named), two("x/.env.local", "y/.env"));
    }

    #[test]
    fn a_file_named_backend_is_no_folder() {
        let folder = folder(&[("backend", ""), ("frontend", "")]);
        let settings = read_in(folder.path(), &[]).unwrap();
        assert_eq!(settings.backend_env_file, folder.path().join(".env"));
        assert_eq!(settings.frontend_env_file, None);
    }

    #[test]
    fn keyfold_toml_may_name_the_env_file() {
        let folder = folder(&[
            ("keyfold.toml", "backend_env_file = 'other.env'"),
            (".env", "KEYFOLD_ONBOARDING=nonsense\n"),
            ("other.env", "KEYFOLD_ONBOARDING=alwrity\n"),
        ]);
        let settings = read_in(folder.path(), &[]).unwrap();
        assert_eq!(settings.preset, Preset::Alwrity);
        assert_eq!(settings.backend_env_file, folder.path().join("other.env"));
    }

    #[test]
    fn neither_settings_nor_sources_show_secrets() {
        let folder = folder(&[]);
        let key = BASE64.encode(&KEY);
        let url = format!("postgres://user:{SECRET}@host/db");
        let settings =
            read_in(folder.path(), &[("KEYFOLD_MASTER_KEY", &key), ("DATABASE_URL", &url)]).unwrap();
        let environment = Environment::from_iter([("GEMINI_API_KEY", SECRET)]);
        let shown = format!("{settings:?} {environment:?}");
        assert!(!shown.contains(SECRET) && !shown.contains(&key), "{shown}");
        assert!(!shown.contains(&HEXLOWER.encode(&KEY)));
    }
}

mod secret_files {
    use super::*;

    #[test]
    fn every_secret_may_be_given_as_a_file() {
        let folder = folder(&[("secret", &format!("  {SECRET} \r\n\n"))]);
        for setting in SETTINGS.iter().filter(|setting| setting.kind == Kind::Secret) {
            let variable = format!("{}_FILE", setting.name);
            let sources = load(folder.path(), &[(&variable, "secret")]).unwrap();
            let mut problems = Problems::default();
            let value = sources.get_or_problem(setting.name, &mut problems).unwrap();
            assert_eq!(value.as_str(), SECRET, "{variable}");
            assert_eq!(problems, Problems::default());
        }
    }

    #[test]
    fn what_is_no_secret_has_no_file_form_in_keyfold_toml() {
        for setting in SETTINGS.iter().filter(|setting| setting.kind == Kind::Plain) {
            let key = setting.name.strip_prefix("KEYFOLD_").unwrap_or(setting.name).to_ascii_lowercase();
            let folder = folder(&[("keyfold.toml", &format!("{key}_file = 'x'"))]);
            one_complaint(load(folder.path(), &[]), "keyfold.toml", &[&format!("{key}_file"), "no setting"]);
        }
    }

    #[test]
    fn a_master_key_file_counts_from_every_source() {
        let key = format!("{}\n", BASE64.encode(&KEY));
        let expected = MasterKey::parse(&key).unwrap().id();
        let toml = ("keyfold.toml", "master_key_file = 'secrets/master'");
        let env = (".env", "KEYFOLD_MASTER_KEY_FILE=secrets/master\n");
        let process = ("KEYFOLD_MASTER_KEY_FILE", "secrets/master");
        for (file, variables) in [(Some(toml), vec![]), (Some(env), vec![]), (None, vec![process])] {
            let files: Vec<_> = file.into_iter().chain([("secrets/master", key.as_str())]).collect();
            let folder = folder(&files);
            let settings = read_in(folder.path(), &variables).unwrap();
            assert_eq!(id_of(&settings.master_key), expected, "{files:?}");
        }
        let folder = folder(&[("secrets/master", &key)]);
        let absolute = folder.path().join("secrets/master").display().to_string();
        let settings = read(&[("KEYFOLD_MASTER_KEY_FILE", &absolute)]).unwrap();
        assert_eq!(id_of(&settings.master_key), expected);
    }

    #[test]
    fn both_forms_at_once_are_refused() {
        let key = BASE64.encode(&KEY);
        let folder = folder(&[("secret", &key)]);
        for name in ["KEYFOLD_MASTER_KEY", "DATABASE_URL", "KEYFOLD_OTHER_MASTER_KEYS"] {
            let file_name = format!("{name}_FILE");
            let variables = [(name, SECRET), (file_name.as_str(), "secret")];
            let result = read_in(folder.path(), &variables);
            one_complaint(result, &file_name, &["leave one of the two out"]);
        }
        // One empty, and it is clear which one counts.
        let variables = [("KEYFOLD_MASTER_KEY", ""), ("KEYFOLD_MASTER_KEY_FILE", "secret")];
        assert!(read_in(folder.path(), &variables).is_ok());
        let variables = [("KEYFOLD_MASTER_KEY", key.as_str()), ("KEYFOLD_MASTER_KEY_FILE", "")];
        assert!(read_in(folder.path(), &variables).is_ok());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let folder = folder(&[("directory/x", "")]);
        fs::write(folder.path().join("binary"), [0xff, 0xfe, 0x00]).unwrap();
        for file in ["missing", "directory", "binary"] {
            let path = folder.path().join(file).display().to_string();
            for (variable, value) in
                [("KEYFOLD_MASTER_KEY_FILE", file.to_owned()), ("KEYFOLD_MASTER_KEY", format!("file:{file}"))]
            {
                let result = read_in(folder.path(), &[(variable, &value)]);
                one_complaint(result, variable, &[&path, "cannot be read"]);
            }
        }
        let variables = [("DATABASE_URL_FILE", "missing"), ("KEYFOLD_OTHER_MASTER_KEYS_FILE", "missing")];
        let (named, _) = complaints(read_in(folder.path(), &variables));
        assert_eq!(named, ["DATABASE_URL_FILE", "KEYFOLD_OTHER_MASTER_KEYS_FILE"]);
    }

    #[test]
    fn an_empty_file_is_a_mistake_and_not_an_unset_setting() {
        // Else a start would make a new master key of its own.
        for content in ["", " \r\n"] {
            let folder = folder(&[("empty", content)]);
            let variables = [("KEYFOLD_MASTER_KEY_FILE", "empty")];
            one_complaint(read_in(folder.path(), &variables), "KEYFOLD_MASTER_KEY_FILE", &["which is empty"]);
            let variables = [("KEYFOLD_MASTER_KEY", "file:empty")];
            one_complaint(read_in(folder.path(), &variables), "KEYFOLD_MASTER_KEY", &["too short"]);
        }
    }

    #[test]
    fn a_setting_whose_file_cannot_be_read_is_not_called_missing() {
        let files =
            [("DEPLOY_ENV", "render"), ("DATABASE_URL_FILE", "gone"), ("KEYFOLD_MASTER_KEY_FILE", "gone")];
        let (named, message) = complaints(read(&files));
        assert_eq!(named, ["DATABASE_URL_FILE", "KEYFOLD_MASTER_KEY_FILE"], "{message}");
    }
}

mod keyfold_toml {
    use super::*;

    fn toml(text: &str) -> Result<Sources, SettingsError> {
        load(folder(&[("keyfold.toml", text)]).path(), &[])
    }

    #[test]
    fn every_setting_but_the_mode_may_stand_there() {
        for setting in SETTINGS {
            let key = setting.name.strip_prefix("KEYFOLD_").unwrap_or(setting.name).to_ascii_lowercase();
            let result = toml(&format!("{key} = 'some value'"));
            if setting.kind == Kind::Mode {
                one_complaint(result, "keyfold.toml", &[&key, "DEBUG or DEPLOY_ENV", "mode"]);
                one_complaint(toml(&format!("{key} = true")), "keyfold.toml", &[&key]);
            } else {
                let value = result.unwrap().get(setting.name).unwrap();
                assert_eq!(value.as_str(), "some value", "{key}");
            }
        }
    }

    #[test]
    fn numbers_booleans_and_lists_are_taken() {
        let sources = toml(
            "port = 8080\nrecheck = false\nallowed_origins = ['https://a.example', \"https://b.example\"]\n\
             max_streams = '7'\ntrusted_proxies = []\n",
        )
        .unwrap();
        let get = |name| sources.get(name).map(|value| value.to_string());
        assert_eq!(get("PORT").as_deref(), Some("8080"));
        assert_eq!(get("KEYFOLD_RECHECK").as_deref(), Some("false"));
        assert_eq!(get("KEYFOLD_MAX_STREAMS").as_deref(), Some("7"));
        assert_eq!(get("KEYFOLD_TRUSTED_PROXIES"), None);
        let origins = sources.list("KEYFOLD_ALLOWED_ORIGINS").unwrap();
        assert_eq!(origins, ["https://a.example", "https://b.example"]);
    }

    #[test]
    fn an_address_of_a_provider_may_stand_there() {
        let folder = folder(&[("keyfold.toml", "provider_openai_base_url = 'https://eu.example'")]);
        let settings = read_in(folder.path(), &[]).unwrap();
        assert_eq!(settings.registry.get("openai").unwrap().address.to_string(), "https://eu.example");
    }

    #[test]
    fn unknown_names_are_refused() {
        for key in [
            "prot",
            "PORT",
            "Port",
            "STATE_DIR",
            "KEYFOLD_STATE_DIR",
            "keyfold_state_dir",
            "keyfold_master_key",
            "master-key",
            "gemini_api_key",
            "debug_file",
            "port_file",
            "path",
            "'state_dir '",
            "provider_base_url",
        ] {
            let bare = key.trim_matches('\'');
            one_complaint(
                toml(&format!("{key} = '{SECRET}'")),
                "keyfold.toml",
                &[bare, "no setting", "lower case"],
            );
        }
        let table = toml(&format!("[keyfold]\nmaster_key = '{SECRET}'"));
        one_complaint(table, "keyfold.toml", &["keyfold", "no setting"]);
    }

    #[test]
    fn values_of_the_wrong_kind_are_refused() {
        for value in ["{ a = 1 }", "1.5", "1979-05-27", "[{ a = 1 }]", "[1.5]"] {
            one_complaint(
                toml(&format!("state_dir = {value}")),
                "keyfold.toml",
                &["`state_dir`", "wrong kind"],
            );
        }
        one_complaint(toml(&format!("[master_key]\nx = '{SECRET}'")), "keyfold.toml", &["`master_key`"]);
    }

    #[test]
    fn what_is_no_toml_is_told_by_its_line_and_never_quoted() {
        let cases = [
            (2, format!("port = 1\nmaster_key = {SECRET}\n")),
            (2, format!("port = 1\nmaster_key = \"{SECRET}\n")),
            (3, format!("port = 1\n\nmaster_key {SECRET}\n")),
            (2, format!("master_key = 'x'\nmaster_key = '{SECRET}'\n")),
            (1, format!("master_key = '{SECRET}' '{SECRET}'\n")),
            (1, format!("master_key = \"{SECRET}\\q\"\n")),
            (1, format!("master_key = \"\\u{SECRET}\"\n")),
            (2, format!("# a comment\nKEYFOLD_MASTER_KEY={SECRET}\n")),
            (2, format!("port = 1\n[{SECRET}\n")),
            (1, format!("port = 0x{SECRET}\n")),
        ];
        for (line, text) in cases {
            one_complaint(toml(&text), "keyfold.toml", &["not TOML", &format!("line {line}:")]);
        }
        let folder = folder(&[]);
        fs::write(folder.path().join("keyfold.toml"), [b'a', b'=', 0xff]).unwrap();
        one_complaint(load(folder.path(), &[]), "keyfold.toml", &["cannot be read"]);
        let folder = super::folder(&[("keyfold.toml/x", "")]);
        one_complaint(load(folder.path(), &[]), "keyfold.toml", &["cannot be read"]);
    }

    #[test]
    fn everything_wrong_with_it_is_told_at_once_and_with_the_rest() {
        let folder = folder(&[
            ("keyfold.toml", "debug = true\nnonsense = 1\nstate_dir = 1.5\nonboarding = 'x'\n"),
            (".env", "not a line\n"),
        ]);
        let (named, message) = complaints(load(folder.path(), &[]));
        assert_eq!(named, ["keyfold.toml", "keyfold.toml", "keyfold.toml", "KEYFOLD_BACKEND_ENV_FILE"]);
        for part in ["4 settings", "`debug`", "`nonsense`", "`state_dir`", "line 1"] {
            assert!(message.contains(part), "{part}: {message}");
        }
        // A name that is no setting leaves the others clear; a value of the wrong kind does not.
        let with = |text: &str| {
            let folder = super::folder(&[("keyfold.toml", text)]);
            let mut problems = Problems::default();
            let sources = Sources::read(Environment::default(), folder.path(), &mut problems);
            (sources.is_some(), problems.0.len())
        };
        assert_eq!(with("debug = true\nnonsense = 1\nonboarding = 'x'\n"), (true, 2));
        assert_eq!(with("state_dir = 1.5\n"), (false, 1));
        assert_eq!(with("state_dir\n"), (false, 1));
        // An unclear mode hides nothing of it.
        let (named, _) = complaints(load(folder.path(), &[("DEBUG", "x")]));
        assert_eq!(named, ["keyfold.toml", "keyfold.toml", "keyfold.toml", "DEBUG"]);
    }
}

mod the_database {
    use super::*;

    #[test]
    fn forms_of_its_address() {
        let folder = folder(&[]);
        let dir = folder.path();
        let database = |url: &str| read_in(dir, &[("DATABASE_URL", url)]).unwrap().database;
        let sqlite = |path: &str| DatabaseSetting::Sqlite(dir.join(path));
        assert_eq!(read_in(dir, &[]).unwrap().database, sqlite(".keyfold/keyfold.db"));
        let elsewhere = read_in(dir, &[("KEYFOLD_STATE_DIR", "x/y")]).unwrap();
        assert_eq!(elsewhere.database, sqlite("x/y/keyfold.db"));
        assert_eq!(database("sqlite://data/k.db"), sqlite("data/k.db"));
        assert_eq!(database("sqlite:///var/lib/k.db"), DatabaseSetting::Sqlite("/var/lib/k.db".into()));
        assert_eq!(database("sqlite:k.db"), sqlite("k.db"));
        for url in ["postgres://u:p@h/d", "postgresql://u:p@h:5432/d?sslmode=require"] {
            assert_eq!(database(url), DatabaseSetting::Postgres(url.parse().unwrap()));
        }
        for url in
            ["mysql://u:S3CR3T@h/d", "sqlite://", "sqlite:", "S3CR3T", "postgress://S3CR3T@h/d", "/a/k.db"]
        {
            one_complaint(
                read_in(dir, &[("DATABASE_URL", url)]),
                "DATABASE_URL",
                &["sqlite://", "PostgreSQL"],
            );
        }
        // Nobody wants a file of such a name.
        for (url, what) in [
            ("sqlite::memory:", "in memory"),
            ("sqlite://:memory:", "in memory"),
            ("sqlite::memory:?cache=shared", "in memory"),
            ("sqlite://S3CR3T.db?mode=ro", "options"),
            ("sqlite:k.db?", "options"),
        ] {
            one_complaint(read_in(dir, &[("DATABASE_URL", url)]), "DATABASE_URL", &[what, "sqlite://path"]);
        }
    }

    #[test]
    fn production_takes_postgresql_only() {
        let key = BASE64.encode(&KEY);
        let with =
            |url| [("DEPLOY_ENV", "render"), ("KEYFOLD_MASTER_KEY", key.as_str()), ("DATABASE_URL", url)];
        for url in ["postgres://u:p@h/d", "postgresql://u:p@h/d"] {
            assert_eq!(read(&with(url)).unwrap().database, DatabaseSetting::Postgres(url.parse().unwrap()));
        }
        for url in ["sqlite://S3CR3T.db", "mysql://u:S3CR3T@h/d", "S3CR3T"] {
            one_complaint(read(&with(url)), "DATABASE_URL", &["postgres://", "postgresql://"]);
        }
        one_complaint(read(&with("")), "DATABASE_URL", &["missing", "postgres://user:password@host"]);
        one_complaint(read(&with("\"\"")), "DATABASE_URL", &["missing"]);
        for url in [
            "${{Postgres.DATABASE_URL}}",
            "${{ Postgres.DATABASE_URL }}",
            "${DATABASE_URL}",
            "$DATABASE_URL",
            "postgres://${PGUSER}:S3CR3T@${PGHOST}/db",
        ] {
            one_complaint(read(&with(url)), "DATABASE_URL", &["did not resolve"]);
        }
        for url in
            ["jdbc:postgresql://h/d?password=S3CR3T", "postgresql+asyncpg://u:S3CR3T@h/d", "h:5432/S3CR3T"]
        {
            one_complaint(read(&with(url)), "DATABASE_URL", &["begins with postgres://"]);
        }
        one_complaint(
            read(&with("postgres://u:S3CR3T@h/d?sslmode=on")),
            "DATABASE_URL",
            &["sslmode", "verify-full"],
        );
        one_complaint(read(&with("postgres://")), "DATABASE_URL", &["names no host"]);
    }

    #[test]
    fn a_placeholder_for_the_password_is_named() {
        for password in [
            "[YOUR-PASSWORD]",
            "[your-password]",
            "%5BYOUR-PASSWORD%5D",
            "[YOUR_PASSWORD]",
            "[YOUR-DB-PASSWORD]",
            "[PASSWORD]",
            "<password>",
            "{password}",
            "YOUR_PASSWORD",
            "your-password",
            "********",
        ] {
            let url = format!("postgresql://postgres.ref:{password}@db.ref.supabase.co:5432/postgres");
            for quoted in [url.clone(), format!("\"{url}\"")] {
                let parts = ["placeholder where the password belongs", "put the database user's password"];
                one_complaint(read(&[("DATABASE_URL", &quoted)]), "DATABASE_URL", &parts);
            }
        }
        for password in ["password", "[S3CR3T]", "your-password1", "*a*", "", "%5Bpassword"] {
            let url = format!("postgres://u:{password}@h/d");
            let settings = read(&[("DATABASE_URL", &url)]).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert!(matches!(settings.database, DatabaseSetting::Postgres(_)), "{url}");
        }
        read(&[("DATABASE_URL", "postgres://[2001:db8::1]:5432/d")]).unwrap();
    }

    #[test]
    fn its_address_and_the_master_keys_are_read_whatever_else_is_wrong() {
        let key = BASE64.encode(&KEY);
        let access = |variables: &[(&str, &str)]| {
            let folder = folder(&[]);
            DatabaseAccess::read(&load(folder.path(), variables).unwrap())
        };
        let url = ("DATABASE_URL", "postgres://u:S3CR3T@h/d");
        let master_key = ("KEYFOLD_MASTER_KEY", key.as_str());
        let wrong = [
            ("KEYFOLD_ONBOARDING", "x"),
            ("KEYFOLD_PROVIDERS_FILE", "nosuch.toml"),
            ("KEYFOLD_PROVIDER_EXA_BASE_URL", "x"),
            ("RENDER", "true"),
        ];
        let found = access(&[&[url, master_key], &wrong[..]].concat()).unwrap();
        assert_eq!(found.address, url.1.parse().unwrap());
        assert_eq!(found.master_keys.as_ref().unwrap().ids(), [MasterKey::parse(&key).unwrap().id()]);
        let shown = format!("{found:?}");
        assert!(!shown.contains(SECRET) && !shown.contains(&key), "{shown}");
        // Which keys are given is unclear, and the address is not.
        for unclear in [
            vec![url],
            vec![url, ("KEYFOLD_MASTER_KEY", "x")],
            vec![url, master_key, ("KEYFOLD_OTHER_MASTER_KEYS", "x")],
        ] {
            assert!(access(&unclear).unwrap().master_keys.is_none());
        }
        for none in ["", "sqlite://k.db", "postgres://", "mysql://h/d", "postgres://u:[YOUR-PASSWORD]@h/d"] {
            assert!(access(&[("DATABASE_URL", none), master_key]).is_none(), "{none}");
        }
    }

    #[test]
    fn addresses_are_taken_as_platforms_give_them() {
        let key = BASE64.encode(&KEY);
        for url in [
            // Render, inside and outside of its network.
            "postgresql://keyfold_user:S3CR3T@dpg-abc123def456-a/keyfold",
            "postgresql://keyfold_user:S3CR3T@dpg-abc123def456-a.oregon-postgres.render.com/keyfold",
            // Heroku.
            "postgres://uabc123:pS3CR3T@ec2-52-3-4-5.compute-1.amazonaws.com:5432/d1abc23def",
            // Railway, inside and through its proxy.
            "postgresql://postgres:S3CR3T@postgres.railway.internal:5432/railway",
            "postgresql://postgres:S3CR3T@viaduct.proxy.rlwy.net:12345/railway",
            // Others that people bring along.
            "postgresql://u:S3CR3T@ep-x-1.eu-central-1.aws.neon.tech/neondb?sslmode=require&channel_binding=require",
            "postgresql://postgres.ref:S3CR3T@aws-0-eu-central-1.pooler.supabase.com:5432/postgres",
            "postgres://u:p%40%2FS3CR3T@[2001:db8::1]:5432/d?sslmode=verify-full",
            // As they are pasted.
            " \"postgres://u:S3CR3T@h/d\"\n",
            "'postgres://u:S3CR3T@h/d'",
        ] {
            let variables =
                [("DEPLOY_ENV", "render"), ("KEYFOLD_MASTER_KEY", key.as_str()), ("DATABASE_URL", url)];
            let settings = read(&variables).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert!(matches!(settings.database, DatabaseSetting::Postgres(_)), "{url}");
            assert!(!format!("{settings:?} {}", settings.database).contains(SECRET), "{url}");
        }
    }
}

mod the_master_key {
    use super::*;

    fn key(text: &str) -> Result<KeyId, SettingsError> {
        read(&[("KEYFOLD_MASTER_KEY", text)]).map(|settings| id_of(&settings.master_key))
    }

    #[test]
    fn forms() {
        let expected = MasterKey::parse(&BASE64.encode(&KEY)).unwrap().id();
        let forms = [
            BASE64.encode(&KEY),
            BASE64_NOPAD.encode(&KEY),
            BASE64URL.encode(&KEY),
            BASE64URL_NOPAD.encode(&KEY),
            HEXLOWER.encode(&KEY),
            HEXUPPER.encode(&KEY),
            format!("  {}\n", HEXUPPER.encode(&KEY)),
            format!("\"{}\"", BASE64.encode(&KEY)),
            format!(" '{}' \r\n", HEXLOWER.encode(&KEY)),
            format!("\"{}\n\"", BASE64URL_NOPAD.encode(&KEY)),
        ];
        let distinct: BTreeSet<&str> = forms.iter().map(|form| form.trim()).collect();
        assert_eq!(distinct.len(), 9, "the forms must differ for this test to mean anything");
        for form in &forms {
            assert_eq!(key(form).unwrap(), expected, "{form}");
            let folder = folder(&[("master.key", &format!("{form}\n"))]);
            let path = format!("file:{}", folder.path().join("master.key").display());
            assert_eq!(key(&path).unwrap(), expected);
        }
        let without = read(&[]).unwrap();
        assert!(matches!(without.master_key, MasterKeySetting::StateDirectory));
        let empty = read(&[("KEYFOLD_MASTER_KEY", "")]).unwrap();
        assert!(matches!(empty.master_key, MasterKeySetting::StateDirectory));
    }

    #[test]
    fn malformed_and_weak_ones_are_refused_with_how_to_make_one() {
        let repeated: Vec<u8> = (0..4).flat_map(|_| [9, 200, 31, 77, 150, 3, 64, 251]).collect();
        let downwards: Vec<u8> = (0..32).rev().collect();
        let steps: Vec<u8> = (0..32_u8).map(|n| n.wrapping_mul(7)).collect();
        let upwards: Vec<u8> = (0..32).collect();
        let halves = [&KEY[..16], &KEY[..16]].concat();
        let cases: Vec<(&str, String)> = vec![
            ("neither base64 nor", SECRET.repeat(6) + "!"),
            ("neither base64 nor", format!("{}%", BASE64_NOPAD.encode(&KEY))),
            ("too short", BASE64.encode(&KEY[..31])),
            ("too short", BASE64.encode(&KEY[..16])),
            ("neither base64 nor", HEXLOWER.encode(&KEY[..31])),
            ("too short", "AAAA".into()),
            ("too long", BASE64.encode(&[&KEY[..], &[1]].concat())),
            ("too long", BASE64.encode(&[KEY, KEY].concat())),
            ("weak", HEXLOWER.encode(&[0; 32])),
            ("weak", BASE64.encode(&[0xff; 32])),
            ("weak", BASE64.encode(&[b'a'; 32])),
            ("weak", BASE64.encode(&upwards)),
            ("weak", HEXLOWER.encode(&downwards)),
            ("weak", HEXLOWER.encode(&steps)),
            ("weak", HEXLOWER.encode(&repeated)),
            ("weak", BASE64.encode(b"correct horse battery staple S3c")),
            ("weak", BASE64.encode(b"thisisaverysecretkey0123456789ab")),
            // NIST SP 800-38A and the hash of nothing.
            ("weak", "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4".into()),
            ("weak", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".into()),
            // What is pasted from documentation and tutorials.
            ("weak", "deadbeef".repeat(8)),
            ("weak", "0123456789abcdef".repeat(4)),
            ("weak", "00112233445566778899aabbccddeeff".repeat(2)),
            ("weak", HEXLOWER.encode(&halves)),
            ("weak", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".into()),
            ("weak", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".into()),
            ("weak", "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg".into()),
            ("weak", "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60".into()),
            // The SHA-256 of `password` and of `changeme`.
            ("weak", "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8".into()),
            ("weak", "057ba03d6c44104863dc7361fe4578965d1887360f90a0895882e58a6248fc86".into()),
            ("too short", "changeme".repeat(4)),
            ("too short", "550e8400-e29b-41d4-a716-446655440000".into()),
            // Words that happen to be base64 of the right length.
            ("weak", "change-me-to-a-long-random-string-in-prod-0".into()),
            ("weak", "our-very-long-production-phrase-of-acme-ink".into()),
            ("weak", "OUR/VERY/LONG/PRODUCTION/PHRASE/OF/ACME/INQ".into()),
            ("weak", "MySuperPasswordForAcmeIncorporatedProd12344".into()),
            ("weak", "Change-Me-xQ7Zt0vB4nK9wLs2Ry5uHd8jFg1mPc3eA".into()),
        ];
        for reference in ["${{shared.KEYFOLD_MASTER_KEY}}", "$KEYFOLD_MASTER_KEY"] {
            one_complaint(
                key(reference),
                "KEYFOLD_MASTER_KEY",
                &["did not resolve", "keyfold master-key generate"],
            );
        }
        for (why, text) in &cases {
            let parts = [*why, "keyfold master-key generate"];
            one_complaint(key(text), "KEYFOLD_MASTER_KEY", &parts);
            let (_, message) = complaints(key(text));
            assert!(!message.contains(text.as_str()), "{message}");
            let production = [
                ("DEPLOY_ENV", "render"),
                ("DATABASE_URL", "postgres://u:p@h/d"),
                ("KEYFOLD_MASTER_KEY", text),
            ];
            one_complaint(read(&production), "KEYFOLD_MASTER_KEY", &parts);
            // Wherever it comes from.
            let folder = folder(&[("master", text)]);
            let file = [("KEYFOLD_MASTER_KEY", "file:master")];
            one_complaint(read_in(folder.path(), &file), "KEYFOLD_MASTER_KEY", &parts);
        }
    }

    #[test]
    #[cfg(not(feature = "kms"))]
    fn a_key_of_a_key_service_is_refused_in_clear_words() {
        let arn = "awskms:arn:aws:kms:eu-central-1:111122223333:key/S3CR3T";
        for name in ["KEYFOLD_MASTER_KEY", "KEYFOLD_OTHER_MASTER_KEYS"] {
            one_complaint(read(&[(name, arn)]), name, &["AWS KMS", "file:PATH"]);
        }
    }

    #[test]
    #[cfg(feature = "kms")]
    fn a_key_of_a_key_service_is_named_by_its_arn_and_read_without_asking_anybody() {
        let arn = "arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/mrk-1234abcd";
        let given = format!(" awskms:{arn} ");
        for settings in [
            read(&[("KEYFOLD_MASTER_KEY", &given)]).unwrap().master_key,
            read(&[("KEYFOLD_OTHER_MASTER_KEYS", &given)]).unwrap().other_master_keys.remove(0),
        ] {
            let MasterKeySetting::Kms(key) = settings else { panic!("{settings:?}") };
            assert_eq!((key.arn(), key.region()), (arn, "us-gov-west-1"));
        }
    }

    #[test]
    #[cfg(feature = "kms")]
    fn what_is_no_arn_of_a_key_is_refused_and_not_shown() {
        for wrong in [
            "S3CR3T",
            "arn:aws:kms:eu-central-1:111122223333:alias/S3CR3T",
            "arn:aws:kms:eu-central-1:111122223333:key/",
            "arn:aws:kms:eu-central-1:111122223333:key/a/S3CR3T",
            "arn:aws:kms::111122223333:key/S3CR3T",
            "arn:aws:kms:eu-central-1:1111:key/S3CR3T",
            "arn:aws:s3:eu-central-1:111122223333:key/S3CR3T",
            "arn:S3CR3T:kms:eu-central-1:111122223333:key/a",
            "arn:aws:kms:eu-central-1:111122223333:key/a:S3CR3T",
        ] {
            for name in ["KEYFOLD_MASTER_KEY", "KEYFOLD_OTHER_MASTER_KEYS"] {
                let given = format!("awskms:{wrong}");
                let parts = ["AWS KMS", "arn:aws:kms:REGION:ACCOUNT:key/ID"];
                one_complaint(read(&[(name, &given)]), name, &parts);
                let (_, message) = complaints(read(&[(name, &given)]));
                assert!(!message.contains("S3CR3T"), "{message}");
            }
        }
    }

    #[test]
    fn other_ones_are_a_list() {
        let mut other = KEY;
        other[0] ^= 1;
        let folder = folder(&[("old.key", &HEXLOWER.encode(&other)), ("directory/x", "")]);
        let first = BASE64.encode(&KEY);
        let others = |text: &str| {
            let settings = read_in(folder.path(), &[("KEYFOLD_OTHER_MASTER_KEYS", text)])?;
            Ok::<_, SettingsError>(settings.other_master_keys.iter().map(id_of).collect::<Vec<_>>())
        };
        let expected = [
            MasterKey::parse(&first).unwrap().id(),
            MasterKey::parse(&HEXLOWER.encode(&other)).unwrap().id(),
        ];
        assert_eq!(others(&format!(" {first} , file:old.key,")).unwrap(), expected);
        assert_eq!(others(",").unwrap(), []);
        let (named, message) = complaints(others(&format!("{SECRET},{first},file:directory,awskms:x")));
        assert_eq!(named, ["KEYFOLD_OTHER_MASTER_KEYS"; 3], "{message}");
        assert!(!message.contains(&first));
    }
}

mod the_providers {
    use super::*;

    fn with_file(text: &str) -> Result<Settings, SettingsError> {
        let folder = folder(&[("providers.toml", text)]);
        read_in(folder.path(), &[("KEYFOLD_PROVIDERS_FILE", "providers.toml")])
    }

    const OWN: &str =
        "[my-models]\nname = 'Mine'\naddress = 'https://models.example/v1'\nvariable = 'MY_MODELS_KEY'\n";

    #[test]
    fn a_file_adds_providers_and_changes_single_fields() {
        let usual = read(&[]).unwrap().registry;
        let text = format!("{OWN}[gemini]\naddress = 'https://eu.example'\n");
        let changed = with_file(&text).unwrap().registry;
        assert_eq!(changed.ids().len(), usual.ids().len() + 1);
        let own = changed.get("my-models").unwrap();
        assert_eq!((own.name.as_str(), own.variable.as_str()), ("Mine", "MY_MODELS_KEY"));
        let (before, after) = (usual.get("gemini").unwrap(), changed.get("gemini").unwrap());
        assert_ne!(before.address, after.address);
        assert_eq!(after.address.to_string(), "https://eu.example");
        assert_eq!((&before.name, &before.variable), (&after.name, &after.variable));
        assert_eq!(before.key_placement, after.key_placement);
        assert!(after.check.is_some());
        assert_eq!(changed.get("openai").unwrap().address, usual.get("openai").unwrap().address);
    }

    #[test]
    fn mistakes_in_it_are_named() {
        let cases = [
            ("[gemini", "TOML"),
            ("[gemini]\nadress = 'https://x.example'", "adress"),
            ("[gemini]\naddress = 'http://models.example'", "https://"),
            ("[gemini]\nvariable = 'A-B'", "gemini"),
            ("[gemini]\nvariable = 'OPENAI_API_KEY'", "OPENAI_API_KEY"),
            ("[new]\nname = 'New'", "new"),
            ("[Upper]\nname = 'x'\naddress = 'https://x.example'\nvariable = 'X'", "Upper"),
            ("[gemini]\ncheck = { method = 'DELETE', path = '/' }", "gemini"),
            ("[gemini]\ncheck = { method = 'GET', path = 'v1' }", "gemini"),
            ("gemini = 1", "gemini"),
        ];
        for (text, part) in cases {
            let part = if part == "TOML" { "mistake" } else { part };
            one_complaint(with_file(text), "KEYFOLD_PROVIDERS_FILE", &[part, "mistake"]);
        }
        one_complaint(
            read(&[("KEYFOLD_PROVIDERS_FILE", "missing.toml")]),
            "KEYFOLD_PROVIDERS_FILE",
            &["missing.toml"],
        );
    }

    #[test]
    fn every_mistake_in_it_is_told_with_the_file_and_the_line() {
        let text = format!("{OWN}key_header = 'connection'\n[gemini]\naddress = 'http://eu.example'\n");
        let told = with_file(&text).unwrap_err().0.0;
        assert_eq!(told.len(), 2, "{told:?}");
        for (problem, part) in
            told.iter().zip(["line 7, [gemini] `address`", "line 5, [my-models] `key_header`"])
        {
            assert_eq!(problem.variable, "KEYFOLD_PROVIDERS_FILE");
            assert!(problem.what.contains("providers.toml") && problem.what.contains(part), "{problem:?}");
            assert!(problem.remedy.contains("docs/providers.md"), "{problem:?}");
        }
    }

    #[test]
    fn no_provider_gets_a_variable_of_keyfolds_own() {
        let file_forms = SETTINGS.iter().map(|setting| format!("{}_FILE", setting.name));
        for name in SETTINGS.iter().map(|setting| setting.name.to_owned()).chain(file_forms) {
            let text = OWN.replace("MY_MODELS_KEY", &name);
            one_complaint(with_file(&text), "KEYFOLD_PROVIDERS_FILE", &[&name, "[my-models] `variable`"]);
        }
    }

    fn address(name: &str, value: &str) -> Result<(String, Option<String>), SettingsError> {
        let settings = read(&[(name, value)])?;
        let provider = settings.registry.get("openai").unwrap();
        let generate = provider.generate.as_ref().map(|generate| generate.address.to_string());
        Ok((provider.address.to_string(), generate))
    }

    #[test]
    fn an_address_can_be_changed() {
        let name = "KEYFOLD_PROVIDER_OPENAI_BASE_URL";
        for good in [
            "https://eu.api.example/v2",
            "http://127.0.0.1:9100/openai",
            "http://localhost:1",
            "http://[::1]:1",
        ] {
            assert_eq!(address(name, good).unwrap(), (good.to_owned(), Some(good.to_owned())));
        }
        let usual = read(&[]).unwrap().registry.get("openai").unwrap().address.to_string();
        assert_eq!(address(name, "").unwrap().0, usual);
        for bad in [
            "http://api.example",
            "http://10.0.0.1",
            "api.example",
            "ftp://127.0.0.1",
            "https://a.example/?key=S3CR3T",
            "https://u:S3CR3T@a.example",
        ] {
            one_complaint(address(name, bad), name, &[]);
        }
        one_complaint(address(name, "http://api.example"), name, &["https://", "127.0.0.1"]);
    }

    #[test]
    fn an_address_for_an_unknown_provider_is_refused_with_the_known_ones() {
        let name = "KEYFOLD_PROVIDER_OPENIA_BASE_URL";
        one_complaint(read(&[(name, "https://x.example")]), name, &["openai", "gemini", "does not know"]);
        let folder = folder(&[(".env", "KEYFOLD_PROVIDER_OPENIA_BASE_URL=https://x.example\n")]);
        one_complaint(read_in(folder.path(), &[]), name, &["openai"]);
    }

    #[test]
    fn a_file_that_is_not_right_does_not_hide_an_address_that_is_not() {
        let (exa, mine) = ("KEYFOLD_PROVIDER_EXA_BASE_URL", "KEYFOLD_PROVIDER_MINE_BASE_URL");
        let variables =
            [("KEYFOLD_PROVIDERS_FILE", "nosuch.toml"), (exa, "nowhere"), (mine, "https://x.example")];
        let (named, message) = complaints(read(&variables));
        // The other provider may be one of the file.
        assert_eq!(named, ["KEYFOLD_PROVIDERS_FILE", exa], "{message}");
    }

    #[test]
    fn a_dash_in_an_id_is_an_underscore_in_the_variable() {
        let underscored = OWN.replace("my-models", "my_own").replace("MY_MODELS", "MY_OWN");
        let folder = folder(&[("providers.toml", &format!("{OWN}{underscored}"))]);
        let variables = [
            ("KEYFOLD_PROVIDERS_FILE", "providers.toml"),
            ("KEYFOLD_PROVIDER_MY_MODELS_BASE_URL", "https://dashed.example"),
            ("KEYFOLD_PROVIDER_MY_OWN_BASE_URL", "https://underscored.example"),
        ];
        let registry = read_in(folder.path(), &variables).unwrap().registry;
        let address = |id| registry.get(id).unwrap().address.to_string();
        assert_eq!(address("my-models"), "https://dashed.example");
        assert_eq!(address("my_own"), "https://underscored.example");
    }

    #[test]
    fn addresses_follow_the_order_of_sources() {
        let name = "KEYFOLD_PROVIDER_OPENAI_BASE_URL";
        let env = (".env", "KEYFOLD_PROVIDER_OPENAI_BASE_URL=https://env.example\n");
        let toml = ("keyfold.toml", "provider_openai_base_url = 'https://toml.example'");
        let address = |files: &[(&str, &str)], variables: &[(&str, &str)]| {
            let settings = read_in(folder(files).path(), variables).unwrap();
            settings.registry.get("openai").unwrap().address.to_string()
        };
        assert_eq!(address(&[env, toml], &[(name, "https://process.example")]), "https://process.example");
        assert_eq!(address(&[env, toml], &[(name, "")]), "https://env.example");
        assert_eq!(address(&[toml], &[]), "https://toml.example");
        let empty = (".env", "KEYFOLD_PROVIDER_OPENAI_BASE_URL=\n");
        assert_eq!(address(&[empty, toml], &[]), "https://toml.example");
    }
}

mod the_rest {
    use super::*;

    #[test]
    fn presets() {
        let preset = |name| read(&[("KEYFOLD_ONBOARDING", name)]);
        assert_eq!(preset("keyfold").unwrap().preset, Preset::Keyfold);
        assert_eq!(preset("alwrity").unwrap().preset, Preset::Alwrity);
        assert_eq!(preset("").unwrap().preset, Preset::Keyfold);
        for wrong in ["ALwrity", "none"] {
            one_complaint(preset(wrong), "KEYFOLD_ONBOARDING", &[wrong, "alwrity", "keyfold"]);
        }
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let folder = folder(&[("providers.toml", "[gemini]\nnonsense = 1")]);
        let variables = [
            ("RENDER", "true"),
            ("DATABASE_URL", "mysql://u:S3CR3T@h/d"),
            ("KEYFOLD_MASTER_KEY", "S3CR3T"),
            ("KEYFOLD_OTHER_MASTER_KEYS", "S3CR3T,S3CR3T"),
            ("KEYFOLD_PROVIDERS_FILE", "providers.toml"),
            ("KEYFOLD_ONBOARDING", "x"),
        ];
        let (named, message) = complaints(read_in(folder.path(), &variables));
        let expected = [
            "RENDER",
            "DATABASE_URL",
            "KEYFOLD_MASTER_KEY",
            "KEYFOLD_OTHER_MASTER_KEYS",
            "KEYFOLD_OTHER_MASTER_KEYS",
            "KEYFOLD_PROVIDERS_FILE",
            "KEYFOLD_ONBOARDING",
        ];
        assert_eq!(named, expected);
        assert!(message.starts_with("Keyfold cannot start: 7 settings are not right."), "{message}");
        assert_eq!(message.matches('→').count(), 7);
    }

    #[test]
    fn the_catalogue_is_in_order_for_a_reference() {
        let names: BTreeSet<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
        assert_eq!(names.len(), SETTINGS.len());
        assert!(SETTINGS.iter().all(|setting| !setting.meaning.is_empty() && !setting.default.is_empty()));
        // These hold secrets, or may: never shown, and accepted as files.
        for secret in [
            "DATABASE_URL",
            "KEYFOLD_MASTER_KEY",
            "KEYFOLD_OTHER_MASTER_KEYS",
            "KEYFOLD_LOCAL_TOKEN",
            "CLERK_SECRET_KEY",
            "CLERK_WEBHOOK_SIGNING_SECRET",
            "CLERK_WEBHOOK_SECRET",
            "REDIS_URL",
        ] {
            assert!(
                SETTINGS.iter().any(|setting| setting.name == secret && setting.kind == Kind::Secret),
                "{secret}"
            );
        }
    }

    #[test]
    fn an_unreadable_settings_file_of_root_is_told_to_others() {
        // To root every file opens, so this means something for ordinary users only.
        let folder = folder(&[("keyfold.toml", "port = 1")]);
        let path = folder.path().join("keyfold.toml");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
        if fs::read(&path).is_err() {
            one_complaint(load(folder.path(), &[]), "keyfold.toml", &["cannot be read"]);
        }
    }
}
