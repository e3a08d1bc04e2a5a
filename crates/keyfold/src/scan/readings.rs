//! How code reads the environment, in three languages.

use std::collections::{HashMap, HashSet};

use super::tokens::{Kind, Token};
use super::{Language, Way};

/// How far a constant's type may be from its name.
const LONGEST_TYPE: usize = 8;

/// Words of JavaScript that a value in brackets may follow.
const BEFORE_BRACKETS: [&str; 8] = ["return", "await", "typeof", "case", "in", "of", "yield", "default"];

type Found = Vec<(usize, String, Way)>;

pub(super) fn find(language: Language, tokens: &[Token<'_>], is_known: &dyn Fn(&str) -> bool) -> Found {
    let code = Code { tokens, is_known, constants: HashMap::new() };
    let constants = code.constants();
    let code = Code { constants, ..code };
    match language {
        Language::Python | Language::Notebook => python(&code),
        Language::JavaScript => java_script(&code),
        Language::Rust => rust(&code),
    }
}

struct Code<'a> {
    tokens: &'a [Token<'a>],
    is_known: &'a dyn Fn(&str) -> bool,
    /// Names of this file that stand for a variable's name.
    constants: HashMap<&'a str, &'a str>,
}

impl<'a> Code<'a> {
    fn is_mark(&self, at: usize, mark: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| token.kind == Kind::Mark && token.text == mark)
    }

    fn is_name(&self, at: usize, name: &str) -> bool {
        self.name(at) == Some(name)
    }

    fn name(&self, at: usize) -> Option<&'a str> {
        self.tokens.get(at).filter(|token| token.kind == Kind::Name).map(|token| token.text)
    }

    fn text(&self, at: usize) -> Option<&'a str> {
        self.tokens.get(at).filter(|token| token.kind == Kind::Text).map(|token| token.text)
    }

    /// Whether these names and marks stand before `at`.
    fn is_behind(&self, at: usize, words: &[&str]) -> bool {
        let Some(start) = at.checked_sub(words.len()) else { return false };
        let is = |(offset, word): (usize, &&str)| {
            self.is_name(start + offset, word) || self.is_mark(start + offset, word)
        };
        words.iter().enumerate().all(is)
    }

    /// The variable that an argument names, itself or by a constant of this file.
    fn variable(&self, at: usize) -> Option<&'a str> {
        let at = if self.is_mark(at, "&") { at + 1 } else { at };
        if let Some(text) = self.text(at) {
            return (self.is_known)(text).then_some(text);
        }
        let ends = [")", ",", "]"].iter().any(|mark| self.is_mark(at + 1, mark));
        self.name(at).filter(|_| ends).and_then(|name| self.constants.get(name).copied())
    }

    /// Whether the value at `at` is given a new one: `=`, and neither `==` nor `=>`.
    fn is_set(&self, at: usize) -> bool {
        self.is_mark(at, "=") && !self.is_mark(at + 1, "=") && !self.is_mark(at + 1, ">")
    }

    fn way(&self, at: usize) -> Way {
        if self.is_set(at) { Way::Sets } else { Way::Reads }
    }

    /// `NAME = "VARIABLE"`, with or without a type.
    fn constants(&self) -> HashMap<&'a str, &'a str> {
        let mut constants = HashMap::new();
        for at in 2..self.tokens.len() {
            let Some(text) = self.text(at).filter(|text| (self.is_known)(text)) else { continue };
            if self.is_mark(at - 1, "=")
                && let Some(name) = self.given_name(at - 1)
            {
                constants.insert(name, text);
            }
        }
        constants
    }

    /// The name that stands before the `=` at `at`: `NAME =`, `NAME: type =`.
    fn given_name(&self, at: usize) -> Option<&'a str> {
        let before = at.checked_sub(1)?;
        if let Some(name) = self.name(before)
            && !self.is_mark(before.wrapping_sub(1), ".")
            && !self.is_within_type(before)
        {
            return Some(name);
        }
        let nearest = before.saturating_sub(LONGEST_TYPE);
        let colon = (nearest..=before).rev().find(|colon| self.is_mark(*colon, ":"))?;
        self.name(colon.checked_sub(1)?)
    }

    fn is_within_type(&self, at: usize) -> bool {
        let line = self.tokens[at].line;
        let nearest = at.saturating_sub(LONGEST_TYPE);
        (nearest..at).rev().any(|colon| {
            self.tokens[colon].line == line
                && self.is_mark(colon, ":")
                && colon > 0
                && self.name(colon - 1).is_some()
        })
    }

    /// The place behind what closes the bracket at `at`.
    fn behind_bracket(&self, at: usize) -> usize {
        let mut open = 0_usize;
        for (offset, token) in
            self.tokens[at..].iter().enumerate().filter(|(_, token)| token.kind == Kind::Mark)
        {
            match token.text {
                "(" | "[" | "{" => open += 1,
                ")" | "]" | "}" => open = open.saturating_sub(1),
                _ => {}
            }
            if open == 0 {
                return at + offset + 1;
            }
        }
        self.tokens.len()
    }

    /// `["VARIABLE"]` or `.get("VARIABLE")` and its like at `at`.
    fn look_up(&self, at: usize, readers: &[&str], setters: &[&str]) -> Option<(&'a str, Way)> {
        if self.is_mark(at, "[") {
            let variable = self.variable(at + 1)?;
            return self.is_mark(at + 2, "]").then(|| (variable, self.way(at + 3)));
        }
        let method = self.name(at + 1).filter(|_| self.is_mark(at, ".") && self.is_mark(at + 2, "("))?;
        let variable = self.variable(at + 3)?;
        if readers.contains(&method) {
            return Some((variable, Way::Reads));
        }
        setters.contains(&method).then_some((variable, Way::Sets))
    }
}

