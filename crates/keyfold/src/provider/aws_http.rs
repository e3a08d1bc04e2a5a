//! AWS's own client library, on the connections, certificates and proxies that all requests have.

use std::net::Ipv6Addr;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::{Response, StatusCode};
use aws_smithy_types::body::SdkBody;

use url::Host;

use super::address::is_loopback;
use super::http::{cause, client_builder};

/// Requests to this machine go past proxies, as others do.
#[derive(Debug, Clone)]
struct Connector {
    direct: reqwest::Client,
    outward: reqwest::Client,
}

/// A client for AWS's library.
pub(crate) fn client() -> SharedHttpClient {
    http_client_fn(|settings, _| {
        let timeout = settings.connect_timeout().unwrap_or(Duration::from_secs(3));
        let made = (client_builder(true, timeout).build(), client_builder(false, timeout).build());
        match made {
            (Ok(direct), Ok(outward)) => SharedHttpConnector::new(Connector { direct, outward }),
            (Err(error), _) | (_, Err(error)) => SharedHttpConnector::new(Broken(error.to_string())),
        }
    })
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let connector = self.clone();
        HttpConnectorFuture::new(async move { connector.send(request).await })
    }
}

impl Connector {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let user = |error: &dyn std::error::Error| ConnectorError::user(error.to_string().into());
        let request = request.try_into_http1x().map_err(|error| user(&error))?;
        let (head, body) = request.into_parts();
        // What is asked of KMS is small and whole.
        let body = body.bytes().unwrap_or_default().to_vec();
        let url = url::Url::parse(&head.uri.to_string()).map_err(|error| user(&error))?;
        let client = if is_beside(&url) { &self.direct } else { &self.outward };
        let sent = client.request(head.method, url).headers(head.headers).body(body).send();
        let answer = sent.await.map_err(failed)?;
        let status = StatusCode::try_from(answer.status().as_u16()).map_err(|error| user(&error))?;
        let headers = answer.headers().clone();
        let mut response = Response::new(status, SdkBody::from(answer.bytes().await.map_err(failed)?));
        for (name, value) in &headers {
            if let Ok(value) = value.to_str() {
                response.headers_mut().append(name.as_str().to_owned(), value.to_owned());
            }
        }
        Ok(response)
    }
}

/// Whether it is this machine, or what a machine or container at AWS asks for its role's credentials, which is reached
/// without a proxy and knows no TLS.
fn is_beside(url: &url::Url) -> bool {
    const CREDENTIALS: [Ipv6Addr; 2] = [
        Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
        Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    ];
    let Some(host) = url.host() else { return false };
    match host {
        Host::Ipv4(address) if address.is_link_local() => true,
        Host::Ipv6(address) if CREDENTIALS.contains(&address) => true,
        host => is_loopback(&host),
    }
}

/// The library tries again what is worth it.
fn failed(error: reqwest::Error) -> ConnectorError {
    let is_timeout = error.is_timeout();
    let cause = cause(error).into();
    if is_timeout { ConnectorError::timeout(cause) } else { ConnectorError::io(cause) }
}

#[derive(Debug)]
struct Broken(String);

impl HttpConnector for Broken {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::ready(Err(ConnectorError::user(self.0.clone().into())))
    }
}
