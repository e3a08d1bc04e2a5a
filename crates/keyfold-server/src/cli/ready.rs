//! `keyfold ready`: asks the Keyfold that serves here. For images, which have no program to do it with.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use keyfold::settings::{Problems, Sources};
use zeroize::Zeroizing;

use super::{Failure, Start, print};
use crate::config::ServerConfig;

/// For each of connecting, writing and waiting for the answer. The answer itself takes three seconds at most.
const PATIENCE: Duration = Duration::from_secs(4);
/// An answer is much shorter.
const LONGEST_ANSWER: u64 = 16 * 1024;

pub(super) fn ready(start: Start) -> Result<(), Failure> {
    let sources = Sources::load(start.environment, &start.dir)?;
    let Some(listen) = ServerConfig::listen_address(&sources) else {
        return Err(Failure::new("HOST and PORT do not say where it serves; `keyfold doctor` says why"));
    };
    let address = reached_here(listen);
    // Local mode with a token asks for it everywhere.
    let token = sources.get_or_problem("KEYFOLD_LOCAL_TOKEN", &mut Problems::default());
    let answer = ask(address, &request(token.as_ref()))
        .map_err(|error| Failure::new(format!("nothing answers at http://{address}/readyz: {error}")))?;
    let status = answer.split_ascii_whitespace().nth(1);
    if status == Some("200") {
        return print("ready");
    }
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    Err(Failure::new(format!("not ready: {} {}", status.unwrap_or("no answer"), body.trim())))
}

/// A server that listens everywhere is reached by the loopback address.
fn reached_here(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn request(token: Option<&Zeroizing<String>>) -> Zeroizing<String> {
    let mut request = Zeroizing::new(String::from("GET /readyz HTTP/1.1\r\nHost: localhost\r\n"));
    if let Some(token) = token {
        request.push_str("Authorization: Bearer ");
        request.push_str(token);
        request.push_str("\r\n");
    }
    request.push_str("Connection: close\r\n\r\n");
    request
}

fn ask(address: SocketAddr, request: &str) -> std::io::Result<String> {
    let mut connection = TcpStream::connect_timeout(&address, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    connection.write_all(request.as_bytes())?;
    let mut answer = String::new();
    connection.take(LONGEST_ANSWER).read_to_string(&mut answer)?;
    Ok(answer)
}
