use super::*;

fn scan(language: Language, text: &str) -> Vec<String> {
    let registry = Registry::from_toml(None).unwrap();
    let found = Scanner::new(&registry).readings(language, text);
    found
        .iter()
        .map(|reading| format!("{} {} {}", reading.line, reading.way.as_str(), reading.variable))
        .collect()
}

/// Each line stands alone, in a file of its own.
#[track_caller]
fn each(language: Language, lines: &[&str], expected: &[&str]) {
    for line in lines {
        assert_eq!(scan(language, line), expected, "{line}");
    }
}

fn keys(language: Option<Language>, text: &str) -> Vec<String> {
    let registry = Registry::from_toml(None).unwrap();
    let found = Scanner::new(&registry).keys(language, text);
    let words = |key: &FoundKey| {
        let providers: Vec<&str> = key.providers.iter().map(|provider| provider.id.as_str()).collect();
        let variable = key.variable.as_deref().unwrap_or("-");
        format!("{} {} {variable} {}", key.line, providers.join("+"), key.masked)
    };
    found.iter().map(words).collect()
}

/// Made of letters and digits, and nobody's: test data.
fn made_up(prefix: &str, length: usize) -> String {
    let filling = "TestData7e57da7aQw8Zr9Kp3Lm5Nv2Bx6Cy4".repeat(4);
    format!("{prefix}{}", &filling[..length])
}

mod python {
    use super::*;

    #[test]
    fn every_way_of_reading_is_found() {
        each(
            Language::Python,
            &[
                "import os; key = os.getenv('GEMINI_API_KEY')",
                "key = os.getenv(\"GEMINI_API_KEY\", '')",
                "key = os.getenv(key='GEMINI_API_KEY')",
                "from os import getenv as read; key = read('GEMINI_API_KEY')",
                "key = os.environ['GEMINI_API_KEY']",
                "key = os.environ.get('GEMINI_API_KEY')",
                "key = os.environ.pop('GEMINI_API_KEY', None)",
                "from os import environ; key = environ[r'GEMINI_API_KEY']",
                "from os import environ as e; key = e['GEMINI_API_KEY']",
                "env = os.environ; key = env['GEMINI_API_KEY']",
                "config = dotenv_values('.env'); key = config['GEMINI_API_KEY']",
                "key = dotenv_values('.env').get('GEMINI_API_KEY')",
                "import dotenv; key = dotenv.get_key('.env', 'GEMINI_API_KEY')",
                "from decouple import config; key = config('GEMINI_API_KEY')",
                "from environs import Env; env = Env(); key = env.str('GEMINI_API_KEY')",
                "if 'GEMINI_API_KEY' in os.environ: pass",
                "if 'GEMINI_API_KEY' not in os.environ: pass",
                "if os.environ['GEMINI_API_KEY'] == key: pass",
                "url = f'{base}?key={os.environ[\"GEMINI_API_KEY\"]}'",
                "url = f\"{os.getenv(\"GEMINI_API_KEY\")}\"",
                "NAME = 'GEMINI_API_KEY'; key = os.getenv(NAME)",
                "NAME: str = 'GEMINI_API_KEY'; key = os.environ[NAME]",
                "key = os.environ.copy()['GEMINI_API_KEY']",
                "key = os.environ.copy().get('GEMINI_API_KEY')",
                "key = dict(os.environ)['GEMINI_API_KEY']",
                "from os import environ; key = dict(environ).get('GEMINI_API_KEY')",
                "env = dict(os.environ); key = env['GEMINI_API_KEY']",
                "env = os.environ.copy(); key = env['GEMINI_API_KEY']",
                "key = os.environb[b'GEMINI_API_KEY']",
                "from os import environb; key = environb.get(b'GEMINI_API_KEY')",
                "from starlette.config import Config; config = Config('.env'); key = config('GEMINI_API_KEY', cast=str)",
                "from starlette.config import Config; settings = Config(); key = settings.get('GEMINI_API_KEY')",
            ],
            &["1 reads GEMINI_API_KEY"],
        );
        assert_eq!(scan(Language::Python, "key = getenv(\n'GEMINI_API_KEY')"), ["1 reads GEMINI_API_KEY"]);
        // Each provider's further names count too.
        each(Language::Python, &["os.getenv('GOOGLE_API_KEY')"], &["1 reads GOOGLE_API_KEY"]);
        each(Language::Python, &["os.getenv('HUGGING_FACE_HUB_TOKEN')"], &["1 reads HUGGING_FACE_HUB_TOKEN"]);
    }