fn python(code: &Code<'_>) -> Found {
    let mut found = vec![];
    let mut add = |at: usize, variable: &str, way| {
        found.push((code.tokens[at].line, variable.to_owned(), way));
    };
    let functions = imported(code, "getenv");
    let mut mappings = imported(code, "environ");
    mappings.extend(imported(code, "environb"));
    for at in 0..code.tokens.len() {
        if is_environ(code, at, &mappings) || code.is_name(at, "dotenv_values") {
            let (start, end) = copied(code, at).unwrap_or_else(|| {
                let end = if code.is_mark(at + 1, "(") { code.behind_bracket(at + 1) } else { at + 1 };
                (start_of_environ(code, at), end)
            });
            let goes_on = code.is_mark(end, "[") || code.is_mark(end, ".") && !code.is_name(end + 1, "copy");
            if let Some(name) = start.checked_sub(1).filter(|equals| code.is_set(*equals) && !goes_on) {
                mappings.extend(code.given_name(name));
            }
        }
    }
    let with_settings = ["decouple", "environs", "environ"].iter().any(|module| imports(code, module));
    let configs = configs_of_starlette(code);
    for at in 0..code.tokens.len() {
        let Some(name) = code.name(at) else { continue };
        let is_call = code.is_mark(at + 1, "(");
        let argument = if code.is_name(at + 2, "key") && code.is_mark(at + 3, "=") { at + 4 } else { at + 2 };
        if is_environ(code, at, &mappings) {
            let deleted = code.is_behind(at, &["del"]) || code.is_behind(at, &["del", "os", "."]);
            let behind = copied(code, at).map_or(at + 1, |(_, end)| end);
            let looked = code.look_up(behind, &["get", "pop", "__getitem__"], &["setdefault", "__setitem__"]);
            if let Some((variable, way)) = looked.filter(|_| !deleted) {
                add(at, variable, way);
            }
            let start = start_of_environ(code, at);
            if code.is_behind(start, &["in"]) {
                let word = if code.is_behind(start, &["not", "in"]) {
                    start.checked_sub(3)
                } else {
                    start.checked_sub(2)
                };
                if let Some(variable) =
                    word.and_then(|word| code.text(word)).filter(|text| (code.is_known)(text))
                {
                    add(at, variable, Way::Reads);
                }
            }
        } else if is_call && functions.contains(name) && !code.is_behind(at, &["def"]) {
            if let Some(variable) = code.variable(argument) {
                add(at, variable, Way::Reads);
            }
        } else if is_call && name == "putenv" {
            if let Some(variable) = code.variable(argument) {
                add(at, variable, Way::Sets);
            }
        } else if is_call && name == "dotenv_values" {
            let looked = code.look_up(code.behind_bracket(at + 1), &["get"], &[]);
            if let Some((variable, way)) = looked {
                add(at, variable, way);
            }
        } else if is_call && name == "get_key" && imports(code, "dotenv") {
            let end = code.behind_bracket(at + 1);
            if let Some(variable) = (at + 2..end).find_map(|at| code.variable(at)) {
                add(at, variable, Way::Reads);
            }
        } else if configs.contains(name) && !code.is_behind(at, &["."]) {
            let called = code.variable(argument).filter(|_| is_call);
            let looked = code.look_up(at + 1, &["get"], &[]).map(|(variable, _)| variable);
            if let Some(variable) = called.or(looked) {
                add(at, variable, Way::Reads);
            }
        } else if is_call && with_settings {
            let of_module = ["config", "env"].contains(&name) && !code.is_behind(at, &["."]);
            let of_env = code.is_behind(at, &["env", "."]);
            if let Some(variable) = code.variable(argument).filter(|_| of_module || of_env) {
                add(at, variable, Way::Reads);
            }
        }
    }
    found.extend(settings_classes(code));
    found
}

