#!/bin/sh
# Checks who imports whom: the picture in ARCHITECTURE.md, as rules.
#   1. Modules import from the layers below theirs only.
#   2. Only storage knows SQL; only provider makes requests; only settings::environment reads the process
#      environment; only problem.rs knows which status an error has.
# Tests may look at everything. An argument names another checkout.
set -eu
export LC_ALL=C

cd "${1:-$(dirname "$0")/..}"

# One layer per line, from top to bottom. The modules of one layer do not import each other.
library='
    calls
    lib
    gateway
    account env_import master_keys migration onboarding recheck service_tokens users
    keys
    audit
    auth limit root_keys state_dir usage
    error
    settings
    envelope preset scan storage
    provider requester
    clock dotenv figures mode recent secret security turns user
'
server='
    main
    lib
    cli
    lane
    router
    routes
    middleware
    gateway_caller
    current_user json_body
    current_service
    rate_limit
    caller
    app logging
    config metrics problem serve web
    error_shape
'
failed=0

main() {
    check_layers crates/keyfold/src "$library"
    check_layers crates/keyfold-server/src "$server"

    only_in "SQL" 'rusqlite::|tokio_postgres::|deadpool_postgres::|"(SELECT|INSERT INTO|UPDATE [a-z_]+ SET|DELETE FROM|CREATE TABLE) ' \
        'crates/keyfold/src/storage/' crates/keyfold/src crates/keyfold-server/src
    only_in "an HTTP client" 'reqwest::' 'crates/keyfold/src/provider/' crates/keyfold/src crates/keyfold-server/src
    only_in "the gateway's HTTP client" 'hyper_util::client::|hyper::client::' 'crates/keyfold/src/gateway/' crates/keyfold/src crates/keyfold-server/src
    only_in "the process environment" 'env::(var|vars|var_os|vars_os|set_var|remove_var)[ (]|option_env!' \
        'crates/keyfold/src/settings/environment\.rs' crates/keyfold/src crates/keyfold-server/src
    only_in "the status of an error" \
        'StatusCode::(BAD|CONFLICT|FAILED|FORBIDDEN|GATEWAY|GONE|INTERNAL|LOCKED|METHOD|NOT_[A-LN-Z]|PAYLOAD|PAYMENT|PRECONDITION|REQUEST|SERVICE|TOO|UN[A-Z])|StatusCode::from' \
        'crates/keyfold-server/src/problem\.rs' crates/keyfold-server/src

    [ "$failed" -eq 0 ] && echo "imports: all run down"
    return "$failed"
}

check_layers() {
    find "$1" -name '*.rs' ! -name tests.rs | sort | while read -r file; do
        printf '//// %s\n' "${file#"$1"/}"
        without_tests "$file"
    done | awk -v place="$1" -v layers="$2" '
        BEGIN {
            lines = split(layers, line, "\n")
            for (i = 1; i <= lines; i++) {
                many = split(line[i], names, " ")
                for (j = 1; j <= many; j++) layer[names[j]] = i
            }
        }
        $1 == "////" {
            look()
            path = $2
            depth = split(path, parts, "/")
            module = parts[1]
            sub(/\.rs$/, "", module)
            if (parts[depth] == "mod.rs") depth--
            text = ""
            if (!(module in layer)) say("module " module " stands in no layer")
            next
        }
        { sub(/\/\/.*/, ""); text = text " " $0 }
        END { look(); exit bad }

        # Every path that begins at the root of the crate: crate::x, crate::{x, y::z}, or super:: often enough.
        function look(    rest, root, i) {
            if (path == "") return
            root = "crate::"
            collect(text, root)
            if (path != "lib.rs" && path != "main.rs") {
                root = ""
                for (i = 0; i < depth; i++) root = root "super::"
                collect(text, root)
            }
        }
        function collect(rest, root,    at, before) {
            while ((at = index(rest, root)) > 0) {
                before = at > 1 ? substr(rest, at - 1, 1) : " "
                rest = substr(rest, at + length(root))
                if (before ~ /[A-Za-z0-9_:$]/) continue
                if (substr(rest, 1, 1) == "{") group(substr(rest, 2)); else name(rest)
            }
        }
        function group(rest,    level, at, character, item) {
            level = 1; item = ""
            for (at = 1; at <= length(rest) && level > 0; at++) {
                character = substr(rest, at, 1)
                if (character == "{") level++
                if (character == "}") level--
                if (level == 0 || (level == 1 && character == ",")) { name(item); item = "" }
                else item = item character
            }
        }
        function name(rest,    target) {
            sub(/^ +/, "", rest)
            if (!match(rest, /^[A-Za-z_][A-Za-z0-9_]*/)) return
            target = substr(rest, 1, RLENGTH)
            # What is no module stands in lib.rs.
            if (!(target in layer)) target = "lib"
            if (target == module || layer[target] > layer[module]) return
            say("imports " target ", which is not below " module)
        }
        function say(what) {
            print "imports: " place "/" path ": " what
            bad = 1
        }
    ' || failed=1
}

# only_in WHAT PATTERN FILES DIRECTORY…: the pattern stands nowhere but in those files.
only_in() {
    what=$1 pattern=$2 files=$3
    shift 3
    found=$(find "$@" -name '*.rs' ! -name tests.rs | sort | grep -vE "^$files" | while read -r file; do
        without_tests "$file" | grep -nE "$pattern" | grep -vE '^[0-9]+: *//' | sed "s|^|imports: $file:|" || true
    done)
    [ -z "$found" ] && return
    echo "$found"
    echo "imports: $what is known to $(echo "$files" | tr -d '\\') only"
    failed=1
}

# A file up to its own tests, which stand at its end.
without_tests() {
    awk '/^#\[cfg\(test\)\]/ { held = $0; next } held != "" && /^mod tests \{/ { exit }
        { if (held != "") print held; held = ""; print }' "$1"
}

main