    #[test]
    fn setting_a_variable_is_told_from_reading_it() {
        each(
            Language::Python,
            &[
                "os.environ['EXA_API_KEY'] = key",
                "os.environ.setdefault('EXA_API_KEY', key)",
                "os.putenv('EXA_API_KEY', key)",
            ],
            &["1 sets EXA_API_KEY"],
        );
    }

    #[test]
    fn what_only_looks_like_it_is_nothing() {
        each(
            Language::Python,
            &[
                "# os.getenv('GEMINI_API_KEY')",
                "x = 1  # os.environ['GEMINI_API_KEY']",
                "\"\"\"Reads os.getenv('GEMINI_API_KEY').\"\"\"",
                "'''\nos.environ[\"GEMINI_API_KEY\"]\n'''",
                "print(\"os.getenv('GEMINI_API_KEY')\")",
                "key = os.getenv('MY_GEMINI_API_KEY')",
                "key = os.getenv('GEMINI_API_KEYS')",
                "key = os.getenv('gemini_api_key')",
                "key = os.getenv('DATABASE_URL')",
                "key = os.getenv(name)",
                "def getenv(key='GEMINI_API_KEY'): pass",
                "key = keys.get('GEMINI_API_KEY')",
                "key = self.environ['GEMINI_API_KEY']",
                "key = request.environ.get('GEMINI_API_KEY')",
                "del os.environ['GEMINI_API_KEY']",
                "config('GEMINI_API_KEY')",
                "env.str('GEMINI_API_KEY')",
                "config = Config('.env'); key = config('GEMINI_API_KEY')",
                "key = dict(request.environ)['GEMINI_API_KEY']",
                "names = ['GEMINI_API_KEY']",
                "class Keys:\n    gemini_api_key: str",
                "class Keys(BaseModel):\n    gemini_api_key: str",
                "key = f'{{os.environ[\"GEMINI_API_KEY\"]}}'",
                "GEMINI_API_KEY = None",
            ],
            &[],
        );
    }

    #[test]
    fn fields_of_pydantics_settings_are_read_from_variables_of_their_names() {
        let text = r#"
class Settings(BaseSettings):
    """gemini_api_key: described here"""
    model_config = SettingsConfigDict(env_file=".env")
    gemini_api_key: str
    exa_api_key: SecretStr | None = None
    debug: bool = False
    search: str = Field(validation_alias=AliasChoices("tavily_api_key", "SERPER_API_KEY"))
    other: str = Field("", alias="OPENAI_API_KEY")

    def url(self) -> str:
        return self.gemini_api_key

openai_api_key: str = "outside"

class Prefixed(pydantic_settings.BaseSettings):
    model_config = SettingsConfigDict(env_prefix="app_")
    gemini_api_key: str
"#;
        assert_eq!(
            scan(Language::Python, text),
            [
                "5 reads GEMINI_API_KEY",
                "6 reads EXA_API_KEY",
                "8 reads SERPER_API_KEY",
                "8 reads TAVILY_API_KEY",
                "9 reads OPENAI_API_KEY"
            ]
        );
    }
}

mod java_script {
    use super::*;

