use proptest::prelude::*;

use super::*;

fn parsed(text: &str) -> EnvFile {
    EnvFile::parse(text.as_bytes()).unwrap()
}

fn text(env: &EnvFile) -> &str {
    str::from_utf8(env.as_bytes()).unwrap()
}

fn after_set(before: &str, value: &str) -> String {
    let mut env = parsed(before);
    env.set("KEY", value).unwrap();
    text(&env).to_owned()
}

fn after_remove(before: &str) -> String {
    let mut env = parsed(before);
    env.remove("KEY").unwrap();
    text(&env).to_owned()
}

#[test]
fn values_are_read_as_python_dotenv_reads_them() {
    let cases = [
        ("KEY=plain", Some("plain")),
        ("  KEY = spaced  ", Some("spaced")),
        ("\tKEY=tab", Some("tab")),
        ("export KEY=exported", Some("exported")),
        ("export\tKEY=exported", Some("exported")),
        ("KEY=", Some("")),
        ("KEY", None),
        ("export KEY", None),
        ("KEY # bare", None),
        ("KEY=a b c", Some("a b c")),
        ("KEY=value # comment", Some("value")),
        ("KEY=value\t# comment", Some("value")),
        ("KEY=value#no comment", Some("value#no comment")),
        ("KEY= # comment", Some("")),
        ("KEY=# no comment", Some("# no comment")),
        ("KEY='a # b' # comment", Some("a # b")),
        ("KEY=\"a # b\"# comment", Some("a # b")),
        ("KEY=`a # b` # comment", Some("a # b")),
        ("KEY='it\\'s'", Some("it's")),
        ("KEY='no \\n escape'", Some("no \\n escape")),
        (
            r#"KEY="\" \\ \' \n\r\t\a\b\f\v \q \$ \u0041""#,
            Some("\" \\ ' \n\r\t\x07\x08\x0c\x0b \\q \\$ \\u0041"),
        ),
        ("KEY=\"ends in a backslash\\\\\"", Some("ends in a backslash\\")),
        ("KEY=`back\\n \\` tick`", Some("back\\n \\` tick")),
        ("KEY='two\nlines'", Some("two\nlines")),
        ("KEY=\"two\r\nlines\"\r\n", Some("two\nlines")),
        ("KEY=`two\rlines`", Some("two\nlines")),
        ("KEY=it's", Some("it's")),
        ("KEY=${OTHER}", Some("${OTHER}")),
        ("KEY=first\nKEY=last", Some("last")),
        ("KEY=first\nKEY", None),
        ("KEY=a\rOTHER=b\rKEY=c\r", Some("c")),
        ("\u{feff}KEY=after a byte order mark", Some("after a byte order mark")),
        ("# KEY=comment\n\n  # KEY=comment\n \t\nKEY=x", Some("x")),
        ("'KEY'=quoted name", Some("quoted name")),
        ("KEY==x", Some("=x")),
        ("KEY=ünï\u{a0}cödé", Some("ünï\u{a0}cödé")),
    ];
    for (file, value) in cases {
        assert_eq!(parsed(file).get("KEY"), value, "{file:?}");
    }
}