/// `os.environ`, or a name that was given it. `environ` of something else is not meant.
fn is_environ(code: &Code<'_>, at: usize, mappings: &HashSet<&str>) -> bool {
    let Some(name) = code.name(at) else { return false };
    if code.is_behind(at, &["."]) {
        return ["environ", "environb"].contains(&name) && code.is_behind(at, &["os", "."]);
    }
    mappings.contains(name) && !code.is_behind(at, &["import"])
}

fn start_of_environ(code: &Code<'_>, at: usize) -> usize {
    if code.is_behind(at, &["os", "."]) { at - 2 } else { at }
}

/// Where `dict(os.environ)` or `os.environ.copy()` begins and what is behind it, if the mapping at `at` is copied so.
fn copied(code: &Code<'_>, at: usize) -> Option<(usize, usize)> {
    let start = start_of_environ(code, at);
    if code.is_behind(start, &["dict", "("]) && code.is_mark(at + 1, ")") {
        return Some((start - 2, at + 2));
    }
    let is_copy = code.is_mark(at + 1, ".") && code.is_name(at + 2, "copy") && code.is_mark(at + 3, "(");
    is_copy.then(|| (start, code.behind_bracket(at + 3)))
}

/// The names that are given a `Config` of Starlette in this file.
fn configs_of_starlette<'a>(code: &Code<'a>) -> HashSet<&'a str> {
    let is_imported = (0..code.tokens.len()).any(|at| {
        code.is_name(at, "config")
            && code.is_behind(at, &["starlette", "."])
            && code.is_name(at + 1, "import")
    });
    let given = (1..code.tokens.len())
        .filter(|at| {
            is_imported && code.is_name(*at, "Config") && code.is_mark(at + 1, "(") && code.is_set(*at - 1)
        })
        .filter_map(|at| code.given_name(at - 1));
    given.collect()
}

/// What a function or mapping of `os` is called in this file.
fn imported<'a>(code: &Code<'a>, what: &'static str) -> HashSet<&'a str> {
    let mut names = HashSet::from([what]);
    for at in 0..code.tokens.len() {
        // `from os import environ as env`, `import os.environ` is none.
        if code.is_name(at, what) && code.is_name(at + 1, "as") {
            names.extend(code.name(at + 2));
        }
    }
    names
}

fn imports(code: &Code<'_>, module: &str) -> bool {
    (1..code.tokens.len()).any(|at| {
        code.is_name(at, module) && (code.is_behind(at, &["import"]) || code.is_behind(at, &["from"]))
    })
}