    #[test]
    fn every_way_of_reading_is_found() {
        each(
            Language::JavaScript,
            &[
                "const key = process.env.GEMINI_API_KEY",
                "const key = process.env['GEMINI_API_KEY'];",
                "const key = process.env[\"GEMINI_API_KEY\"]!",
                "const key = process?.env?.GEMINI_API_KEY",
                "const key = process.env?.['GEMINI_API_KEY']",
                "const key = globalThis.process.env.GEMINI_API_KEY",
                "const key = import.meta.env.GEMINI_API_KEY ?? ''",
                "const key = Bun.env.GEMINI_API_KEY",
                "const key = Deno.env.get('GEMINI_API_KEY')",
                "const { GEMINI_API_KEY } = process.env",
                "const { PORT = 3000, GEMINI_API_KEY: key = 'none', ...rest } = process.env;",
                "const { 'GEMINI_API_KEY': key } = process.env",
                "function f({ GEMINI_API_KEY } = process.env) {}",
                "const env = process.env; use(env.GEMINI_API_KEY)",
                "const env: NodeJS.ProcessEnv = process.env; use(env.GEMINI_API_KEY)",
                "const { env } = process; use(env['GEMINI_API_KEY'])",
                "const { env: e } = process; use(e.GEMINI_API_KEY)",
                "import { env } from 'node:process'; use(env.GEMINI_API_KEY)",
                "const env = loadEnv(mode, dir); use(env.GEMINI_API_KEY)",
                "if ('GEMINI_API_KEY' in process.env) {}",
                "if (process.env.GEMINI_API_KEY === key) {}",
                "const url = `${base}?key=${process.env.GEMINI_API_KEY}`",
                "const url = `${`${process.env.GEMINI_API_KEY}`}`",
                "const NAME = 'GEMINI_API_KEY'; use(process.env[NAME])",
                "return /['\"]/.test(x) ? process.env.GEMINI_API_KEY : ''",
                "const key = (process.env as any).GEMINI_API_KEY",
                "const key = (process.env as Record<string, string>)['GEMINI_API_KEY']",
                "const key = (import.meta.env as any)?.GEMINI_API_KEY",
                "const key = (process.env).GEMINI_API_KEY",
                "return (process.env as any).GEMINI_API_KEY",
                "const key = process.env!.GEMINI_API_KEY",
                "const env = process.env as any; use(env.GEMINI_API_KEY)",
                "import { GEMINI_API_KEY } from '$env/static/private';",
                "import { PORT, GEMINI_API_KEY as key } from \"$env/static/public\";",
                "import * as env from '$env/static/private'; use(env.GEMINI_API_KEY)",
            ],
            &["1 reads GEMINI_API_KEY"],
        );
        each(
            Language::JavaScript,
            &["<Chat k={process.env.REACT_APP_COPILOTKIT_API_KEY}>Don't</Chat>"],
            &["1 reads REACT_APP_COPILOTKIT_API_KEY"],
        );
        assert_eq!(
            scan(Language::JavaScript, "const {\n  GEMINI_API_KEY,\n  EXA_API_KEY: exa,\n} = process.env;"),
            ["2 reads GEMINI_API_KEY", "3 reads EXA_API_KEY"]
        );
    }

    #[test]
    fn setting_a_variable_is_told_from_reading_it() {
        each(
            Language::JavaScript,
            &[
                "process.env.EXA_API_KEY = key",
                "process.env['EXA_API_KEY'] = key",
                "Deno.env.set('EXA_API_KEY', key)",
            ],
            &["1 sets EXA_API_KEY"],
        );
    }

    #[test]
    fn what_only_looks_like_it_is_nothing() {
        each(
            Language::JavaScript,
            &[
                "// process.env.GEMINI_API_KEY",
                "/* process.env.GEMINI_API_KEY\n process.env.EXA_API_KEY */",
                "/** @see process.env.GEMINI_API_KEY */",
                "const text = 'process.env.GEMINI_API_KEY'",
                "const text = `process.env.GEMINI_API_KEY`",
                "const text = `\\${process.env.GEMINI_API_KEY}`",
                "const pattern = /process.env.GEMINI_API_KEY/",
                "process.env.MY_GEMINI_API_KEY",
                "process.env.GEMINI_API_KEY_2",
                "process.env.VITE_GEMINI_API_KEY",
                "process.environment.GEMINI_API_KEY",
                "config.GEMINI_API_KEY",
                "config.env.GEMINI_API_KEY",
                "const { GEMINI_API_KEY } = config",
                "const { GEMINI_API_KEY } = await keys(process.env)",
                "const x = { GEMINI_API_KEY: 1 }, env = process.env",
                "type Env = { GEMINI_API_KEY: string }",
                "const env = config; use(env.GEMINI_API_KEY)",
            ],
            &[],
        );
    }
}

mod rust {
    use super::*;

