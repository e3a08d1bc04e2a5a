//! The registry file: whatever it holds, keys go to https addresses (or to this machine) only, each provider's
//! variables are its own, and a message about it quotes no value.
//!
//! Input: `http` begins an address, which is read by itself, and on the next line a path below it; anything else is a
//! file, and its last line is also tried as a key.

#![no_main]

use std::collections::HashSet;
use std::sync::LazyLock;

use keyfold::provider::key_shape::{appearance, is_somebodys_key, looks_like_a_key};
use keyfold::provider::{BaseAddress, KeyPlacement, Provider, ProviderId, Registry, RegistryError};
use keyfold::secret::ApiKey;
use libfuzzer_sys::fuzz_target;
use url::{Host, Url};

/// Stands in values for a key that was pasted into the wrong place.
const SECRET: &str = "s3cret";

static BUILT_IN: LazyLock<Vec<ProviderId>> =
    LazyLock::new(|| Registry::built_in().map(|registry| registry.ids()).unwrap_or_default());

fuzz_target!(|input: &[u8]| {
    let Ok(text) = str::from_utf8(input) else { return };
    if text.starts_with("http") {
        let (address, path) = text.split_once('\n').unwrap_or((text, "/"));
        if let Ok(address) = BaseAddress::parse(address) {
            check_address(&address);
            stays_below(&address, path);
        }
        return;
    }
    let registry = match Registry::from_toml(Some(text)) {
        Ok(registry) => registry,
        Err(error) => return check_error(text, &error),
    };
    check_ids(&registry);
    check_variables(&registry);
    let key = ApiKey::parse(text.lines().next_back().unwrap_or_default());
    for provider in registry.iter() {
        check_address(&provider.address);
        check_headers(provider);
        check_paths(provider);
        if let Ok(key) = &key {
            appearance(&registry, provider, key);
        }
    }
    looks_like_a_key(&registry, text);
    is_somebodys_key(&registry, text);
});

fn check_error(text: &str, error: &RegistryError) {
    assert!(!error.0.is_empty());
    let lines = 1 + text.matches('\n').count();
    for mistake in &error.0 {
        assert!(mistake.line.is_none_or(|line| (1..=lines).contains(&line)), "{mistake}");
        assert!(!mistake.what.is_empty());
    }
    // The names of tables, fields and variables may be quoted.
    let stands_in_values = text.lines().all(|line| {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        let one_value = !value.contains(['=', '{']) && !name.contains(SECRET) && !name.contains("variable");
        !line.contains(SECRET) || one_value && !name.contains("also_exported_as")
    });
    assert!(!stands_in_values || !error.to_string().contains(SECRET), "{error}");
}

fn check_ids(registry: &Registry) {
    let ids = registry.ids();
    assert!(ids.is_sorted());
    for id in &ids {
        assert_eq!(ProviderId::parse(id.as_str()).as_ref(), Ok(id));
        assert_eq!(registry.get(id.as_str()).map(|provider| &provider.id), Some(id));
    }
    assert!(!BUILT_IN.is_empty() && BUILT_IN.iter().all(|id| ids.contains(id)), "a provider is gone");
    // Each has its own KEYFOLD_PROVIDER_<ID>_BASE_URL.
    let written: HashSet<String> = ids.iter().map(|id| id.as_str().replace('-', "_")).collect();
    assert_eq!(written.len(), ids.len());
}

fn check_variables(registry: &Registry) {
    let mut seen = HashSet::new();
    for provider in registry.iter() {
        let frontend = provider.frontend_variable.iter();
        for variable in [&provider.variable].into_iter().chain(&provider.also_exported_as).chain(frontend) {
            assert!(seen.insert(variable), "{variable} twice");
            let is_word = variable.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            assert!(
                is_word && !variable.is_empty() && !variable.as_bytes()[0].is_ascii_digit(),
                "{variable:?}"
            );
            let own = variable.starts_with("KEYFOLD_")
                || ["DATABASE_URL", "DEBUG", "DEPLOY_ENV", "LD_PRELOAD", "PATH"].contains(&&**variable);
            assert!(!own, "{variable}");
        }
    }
}

fn check_headers(provider: &Provider) {
    let never = ["connection", "content-length", "cookie", "host", "transfer-encoding"];
    let key_header = match &provider.key_placement {
        KeyPlacement::Bearer => "authorization",
        KeyPlacement::Header(name) => name.as_str(),
    };
    assert!(!never.contains(&key_header), "{key_header}");
    let mut seen = HashSet::from([key_header, "authorization"]);
    for (name, _) in &provider.headers {
        assert!(!never.contains(&name.as_str()) && seen.insert(name.as_str()), "{name}");
    }
}

fn check_address(address: &BaseAddress) {
    let url = Url::parse(&address.to_string());
    assert!(url.is_ok(), "{address}");
    let Ok(url) = url else { return };
    let this_machine = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    assert!(url.host_str().is_some_and(|host| !host.is_empty()), "{address}");
    assert!(url.scheme() == "https" || url.scheme() == "http" && this_machine, "{address}");
    assert!(url.username().is_empty() && url.password().is_none(), "{address}");
    assert!(url.query().is_none() && url.fragment().is_none(), "{address}");
    assert_eq!(
        BaseAddress::parse(&address.to_string()).as_ref(),
        Ok(address),
        "read and written differently"
    );
}

fn check_paths(provider: &Provider) {
    if let Some(check) = &provider.check {
        assert!(stays_below(&provider.address, &check.path), "{}", check.path);
    }
    if let Some(generate) = &provider.generate {
        check_address(&generate.address);
        assert!(stays_below(&generate.address, &generate.path), "{}", generate.path);
    }
}

/// Whether there is such an address. If there is, it is one below `base`.
fn stays_below(base: &BaseAddress, path: &str) -> bool {
    let Some(joined) = base.join(path) else { return false };
    let below = format!("{base}/");
    assert!(joined.as_str().starts_with(&below), "{joined} is not below {below}");
    assert!(!joined.path().split('/').any(|part| part == ".." || part == "."), "{joined}");
    true
}
