//! Notebooks of Jupyter, as it writes them: JSON with a line for each line of code.

/// The same lines with the code of cells as it is; of others nothing, or what stands there.
pub(super) fn lines(text: &str, keeps_others: bool) -> String {
    let (mut is_code, mut in_source) = (false, false);
    let mut found = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let word = line.trim();
        let mut code = None;
        if in_source {
            if word == "]" || word == "]," {
                in_source = false;
            } else if is_code {
                code = serde_json::from_str::<String>(word.strip_suffix(',').unwrap_or(word)).ok();
            }
        } else if let Some(kind) = word.strip_prefix("\"cell_type\":") {
            is_code = kind.contains("\"code\"");
        } else if word == "\"source\": [" {
            in_source = true;
        }
        match &code {
            // One line stays one, whatever is in it.
            Some(code) => found.push_str(&code.trim_end_matches(['\n', '\r']).replace('\n', " ")),
            None if keeps_others => found.push_str(line.trim_end_matches('\n')),
            None => {}
        }
        if line.ends_with('\n') {
            found.push('\n');
        }
    }
    found
}