    #[test]
    fn every_way_of_reading_is_found() {
        each(
            Language::Rust,
            &[
                "let key = env::var(\"GEMINI_API_KEY\")?;",
                "let key = std::env::var(\"GEMINI_API_KEY\").unwrap_or_default();",
                "let key = std::env::var_os(\"GEMINI_API_KEY\");",
                "let key = std::env::var(r\"GEMINI_API_KEY\");",
                "let key = ::std::env::var(r#\"GEMINI_API_KEY\"#);",
                "let key = env!(\"GEMINI_API_KEY\");",
                "let key = option_env!(\"GEMINI_API_KEY\");",
                "let key = dotenvy::var(\"GEMINI_API_KEY\")?;",
                "use std::env::var; fn f() { var(\"GEMINI_API_KEY\"); }",
                "use std::env::{self, var_os as read}; fn f() { read(\"GEMINI_API_KEY\"); }",
                "const NAME: &str = \"GEMINI_API_KEY\"; fn f() { env::var(NAME); }",
                "static NAME: &'static str = \"GEMINI_API_KEY\"; fn f() { std::env::var(&NAME); }",
                "#[arg(long, env = \"GEMINI_API_KEY\")]",
                "fn f<'a>(x: &'a str) -> char { env::var(\"GEMINI_API_KEY\"); '\"' }",
                "let c = '\"'; env::var(\"GEMINI_API_KEY\");",
                "let c = '\\''; env::var(\"GEMINI_API_KEY\");",
            ],
            &["1 reads GEMINI_API_KEY"],
        );
        each(
            Language::Rust,
            &["unsafe { std::env::set_var(\"EXA_API_KEY\", key) }"],
            &["1 sets EXA_API_KEY"],
        );
    }

    #[test]
    fn what_only_looks_like_it_is_nothing() {
        each(
            Language::Rust,
            &[
                "// env::var(\"GEMINI_API_KEY\")",
                "/// Reads `env::var(\"GEMINI_API_KEY\")`.",
                "/* /* nested */ env::var(\"GEMINI_API_KEY\") */",
                "let text = r#\"env::var(\"GEMINI_API_KEY\")\"#;",
                "let text = \"env::var(\\\"GEMINI_API_KEY\\\")\";",
                "var(\"GEMINI_API_KEY\");",
                "config::var(\"GEMINI_API_KEY\");",
                "config.var(\"GEMINI_API_KEY\");",
                "env::var(\"GEMINI_API_KEY_2\");",
                "let env = \"GEMINI_API_KEY\";",
                "command.env(\"GEMINI_API_KEY\", key);",
                "env::remove_var(\"GEMINI_API_KEY\");",
            ],
            &[],
        );
    }
}

mod notebooks {
    use super::*;

    const NOTEBOOK: &str = r##"{
 "cells": [
  {
   "cell_type": "markdown",
   "source": [
    "Set `os.environ['EXA_API_KEY']`, see os.getenv('EXA_API_KEY')\n"
   ]
  },
  {
   "cell_type": "code",
   "outputs": [
    {
     "text": [
      "os.getenv('TAVILY_API_KEY')\n",
      "KEY\n"
     ]
    }
   ],
   "source": [
    "import os\n",
    "key = os.environ[\"GEMINI_API_KEY\"]\n",
    "# os.getenv('EXA_API_KEY')\n",
    "OPENAI_API_KEY = \"SECRET\""
   ]
  }
 ],
 "nbformat": 4
}
"##;

    #[test]
    fn the_code_of_cells_is_looked_at_and_the_lines_are_those_of_the_file() {
        assert_eq!(Language::of(Path::new("a/b.ipynb")), Some(Language::Notebook));
        assert_eq!(scan(Language::Notebook, NOTEBOOK), ["21 reads GEMINI_API_KEY"]);
        assert_eq!(scan(Language::Notebook, "no notebook"), [""; 0]);
    }

    #[test]
    fn keys_are_found_in_code_and_in_what_it_put_out() {
        let (key, shown) = (made_up("sk-", 48), made_up("gsk_", 52));
        let text = NOTEBOOK.replace("SECRET", &key).replace("KEY\\n", &format!("{shown}\\n"));
        let ends = [&shown[shown.len() - 4..], &key[key.len() - 4..]];
        assert_eq!(
            keys(Some(Language::Notebook), &text),
            [format!("15 groq - ****{}", ends[0]), format!("23 openai OPENAI_API_KEY ****{}", ends[1])]
        );
    }
}

