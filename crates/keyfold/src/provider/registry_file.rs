//! The form of a registry file, and everything that can be wrong with one, named by its place.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use http::{HeaderName, HeaderValue, Method, header};
use serde::Deserialize;
use toml::de::{DeTable, DeValue};
use url::Url;

use super::address::BaseAddress;
use super::answer::AnswerRule;
use super::generate::check_model_name;
use super::key_shape::{RefusedShape, Shape};
use super::registry::{
    Check, ErrorShape, Generate, GenerateApi, KeyPlacement, MalformedProviderId, Provider, ProviderId,
    Registry,
};

/// The longest name of a provider for people, in characters.
const NAME_LIMIT: usize = 80;
/// A shorter text stands in keys by chance.
const SHORTEST_MARK: usize = 6;

const BUILT_IN: &str = include_str!("../../providers.toml");

impl Registry {
    /// The providers that come with Keyfold.
    pub fn built_in() -> Result<Self, RegistryError> {
        Self::from_toml(None)
    }

    /// The built-in providers with those of `extra` added, or their fields changed.
    pub fn from_toml(extra: Option<&str>) -> Result<Self, RegistryError> {
        read(BUILT_IN, extra).map(Self::of)
    }
}

/// All that is wrong with a registry file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryError(pub Vec<Mistake>);

/// One thing that is wrong with a registry file. Values are never quoted: one may be a key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mistake {
    /// The line, from 1, if it is known.
    pub line: Option<usize>,
    /// The table and the field, such as ``[acme] `address` ``; empty for the file as a whole.
    pub place: String,
    /// What is wrong, and what would be right; continues the place.
    pub what: String,
}

impl std::error::Error for RegistryError {}

impl fmt::Display for RegistryError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(formatter, "{separator}{mistake}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(formatter, "line {line}, ")?;
        }
        if self.place.is_empty() {
            formatter.write_str(&self.what)
        } else {
            write!(formatter, "{} {}", self.place, self.what)
        }
    }
}

/// The providers that come with Keyfold, and those of a file in the same form; the file's fields win.
fn read(built_in: &str, extra: Option<&str>) -> Result<BTreeMap<ProviderId, Provider>, RegistryError> {
    let mut table: toml::Table = toml::from_str(built_in).map_err(|error| {
        let what = format!("the built-in list is not TOML: {}", error.message());
        RegistryError(vec![Mistake { line: None, place: String::new(), what }])
    })?;
    let mut reading = Reading::of(extra.unwrap_or_default())?;
    for (id, changed) in reading.tables()? {
        match (table.get_mut(&id), changed) {
            (Some(toml::Value::Table(known)), toml::Value::Table(changed)) => known.extend(changed),
            (_, changed) => drop(table.insert(id, changed)),
        }
    }
    let mut providers = BTreeMap::new();
    for (id, value) in table {
        if let Some(provider) = reading.provider(&id, value) {
            providers.insert(provider.id.clone(), provider);
        }
    }
    reading.nothing_is_shared(&providers);
    if reading.mistakes.is_empty() { Ok(providers) } else { Err(RegistryError(reading.mistakes)) }
}

/// A file while it is read: where things stand in it, and what was wrong so far.
struct Reading<'a> {
    text: &'a str,
    places: toml::Spanned<DeTable<'a>>,
    mistakes: Vec<Mistake>,
}

impl<'a> Reading<'a> {
    fn of(text: &'a str) -> Result<Self, RegistryError> {
        let places = DeTable::parse(text).map_err(|error| not_toml(text, &error))?;
        Ok(Self { text, places, mistakes: vec![] })
    }

    fn tables(&self) -> Result<toml::Table, RegistryError> {
        toml::from_str(self.text).map_err(|error| not_toml(self.text, &error))
    }

    /// Notes a mistake in a field, such as `generate.path`; an empty one means the provider as a whole.
    fn mistake(&mut self, id: &str, field: &str, what: impl Into<String>) {
        let place = if field.is_empty() { format!("[{id}]") } else { format!("[{id}] `{field}`") };
        self.mistakes.push(Mistake { line: self.line_of(id, field), place, what: what.into() });
    }

