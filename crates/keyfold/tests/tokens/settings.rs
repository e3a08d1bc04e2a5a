//! Which settings make an issuer, and what is said of those that do not.

use data_encoding::BASE64;
use keyfold::Environment;
use keyfold::auth::issuer::Issuer;
use keyfold::settings::{Problems, Sources};

use crate::setup::{APP, CLERK, CLERK_HOST};

fn clerk_key(kind: &str) -> String {
    format!("pk_{kind}_{}", BASE64.encode(format!("{CLERK_HOST}$").as_bytes()))
}

/// The issuer, and the variables that something is wrong with.
fn read(variables: &[(&str, &str)]) -> (Option<Issuer>, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let environment: Environment = variables.iter().map(|(name, value)| (*name, *value)).collect();
    let sources = Sources::load(environment, dir.path()).unwrap();
    let mut problems = Problems::default();
    let issuer = Issuer::read(&sources, &[APP.to_owned()], &mut problems);
    (issuer, problems.0.into_iter().map(|problem| problem.variable).collect())
}

#[test]
fn the_address_of_a_key_set_may_have_a_query() {
    let tenant = "https://tenant.example.com/keys?p=policy";
    let (issuer, problems) =
        read(&[("KEYFOLD_AUTH_ISSUER", "https://tenant.example.com/"), ("KEYFOLD_AUTH_JWKS_URL", tenant)]);
    assert_eq!(problems, [""; 0]);
    assert_eq!(issuer.unwrap().jwks_url.as_deref(), Some(tenant));
    for bad in
        ["http://tenant.example.com/keys?p=policy", "tenant.example.com/keys", "https://u:p@example.com/"]
    {
        let (issuer, problems) =
            read(&[("KEYFOLD_AUTH_ISSUER", "https://tenant.example.com"), ("KEYFOLD_AUTH_JWKS_URL", bad)]);
        assert!(issuer.is_none());
        assert_eq!(problems, ["KEYFOLD_AUTH_JWKS_URL"], "{bad}");
    }
}

#[test]
fn a_malformed_publishable_key_is_told_beside_another_issuer_too() {
    let other = ("KEYFOLD_AUTH_ISSUER", "https://id.example.com");
    for bad in ["pk_test_###", "sk_live_x", "pk_live_", "pk_test_bm8gZG9sbGFy"] {
        assert_eq!(read(&[other, ("CLERK_PUBLISHABLE_KEY", bad)]).1, ["CLERK_PUBLISHABLE_KEY"], "{bad}");
    }
}

#[test]
fn an_empty_list_of_parties_is_named() {
    let clerk = clerk_key("live");
    for empty in [",", " , ,"] {
        let variables = [("CLERK_PUBLISHABLE_KEY", clerk.as_str()), ("KEYFOLD_AUTHORIZED_PARTIES", empty)];
        for mode in [("DEBUG", "true"), ("DEPLOY_ENV", "render")] {
            let variables: Vec<_> = variables.into_iter().chain([mode]).collect();
            assert_eq!(read(&variables).1, ["KEYFOLD_AUTHORIZED_PARTIES"], "{mode:?} {empty:?}");
        }
    }
}

#[test]
fn a_key_set_without_an_issuer_is_told() {
    let (issuer, problems) = read(&[("KEYFOLD_AUTH_JWKS_URL", "https://id.example.com/keys")]);
    assert!(issuer.is_none());
    assert_eq!(problems, ["KEYFOLD_AUTH_JWKS_URL"]);
}

#[test]
fn only_the_issuer_that_the_publishable_key_names_is_clerk() {
    for kind in ["test", "live"] {
        let key = clerk_key(kind);
        let (issuer, _) = read(&[("CLERK_PUBLISHABLE_KEY", &key)]);
        let issuer = issuer.unwrap();
        assert_eq!((issuer.issuer.as_str(), issuer.is_clerk()), (CLERK, true));
        assert_eq!(issuer.is_clerk_for_development(), kind == "test");
        let other =
            [("CLERK_PUBLISHABLE_KEY", key.as_str()), ("KEYFOLD_AUTH_ISSUER", "https://id.example.com")];
        let issuer = read(&other).0.unwrap();
        assert!(!issuer.is_clerk() && !issuer.is_clerk_for_development());
        // Another issuer's keys are not looked for at Clerk.
        assert_eq!((issuer.jwks_url, issuer.clerk_publishable_key), (None, None));
    }
}