mod found_keys {
    use super::*;

    #[test]
    fn forms_that_only_one_provider_has_are_found_wherever_they_stand() {
        for (provider, key) in [
            ("gemini", made_up("AIza", 35)),
            ("gemini", made_up("AQ.", 50)),
            ("openai", made_up("sk-proj-", 64)),
            ("anthropic", made_up("sk-ant-api03-", 95)),
            ("groq", made_up("gsk_", 52)),
            ("tavily", made_up("tvly-dev-", 32)),
            ("huggingface", made_up("hf_", 34)),
            ("openai", format!("sk-{}T3BlbkFJ{}", made_up("", 20), made_up("", 20))),
            ("openai", format!("sk-None-{}T3BlbkFJ{}", made_up("", 30), made_up("", 30))),
            // Two may have such keys.
            ("openai+stability", made_up("sk-", 48)),
        ] {
            let end = &key[key.len() - 4..];
            for text in [
                key.clone(),
                format!("key: {key}\n"),
                format!("Bearer {key}."),
                format!("curl https://example.com/?key={key}&x=1"),
                format!("client = Client(\"{key}\")"),
                format!("{{\"apiKey\":\"{key}\"}}"),
            ] {
                assert_eq!(keys(None, &text), [format!("1 {provider} - ****{end}")], "{text}");
            }
        }
        let token = made_up("kfs_", 43);
        assert_eq!(keys(None, &token), [format!("1  - ****{}", &token[token.len() - 4..])]);
        let lines = format!("a\nb\r\n  {} {}\n", made_up("gsk_", 52), made_up("hf_", 34));
        assert_eq!(keys(None, &lines).len(), 2);
        assert!(keys(None, &lines).iter().all(|found| found.starts_with("3 ")));
    }