    /// The line of the innermost part of `id.field` that stands in the file.
    fn line_of(&self, id: &str, field: &str) -> Option<usize> {
        let mut found = None;
        let mut table = Some(self.places.get_ref());
        for part in std::iter::once(id).chain(field.split('.').filter(|part| !part.is_empty())) {
            let Some((key, value)) = table?.iter().find(|(key, _)| key.get_ref() == part) else { break };
            found = Some(key.span());
            table = match value.get_ref() {
                DeValue::Table(table) => Some(table),
                _ => None,
            };
            if table.is_none() {
                break;
            }
        }
        found.map(|span| line(self.text, &span))
    }

    fn provider(&mut self, id: &str, value: toml::Value) -> Option<Provider> {
        let Ok(parsed) = ProviderId::parse(id) else {
            self.mistake(id, "", format!("is no id: {MalformedProviderId}"));
            return None;
        };
        if !value.is_table() {
            self.mistake(id, "", "must be a table with the provider's fields");
            return None;
        }
        match value.try_into::<Entry>() {
            Ok(entry) => self.checked(parsed, entry),
            Err(error) => {
                let (field, what) = of_the_wrong_form(&error);
                self.mistake(id, &field, what);
                None
            }
        }
    }

    fn checked(&mut self, id: ProviderId, entry: Entry) -> Option<Provider> {
        let before = self.mistakes.len();
        let name = id.as_str().to_owned();
        let fine = !entry.name.trim().is_empty()
            && entry.name.chars().count() <= NAME_LIMIT
            && !entry.name.chars().any(char::is_control);
        if !fine {
            self.mistake(&name, "name", format!("must have 1 to {NAME_LIMIT} characters on one line"));
        }
        let address = self.address(&name, "address", &entry.address);
        let key_placement = match &entry.key_header {
            None => Some(KeyPlacement::Bearer),
            Some(header) => self.header(&name, "key_header", header).map(KeyPlacement::Header),
        };
        let headers = self.fixed_headers(&name, key_placement.as_ref(), &entry.headers);
        self.variable(&name, "variable", &entry.variable);
        for variable in &entry.also_exported_as {
            self.variable(&name, "also_exported_as", variable);
        }
        if let Some(variable) = &entry.frontend_variable {
            self.variable(&name, "frontend_variable", variable);
        }
        if !entry.setup_url.is_empty() && !is_web_page(&entry.setup_url) {
            self.mistake(&name, "setup_url", "must begin with https:// (people follow it as a link)");
        }
        self.shapes(&name, &entry.shapes, &entry.inside, &entry.refused);
        self.answers(&name, "answers", &entry.answers);
        let check = entry.check.map(|check| self.check(&name, address.as_ref(), check));
        let generate = entry.generate.map(|generate| self.generate(&name, address.as_ref(), generate));
        if self.mistakes.len() > before {
            return None;
        }
        let address = address?;
        let or = |text: String, instead: String| if text.is_empty() { instead } else { text };
        Some(Provider {
            format_hint: or(entry.format_hint, format!("is what {} gives you", entry.name)),
            setup_url: or(entry.setup_url, address.to_string()),
            name: entry.name,
            description: entry.description,
            http_2: entry.http_2,
            key_placement: key_placement?,
            headers,
            errors: entry.errors,
            variable: entry.variable,
            also_exported_as: entry.also_exported_as,
            frontend_variable: entry.frontend_variable,
            setup_instructions: entry.setup_instructions,
            shapes: entry.shapes,
            inside: entry.inside,
            refused: entry.refused,
            answers: entry.answers,
            check,
            generate: generate.flatten(),
            address,
            id,
        })
    }

    fn address(&mut self, id: &str, field: &str, text: &str) -> Option<BaseAddress> {
        BaseAddress::parse(text).map_err(|why| self.mistake(id, field, why.to_string())).ok()
    }

    fn header(&mut self, id: &str, field: &str, text: &str) -> Option<HeaderName> {
        let Ok(name) = text.parse::<HeaderName>() else {
            self.mistake(id, field, "is no name for an HTTP header");
            return None;
        };
        if is_set_by_the_connection(&name) {
            self.mistake(
                id,
                field,
                format!("is `{name}`, which HTTP itself or Keyfold sets; use the provider's own header"),
            );
            return None;
        }
        Some(name)
    }

