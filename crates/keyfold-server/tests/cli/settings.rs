//! The settings of the listener, and everything for which production does not start. Read as `serve` reads them.

use std::fs;
use std::path::Path;

use data_encoding::BASE64;
use keyfold::mode::Mode;
use keyfold::settings::SettingsError;
use keyfold_server::config::Config;
use tempfile::TempDir;

const SECRET: &str = "S3CR3T";
const MASTER_KEY: &str = "++++EjSQq83//wF3Plxo0poEQeeLI2+wxRmC+lcN7jE=";

type Variables<'a> = Vec<(&'a str, &'a str)>;

fn read(variables: &Variables<'_>) -> Result<Config, SettingsError> {
    read_in(TempDir::new().unwrap().path(), variables)
}

fn read_in(dir: &Path, variables: &Variables<'_>) -> Result<Config, SettingsError> {
    Config::for_serving(variables.iter().copied().collect(), dir)
}

#[track_caller]
fn complaints(variables: &Variables<'_>) -> (Vec<String>, String) {
    let error = read(variables).err().expect("these settings are not right");
    let message = error.to_string();
    assert!(!message.contains(SECRET) && !message.contains(MASTER_KEY), "{message}");
    (error.0.0.into_iter().map(|problem| problem.variable).collect(), message)
}

/// Asserts that exactly this variable is wrong, and that the message says these things.
#[track_caller]
fn one_complaint(variables: &Variables<'_>, variable: &str, parts: &[&str]) {
    let (named, message) = complaints(variables);
    assert_eq!(named, [variable], "{message}");
    for part in parts {
        assert!(message.contains(part), "{part:?} is missing in: {message}");
    }
}

mod local {
    use super::*;

    #[test]
    fn defaults() {
        let server = read(&vec![]).unwrap().server;
        assert_eq!(server.listen.to_string(), "127.0.0.1:8000");
        assert_eq!(server.metrics.unwrap().to_string(), "127.0.0.1:9464");
        assert_eq!(server.allowed_origins, ["http://localhost:3000", "http://localhost:5173"]);
        assert_eq!(server.origins()[0], "http://127.0.0.1:8000");
        assert_eq!((server.log.filter.as_str(), server.log.json), ("info", false));
        assert!(server.issuer.is_none() && server.local_token.is_none() && server.public_url.is_none());
        assert!(server.allowed_hosts.is_empty());
    }

    #[test]
    fn what_every_setting_accepts() {
        let listen =
            |host, port| read(&vec![("HOST", host), ("PORT", port)]).unwrap().server.listen.to_string();
        assert_eq!(listen("127.0.0.2", "65535"), "127.0.0.2:65535");
        assert_eq!(listen("localhost", "1"), "127.0.0.1:1");
        assert_eq!(listen("::1", "80"), "[::1]:80");
        assert_eq!(listen("[::1]", "80"), "[::1]:80");
        assert_eq!(listen("", ""), "127.0.0.1:8000");

        let variables = vec![
            ("KEYFOLD_PUBLIC_URL", "https://keys.example/"),
            ("KEYFOLD_ALLOWED_ORIGINS", " https://a.example , http://localhost:80/,"),
            ("KEYFOLD_ALLOWED_HOSTS", "keys.test, other.test:81"),
            ("KEYFOLD_METRICS_ADDR", "[::1]:1"),
            ("KEYFOLD_LOG", "keyfold=debug,warn"),
            ("KEYFOLD_LOG_FORMAT", "json"),
        ];
        let server = read(&variables).unwrap().server;
        assert_eq!(server.public_url.as_deref(), Some("https://keys.example"));
        assert_eq!(server.allowed_origins, ["https://a.example", "http://localhost"]);
        assert_eq!(server.origins(), ["https://keys.example", "https://a.example", "http://localhost"]);
        assert_eq!(server.allowed_hosts, ["keys.test", "other.test:81"]);
        assert_eq!(server.metrics.unwrap().to_string(), "[::1]:1");
        assert_eq!((server.log.filter.as_str(), server.log.json), ("keyfold=debug,warn", true));
        for off in ["off", "OFF"] {
            assert_eq!(read(&vec![("KEYFOLD_METRICS_ADDR", off)]).unwrap().server.metrics, None);
        }
        assert!(!read(&vec![("KEYFOLD_LOG_FORMAT", "text")]).unwrap().server.log.json);
    }

