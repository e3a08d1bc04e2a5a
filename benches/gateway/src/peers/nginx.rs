//! nginx as the cheapest way known to do the job: a table of tokens and keys, and `proxy_pass`. It verifies, opens,
//! limits, records and counts nothing, so it is the practical limit.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::rc::Rc;

use super::{LIMIT, PATH, Peer, Place, Way, exists};
use crate::load::Target;
use crate::processes::{Process, unused_port};
use crate::upstream::AUTHORITY_FILE;

/// The same, told users apart by the signed tokens that Keyfold gets: what their length alone costs.
pub(crate) const SAME_TOKENS: &str = "nginx-jwt";

pub(super) fn start(place: &Place<'_>) -> Vec<Peer> {
    if !exists("nginx") {
        eprintln!("nginx is left out: it is not installed (scripts/install-bench-tools.sh)");
        return vec![];
    }
    let folder = place.folder.join("nginx");
    std::fs::create_dir_all(&folder).unwrap();
    let people = place.people;
    let tables = [("short", &people.short_tokens), ("signed", &people.signed_tokens)];
    for (name, tokens) in tables {
        let mut table = String::new();
        for (token, key) in tokens.iter().zip(&people.keys) {
            let _ = writeln!(table, "\"Bearer {token}\" \"Bearer {key}\";");
        }
        std::fs::write(folder.join(name), table).unwrap();
    }
    let ports = [unused_port(), unused_port()];
    let file = folder.join("nginx.conf");
    std::fs::write(&file, configuration(place, &folder, ports)).unwrap();
    let mut command = Process::command("nginx".as_ref(), &place.layout.measured());
    command.arg("-c").arg(&file).arg("-e").arg(folder.join("error.log")).stdout(Stdio::null());
    let process = Rc::new(Process::start(&mut command).unwrap());
    let peer = |name, port: u16, tokens: &[String]| Peer {
        name,
        target: Target {
            address: ([127, 0, 0, 1], port).into(),
            path: PATH.into(),
            headers: vec![],
            users: people.file(name, tokens),
        },
        id: Some(process.id()),
        metrics: None,
        _process: Some(Rc::clone(&process)),
    };
    vec![peer(LIMIT, ports[0], &people.short_tokens), peer(SAME_TOKENS, ports[1], &people.signed_tokens)]
}

fn configuration(place: &Place<'_>, folder: &Path, ports: [u16; 2]) -> String {
    let here = folder.display();
    let workers = place.layout.measured().len();
    // As root it would become another user, who may not read this folder.
    let user = if rustix::process::getuid().is_root() { "user root;" } else { "" };
    let (scheme, port) = match place.way {
        Way::Plain => ("http", place.ports.plain),
        Way::Tls => ("https", place.ports.tls),
    };
    let authority = place.folder.join(AUTHORITY_FILE);
    let tls = match place.way {
        Way::Plain => String::new(),
        Way::Tls => format!(
            "proxy_ssl_verify on; proxy_ssl_trusted_certificate {}; proxy_ssl_name localhost; proxy_ssl_server_name on;",
            authority.display()
        ),
    };
    // Buffering would keep the pieces of a stream back.
    let server = |port: u16, key: &str| {
        format!(
            "server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ if (${key} = \"\") {{ return 401; }} \
             proxy_pass {scheme}://provider; proxy_http_version 1.1; proxy_set_header Connection \"\"; \
             proxy_set_header Host localhost; proxy_set_header Authorization ${key}; proxy_buffering off; }} }}"
        )
    };
    format!(
        "{user} daemon off; worker_processes {workers}; pid {here}/pid; error_log {here}/error.log error;
        events {{ worker_connections 32000; }}
        http {{
            access_log off; server_tokens off; keepalive_timeout 120s; keepalive_requests 1000000000;
            client_header_buffer_size 4k; client_body_buffer_size 64k; tcp_nodelay on;
            client_body_temp_path {here}/body; proxy_temp_path {here}/proxy; fastcgi_temp_path {here}/fastcgi;
            uwsgi_temp_path {here}/uwsgi; scgi_temp_path {here}/scgi;
            map_hash_max_size 131072; map_hash_bucket_size 2048; proxy_read_timeout 600s;
            map $http_authorization $short_key {{ default \"\"; include {here}/short; }}
            map $http_authorization $signed_key {{ default \"\"; include {here}/signed; }}
            upstream provider {{ server 127.0.0.1:{port}; keepalive 512; keepalive_requests 1000000000; }}
            {tls}
            {}
            {}
        }}
        ",
        server(ports[0], "short_key"),
        server(ports[1], "signed_key"),
    )
}