#[test]
fn what_cannot_be_understood_is_an_error_with_its_line() {
    let cases: [(&[u8], usize, Problem); 15] = [
        (b"A=1\nB='secret\nC=3\n", 2, Problem::UnclosedQuote),
        (b"A=1\r\n\r\nB=\"secret", 3, Problem::UnclosedQuote),
        (b"A=1\rB=`secret", 2, Problem::UnclosedQuote),
        (b"A=\"1\n2\"\nB=\"secret\\\"", 3, Problem::UnclosedQuote),
        (b"'secret", 1, Problem::UnclosedQuote),
        (b"A='secret' more", 1, Problem::TextAfterQuote),
        (b"A='se'cret'", 1, Problem::TextAfterQuote),
        (b"A=1\n=secret", 2, Problem::MissingName),
        (b"A=1\n''=secret", 2, Problem::MissingName),
        (b"secret key", 1, Problem::NotAnAssignment),
        (b"KEY: secret", 1, Problem::NotAnAssignment),
        (b"export A secret", 1, Problem::NotAnAssignment),
        (b"export \nA=1", 1, Problem::NotAnAssignment),
        (b"A=1\nB=\xffsecret", 2, Problem::NotUtf8),
        (b"A=1\nB=secret\0", 2, Problem::NulByte),
    ];
    for (file, line, expected) in cases {
        let error = EnvFile::parse(file).unwrap_err();
        let DotenvError::Syntax { problem, .. } = &error else { panic!("{error}") };
        assert_eq!((error.line(), *problem), (Some(line), expected), "{}", file.escape_ascii());
        assert!(!error.to_string().contains("secret"), "{error}");
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
}

#[test]
fn setting_rewrites_the_line_in_place() {
    let cases = [
        ("A=1\nKEY=old\nB=2\n", "A=1\nKEY=new\nB=2\n"),
        ("A=1\r\nKEY=old\r\nB=2\n", "A=1\r\nKEY=new\r\nB=2\n"),
        ("export KEY=old", "export KEY=new"),
        ("export\t KEY=old", "export KEY=new"),
        ("  KEY=old\n", "  KEY=new\n"),
        ("\tKEY=old\n", "KEY=new\n"),
        ("KEY = old\n", "KEY=new\n"),
        ("KEY='o # ld' # note\n", "KEY=new # note\n"),
        ("KEY=\"old\"#it's a note\r\n", "KEY=new #it's a note\r\n"),
        ("KEY=old\t# note\n", "KEY=new # note\n"),
        ("KEY=old#part of it\n", "KEY=new\n"),
        ("KEY= # note\n", "KEY=new # note\n"),
        ("KEY # note\n", "KEY=new # note\n"),
        ("KEY=old  \n", "KEY=new\n"),
        ("KEY=\"o\nl\nd\"\nA=1", "KEY=new\nA=1"),
        ("KEY\nexport KEY\nA=1\n", "KEY=new\nexport KEY=new\nA=1\n"),
        ("KEY=1\nA=1\nKEY='2' # note\n", "KEY=new\nA=1\nKEY=new # note\n"),
        ("\u{feff}A=1\nKEY=old\n", "\u{feff}A=1\nKEY=new\n"),
        ("\u{feff}KEY=old\r\nA=1\r\n", "\u{feff}\r\nKEY=new\r\nA=1\r\n"),
        ("\u{feff}\nKEY=old\n", "\u{feff}\nKEY=new\n"),
    ];
    for (before, after) in cases {
        assert_eq!(after_set(before, "new"), after, "{before:?}");
    }
}

#[test]
fn a_new_variable_gets_a_line_at_the_end() {
    let cases = [
        ("", "KEY=new\n"),
        ("A=1\n", "A=1\nKEY=new\n"),
        ("A=1", "A=1\nKEY=new"),
        ("A=1\r\nB=2\r\n", "A=1\r\nB=2\r\nKEY=new\r\n"),
        ("A=1\r\nB=2", "A=1\r\nB=2\r\nKEY=new"),
        ("A=1\rB=2\r", "A=1\rB=2\rKEY=new\r"),
        ("A=1\r\nB=2\r\nC=3\n", "A=1\r\nB=2\r\nC=3\nKEY=new\r\n"),
        ("A=1\n\n# KEY=\n\n", "A=1\n\n# KEY=\n\nKEY=new\n"),
        ("\u{feff}", "\u{feff}\nKEY=new"),
        ("\u{feff}A=1\n", "\u{feff}A=1\nKEY=new\n"),
        ("A='1\n2'\n", "A='1\n2'\nKEY=new\n"),
    ];
    for (before, after) in cases {
        assert_eq!(after_set(before, "new"), after, "{before:?}");
        assert_eq!(after_remove(after), before, "{before:?}");
    }
}

#[test]
fn a_new_line_keeps_clear_of_what_vite_misreads() {
    let cases = [
        ("A=1\n   ", "A=1\nKEY=new\n   "),
        ("A=1\n# kept\n  # indented\n\n", "A=1\n# kept\nKEY=new\n  # indented\n\n"),
        ("A=1\nBARE\n", "A=1\nKEY=new\nBARE\n"),
        ("BARE\nA=1\n", "BARE\nA=1\nKEY=new\n"),
        ("\t\n", "KEY=new\n\t\n"),
        ("A=1\nB=\"\\\"\n\"\n", "A=1\nKEY=new\nB=\"\\\"\n\"\n"),
        ("\u{feff}# note\n", "\u{feff}# note\nKEY=new\n"),
    ];
    for (before, after) in cases {
        assert_eq!(after_set(before, "new"), after, "{before:?}");
        assert_eq!(after_remove(after), before, "{before:?}");
    }
}

#[test]
fn removing_takes_all_definitions_and_nothing_else() {
    let cases = [
        ("A=1\nKEY=1\nB=2\nexport KEY=2 # note\n", "A=1\nB=2\n"),
        ("A=1\nKEY=1", "A=1"),
        ("A=1\r\nKEY=1\r\nKEY=2", "A=1"),
        ("KEY=1", ""),
        ("KEY='1\n2'\n# note", "# note"),
        ("\u{feff}KEY=1\n", "\u{feff}"),
        ("\u{feff}KEY=1\r\nA=1\r\n", "\u{feff}\r\nA=1\r\n"),
        ("\u{feff}KEY=1\n\nA=1\n", "\u{feff}\nA=1\n"),
        ("KEY=1\n\u{feff}KEY=2\nA=1\n", "\n\u{feff}KEY=2\nA=1\n"),
        ("KEY_2=1\nA=KEY\n#KEY=1\n", "KEY_2=1\nA=KEY\n#KEY=1\n"),
    ];
    for (before, after) in cases {
        assert_eq!(after_remove(before), after, "{before:?}");
    }
    assert!(parsed("KEY=1").remove("KEY").unwrap());
    assert!(!parsed("A=1").remove("KEY").unwrap());
}

#[test]
fn values_are_quoted_only_where_needed() {
    assert_eq!(after_set("", "AIza-09_.+/=:@%,"), "KEY=AIza-09_.+/=:@%,\n");
    for value in ["a#b", "~", "a&b", "a;b", "(", "a|b", "a<b>", "*", "?", "[a]", "{a}", "^", "!", "=a"] {
        assert_eq!(after_set("", value), format!("KEY='{value}'\n"));
    }
    assert_eq!(after_set("", ""), "KEY=''\n");
}

#[test]
fn only_portable_names_and_values_are_written() {
    let mut env = parsed("A=1\n");
    for name in ["", "1A", "A-B", "A.B", "A B", "Ä", "A=", "A\n"] {
        assert!(matches!(env.set(name, "x"), Err(DotenvError::InvalidName)), "{name:?}");
    }
    for byte in 0..=u8::MAX {
        let value = format!("a{}b", char::from(byte));
        let allowed = byte.is_ascii_graphic() && !"$'\"`\\".contains(char::from(byte));
        assert_eq!(env.set("KEY", &value).is_ok(), allowed, "{value:?}");
    }
    assert!(env.remove("KEY").unwrap());
    assert_eq!(text(&env), "A=1\n");
    let error = env.set("KEY", "a secret").unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[test]
fn variables_are_listed_once_with_their_last_definition() {
    let env = parsed("A=1\n# note\nB='2\n3'\nA=${C}\nD\n");
    let listed: Vec<_> =
        env.variables().map(|v| (v.name(), v.value(), v.line(), v.has_reference())).collect();
    let expected = [("B", Some("2\n3"), 3, false), ("A", Some("${C}"), 5, true), ("D", None, 6, false)];
    assert_eq!(listed, expected);
    for (value, expected) in [("a$b", true), ("$$", false), ("$1", false), ("a$", false), ("${", true)] {
        let env = parsed(&format!("A={value}"));
        assert_eq!(env.variable("A").unwrap().has_reference(), expected, "{value}");
    }
}

#[test]
fn debug_output_shows_no_content() {
    let env = parsed("secret\nKEY=secret\n");
    assert_eq!(format!("{env:?}"), "EnvFile { .. }");
    assert_eq!(format!("{:?}", env.snapshot("KEY")), "Snapshot { name: \"KEY\", .. }");
}

#[test]
fn a_snapshot_brings_back_the_exact_lines() {
    let awkward = "A=1\n  KEY = ${A} with spaces # note\nB=2\nexport KEY\n";
    for before in [awkward, "A=1", "", "\u{feff}A=1\r\nKEY=1", "KEY='\n'\n\n", "A=1\n  "] {
        let snapshot = parsed(before).snapshot("KEY");

        let mut set = parsed(&after_set(before, "new"));
        set.restore(&snapshot).unwrap();
        assert_eq!(text(&set), before);

        let mut removed = parsed(&after_remove(before));
        removed.restore(&snapshot).unwrap();
        assert_eq!(text(&removed), before);
    }
}

#[test]
fn a_snapshot_leaves_other_changes_alone() {
    let restored = |old: &str, now: &str| {
        let mut env = parsed(now);
        env.restore(&parsed(old).snapshot("KEY")).unwrap();
        text(&env).to_owned()
    };
    assert_eq!(restored("A=1\n KEY = ${X}\nB=2\n", "A=1\nKEY=new\nB=changed"), "A=1\n KEY = ${X}\nB=changed");
    assert_eq!(restored("KEY=1\r\nA=1\r\n", "A=changed\nKEY=new"), "A=changed\nKEY=1");
    assert_eq!(restored("A=1\nKEY=\"x y\"\n", "A=changed\n"), "A=changed\nKEY=\"x y\"\n");
    assert_eq!(restored("A=1\n", "A=changed\nKEY=new\n"), "A=changed\n");
}

#[test]
fn more_than_a_mebibyte_is_refused() {
    let largest = vec![b'\n'; MAX_BYTES];
    assert!(EnvFile::parse(&largest).is_ok());
    let error = EnvFile::parse(&[largest, vec![b'\n']].concat()).unwrap_err();
    assert!(matches!(error, DotenvError::TooLarge { path: None }));
}

/// Files of lines that parse, most of them.
fn files() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        4 => "(export |  |\t)?[A-C]( )?=[ -~]{0,8}",
        2 => "(export )?KEY ?= ?['\"`]?[a-z #$\\\\]{0,6}['\"`]?( # note)?",
        1 => "KEY",
        1 => "[ \t]{0,3}(# note)?",
        1 => "[A-C]=\"[a-z\n\\\\]{0,5}\"",
        1 => "\\PC{0,12}",
    ];
    // A lone `\r` is a line ending only where no `\n` can come to stand behind it.
    let ending = prop_oneof![
        3 => Just(["\n", "\n"]), 1 => Just(["\r\n", "\r\n"]),
        1 => Just(["\n", "\r\n"]), 1 => Just(["\r", "\r"]),
    ];
    let lines = prop::collection::vec((line, 0..2_usize), 0..8);
    (any::<[bool; 2]>(), ending, lines).prop_map(|([bom, final_ending], ending, lines)| {
        let mut text = String::from(if bom { parse::BOM } else { "" });
        for (index, (line, kind)) in lines.iter().enumerate() {
            text.push_str(&line.replace('\n', ending[0]));
            if final_ending || index + 1 < lines.len() {
                text.push_str(ending[*kind]);
            }
        }
        text
    })
}