/// Fields of pydantic's settings: each is read from the variable of its name, in any case, or of its alias.
fn settings_classes(code: &Code<'_>) -> Found {
    let mut found = vec![];
    for at in 0..code.tokens.len() {
        if !code.is_name(at, "class") || !code.is_mark(at + 2, "(") {
            continue;
        }
        let body = code.behind_bracket(at + 2);
        if !(at + 3..body).any(|base| code.is_name(base, "BaseSettings")) {
            continue;
        }
        let class = &code.tokens[at];
        let is_outside = |place: &usize| {
            let token = &code.tokens[*place];
            token.line > class.line && token.column <= class.column && begins_line(code, *place)
        };
        let end = (body..code.tokens.len()).find(is_outside).unwrap_or(code.tokens.len());
        let has_prefix = (body..end).any(|place| code.is_name(place, "env_prefix"));
        for place in body..end {
            let token = &code.tokens[place];
            let upper = token.text.to_ascii_uppercase();
            let named = match token.kind {
                Kind::Name => {
                    !has_prefix
                        && begins_line(code, place)
                        && (code.is_mark(place + 1, ":") || code.is_set(place + 1))
                }
                Kind::Text => is_alias(code, place),
                Kind::Mark => false,
            };
            if named && (code.is_known)(&upper) {
                found.push((token.line, upper, Way::Reads));
            }
        }
    }
    found
}

fn begins_line(code: &Code<'_>, at: usize) -> bool {
    at == 0 || code.tokens[at - 1].line < code.tokens[at].line
}

/// `alias="…"`, `validation_alias="…"`, `env="…"`, `AliasChoices("…", "…")`
fn is_alias(code: &Code<'_>, at: usize) -> bool {
    let by_name = ["alias", "validation_alias", "env"].iter().any(|name| code.is_behind(at, &[name, "="]));
    let mut opened = at;
    while opened > 0 && (code.is_mark(opened - 1, ",") || code.text(opened - 1).is_some()) {
        opened -= 1;
    }
    by_name || code.is_behind(opened, &["AliasChoices", "("])
}

fn java_script(code: &Code<'_>) -> Found {
    let mut found = vec![];
    let aliases = aliases_of_environment(code);
    for at in 0..code.tokens.len() {
        if code.is_behind(at, &["Deno", ".", "env"]) {
            if let Some((variable, way)) = code.look_up(at, &["get", "has"], &["set"]) {
                found.push((code.tokens[at].line, variable.to_owned(), way));
            }
            continue;
        }
        found.extend(imported_one_by_one(code, at));
        let Some(end) = environment(code, at, &aliases) else { continue };
        let end = behind_cast(code, at, end);
        let behind = if code.is_mark(end, "?") && code.is_mark(end + 1, ".") { end + 1 } else { end };
        if let Some((variable, way)) = member(code, behind) {
            found.push((code.tokens[behind].line, variable.to_owned(), way));
        } else if let Some(brace) = destructured(code, at) {
            let known = keys(code, brace).into_iter().filter(|(_, key, _)| (code.is_known)(key));
            found.extend(known.map(|(line, key, _)| (line, key.to_owned(), Way::Reads)));
        } else if code.is_behind(at, &["in"])
            && let Some(variable) = at.checked_sub(2).and_then(|word| code.variable(word).or(code.text(word)))
            && (code.is_known)(variable)
        {
            found.push((code.tokens[at].line, variable.to_owned(), Way::Reads));
        }
    }
    found
}

/// The place behind `process.env` and its like, if that begins here.
fn environment(code: &Code<'_>, at: usize, aliases: &HashSet<&str>) -> Option<usize> {
    let name = code.name(at)?;
    let dot = |at: usize| {
        let at = if code.is_mark(at, "?") { at + 1 } else { at };
        code.is_mark(at, ".").then_some(at + 1)
    };
    let owner = match name {
        "process" | "Bun" => Some(at),
        "import" => dot(at + 1).filter(|meta| code.is_name(*meta, "meta")),
        _ => None,
    };
    if let Some(env) = owner.and_then(|owner| dot(owner + 1)) {
        return code.is_name(env, "env").then_some(env + 1);
    }
    let is_alias = aliases.contains(name) && !code.is_behind(at, &["."]);
    // In `{ env: … }` it is a key.
    (is_alias && !code.is_mark(at + 1, ":")).then_some(at + 1)
}

