//! Gateways of others, if the environment names their programs. They put one key into every request and know no users, so
//! their job is the smaller one.

use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;

use super::{PATH, Peer, Place};
use crate::load::Target;
use crate::processes::{Process, unused_port};

const LITELLM: &str = "litellm";
const PORTKEY: &str = "portkey";
/// Its own key, which stands where a caller's would.
const LITELLM_KEY: &str = "sk-of-the-bench";

pub(super) fn start(place: &Place<'_>) -> Vec<Peer> {
    let settings = place.settings;
    let litellm = settings.litellm.as_ref().filter(|_| settings.wants(LITELLM));
    let portkey = settings.portkey.as_ref().filter(|_| settings.wants(PORTKEY));
    let litellm = litellm.map(|program| start_litellm(place, program));
    litellm.into_iter().chain(portkey.map(|program| start_portkey(place, program))).collect()
}

fn start_litellm(place: &Place<'_>, program: &Path) -> Peer {
    let (port, key, base) = (unused_port(), &place.people.keys[0], place.base_url());
    let settings = place.folder.join("litellm.yaml");
    let text = format!(
        "model_list:\n  - model_name: gpt-4o-mini\n    litellm_params: {{ model: openai/gpt-4o-mini, api_base: \"{base}/v1\", api_key: \"{key}\" }}\n\
         litellm_settings: {{ telemetry: false, num_retries: 0 }}\ngeneral_settings: {{ master_key: \"{LITELLM_KEY}\" }}\n"
    );
    std::fs::write(&settings, text).unwrap();
    let mut command = Process::command(program.as_os_str(), &place.layout.measured());
    command.arg("--config").arg(settings).args(["--host", "127.0.0.1", "--port", &port.to_string()]);
    command.args(["--num_workers", &place.layout.measured().len().to_string(), "--telemetry", "False"]);
    command
        .env("LITELLM_LOG", "ERROR")
        .env("LITELLM_MODE", "PRODUCTION")
        .env("LITELLM_LOCAL_MODEL_COST_MAP", "True");
    let users = place.people.first_user_file(LITELLM, LITELLM_KEY);
    let target = Target { address: ([127, 0, 0, 1], port).into(), path: PATH.into(), headers: vec![], users };
    started(LITELLM, place, command, target)
}

fn start_portkey(place: &Place<'_>, program: &Path) -> Peer {
    let port = unused_port();
    let mut command = Process::command(program.as_os_str(), &place.layout.measured());
    command.arg(format!("--port={port}")).arg("--headless").env("NODE_ENV", "production");
    let headers = vec![
        "x-portkey-provider: openai".to_owned(),
        format!("x-portkey-custom-host: {}/v1", place.base_url()),
    ];
    let users = place.people.first_user_file(PORTKEY, &place.people.keys[0]);
    let target = Target { address: ([127, 0, 0, 1], port).into(), path: PATH.into(), headers, users };
    started(PORTKEY, place, command, target)
}

fn started(name: &'static str, place: &Place<'_>, mut command: Command, target: Target) -> Peer {
    command.current_dir(place.folder).env("HOME", place.folder).stdout(Stdio::null()).stderr(Stdio::null());
    let process = Process::start(&mut command).unwrap();
    Peer { name, target, id: Some(process.id()), metrics: None, _process: Some(Rc::new(process)) }
}