fn parsable_files() -> impl Strategy<Value = String> {
    files().prop_filter("not a .env file", |text| EnvFile::parse(text.as_bytes()).is_ok())
}

fn values() -> impl Strategy<Value = String> {
    "[!#%&(-\\[\\]^_a-~]{0,40}"
}

/// The lines that do not define KEY, without the endings, as a last line gains one. Behind a byte
/// order mark an empty line may be put, so there, empty lines are left out.
fn other_lines(env: &EnvFile) -> Vec<&str> {
    let others = env.statements.iter().filter(|statement| {
        let binding = statement.binding.as_ref();
        binding.is_none_or(|binding| env.text[binding.name.clone()] != *"KEY")
    });
    others
        .map(|statement| &env.text[statement.span.start..statement.end])
        .filter(|line| !line.is_empty() || !env.text.starts_with(parse::BOM))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parsing_never_panics(bytes: Vec<u8>) {
        let _ = EnvFile::parse(&bytes);
    }

    #[test]
    fn statements_cover_the_whole_text(file in files()) {
        if let Ok(env) = EnvFile::parse(file.as_bytes()) {
            let mut at = if file.starts_with(parse::BOM) { parse::BOM.len() } else { 0 };
            let mut line = 1;
            for statement in &env.statements {
                prop_assert_eq!(statement.span.start, at);
                prop_assert_eq!(statement.line, line);
                at = statement.span.end;
                line += parse::count_line_ends(&file[statement.span.clone()]);
            }
            prop_assert_eq!(at, file.len());
        }
    }

    #[test]
    fn what_is_set_is_read_back(file in parsable_files(), value in values()) {
        let mut env = parsed(&file);
        env.set("KEY", &value).unwrap();
        prop_assert_eq!(env.get("KEY"), Some(&*value));
        let definitions = env.definitions().filter(|variable| variable.name() == "KEY");
        for definition in definitions {
            prop_assert_eq!(definition.value(), Some(&*value));
        }
    }

    #[test]
    fn setting_twice_changes_nothing_more(file in parsable_files(), value in values()) {
        let mut env = parsed(&file);
        env.set("KEY", &value).unwrap();
        let once = env.text.clone();
        env.set("KEY", &value).unwrap();
        prop_assert_eq!(text(&env), once.as_str());
    }

    #[test]
    fn setting_keeps_all_other_lines(file in parsable_files(), value in values()) {
        let mut env = parsed(&file);
        let before = other_lines(&env).join("\n");
        let is_new = env.variable("KEY").is_none();
        env.set("KEY", &value).unwrap();
        prop_assert_eq!(other_lines(&env).join("\n"), before);
        if is_new {
            let added = env.text.len() - file.len();
            let at = (0..=file.len()).find(|&at| {
                text(&env).get(..at) == file.get(..at) && text(&env).get(at + added..) == file.get(at..)
            });
            prop_assert!(at.is_some(), "more than an insertion");
        }
    }

    #[test]
    fn removing_what_was_new_gives_back_the_file(file in parsable_files(), value in values()) {
        let mut env = parsed(&file);
        env.remove("KEY").unwrap();
        let before = env.text.clone();
        env.set("KEY", &value).unwrap();
        env.remove("KEY").unwrap();
        prop_assert_eq!(text(&env), before.as_str());
    }

    #[test]
    fn removing_keeps_all_other_lines(file in parsable_files()) {
        let mut env = parsed(&file);
        let before = other_lines(&env).join("\n");
        env.remove("KEY").unwrap();
        prop_assert!(env.variable("KEY").is_none());
        prop_assert_eq!(other_lines(&env).join("\n"), before);
    }

    #[test]
    fn a_snapshot_undoes_a_removal(file in parsable_files()) {
        let mut env = parsed(&file);
        let snapshot = env.snapshot("KEY");
        env.remove("KEY").unwrap();
        env.restore(&snapshot).unwrap();
        prop_assert_eq!(text(&env), file);
    }

    #[test]
    fn a_snapshot_undoes_a_change(file in parsable_files(), value in values()) {
        let mut env = parsed(&file);
        let snapshot = env.snapshot("KEY");
        env.set("KEY", &value).unwrap();
        env.restore(&snapshot).unwrap();
        if file.starts_with(parse::BOM) {
            let before = parsed(&file);
            prop_assert_eq!(env.get("KEY"), before.get("KEY"));
        } else {
            prop_assert_eq!(text(&env), file);
        }
    }
}