/// What is behind `process.env!` and `(process.env as any)`, which stand for the same.
fn behind_cast(code: &Code<'_>, at: usize, end: usize) -> usize {
    let end = if code.is_mark(end, "!") && !code.is_mark(end + 1, "=") { end + 1 } else { end };
    // `f(process.env)` is a call.
    let is_called = |before: usize| code.name(before).is_some_and(|name| !BEFORE_BRACKETS.contains(&name));
    let is_in_brackets = code.is_behind(at, &["("]) && !at.checked_sub(2).is_some_and(is_called);
    if !is_in_brackets || !(code.is_name(end, "as") || code.is_mark(end, ")")) {
        return end;
    }
    let last = (end + LONGEST_TYPE + 1).min(code.tokens.len());
    (end..last).find(|close| code.is_mark(*close, ")")).map_or(end, |close| close + 1)
}

/// `import { VARIABLE } from '$env/static/private'` of `SvelteKit`, if that ends at the `from` at `at`.
fn imported_one_by_one(code: &Code<'_>, at: usize) -> Found {
    let from_static =
        code.text(at + 1).is_some_and(|text| ["$env/static/private", "$env/static/public"].contains(&text));
    if !code.is_name(at, "from") || !from_static || !code.is_behind(at, &["}"]) {
        return vec![];
    }
    let names = (0..at).rev().take_while(|place| !code.is_mark(*place, "{"));
    let known = names.filter_map(|place| {
        let name = code.name(place).filter(|name| (code.is_known)(name))?;
        // In `{ A as B }` the first is the variable.
        (!code.is_behind(place, &["as"])).then(|| (code.tokens[place].line, name.to_owned(), Way::Reads))
    });
    known.collect()
}

/// `.VARIABLE`, `["VARIABLE"]` or `?.["VARIABLE"]`
fn member<'a>(code: &Code<'a>, at: usize) -> Option<(&'a str, Way)> {
    if code.is_mark(at, ".") && !code.is_mark(at + 1, "[") {
        let variable = code.name(at + 1).filter(|name| (code.is_known)(name))?;
        return Some((variable, code.way(at + 2)));
    }
    let at = if code.is_mark(at, ".") { at + 1 } else { at };
    code.look_up(at, &[], &[])
}

/// The `}` in `{ … } =` before `at`.
fn destructured(code: &Code<'_>, at: usize) -> Option<usize> {
    let brace = at.checked_sub(2)?;
    (code.is_mark(brace + 1, "=") && code.is_mark(brace, "}")).then_some(brace)
}

/// The keys of a destructuring that ends at `brace`: line, key, the name that it gets.
fn keys<'a>(code: &Code<'a>, brace: usize) -> Vec<(usize, &'a str, &'a str)> {
    let mut depth = 0_usize;
    let mut keys = vec![];
    for at in (0..=brace).rev() {
        let token = &code.tokens[at];
        let is_mark = token.kind == Kind::Mark;
        match token.text {
            "}" | "]" | ")" if is_mark => depth += 1,
            "{" | "[" | "(" if is_mark => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            _ if !is_mark && depth == 1 && (code.is_behind(at, &["{"]) || code.is_behind(at, &[","])) => {
                let renamed = code.name(at + 2).filter(|_| code.is_mark(at + 1, ":"));
                keys.push((token.line, token.text, renamed.unwrap_or(token.text)));
            }
            _ => {}
        }
    }
    keys
}

