//! Checking keys of every provider against its stand-in, which answers as the provider documents.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "it is a test")]

use std::time::Duration;

use keyfold::provider::check::check;
use keyfold::provider::http::{HttpClient, Timeouts};
use keyfold::provider::{BaseAddress, Provider, ProviderId, Registry, Verdict};
use keyfold::secret::ApiKey;
use keyfold_standin::{
    Behaviour, Outcome, PROVIDERS, Standin, example_key, example_key_with, outcomes, refused_port,
};

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
async fn every_documented_answer_has_its_outcome() {
    let standin = Standin::start().await;
    for id in PROVIDERS {
        for (marker, expected) in outcomes(id) {
            let key = if marker.is_empty() { example_key(id, 1) } else { example_key_with(id, marker) };
            let verdict = ask(&standin, id, &key).await;
            let as_expected = match (&verdict, expected) {
                (Verdict::Valid, Outcome::Valid) | (Verdict::Rejected, Outcome::Rejected) => true,
                (Verdict::Limited(why), Outcome::Limited(part))
                | (Verdict::Unknown(why), Outcome::Unknown(part)) => why.contains(part),
                _ => false,
            };
            assert!(as_expected, "{id} {marker}: {verdict:?}, not {expected:?}");
        }
    }
}

#[test]
fn every_provider_with_a_free_check_has_outcomes_of_each_kind() {
    let registry = Registry::built_in().unwrap();
    for provider in registry.iter() {
        let outcomes = outcomes(provider.id.as_str());
        assert_eq!(outcomes.is_empty(), provider.check.is_none(), "{}", provider.id);
        let has = |kind: fn(&Outcome) -> bool| outcomes.iter().any(|(_, outcome)| kind(outcome));
        let all = has(|outcome| *outcome == Outcome::Valid)
            && has(|outcome| *outcome == Outcome::Rejected)
            && has(|outcome| matches!(outcome, Outcome::Limited(_)))
            && has(|outcome| matches!(outcome, Outcome::Unknown(_)));
        assert!(all || provider.check.is_none(), "{}", provider.id);
        for marker in ["DENIED", "QUOTA", "NOCREDIT"] {
            let there = outcomes.iter().any(|(known, _)| *known == marker);
            assert!(there || provider.check.is_none(), "{} {marker}", provider.id);
        }
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
            Behaviour::status(403, "<html>blocked by the company's filter</html>"),
            Behaviour::status(200, "<html>welcome</html>"),
            Behaviour::status(200, ""),
            Behaviour::status(204, ""),
            Behaviour::status(500, ""),
            Behaviour::status(502, "<html>bad gateway</html>"),
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
    for hanging in [Behaviour::Hang, Behaviour::HangAfterHeaders, Behaviour::StreamThenHang { chunks: 1 }] {
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
