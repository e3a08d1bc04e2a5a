//! Checking keys of every provider against its stand-in, which answers as the provider documents.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "it is a test")]

use std::time::Duration;

use keyfold::provider::check::check;
use keyfold::provider::http::{HttpClient, Timeouts};
use keyfold::provider::{BaseAddress, Provider, ProviderId, Registry, Verdict};
use keyfold::secret::ApiKey;
use keyfold_standin::{Behaviour, PROVIDERS, Standin, example_key, example_key_with, refused_port};

/// Providers that have no request which tells anything about a key.
const UNCHECKABLE: [&str; 1] = ["copilotkit"];

fn provider(id: &str, address: &str) -> Provider {
    let registry = Registry::built_in().unwrap();
    let known = registry.get(id).unwrap().id.clone();
    let registry = registry.with_address(&known, BaseAddress::parse(address).unwrap());
    Provider::clone(registry.get(id).unwrap())
}

async fn ask(standin: &Standin, id: &str, key: &str) -> Verdict {
    let http = HttpClient::new(Timeouts::default());
    check(&http, &provider(id, &standin.base_url(id)), &ApiKey::parse(key).unwrap()).await
}

fn checkable() -> impl Iterator<Item = &'static str> {
    PROVIDERS.into_iter().filter(|id| !UNCHECKABLE.contains(id))
}

#[test]
fn the_registry_has_every_provider_of_the_stand_in_and_no_other() {
    let mut known: Vec<&str> = PROVIDERS.to_vec();
    known.sort_unstable();
    let registry = Registry::built_in().unwrap();
    assert_eq!(registry.ids().iter().map(ProviderId::as_str).collect::<Vec<_>>(), known);
}

#[tokio::test]
async fn a_live_key_is_valid_and_stands_in_the_right_header_only() {
    let standin = Standin::start().await;
    for id in checkable() {
        let key = example_key(id, 7);
        assert_eq!(ask(&standin, id, &key).await, Verdict::Valid, "{id}");
        let requests = standin.requests_for(id);
        let seen = requests.last().unwrap();
        assert_eq!(seen.key, key, "{id}");
        let placement = provider(id, &standin.base_url(id)).key_placement;
        let carriers: Vec<&str> = seen
            .headers
            .iter()
            .filter(|(_, value)| value.to_str().is_ok_and(|value| value.contains(&key)))
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(carriers, [placement.header_name().to_ascii_lowercase()], "{id}");
        assert!(!format!("{}{:?}", seen.path, seen.query).contains(&key), "{id}");
    }
}

#[tokio::test]
async fn a_refused_key_is_rejected() {
    let standin = Standin::start().await;
    for id in checkable() {
        assert_eq!(ask(&standin, id, &example_key_with(id, "INVALID")).await, Verdict::Rejected, "{id}");
    }
}

#[tokio::test]
async fn a_restricted_key_is_limited() {
    let standin = Standin::start().await;
    for id in checkable() {
        let verdict = ask(&standin, id, &example_key_with(id, "DENIED")).await;
        assert!(matches!(verdict, Verdict::Limited(_)), "{id}: {verdict:?}");
    }
    for (id, marker) in [("gemini", "DENIEDREF"), ("gemini", "DENIEDIP"), ("openai", "DENIED401")] {
        let verdict = ask(&standin, id, &example_key_with(id, marker)).await;
        assert!(matches!(verdict, Verdict::Limited(_)), "{id} {marker}: {verdict:?}");
    }
}

#[tokio::test]
async fn a_key_without_quota_or_credit_is_never_rejected() {
    let standin = Standin::start().await;
    for id in checkable() {
        for marker in ["QUOTA", "NOCREDIT"] {
            let verdict = ask(&standin, id, &example_key_with(id, marker)).await;
            assert!(
                matches!(verdict, Verdict::Limited(_) | Verdict::Unknown(_)),
                "{id} {marker}: {verdict:?}"
            );
        }
    }
    for id in ["gemini", "openai", "exa"] {
        let verdict = ask(&standin, id, &example_key_with(id, "QUOTA")).await;
        assert!(matches!(verdict, Verdict::Limited(_)), "{id}: {verdict:?}");
    }
}

#[tokio::test]
async fn xai_tells_of_blocked_keys_in_a_success() {
    let standin = Standin::start().await;
    for marker in ["BLOCKED", "DISABLED"] {
        assert_eq!(
            ask(&standin, "xai", &example_key_with("xai", marker)).await,
            Verdict::Rejected,
            "{marker}"
        );
    }
}

#[tokio::test]
async fn a_providers_own_troubles_say_nothing_of_the_key() {
    let standin = Standin::start().await;
    for id in checkable() {
        let troubles = [
            Behaviour::status(500, r#"{"error":"internal"}"#),
            Behaviour::status(503, "Unauthorized"),
            Behaviour::status(429, r#"{"error":"slow down"}"#),
            Behaviour::status(404, "{}"),
            Behaviour::status(401, "<html>sign in to the network</html>"),
            Behaviour::status(200, "<html>welcome</html>"),
            Behaviour::NotJson,
            Behaviour::InvalidJson,
            Behaviour::CloseWithoutAnswer,
            Behaviour::Huge { bytes: 100_000_000 },
            Behaviour::Redirect { location: "https://evil.invalid/".into() },
        ];
        for trouble in troubles {
            let shown = format!("{id} {trouble:?}");
            standin.script(id, trouble);
            let verdict = ask(&standin, id, &example_key(id, 1)).await;
            assert!(matches!(verdict, Verdict::Unknown(_)), "{shown}: {verdict:?}");
        }
    }
}

#[tokio::test]
async fn a_provider_that_is_away_or_slow_says_nothing_of_the_key() {
    let key = ApiKey::parse(&example_key("openai", 1)).unwrap();
    let http = HttpClient::new(Timeouts { check: Duration::from_millis(50), ..Timeouts::default() });
    let away = check(&http, &provider("openai", &refused_port()), &key).await;
    assert!(matches!(&away, Verdict::Unknown(why) if why.contains("could not be reached")), "{away:?}");
    let standin = Standin::start().await;
    for hanging in [Behaviour::Hang, Behaviour::HangAfterHeaders] {
        standin.script("openai", hanging);
        let slow = check(&http, &provider("openai", &standin.base_url("openai")), &key).await;
        assert!(matches!(&slow, Verdict::Unknown(why) if why.contains("in time")), "{slow:?}");
    }
}

#[tokio::test]
async fn a_provider_without_a_free_check_stays_unverified() {
    let standin = Standin::start().await;
    for id in UNCHECKABLE {
        let verdict = ask(&standin, id, &example_key(id, 1)).await;
        assert!(
            matches!(&verdict, Verdict::Unknown(why) if why.contains("no free way")),
            "{id}: {verdict:?}"
        );
        assert!(standin.requests_for(id).is_empty());
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (standin, elsewhere) = (Standin::start().await, Standin::start().await);
    let location = format!("{}/v1/models", elsewhere.base_url("openai"));
    standin.script("openai", Behaviour::Redirect { location });
    ask(&standin, "openai", &example_key("openai", 1)).await;
    assert!(elsewhere.requests().is_empty());
}