    #[test]
    fn what_stands_for_a_key_or_only_begins_like_one_is_none() {
        for text in [
            "GEMINI_API_KEY=your_gemini_api_key_here",
            "GEMINI_API_KEY=",
            "GEMINI_API_KEY=<your key>",
            "GEMINI_API_KEY=${GEMINI_API_KEY}",
            "GEMINI_API_KEY: ${{ secrets.GEMINI_API_KEY }}",
            "GEMINI_API_KEY=changeme",
            "OPENAI_API_KEY=sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "OPENAI_API_KEY=sk-proj-...",
            "sk-ant-api03-XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX",
            "AIzaSyD-EXAMPLE0123456789012345678901234",
            "AIzaSy1234567890abcdefghijklmnopqrstuvw",
            "xai-grpc-client-library-for-python",
            "AQ.initialiseTheWholeThingAtOnce()",
            "ck_pub_something_long_without_digits",
            "task-proj-0a1b2c3d4e5f6a7b8c9d0a1b2c3d4e5f",
            "EXA_API_KEY is a UUID, such as 00000000-0000-0000-0000-000000000000",
            "EXA_API_KEY=00000000-0000-0000-0000-000000000000",
            "request 7e57da7a-0000-4000-8000-000000000001",
            "MISTRAL_API_KEY: process.env.MISTRAL_API_KEY",
            "integrity sha512-TestData7e57da7aQw8Zr9Kp3Lm5Nv2Bx6Cy4==",
        ] {
            assert_eq!(keys(None, text), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_variable_tells_whose_key_it_is_where_the_form_does_not() {
        let of = |key: &str| key[key.len() - 4..].to_owned();
        let key = made_up("sk-", 48);
        let openai = format!("sk-{}T3BlbkFJ{}", made_up("", 20), made_up("", 20));
        let anthropic = made_up("sk-ant-api03-", 95);
        for (variable, key, provider) in [
            ("OPENAI_API_KEY", &key, "openai"),
            ("STABILITY_API_KEY", &key, "stability"),
            // Not one of those who have such keys, but it may be a new form.
            ("MISTRAL_API_KEY", &key, "mistral"),
            ("OPENAI_API_KEY", &openai, "openai"),
            ("STABILITY_API_KEY", &openai, "openai"),
            ("OPENAI_API_KEY", &anthropic, "anthropic"),
        ] {
            let found = keys(Some(Language::Python), &format!("{variable} = \"{key}\""));
            assert_eq!(found, [format!("1 {provider} {variable} ****{}", of(key))]);
        }
    }

    #[test]
    fn what_is_given_to_a_variable_is_found_whatever_its_form() {
        let key = made_up("", 40);
        let found = format!("1 cohere CO_API_KEY ****{}", &key[36..]);
        for text in [
            format!("CO_API_KEY={key}"),
            format!("export CO_API_KEY=\"{key}\" # mine"),
            format!("CO_API_KEY: {key}"),
            format!("- CO_API_KEY='{key}'"),
            format!("\"CO_API_KEY\": \"{key}\","),
            format!("ENV CO_API_KEY={key}"),
        ] {
            assert_eq!(keys(None, &text), std::slice::from_ref(&found), "{text}");
        }
        for (language, text) in [
            (Language::Python, format!("CO_API_KEY = '{key}'")),
            (Language::Python, format!("CO_API_KEY: str = \"{key}\"")),
            (Language::Python, format!("os.environ[\"CO_API_KEY\"] = \"{key}\"")),
            (Language::Python, format!("os.getenv('CO_API_KEY', '{key}')")),
            (Language::JavaScript, format!("process.env.CO_API_KEY || '{key}'")),
            (Language::JavaScript, format!("const x = {{ CO_API_KEY: `{key}` }}")),
            (Language::Rust, format!("const CO_API_KEY: &str = \"{key}\";")),
        ] {
            assert_eq!(keys(Some(language), &text), std::slice::from_ref(&found), "{text}");
        }
        for (language, text) in [
            (Language::Python, format!("CO_API_KEY = {key}")),
            (Language::Python, format!("MY_CO_API_KEY = '{key}'")),
            (Language::Python, format!("CO_API_KEY == '{key}'").replace("== '", "!= '")),
            (Language::JavaScript, "CO_API_KEY: process.env.CO_API_KEY || ''".into()),
        ] {
            assert_eq!(keys(Some(language), &text), [""; 0], "{text}");
        }
        // One that has a form of its own is told once.
        let gemini = made_up("AIza", 35);
        let found = keys(None, &format!("GOOGLE_API_KEY={gemini}"));
        assert_eq!(found, [format!("1 gemini GOOGLE_API_KEY ****{}", &gemini[35..])]);
    }
}

mod any_text {
    use proptest::prelude::*;

    use super::*;

    /// What languages are made of, put together in any order.
    const PIECES: [&str; 36] = [
        "\"",
        "'",
        "`",
        "\"\"\"",
        "'''",
        "f\"",
        "r#\"",
        "\"#",
        "${",
        "{",
        "}",
        "{{",
        "/",
        "//",
        "/*",
        "*/",
        "#",
        "\\",
        "\n",
        "\r\n",
        " ",
        "é",
        "🔑",
        "=",
        "(",
        ")",
        "[",
        "]",
        "process.env.",
        "os.environ",
        "env::var",
        "class A(BaseSettings):",
        "GEMINI_API_KEY",
        "AIza",
        "sk-ant-api03-TestData7e57da7aTestData",
        "'a",
    ];

    proptest! {
        #[test]
        fn is_read_to_its_end_and_found_lines_are_lines_of_it(
            parts in proptest::collection::vec(proptest::sample::select(PIECES.as_slice()), 0..80)
        ) {
            let text = parts.concat();
            let lines = text.matches('\n').count() + 1;
            let registry = Registry::from_toml(None).unwrap();
            let scanner = Scanner::new(&registry);
            for language in [Language::Python, Language::Notebook, Language::JavaScript, Language::Rust] {
                for reading in scanner.readings(language, &text) {
                    prop_assert!((1..=lines).contains(&reading.line));
                }
                for key in scanner.keys(Some(language), &text) {
                    prop_assert!((1..=lines).contains(&key.line) && key.masked.len() <= 8);
                }
            }
        }
    }
}
