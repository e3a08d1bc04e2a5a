//! Connections to providers: to the registry's hosts, encrypted unless the provider is on this machine, through the
//! proxy that the environment names.

use std::io;
use std::net::TcpStream as BlockingStream;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use crate::error::Error;
use crate::provider::BaseAddress;

/// What a provider that knows both is to choose from (RFC 7301); it names its own preference.
const HTTP_2_OR_1: [&[u8]; 2] = [b"h2", b"http/1.1"];
const HTTP_1: [&[u8]; 1] = [b"http/1.1"];
/// A connection on which nothing comes is asked whether it still stands.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// A connection to a provider.
pub(crate) enum ProviderStream {
    /// To this machine.
    Plain(TcpStream),
    /// To all others.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("no connection within {0:?}")]
    TimedOut(Duration),
    #[error("{0}")]
    Failed(String),
}

/// Makes connections to one provider. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connector(Arc<Shared>);

struct Shared {
    tcp: HttpConnector,
    /// Scheme, host and port.
    origin: Uri,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    proxy: Option<Intercept>,
    patience: Duration,
}

/// TLS as all connections to providers use it.
pub(crate) struct TlsSettings {
    http_1: Arc<ClientConfig>,
    http_2: Arc<ClientConfig>,
}

impl TlsSettings {
    /// Certificates count that this system trusts.
    pub(crate) fn new() -> Result<Self, Error> {
        let cannot = |error: rustls::Error| Error::Internal(format!("TLS cannot be set up: {error}"));
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(cannot)?.with_platform_verifier().map_err(cannot)?.with_no_client_auth();
        let with = |protocols: &[&[u8]]| {
            let mut config = config.clone();
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            Arc::new(config)
        };
        Ok(Self { http_1: with(&HTTP_1), http_2: with(&HTTP_2_OR_1) })
    }
}

impl Connector {
    /// `None` for an address that no connection can be made to, which the registry does not have.
    pub(crate) fn new(
        address: &BaseAddress,
        http_2: bool,
        tls: &TlsSettings,
        proxies: &Matcher,
        patience: Duration,
    ) -> Option<Self> {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEP_ALIVE));
        tcp.enforce_http(false);
        let origin: Uri = address.origin().parse().ok()?;
        let tls = if address.is_https() {
            let name = ServerName::try_from(address.host().to_owned()).ok()?;
            let config = if http_2 { &tls.http_2 } else { &tls.http_1 };
            Some((TlsConnector::from(Arc::clone(config)), name))
        } else {
            None
        };
        // A proxy would see the key on the way to this machine, and has no business there.
        let proxy = if address.is_loopback() { None } else { proxies.intercept(&origin) };
        Some(Self(Arc::new(Shared { tcp, origin, tls, proxy, patience })))
    }

    /// A new connection.
    pub(crate) async fn connect(&self) -> Result<ProviderStream, ConnectError> {
        let patience = self.0.patience;
        let connecting = timeout(patience, self.connect_without_limit());
        connecting.await.map_err(|_| ConnectError::TimedOut(patience))?
    }

    async fn connect_without_limit(&self) -> Result<ProviderStream, ConnectError> {
        let Shared { tcp, origin, tls, proxy, .. } = &*self.0;
        let mut tcp = tcp.clone();
        let stream = match proxy {
            None => tcp.call(origin.clone()).await.map_err(|error| failed(&error))?,
            Some(proxy) if proxy.uri().scheme_str() == Some("http") => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), tcp);
                if let Some(credential) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(credential.clone());
                }
                tunnel.call(origin.clone()).await.map_err(|error| failed(&error))?
            }
            Some(_) => {
                let why = "the proxy that the environment names is none of those that can be used (http://…)";
                return Err(ConnectError::Failed(why.into()));
            }
        };
        let stream = stream.into_inner();
        match tls {
            None => Ok(ProviderStream::Plain(stream)),
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await.map_err(|error| failed(&error))?;
                Ok(ProviderStream::Tls(Box::new(stream)))
            }
        }
    }
}

/// The innermost cause: the outer ones say less.
fn failed(error: &(dyn std::error::Error + 'static)) -> ConnectError {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    ConnectError::Failed(cause.to_string())
}

impl ProviderStream {
    /// Whether HTTP/2 was agreed on.
    pub(crate) fn is_http_2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }

    /// Lets the runtime of this thread hear what comes on it; false if something has come.
    pub(crate) fn move_here(&mut self) -> bool {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_mut().0,
        };
        let moving = || {
            let moved = BlockingStream::from(stream.as_fd().try_clone_to_owned()?);
            match moved.peek(&mut [0]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => TcpStream::from_std(moved),
                // What came before was told to the other runtime only.
                _ => Err(io::ErrorKind::InvalidData.into()),
            }
        };
        match moving() {
            Ok(moved) => {
                *stream = moved;
                true
            }
            Err(_) => false,
        }
    }

    /// Whether nothing came on it: neither its end, nor anything to read, which stays there.
    pub(crate) fn is_quiet(&mut self, context: &mut Context<'_>) -> bool {
        match self {
            // Costs no system call as long as nothing came.
            Self::Plain(stream) => {
                let mut byte = [0; 1];
                stream.poll_peek(context, &mut ReadBuf::new(&mut byte)).is_pending()
            }
            Self::Tls(stream) => Pin::new(stream).poll_fill_buf(context).is_pending(),
        }
    }
}

impl AsyncRead for ProviderStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for ProviderStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// For hyper's client.
pub(crate) struct ForHyper(TokioIo<ProviderStream>);

impl Connection for ForHyper {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        if self.0.inner().is_http_2() { connected.negotiated_h2() } else { connected }
    }
}

impl hyper::rt::Read for ForHyper {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl hyper::rt::Write for ForHyper {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, parts)
    }
}

impl Service<Uri> for Connector {
    type Response = ForHyper;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<ForHyper, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    /// Connects to its own provider, whatever address it is asked for.
    fn call(&mut self, _: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { Ok(ForHyper(TokioIo::new(connector.connect().await?))) })
    }
}