/// The names by which this file calls the environment.
fn aliases_of_environment<'a>(code: &Code<'a>) -> HashSet<&'a str> {
    let mut aliases = HashSet::new();
    for at in 0..code.tokens.len() {
        let is_whole = |end: usize| ![".", "[", "?"].iter().any(|mark| code.is_mark(end, mark));
        // `const env = process.env`, `const env = loadEnv(…)`
        let is_environment = environment(code, at, &HashSet::new()).is_some_and(is_whole)
            || code.is_name(at, "loadEnv") && code.is_mark(at + 1, "(");
        if let Some(equals) = at.checked_sub(1).filter(|equals| code.is_set(*equals) && is_environment)
            && destructured(code, at).is_none()
        {
            aliases.extend(code.given_name(equals));
        }
        // `const { env } = process`
        if code.is_name(at, "process")
            && !code.is_mark(at + 1, ".")
            && let Some(brace) = destructured(code, at)
        {
            aliases.extend(keys(code, brace).into_iter().filter(|key| key.1 == "env").map(|key| key.2));
        }
        // `import * as env from '$env/static/private'`
        let is_static = |text: &str| ["$env/static/private", "$env/static/public"].contains(&text);
        if code.is_name(at, "from")
            && code.text(at + 1).is_some_and(is_static)
            && at.checked_sub(3).is_some_and(|star| code.is_mark(star, "*") && code.is_name(star + 1, "as"))
        {
            aliases.extend(code.name(at - 1));
        }
        // `import { env } from 'node:process'`
        let from_process = |text: &str| {
            ["process", "node:process", "$env/dynamic/private", "$env/dynamic/public"].contains(&text)
        };
        if code.is_name(at, "from")
            && code.text(at + 1).is_some_and(from_process)
            && code.is_behind(at, &["}"])
        {
            let imported = (0..at).rev().take_while(|place| !code.is_name(*place, "import"));
            for place in imported.filter(|place| code.is_name(*place, "env")) {
                let renamed = code.name(place + 2).filter(|_| code.is_name(place + 1, "as"));
                aliases.extend(renamed.or(code.name(place)));
            }
        }
    }
    aliases
}

fn rust(code: &Code<'_>) -> Found {
    let mut found = vec![];
    let imported = imported_from_env(code);
    for at in 0..code.tokens.len() {
        let Some(name) = code.name(at) else { continue };
        let mut add = |argument: usize, way| {
            if let Some(variable) = code.variable(argument) {
                found.push((code.tokens[at].line, variable.to_owned(), way));
            }
        };
        let of_env = ["env", "dotenvy", "dotenv"].iter().any(|owner| code.is_behind(at, &[owner, ":", ":"]));
        let is_imported = imported.contains_key(name)
            && ![".", ":", "fn"].iter().any(|before| code.is_behind(at, &[before]));
        let function = if of_env { Some(name) } else { imported.get(name).copied().filter(|_| is_imported) };
        match function {
            Some("var" | "var_os") if code.is_mark(at + 1, "(") => add(at + 2, Way::Reads),
            Some("set_var") if code.is_mark(at + 1, "(") => add(at + 2, Way::Sets),
            _ if ["env", "option_env", "dotenv"].contains(&name)
                && code.is_mark(at + 1, "!")
                && ["(", "[", "{"].iter().any(|open| code.is_mark(at + 2, open)) =>
            {
                add(at + 3, Way::Reads);
            }
            // `#[arg(env = "…")]`
            _ if name == "env"
                && code.is_mark(at + 1, "=")
                && (code.is_behind(at, &[","])
                    || code.is_behind(at, &["arg", "("])
                    || code.is_behind(at, &["clap", "("])) =>
            {
                add(at + 2, Way::Reads);
            }
            _ => {}
        }
    }
    found
}

/// The functions that are imported from `std::env` and its like, by the names that they have here.
fn imported_from_env<'a>(code: &Code<'a>) -> HashMap<&'a str, &'a str> {
    let mut names = HashMap::new();
    let functions = ["var", "var_os", "set_var"];
    for at in (0..code.tokens.len()).filter(|at| code.is_name(*at, "use")) {
        let end = (at..code.tokens.len()).find(|end| code.is_mark(*end, ";")).unwrap_or(code.tokens.len());
        let env = (at..end)
            .find(|place| ["env", "dotenvy", "dotenv"].iter().any(|name| code.is_name(*place, name)));
        for place in env.map_or(end, |env| env + 1)..end {
            let Some(function) = code.name(place).filter(|name| functions.contains(name)) else { continue };
            let renamed = code.name(place + 2).filter(|_| code.is_name(place + 1, "as"));
            names.insert(renamed.unwrap_or(function), function);
        }
    }
    names
}