    #[test]
    fn what_it_does_not_accept_is_named() {
        let cases: [(&str, &[&str], &[&str]); 8] = [
            ("PORT", &["eighty", "65536", "-1", "80a", "8000,8001"], &["1 to 65535"]),
            ("HOST", &["here", "127.0.0", "127.0.0.1:80", "example.com"], &["IP address"]),
            (
                "KEYFOLD_PUBLIC_URL",
                &["keys.example", "https://keys.example/path", "ftp://x", "https://a?b"],
                &["https://keys.example.com"],
            ),
            (
                "KEYFOLD_ALLOWED_ORIGINS",
                &["*", "null", "a.example", "https://a.example/path", "https://u@a.example"],
                &["https://app.example.com", "* is not allowed"],
            ),
            (
                "KEYFOLD_METRICS_ADDR",
                &["9464", "localhost:9464", "on", "127.0.0.1", "0.0.0.0:9464"],
                &["127.0.0.1:9464", "off"],
            ),
            ("KEYFOLD_LOG", &["a=b=c", "keyfold=loud"], &["info"]),
            ("KEYFOLD_LOG_FORMAT", &["JSON ", "xml", "yes"][1..], &["text", "json"]),
            ("KEYFOLD_ONBOARDING", &["mine"], &["alwrity"]),
        ];
        for (variable, values, parts) in cases {
            for value in values {
                one_complaint(&vec![(variable, value)], variable, parts);
            }
        }
        let (named, message) = complaints(&vec![("KEYFOLD_ALLOWED_ORIGINS", "*,https://a.example,b")]);
        assert_eq!(named, ["KEYFOLD_ALLOWED_ORIGINS"; 2]);
        assert!(message.contains("`*`") && message.contains("`b`"), "{message}");
        let all: Variables<'_> = cases.iter().map(|(variable, values, _)| (*variable, values[0])).collect();
        let (named, message) = complaints(&all);
        assert_eq!(named.len(), cases.len(), "{message}");
    }

    #[test]
    fn listening_elsewhere_needs_a_token() {
        for host in ["0.0.0.0", "::", "192.168.1.10", "::ffff:127.0.0.1"] {
            one_complaint(&vec![("HOST", host)], "HOST", &[host, "KEYFOLD_LOCAL_TOKEN", "no login"]);
            let server = read(&vec![("HOST", host), ("KEYFOLD_LOCAL_TOKEN", SECRET)]).unwrap().server;
            assert!(!server.listen.ip().is_loopback());
            assert_eq!(server.local_token.unwrap().as_str(), SECRET);
            one_complaint(&vec![("HOST", host), ("KEYFOLD_LOCAL_TOKEN", " ")], "HOST", &[]);
        }
        // Metrics are no different.
        let metrics = ("KEYFOLD_METRICS_ADDR", "0.0.0.0:1");
        one_complaint(&vec![metrics], "KEYFOLD_METRICS_ADDR", &["others can reach"]);
        let server = read(&vec![metrics, ("KEYFOLD_LOCAL_TOKEN", SECRET)]).unwrap().server;
        assert_eq!(server.metrics.unwrap().to_string(), "0.0.0.0:1");
        let both = vec![("KEYFOLD_LOCAL_TOKEN", SECRET), ("KEYFOLD_LOCAL_TOKEN_FILE", "x")];
        one_complaint(&both, "KEYFOLD_LOCAL_TOKEN_FILE", &["leave one of the two out"]);
    }

    #[test]
    fn an_issuer_is_optional_and_checked_if_it_is_there() {
        one_complaint(
            &vec![("CLERK_PUBLISHABLE_KEY", "pk_test_")],
            "CLERK_PUBLISHABLE_KEY",
            &["Clerk dashboard"],
        );
        one_complaint(
            &vec![("KEYFOLD_AUTH_ISSUER", "http://id.example")],
            "KEYFOLD_AUTH_ISSUER",
            &["https://"],
        );
        let issuer =
            read(&vec![("KEYFOLD_AUTH_ISSUER", "https://id.example/")]).unwrap().server.issuer.unwrap();
        // Tokens repeat it letter by letter.
        assert_eq!(issuer.issuer, "https://id.example/");
        // Front ends in development, and Keyfold's own page.
        let parties = ["http://127.0.0.1:8000", "http://localhost:3000", "http://localhost:5173"];
        assert_eq!(issuer.authorized_parties, parties);
    }
}

mod production {
    use super::*;

    const CLERK: &str = "pk_live_Y2xlcmsuZXhhbXBsZS5jb20k";

    type Changes = &'static [(&'static str, &'static str)];

