//! Two replicas behind nginx, with `deploy/nginx.conf` as it stands there but for addresses and paths.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use keyfold_standin::Behaviour;
use keyfold_test_servers::free_port;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use reqwest::{Certificate, Client, RequestBuilder};
use serde_json::json;
use tempfile::TempDir;

use crate::files::read;
use crate::harness::{Answer, Server, gemini, runtime};
use crate::site::{PUBLIC_URL, Site};

const NAME: &str = "keys.example.com";
/// Starts nginx, which goes on in the background once it listens, and ends it when standard input closes, with the
/// test run at the latest.
const SCRIPT: &str = r#"
PATH=$PATH:/usr/sbin
nginx -e "$1/start.log" -c "$1/nginx.conf" >>"$1/start.log" 2>&1 </dev/null || exit 1
echo started
cat >/dev/null
nginx -e "$1/start.log" -c "$1/nginx.conf" -s stop >>"$1/start.log" 2>&1
"#;
/// What a client says of itself.
const INVENTED: &str = "203.0.113.9";

struct Proxied {
    site: Site,
    replicas: [Server; 2],
    nginx: Nginx,
    client: Client,
}

/// A running nginx, ended when dropped.
struct Nginx {
    script: Child,
    folder: TempDir,
}

impl Proxied {
    fn start() -> Self {
        let site = Site::new();
        let replica = |number: u32| {
            site.serve()
                .env("KEYFOLD_STATE_DIR", &format!("state_{number}"))
                .env("KEYFOLD_TRUSTED_PROXIES", "127.0.0.1")
                .serve()
        };
        let replicas = [replica(0), replica(1)];
        let port = free_port();
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed([NAME.to_owned()]).unwrap();
        let nginx = Nginx::start(port, &replicas, &cert.pem(), &signing_key.serialize_pem());
        let client = Client::builder()
            .no_proxy()
            .tls_certs_only([Certificate::from_pem(cert.pem().as_bytes()).unwrap()])
            // What never comes fails, and does not wait for ever.
            .timeout(Duration::from_secs(60))
            .resolve(NAME, ([127, 0, 0, 1], port).into())
            .build()
            .unwrap();
        Self { site, replicas, nginx, client }
    }

    fn request(&self, method: &str, path: &str) -> RequestBuilder {
        // The port is that of the address to which the name leads.
        let request = self.client.request(method.parse().unwrap(), format!("{PUBLIC_URL}{path}"));
        request.header("x-forwarded-for", INVENTED)
    }

    fn as_user_a(&self, method: &str, path: &str) -> RequestBuilder {
        self.request(method, path).bearer_auth(self.site.issuer.token_for("user_a"))
    }

    fn save(&self, key: &str) {
        let save = self.as_user_a("PUT", "/api/keys/gemini").json(&json!({ "key": key }));
        let answer = Answer::to(save).unwrap();
        assert_eq!(answer.status, 201, "{answer:?}");
    }
}

impl Nginx {
    fn start(port: u16, replicas: &[Server; 2], certificate: &str, key: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display().to_string();
        fs::write(folder.path().join("fullchain.pem"), certificate).unwrap();
        fs::write(folder.path().join("privkey.pem"), key).unwrap();
        let mut site = read("deploy/nginx.conf");
        for (from, to) in [
            ("server 127.0.0.1:8000;", format!("server 127.0.0.1:{};", replicas[0].address.port())),
            ("server 127.0.0.1:8001;", format!("server 127.0.0.1:{};", replicas[1].address.port())),
            ("listen 443 ssl;", format!("listen 127.0.0.1:{port} ssl;")),
            ("/etc/ssl/keyfold/", format!("{at}/")),
            ("/var/log/nginx/", format!("{at}/")),
        ] {
            assert!(site.contains(from), "{from}");
            site = site.replace(from, &to);
        }
        fs::write(folder.path().join("keyfold.conf"), site).unwrap();
        // Whoever started the test must be able to write there.
        let user = if fs::metadata(folder.path()).unwrap().uid() == 0 { "user root;" } else { "" };
        let whole = format!(
            "{user} pid {at}/pid; error_log {at}/start.log; worker_processes 1; events {{}}\n\
             http {{ client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/f; \
             uwsgi_temp_path {at}/u; scgi_temp_path {at}/s; include {at}/keyfold.conf; }}\n"
        );
        fs::write(folder.path().join("nginx.conf"), whole).unwrap();
        let mut script = Command::new("sh")
            .args(["-c", SCRIPT, "sh", &at])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(script.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "started\n", "{}", fs::read_to_string(folder.path().join("start.log")).unwrap());
        Self { script, folder }
    }