    fn fixed_headers(
        &mut self,
        id: &str,
        key_placement: Option<&KeyPlacement>,
        written: &BTreeMap<String, String>,
    ) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers: Vec<(HeaderName, HeaderValue)> = vec![];
        for (name, value) in written {
            let Some(name) = self.header(id, "headers", name) else { continue };
            let takes_the_key = key_placement
                .is_some_and(|placement| placement.header_name().eq_ignore_ascii_case(name.as_str()));
            if takes_the_key || holds_credentials(&name) {
                let what = format!(
                    "has `{name}`, where a key goes; the user's key is put in by itself (`key_header` names its header), and there is no other"
                );
                self.mistake(id, "headers", what);
            } else if headers.iter().any(|(known, _)| *known == name) {
                self.mistake(id, "headers", format!("has `{name}` twice"));
            } else if let Ok(value) = HeaderValue::from_str(value) {
                headers.push((name, value));
            } else {
                self.mistake(
                    id,
                    "headers",
                    format!("has `{name}` with a value that HTTP does not allow in a header"),
                );
            }
        }
        headers
    }

    fn variable(&mut self, id: &str, field: &str, name: &str) {
        if !is_variable_name(name) {
            self.mistake(
                id,
                field,
                "must be the name of an environment variable: letters, digits and _, not beginning with a digit, such as ACME_API_KEY",
            );
        } else if is_reserved(name) {
            let what = format!(
                "is {name}, which Keyfold itself or programs that it starts read for something else; use a name of its own, such as ACME_API_KEY"
            );
            self.mistake(id, field, what);
        }
    }

    fn shapes(&mut self, id: &str, shapes: &[Shape], inside: &[String], refused: &[RefusedShape]) {
        for (index, what) in
            shapes.iter().enumerate().filter_map(|(index, shape)| Some((index, shape.mistake()?)))
        {
            self.mistake(id, "shapes", format!("number {}: {what}", index + 1));
        }
        if inside.iter().any(|mark| mark.len() < SHORTEST_MARK) {
            self.mistake(
                id,
                "inside",
                "must be texts of 6 characters or more: every key with one is taken for this provider's",
            );
        }
        for (index, what) in
            refused.iter().enumerate().filter_map(|(index, refused)| Some((index, refused.mistake()?)))
        {
            self.mistake(id, "refused", format!("number {}: {what}", index + 1));
        }
    }

    fn answers(&mut self, id: &str, field: &str, rules: &[AnswerRule]) {
        for (index, what) in
            rules.iter().enumerate().filter_map(|(index, rule)| Some((index, rule.mistake()?)))
        {
            self.mistake(id, field, format!("number {}: {what}", index + 1));
        }
    }

    fn path(&mut self, id: &str, field: &str, address: Option<&BaseAddress>, path: &str) {
        // Without an address there is a mistake already.
        let Some(address) = address else { return };
        if address.join(path).is_none() || path.contains('#') {
            self.mistake(id, field, "must begin with / and stay under the provider's address");
        }
    }

    fn check(&mut self, id: &str, address: Option<&BaseAddress>, check: CheckEntry) -> Check {
        self.path(id, "check.path", address, &check.path);
        self.answers(id, "check.answers", &check.answers);
        let method = match check.method {
            CheckMethod::Get => Method::GET,
            CheckMethod::Post => Method::POST,
        };
        if let Some(body) = &check.body {
            if method == Method::GET {
                self.mistake(id, "check.body", "is for POST; leave it out, or write method = \"POST\"");
            } else if serde_json::from_str::<serde::de::IgnoredAny>(body).is_err() {
                self.mistake(id, "check.body", "must be JSON, such as \"{}\"");
            }
        }
        Check { method, path: check.path, body: check.body, answers: check.answers }
    }

    fn generate(
        &mut self,
        id: &str,
        address: Option<&BaseAddress>,
        generate: GenerateEntry,
    ) -> Option<Generate> {
        let address = match &generate.address {
            None => address.cloned(),
            Some(text) => self.address(id, "generate.address", text),
        };
        self.path(id, "generate.path", address.as_ref(), &generate.path);
        if generate.api == GenerateApi::Gemini && generate.path.contains('?') {
            self.mistake(id, "generate.path", "must have no query: the model's name is added to it");
        }
        if let Err(why) = check_model_name(&generate.model) {
            self.mistake(id, "generate.model", why.to_string());
        }
        let max_tokens_field = generate.max_tokens_field.unwrap_or_else(|| match generate.api {
            GenerateApi::OpenaiResponses => "max_output_tokens".into(),
            GenerateApi::Openai | GenerateApi::Gemini | GenerateApi::Anthropic => "max_tokens".into(),
        });
        if !is_variable_name(&max_tokens_field) || TAKEN_FIELDS.contains(&max_tokens_field.as_str()) {
            let what = "must be the name of the field that limits the answer's length, such as max_tokens";
            self.mistake(id, "generate.max_tokens_field", what);
        }
        Some(Generate {
            api: generate.api,
            address: address?,
            path: generate.path,
            model: generate.model,
            max_tokens_field,
            stream_usage: generate.stream_usage.unwrap_or(true),
        })
    }

    /// One variable holds one provider's key, and one `KEYFOLD_PROVIDER_<ID>_BASE_URL` names one provider.
    fn nothing_is_shared(&mut self, providers: &BTreeMap<ProviderId, Provider>) {
        let mut variables: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
        let mut written: BTreeMap<String, &ProviderId> = BTreeMap::new();
        for provider in providers.values() {
            let id = provider.id.as_str();
            let named = std::iter::once(("variable", &provider.variable))
                .chain(provider.also_exported_as.iter().map(|variable| ("also_exported_as", variable)))
                .chain(provider.frontend_variable.iter().map(|variable| ("frontend_variable", variable)));
            for (field, variable) in named {
                let Some(first) = variables.insert(variable, (id, field)) else { continue };
                // The one that stands in the file is the one to change.
                let (here, other) =
                    if self.line_of(id, "").is_some() { ((id, field), first) } else { (first, (id, field)) };
                let what = format!(
                    "is {variable}, which [{}] has too; each provider needs variables of its own",
                    other.0
                );
                self.mistake(here.0, here.1, what);
            }
            if let Some(first) = written.insert(id.replace('-', "_"), &provider.id) {
                let what = format!(
                    "differs from [{first}] in - and _ only, so one variable would set the address of both; use another id"
                );
                self.mistake(id, "", what);
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default)]
    description: String,
    address: String,
    key_header: Option<String>,
    #[serde(default)]
    http_2: bool,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    errors: ErrorShape,
    variable: String,
    #[serde(default)]
    also_exported_as: Vec<String>,
    frontend_variable: Option<String>,
    #[serde(default)]
    setup_url: String,
    #[serde(default)]
    setup_instructions: Vec<String>,
    #[serde(default)]
    format_hint: String,
    #[serde(default)]
    shapes: Vec<Shape>,
    #[serde(default)]
    inside: Vec<String>,
    #[serde(default)]
    refused: Vec<RefusedShape>,
    #[serde(default)]
    answers: Vec<AnswerRule>,
    check: Option<CheckEntry>,
    generate: Option<GenerateEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckEntry {
    method: CheckMethod,
    path: String,
    body: Option<String>,
    #[serde(default)]
    answers: Vec<AnswerRule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum CheckMethod {
    Get,
    Post,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GenerateEntry {
    api: GenerateApi,
    address: Option<String>,
    path: String,
    model: String,
    max_tokens_field: Option<String>,
    stream_usage: Option<bool>,
}

/// What every chat request has besides the limit of the answer's length.
const TAKEN_FIELDS: [&str; 5] = ["model", "messages", "stream", "stream_options", "input"];

/// The whole message of the parser would quote the line, which may hold what should not be shown.
fn not_toml(text: &str, error: &toml::de::Error) -> RegistryError {
    let line = error.span().map(|span| line(text, &span));
    let what = format!("is not TOML: {}", without_values(error.message()));
    RegistryError(vec![Mistake { line, place: String::new(), what }])
}

fn line(text: &str, span: &Range<usize>) -> usize {
    1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count()
}

/// The field that does not have the form, and what is wrong with it.
fn of_the_wrong_form(error: &toml::de::Error) -> (String, String) {
    let shown = error.to_string();
    // The last line is "in `answers`", if the error is not about the provider as a whole.
    let field = shown.trim_end().lines().last().and_then(|line| line.strip_prefix("in `")?.strip_suffix('`'));
    let what = match error.message().strip_prefix("missing field ") {
        Some(missing) => format!("lacks {missing}"),
        None => without_values(error.message()),
    };
    let field = field.unwrap_or_default();
    if let Some((unknown, known)) =
        what.strip_prefix("unknown field `").and_then(|unknown| unknown.split_once("`, expected "))
    {
        let separator = if field.is_empty() { "" } else { "." };
        return (format!("{field}{separator}{unknown}"), format!("is unknown; use {known}"));
    }
    (field.to_owned(), what)
}

/// A message of the deserializer without the value that it quotes.
fn without_values(message: &str) -> String {
    let quotes = ["invalid type: ", "invalid value: ", "unknown variant "];
    match message.rsplit_once("expected ") {
        Some((before, expected)) if quotes.iter().any(|quote| before.starts_with(quote)) => {
            format!("must be {expected}")
        }
        _ => message.to_owned(),
    }
}

fn is_web_page(text: &str) -> bool {
    Url::parse(text)
        .is_ok_and(|url| url.scheme() == "https" && url.host().is_some() && url.username().is_empty())
}

/// Hop-by-hop headers (RFC 9110, 7.6.1), those that frame a message, and those that Keyfold sets.
fn is_set_by_the_connection(name: &HeaderName) -> bool {
    const BY_NAME: [&str; 3] = ["keep-alive", "proxy-connection", "http2-settings"];
    let known = [
        header::ACCEPT,
        header::ACCEPT_ENCODING,
        header::CONNECTION,
        header::CONTENT_ENCODING,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::COOKIE,
        header::EXPECT,
        header::HOST,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::SET_COOKIE,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    known.contains(name) || BY_NAME.contains(&name.as_str())
}

/// Headers that providers take keys from. A fixed one would be one key for everybody.
fn holds_credentials(name: &HeaderName) -> bool {
    const NAMES: [&str; 7] = [
        "authorization",
        "api-key",
        "x-api-key",
        "x-goog-api-key",
        "xi-api-key",
        "x-copilotcloud-public-api-key",
        "x-auth-token",
    ];
    NAMES.contains(&name.as_str())
}

fn is_variable_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether a variable has a meaning of its own: to Keyfold, to a hosting platform, or to the shell, the loader and
/// the runtimes that `keyfold run` starts. A key in it would change what a program does.
fn is_reserved(name: &str) -> bool {
    const BEGINNINGS: [&str; 12] = [
        "BASH_",
        "CLERK_",
        "DYLD_",
        "GIT_",
        "KEYFOLD_",
        "LC_",
        "LD_",
        "MALLOC_",
        "NPM_CONFIG_",
        "PG",
        "PYTHON",
        "XDG_",
    ];
    const NAMES: [&str; 59] = [
        // Keyfold's own, and what tells a hosting platform
        "DATABASE_URL",
        "DEBUG",
        "DEPLOY_ENV",
        "DYNO",
        "FLY_APP_NAME",
        "HOST",
        "K_SERVICE",
        "PORT",
        "RAILWAY_ENVIRONMENT_NAME",
        "REDIS_URL",
        "RENDER",
        // Of the user and the shell
        "BROWSER",
        "CDPATH",
        "DISPLAY",
        "EDITOR",
        "ENV",
        "HOME",
        "IFS",
        "LANG",
        "LOGNAME",
        "MAIL",
        "OLDPWD",
        "PAGER",
        "PATH",
        "PROMPT_COMMAND",
        "PS1",
        "PS4",
        "PWD",
        "SHELL",
        "SHELLOPTS",
        "SHLVL",
        "TERM",
        "TMPDIR",
        "TZ",
        "USER",
        "VISUAL",
        // Of the network
        "ALL_PROXY",
        "CURL_CA_BUNDLE",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "NO_PROXY",
        "REQUESTS_CA_BUNDLE",
        "SSLKEYLOGFILE",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        // Of the loader and of runtimes
        "CLASSPATH",
        "GCONV_PATH",
        "GLIBC_TUNABLES",
        "JAVA_TOOL_OPTIONS",
        "JDK_JAVA_OPTIONS",
        "NODE_ENV",
        "NODE_EXTRA_CA_CERTS",
        "NODE_OPTIONS",
        "NODE_PATH",
        "NODE_TLS_REJECT_UNAUTHORIZED",
        "PERL5LIB",
        "PERL5OPT",
        "RUBYLIB",
        "RUBYOPT",
    ];
    let upper = name.to_ascii_uppercase();
    let plain = upper.strip_suffix("_FILE").unwrap_or(&upper);
    BEGINNINGS.iter().any(|beginning| upper.starts_with(beginning))
        || NAMES.contains(&upper.as_str())
        || NAMES.contains(&plain)
}

#[cfg(test)]
mod tests {
    use super::super::Registry;
    use super::*;

    const ACME: &str =
        "[acme]\nname = 'Acme'\naddress = 'https://api.acme.example'\nvariable = 'ACME_API_KEY'\n";

    fn mistakes(text: &str) -> Vec<Mistake> {
        match Registry::from_toml(Some(text)) {
            Ok(_) => panic!("nothing is wrong with {text:?}"),
            Err(error) => error.0,
        }
    }

    /// The only mistake in the file stands in that line and place, and its words have these parts.
    #[track_caller]
    fn one(text: &str, line: usize, place: &str, parts: &[&str]) {
        let found = mistakes(text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].line, found[0].place.as_str()), (Some(line), place), "{found:?}");
        for part in parts {
            assert!(found[0].what.contains(part), "{part}: {found:?}");
        }
    }

    /// As [`one`], for a line that is added to Acme's table.
    #[track_caller]
    fn added(field: &str, place: &str, parts: &[&str]) {
        one(&format!("{ACME}{field}\n"), 5, &format!("[acme] `{place}`"), parts);
    }

    /// As [`one`], for another value of one of Acme's four lines.
    #[track_caller]
    fn replaced(line: usize, field: &str, place: &str, parts: &[&str]) {
        let lines = ACME.lines().enumerate();
        let text: Vec<&str> = lines.map(|(at, old)| if at + 1 == line { field } else { old }).collect();
        one(&text.join("\n"), line, place, parts);
    }

    #[test]
    fn a_file_adds_a_provider_with_what_it_leaves_out_filled_in() {
        let registry = Registry::from_toml(Some(ACME)).unwrap();
        let acme = registry.get("acme").unwrap();
        assert_eq!(registry.ids().len(), Registry::built_in().unwrap().ids().len() + 1);
        assert_eq!(acme.key_placement, KeyPlacement::Bearer);
        assert_eq!(acme.setup_url, "https://api.acme.example");
        assert!(!acme.format_hint.is_empty());
        assert!(acme.check.is_none() && acme.generate.is_none());
        assert_eq!(acme.errors, ErrorShape::Openai);
    }

    #[test]
    fn one_field_can_be_changed() {
        let registry = Registry::from_toml(Some("[gemini]\naddress = 'https://eu.example'\n")).unwrap();
        let usual = Registry::built_in().unwrap();
        let (before, after) = (usual.get("gemini").unwrap(), registry.get("gemini").unwrap());
        assert_eq!(after.address.to_string(), "https://eu.example");
        assert_eq!((before.errors, after.errors), (ErrorShape::Google, ErrorShape::Google));
        assert_eq!(
            (&before.name, &before.variable, &before.key_placement, &before.setup_url),
            (&after.name, &after.variable, &after.key_placement, &after.setup_url)
        );
    }

    #[test]
    fn what_is_no_toml_is_told_by_its_line_and_never_quoted() {
        one("# mine\n[acme\n", 2, "", &["not TOML"]);
        one("[acme]\nname = 'Acme'\nname = 'S3CR3T'\n", 3, "", &["duplicate key"]);
        one(&format!("{ACME}[acme]\n"), 5, "", &["duplicate key"]);
        one("[acme]\nvariable = S3CR3T\n", 2, "", &["not TOML"]);
        for text in
            ["[acme]\nvariable = S3CR3T\n", "[acme]\naddress = 'S3CR3T\n", "[acme]\nshapes = 'S3CR3T'\n"]
        {
            assert!(!RegistryError(mistakes(text)).to_string().contains("S3CR3T"), "{text}");
        }
    }

    #[test]
    fn fields_that_are_not_there_or_not_known_are_named() {
        added("adress = 'https://x.example'", "adress", &["unknown", "`address`"]);
        one("[acme]\nname = 'Acme'\nvariable = 'ACME_KEY'\n", 1, "[acme]", &["lacks", "address"]);
        one(
            "[acme]\naddress = 'https://x.example'\nvariable = 'ACME_KEY'\n",
            1,
            "[acme]",
            &["lacks", "name"],
        );
        one("[acme]\naddress = 'https://x.example'\nname = 'Acme'\n", 1, "[acme]", &["lacks", "variable"]);
        added("check = { method = 'GET' }", "check", &["lacks", "path"]);
        added("generate = { api = 'openai', path = '/v1' }", "generate", &["lacks", "model"]);
    }

    #[test]
    fn values_of_the_wrong_kind_are_named_and_not_quoted() {
        added("shapes = 'S3CR3T'", "shapes", &["must be"]);
        added("check = { method = 'S3CR3T', path = '/' }", "check.method", &["GET", "POST"]);
        added("errors = 'S3CR3T'", "errors", &["openai", "google"]);
        added(
            "generate = { api = 'S3CR3T', path = '/', model = 'm' }",
            "generate.api",
            &["openai", "gemini"],
        );
        replaced(2, "name = 7", "[acme] `name`", &["must be", "string"]);
        one("acme = 1\n", 1, "[acme]", &["table"]);
        one("[Acme]\n", 1, "[Acme]", &["lower-case"]);
        one(&format!("['a b']\n{}", &ACME["[acme]\n".len()..]), 1, "[a b]", &["lower-case"]);
        replaced(2, "name = ' '", "[acme] `name`", &["1 to 80"]);
        replaced(2, "name = \"a\\nb\"", "[acme] `name`", &["one line"]);
    }

    #[test]
    fn addresses_that_a_key_must_not_be_sent_to_are_refused() {
        for (address, part) in [
            ("http://api.acme.example", "https://"),
            ("http://10.0.0.1", "https://"),
            ("ftp://127.0.0.1", "web address"),
            ("api.acme.example:8443", "web address"),
            ("https://", "web address"),
            ("https://user:S3CR3T@api.acme.example", "password"),
            ("https://api.acme.example/?key=S3CR3T", "query"),
            ("https://api.acme.example/#x", "query"),
        ] {
            let field = format!("address = '{address}'");
            replaced(3, &field, "[acme] `address`", &[part]);
            let generate =
                format!("generate = {{ api = 'openai', path = '/', model = 'm', address = '{address}' }}");
            added(&generate, "generate.address", &[part]);
        }
        for path in ["v1", "@evil.example/", ":8443/", "/v1#x"] {
            added(&format!("check = {{ method = 'GET', path = '{path}' }}"), "check.path", &["begin with /"]);
            let generate = format!("generate = {{ api = 'openai', path = '{path}', model = 'm' }}");
            added(&generate, "generate.path", &["begin with /"]);
        }
        for page in ["javascript:alert(1)", "http://acme.example", "acme.example", "https://u@acme.example"] {
            added(&format!("setup_url = '{page}'"), "setup_url", &["https://"]);
        }
    }

    #[test]
    fn headers_that_are_illegal_hop_by_hop_or_hold_another_key_are_refused() {
        for header in ["", "x key", "x:key", "schl\u{fc}ssel"] {
            added(&format!("key_header = '{header}'"), "key_header", &["no name"]);
            added(&format!("headers = {{ '{header}' = 'x' }}"), "headers", &["no name"]);
        }
        for header in [
            "Connection",
            "keep-alive",
            "TE",
            "Transfer-Encoding",
            "upgrade",
            "Host",
            "content-length",
            "Cookie",
        ] {
            added(&format!("key_header = '{header}'"), "key_header", &["own header"]);
            added(&format!("headers = {{ {header} = 'x' }}"), "headers", &["own header"]);
        }
        for header in ["Authorization", "X-Api-Key", "x-goog-api-key"] {
            added(&format!("headers = {{ {header} = 'S3CR3T' }}"), "headers", &["where a key goes"]);
        }
        let own = format!("{ACME}key_header = 'x-acme'\nheaders = {{ X-Acme = 'x' }}\n");
        one(&own, 6, "[acme] `headers`", &["x-acme", "where a key goes"]);
        added("headers = { x-a = '1', X-A = '2' }", "headers", &["twice"]);
        added("headers = { x-a = \"1\\n2\" }", "headers", &["does not allow"]);
    }

    #[test]
    fn variables_with_another_meaning_are_refused() {
        let reserved = [
            "PATH",
            "LD_PRELOAD",
            "LD_LIBRARY_PATH",
            "DYLD_INSERT_LIBRARIES",
            "HOME",
            "BASH_ENV",
            "PYTHONPATH",
            "NODE_OPTIONS",
            "http_proxy",
            "HTTPS_PROXY",
            "SSL_CERT_FILE",
            "GIT_SSH_COMMAND",
            "PORT",
            "DEBUG",
            "DATABASE_URL",
            "DATABASE_URL_FILE",
            "KEYFOLD_MASTER_KEY",
            "KEYFOLD_ANYTHING",
            "CLERK_SECRET_KEY",
            "RENDER",
        ];
        for name in reserved {
            replaced(4, &format!("variable = '{name}'"), "[acme] `variable`", &[name, "ACME_API_KEY"]);
            added(&format!("also_exported_as = ['{name}']"), "also_exported_as", &[name]);
            added(&format!("frontend_variable = '{name}'"), "frontend_variable", &[name]);
        }
        for name in ["", "A-B", "1A", "A B", "A=B", "\u{dc}"] {
            replaced(4, &format!("variable = '{name}'"), "[acme] `variable`", &["environment variable"]);
        }
    }

    #[test]
    fn what_two_providers_would_share_is_refused_where_it_stands_in_the_file() {
        replaced(4, "variable = 'OPENAI_API_KEY'", "[acme] `variable`", &["OPENAI_API_KEY", "[openai]"]);
        added("also_exported_as = ['ACME_API_KEY']", "also_exported_as", &["ACME_API_KEY"]);
        added("also_exported_as = ['GOOGLE_API_KEY']", "also_exported_as", &["[gemini]"]);
        // Zenith sorts behind what it collides with, Acme before.
        let zenith = ACME.replace("acme", "zenith").replace("ACME_API_KEY", "HF_TOKEN");
        one(&zenith, 4, "[zenith] `variable`", &["HF_TOKEN", "[huggingface]"]);
        let both = format!(
            "{}{}",
            ACME.replace("[acme]", "[my-own]"),
            ACME.replace("[acme]", "[my_own]").replace("ACME", "MY")
        );
        one(&both, 5, "[my_own]", &["my-own", "another id"]);
    }

    #[test]
    fn rules_that_cannot_be_meant_are_refused() {
        let cases = [
            ("shapes = [{ characters = 'any', only_here = true }]", "shapes", "3 characters"),
            (
                "shapes = [{ prefix = 'a', characters = 'hex', exactly = 3, at_least = 2 }]",
                "shapes",
                "not both",
            ),
            ("refused = [{ prefix = '', why = 'x' }]", "refused", "3 characters"),
            ("refused = [{ prefix = 'acme-admin', why = '' }]", "refused", "`why`"),
            ("answers = [{ status = 1000, means = 'valid' }]", "answers", "200 to 599"),
            ("answers = [{ status = 403, means = 'limited' }]", "answers", "`why`"),
            ("answers = [{ status = 403, pointer = '/a', means = 'rejected' }]", "answers", "go together"),
            (
                "answers = [{ status = 403, pointer = 'a', equals = 1, means = 'rejected' }]",
                "answers",
                "begin with /",
            ),
            ("answers = [{ status = 403, contains = '', means = 'rejected' }]", "answers", "empty"),
            ("check = { method = 'GET', path = '/', body = '{}' }", "check.body", "POST"),
            ("check = { method = 'POST', path = '/', body = '{' }", "check.body", "JSON"),
            ("generate = { api = 'openai', path = '/', model = 'a b' }", "generate.model", "model's name"),
            ("generate = { api = 'gemini', path = '/m?a=b', model = 'm' }", "generate.path", "no query"),
            (
                "generate = { api = 'openai', path = '/', model = 'm', max_tokens_field = 'model' }",
                "generate.max_tokens_field",
                "limits",
            ),
        ];
        for (field, place, part) in cases {
            added(field, place, &[part]);
        }
        added(
            "answers = [{ status = 401, means = 'valid' }, { status = 1, means = 'valid' }]",
            "answers",
            &["number 2"],
        );
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let text = "[acme]\nname = 'Acme'\naddress = 'http://acme.example'\nvariable = 'PATH'\n[gemini]\nadress = ''\n";
        let found = mistakes(text);
        assert_eq!(found.iter().map(|mistake| mistake.line).collect::<Vec<_>>(), [Some(3), Some(4), Some(6)]);
        let told = RegistryError(found).to_string();
        assert!(
            told.contains("line 3, [acme] `address` must") && told.contains("line 6, [gemini]"),
            "{told}"
        );
    }
}