    /// Everything that production asks for.
    fn complete() -> Variables<'static> {
        vec![
            ("DEPLOY_ENV", "render"),
            ("DATABASE_URL", "postgresql://user:S3CR3T@host/db?sslmode=require"),
            ("KEYFOLD_MASTER_KEY", MASTER_KEY),
            ("CLERK_PUBLISHABLE_KEY", CLERK),
            ("KEYFOLD_PUBLIC_URL", "https://keys.example"),
        ]
    }

    fn complete_but(changes: &[(&'static str, &'static str)]) -> Variables<'static> {
        let mut variables = complete();
        variables.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
        variables.extend(changes);
        variables
    }

    #[track_caller]
    fn is_complete(variables: &Variables<'_>) {
        let config = read(variables).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(config.settings.mode, Mode::Production);
        assert!(config.server.issuer.is_some() && config.server.listen.ip().is_unspecified());
    }

    #[test]
    fn what_is_complete_is_accepted() {
        is_complete(&complete());
        is_complete(&complete_but(&[("DATABASE_URL", "postgres://user:S3CR3T@host/db")]));
        is_complete(&complete_but(&[("DEBUG", "false")]));
        // A hosting platform is where it belongs.
        is_complete(&complete_but(&[("RENDER", "true"), ("DYNO", "web.1")]));
        // Listening everywhere is usual there, and needs no token.
        is_complete(&complete_but(&[("HOST", "0.0.0.0"), ("PORT", "10000")]));
        let other = [("CLERK_PUBLISHABLE_KEY", ""), ("KEYFOLD_AUTH_ISSUER", "https://id.example")];
        for complete in [("KEYFOLD_AUTH_AUDIENCE", "api"), ("KEYFOLD_AUTHORIZED_PARTIES", "web")] {
            is_complete(&complete_but(&[other[0], other[1], complete]));
        }
        // Any of these says which front ends count.
        for party in [
            ("KEYFOLD_ALLOWED_ORIGINS", "https://app.example"),
            ("KEYFOLD_AUTHORIZED_PARTIES", "https://app.example"),
            ("KEYFOLD_AUTH_CLIENT_ID", "web"),
        ] {
            is_complete(&complete_but(&[("KEYFOLD_PUBLIC_URL", ""), party]));
        }
    }

    #[test]
    fn each_thing_that_is_missing_or_wrong_is_told_with_the_way_to_put_it_right() {
        let cases: [(Changes, &str, &[&str]); 17] = [
            (&[("DATABASE_URL", "")], "DATABASE_URL", &["missing", "postgres://user:password@host"]),
            (&[("DATABASE_URL", "sqlite://S3CR3T.db")], "DATABASE_URL", &["PostgreSQL", "postgresql://"]),
            (&[("DATABASE_URL", "mysql://u:S3CR3T@h/d")], "DATABASE_URL", &["PostgreSQL"]),
            (
                &[("KEYFOLD_MASTER_KEY", "")],
                "KEYFOLD_MASTER_KEY",
                &["missing", "keyfold master-key generate"],
            ),
            (
                &[("KEYFOLD_MASTER_KEY", "S3CR3T!")],
                "KEYFOLD_MASTER_KEY",
                &["base64", "keyfold master-key generate"],
            ),
            (
                &[("KEYFOLD_MASTER_KEY", "QUJD")],
                "KEYFOLD_MASTER_KEY",
                &["too short", "keyfold master-key generate"],
            ),
            (
                &[("KEYFOLD_MASTER_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")],
                "KEYFOLD_MASTER_KEY",
                &["weak", "keyfold master-key generate"],
            ),
            (
                &[("KEYFOLD_MASTER_KEY", "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")],
                "KEYFOLD_MASTER_KEY",
                &["published sample"],
            ),
            (&[("KEYFOLD_MASTER_KEY", "awskms:S3CR3T")], "KEYFOLD_MASTER_KEY", &["AWS KMS"]),
            (
                &[("CLERK_PUBLISHABLE_KEY", "")],
                "CLERK_PUBLISHABLE_KEY",
                &["missing", "Clerk dashboard", "KEYFOLD_AUTH_ISSUER"],
            ),
            (
                &[("CLERK_PUBLISHABLE_KEY", "sk_live_S3CR3T")],
                "CLERK_PUBLISHABLE_KEY",
                &["pk_test_", "pk_live_"],
            ),
            (
                &[("CLERK_PUBLISHABLE_KEY", ""), ("KEYFOLD_AUTH_ISSUER", "https://id.example")],
                "KEYFOLD_AUTH_AUDIENCE",
                &["missing", "KEYFOLD_AUTHORIZED_PARTIES"],
            ),
            (
                &[("KEYFOLD_AUTH_ISSUER", "https://id.example")],
                "KEYFOLD_AUTH_AUDIENCE",
                &["any other application"],
            ),
            (&[("KEYFOLD_PUBLIC_URL", "")], "KEYFOLD_PUBLIC_URL", &["missing", "https://keys.example.com"]),
            (&[("KEYFOLD_AUTHORIZED_PARTIES", ",")], "KEYFOLD_AUTHORIZED_PARTIES", &["empty list"]),
            (&[("KEYFOLD_AUTH_JWKS_URL", "http://id.example/keys")], "KEYFOLD_AUTH_JWKS_URL", &["https://"]),
            (&[("PORT", "x")], "PORT", &["1 to 65535"]),
        ];
        for (changes, variable, parts) in cases {
            one_complaint(&complete_but(changes), variable, parts);
        }
    }

    #[test]
    fn everything_is_told_at_once() {
        let (named, message) = complaints(&vec![("DEPLOY_ENV", "heroku")]);
        let expected = ["DATABASE_URL", "KEYFOLD_MASTER_KEY", "CLERK_PUBLISHABLE_KEY", "KEYFOLD_PUBLIC_URL"];
        assert_eq!(named, expected, "{message}");
        assert!(message.starts_with("Keyfold cannot start: 4 settings are not right."), "{message}");
        assert_eq!(message.matches("      → ").count(), 4);

        let wrong = vec![
            ("DEPLOY_ENV", "heroku"),
            ("DATABASE_URL", "mysql://u:S3CR3T@h/d"),
            ("KEYFOLD_MASTER_KEY", "S3CR3T"),
            ("KEYFOLD_AUTH_ISSUER", "http://S3CR3T.example"),
            ("KEYFOLD_ALLOWED_ORIGINS", "*"),
            ("PORT", "x"),
            ("KEYFOLD_LOG_FORMAT", "x"),
        ];
        let (named, message) = complaints(&wrong);
        let expected = [
            "DATABASE_URL",
            "KEYFOLD_MASTER_KEY",
            "PORT",
            "KEYFOLD_ALLOWED_ORIGINS",
            "KEYFOLD_AUTH_ISSUER",
            "KEYFOLD_AUTH_AUDIENCE",
            "KEYFOLD_PUBLIC_URL",
            "KEYFOLD_LOG_FORMAT",
        ];
        assert_eq!(named, expected, "{message}");
    }

    #[test]
    fn a_wrong_name_in_keyfold_toml_hides_nothing_else() {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("keyfold.toml"), "nonsense = 1\nport = 'x'\n").unwrap();
        let error = read_in(dir.path(), &complete_but(&[("CLERK_PUBLISHABLE_KEY", "")])).err().unwrap();
        let named: Vec<&str> = error.0.0.iter().map(|problem| problem.variable.as_str()).collect();
        assert_eq!(named, ["keyfold.toml", "PORT", "CLERK_PUBLISHABLE_KEY"], "{error}");
        // A file that cannot be understood may hold what would be called missing.
        fs::write(dir.path().join("keyfold.toml"), "nonsense\n").unwrap();
        let error = read_in(dir.path(), &vec![("DEPLOY_ENV", "render")]).err().unwrap();
        assert_eq!(error.0.0.len(), 1, "{error}");
    }

    #[test]
    fn trusted_proxies_are_networks_and_every_mistake_is_named() {
        let read = |list: &'static str| read(&complete_but(&[("KEYFOLD_TRUSTED_PROXIES", list)]));
        assert!(read("").unwrap().server.trusted_proxies.is_empty());
        let networks = read(" 10.0.0.0/8,192.168.1.7 , fd00::/8,,::1").unwrap().server.trusted_proxies;
        assert_eq!(networks.len(), 4);
        let wrong = "10.0.0.1/8, proxy.example, 10.0.0.0/33, 0.0.0.0/0, 10.0.0.0/8";
        let (named, message) = complaints(&complete_but(&[("KEYFOLD_TRUSTED_PROXIES", wrong)]));
        assert_eq!(named, ["KEYFOLD_TRUSTED_PROXIES"; 4], "{message}");
        for part in
            ["`10.0.0.1/8`, which is an address inside", "`proxy.example`", "`10.0.0.0/33`", "is everybody"]
        {
            assert!(message.contains(part), "{part:?} is missing in: {message}");
        }
    }

    #[test]
    fn values_are_taken_as_platforms_give_them() {
        // Render's and Heroku's generators, and what was pasted with quotes.
        for key in [
            MASTER_KEY.to_owned(),
            "fbefbe123490abcdffff01773e5c68d29a0441e78b236fb0c51982fa570dee31".to_owned(),
            "FBEFBE123490ABCDFFFF01773E5C68D29A0441E78B236FB0C51982FA570DEE31".to_owned(),
            format!("\"{MASTER_KEY}\""),
            format!(" {MASTER_KEY}\n"),
        ] {
            let mut variables = complete();
            variables.retain(|(name, _)| *name != "KEYFOLD_MASTER_KEY");
            variables.push(("KEYFOLD_MASTER_KEY", &key));
            is_complete(&variables);
        }
        let server = read(&complete_but(&[("HOST", ""), ("PORT", "")])).unwrap().server;
        assert_eq!(server.listen.to_string(), "0.0.0.0:8000");
        let server = read(&complete_but(&[("HOST", " "), ("PORT", "\"10000\"")])).unwrap().server;
        assert_eq!(server.listen.to_string(), "0.0.0.0:10000");
        let server = read(&complete_but(&[("HOST", "::"), ("PORT", " 3000 ")])).unwrap().server;
        assert_eq!(server.listen.to_string(), "[::]:3000");
        let server =
            read(&complete_but(&[("KEYFOLD_PUBLIC_URL", "'https://keys.example/'")])).unwrap().server;
        assert_eq!(server.origins(), ["https://keys.example"]);
    }

    #[test]
    fn a_page_may_call_only_from_where_the_settings_say() {
        let server =
            read(&complete_but(&[("KEYFOLD_ALLOWED_ORIGINS", "https://app.example")])).unwrap().server;
        assert_eq!(server.origins(), ["https://keys.example", "https://app.example"]);
        let client_id = [("KEYFOLD_PUBLIC_URL", ""), ("KEYFOLD_AUTH_CLIENT_ID", "web")];
        assert!(read(&complete_but(&client_id)).unwrap().server.origins().is_empty());
    }

    #[test]
    fn a_malformed_issuer_does_not_hide_that_no_party_is_known() {
        let wrong = complete_but(&[("CLERK_PUBLISHABLE_KEY", "pk_live_x"), ("KEYFOLD_PUBLIC_URL", "")]);
        assert_eq!(complaints(&wrong).0, ["CLERK_PUBLISHABLE_KEY", "KEYFOLD_PUBLIC_URL"]);
    }

    #[test]
    fn each_missing_setting_says_that_the_env_file_does_not_count() {
        let dir = TempDir::new().unwrap();
        let lines: Vec<String> = complete().iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        fs::write(dir.path().join(".env"), lines.concat()).unwrap();
        let message = read_in(dir.path(), &vec![]).err().unwrap().to_string();
        assert!(!message.contains(SECRET) && !message.contains(MASTER_KEY), "{message}");
        assert_eq!(message.matches(".env says production").count(), 4, "{message}");
        for variable in ["DATABASE_URL", "KEYFOLD_MASTER_KEY", "CLERK_PUBLISHABLE_KEY", "KEYFOLD_PUBLIC_URL"]
        {
            assert!(message.contains(&format!("{variable} is missing")), "{message}");
        }
        // In the environment of the process they count.
        let mut variables = complete();
        variables.retain(|(name, _)| *name != "DEPLOY_ENV");
        assert!(read_in(dir.path(), &variables).is_ok());
    }

    #[test]
    fn master_keys_and_urls_may_stand_in_files() {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("url"), "postgres://user:S3CR3T@host/db\n").unwrap();
        fs::write(dir.path().join("master"), format!("{MASTER_KEY}\n")).unwrap();
        let mut variables =
            complete_but(&[("DATABASE_URL_FILE", "url"), ("KEYFOLD_MASTER_KEY_FILE", "master")]);
        variables.retain(|(name, _)| !["DATABASE_URL", "KEYFOLD_MASTER_KEY"].contains(name));
        assert!(read_in(dir.path(), &variables).is_ok());
        // A file that cannot be read is what is wrong, not that the setting is missing.
        fs::remove_file(dir.path().join("master")).unwrap();
        let error = read_in(dir.path(), &variables).err().unwrap();
        assert_eq!(
            error.0.0.iter().map(|problem| problem.variable.as_str()).collect::<Vec<_>>(),
            ["KEYFOLD_MASTER_KEY_FILE"]
        );
    }

    #[test]
    fn clerks_issuer_and_key_set_follow_from_its_publishable_key() {
        // Local mode reads the same, and starts.
        let issuer = read(&vec![("CLERK_PUBLISHABLE_KEY", CLERK)]).unwrap().server.issuer.unwrap();
        assert_eq!(issuer.issuer, "https://clerk.example.com");
        assert_eq!(issuer.jwks_url.as_deref(), Some("https://clerk.example.com/.well-known/jwks.json"));
        assert_eq!(MASTER_KEY.len(), BASE64.encode_len(32));
    }
}