    fn logs(&self) -> String {
        ["keyfold.log", "keyfold-errors.log", "start.log"]
            .iter()
            .map(|name| fs::read_to_string(self.folder.path().join(name)).unwrap())
            .collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}

#[test]
fn a_key_that_is_saved_at_one_replica_is_used_at_the_other() {
    let proxied = Proxied::start();
    let key = gemini(1);
    proxied.save(&key);
    for _ in 0..4 {
        let call = proxied.as_user_a("POST", "/api/generate").json(&json!({ "prompt": "Hello" }));
        assert_eq!(Answer::to(call).unwrap().status, 200);
    }
    let other = proxied.request("POST", "/api/generate").bearer_auth(proxied.site.issuer.token_for("user_b"));
    Answer::to(other.json(&json!({ "prompt": "Hello" }))).unwrap().problem(404, "no_api_key");
    let seen = proxied.site.folder().standin.requests_for("gemini");
    assert!(seen.iter().all(|seen| seen.key == key));
    for replica in &proxied.replicas {
        let log = replica.log();
        let calls = log.lines().filter(|line| line.contains("\"route\":\"/api/generate\"")).count();
        assert!(calls >= 2, "{calls} calls came here:\n{log}");
        // nginx says who asks, not the client.
        assert!(log.contains("\"client\":\"127.0.0.1\"") && !log.contains(INVENTED), "{log}");
    }
}

#[test]
fn streams_arrive_piece_by_piece() {
    let proxied = Proxied::start();
    proxied.save(&gemini(1));
    let standin = &proxied.site.folder().standin;
    standin.script("gemini", Behaviour::StreamThenHang { chunks: 1 });
    // What the provider says passes unchanged, without a word to nginx about buffering.
    let path = "/gateway/gemini/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";
    let body = json!({ "contents": [{ "parts": [{ "text": "Hello" }] }] });
    let call = proxied.as_user_a("POST", path).json(&body);
    runtime().block_on(async {
        let mut answer = call.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        // The provider has not sent the rest: nothing on the way may wait for it.
        let first = answer.chunk().await.unwrap().unwrap();
        assert!(String::from_utf8_lossy(&first).contains("data: "), "{first:?}");
        standin.release();
        while answer.chunk().await.unwrap().is_some() {}
    });
}

#[test]
fn a_request_passes_while_it_is_sent() {
    let proxied = Proxied::start();
    proxied.save(&gemini(1));
    // Larger than nginx would take by itself.
    let prompt = "word ".repeat(600_000);
    let call = proxied.as_user_a("POST", "/gateway/gemini/v1beta/models/gemini-2.5-flash:generateContent");
    let answer = Answer::to(call.json(&json!({ "contents": [{ "parts": [{ "text": prompt }] }] }))).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let arrived = proxied.site.folder().standin.requests_for("gemini").pop().unwrap();
    assert!(arrived.json()["contents"][0]["parts"][0]["text"].as_str().unwrap().len() == prompt.len());
}

#[test]
fn no_credential_stands_in_nginx_logs() {
    let proxied = Proxied::start();
    proxied.save(&gemini(1));
    let token = proxied.site.issuer.token_for("user_a");
    let call = proxied.request("GET", &format!("/gateway/gemini/v1beta/models?key={token}"));
    assert_eq!(Answer::to(call).unwrap().status, 200);
    // And where the replicas are away.
    for replica in &proxied.replicas {
        replica.signal(rustix::process::Signal::KILL);
    }
    let call = proxied.request("GET", &format!("/gateway/gemini/v1beta/models?key={token}"));
    assert!(Answer::to(call).unwrap().status >= 502);
    let logs = proxied.nginx.logs();
    assert!(logs.contains("/gateway/gemini/v1beta/models"), "{logs}");
    assert!(!logs.contains(&token) && !logs.contains("?key="), "{logs}");
}
