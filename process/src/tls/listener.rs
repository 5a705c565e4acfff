//! A listener with or without TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

/// The time limit of a handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum number of concurrent handshakes. Further clients wait to be accepted.
const HANDSHAKES_MAX: usize = 256;

/// The maximum number of connections that wait for the server after their handshake.
const ACCEPTED_MAX: usize = 64;

/// The idle time after which the system probes a connection.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// The wait after a failed accept. The usual cause is a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub addr: SocketAddr,
    /// Whether it presented a certificate signed by the configured authority.
    pub certificate: bool,
}

/// A listening socket for `axum::serve`, with or without TLS. Stops when dropped.
#[derive(Debug)]
pub struct Listener {
    local: SocketAddr,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Plain(TcpListener),
    Tls { accepted: mpsc::Receiver<(TlsStream<TcpStream>, Peer)>, task: JoinHandle<()> },
}

impl Listener {
    /// Makes a listener without TLS.
    ///
    /// # Errors
    /// Returns an error if the local address cannot be read.
    pub fn plain(listener: TcpListener) -> io::Result<Self> {
        Ok(Self { local: listener.local_addr()?, source: Source::Plain(listener) })
    }

    /// Makes a listener with TLS. Handshakes run concurrently and have a time limit, so a slow client does not delay
    /// others.
    ///
    /// # Errors
    /// Returns an error if the local address cannot be read.
    pub fn tls(listener: TcpListener, acceptor: TlsAcceptor) -> io::Result<Self> {
        let local = listener.local_addr()?;
        let (sender, accepted) = mpsc::channel(ACCEPTED_MAX);
        let task = tokio::spawn(accept_all(listener, acceptor, sender));
        Ok(Self { local, source: Source::Tls { accepted, task } })
    }

    /// The local address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.local
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Source::Tls { task, .. } = &self.source {
            task.abort();
        }
    }
}

impl axum::serve::Listener for Listener {
    type Io = Either<TcpStream, TlsStream<TcpStream>>;
    type Addr = Peer;

    async fn accept(&mut self) -> (Self::Io, Peer) {
        match &mut self.source {
            Source::Plain(listener) => {
                let (stream, addr) = accept(listener).await;
                (Either::Left(stream), Peer { addr, certificate: false })
            }
            Source::Tls { accepted, .. } => match accepted.recv().await {
                Some((stream, peer)) => (Either::Right(stream), peer),
                // The task ends only when this listener is dropped.
                None => std::future::pending().await,
            },
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Ok(Peer { addr: self.local, certificate: false })
    }
}

impl Connected<IncomingStream<'_, Listener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        *stream.remote_addr()
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, addr)) => {
                // Send small messages at once, and notice a peer that has disappeared. If the socket is already closed,
                // the next read reports it.
                let _ = stream.set_nodelay(true);
                let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEP_ALIVE));
                return (stream, addr);
            }
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn accept_all(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    accepted: mpsc::Sender<(TlsStream<TcpStream>, Peer)>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else { return };
        let (stream, addr) = accept(&listener).await;
        let (acceptor, accepted) = (acceptor.clone(), accepted.clone());
        tokio::spawn(async move {
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    drop(permit);
                    let certificate = stream.get_ref().1.peer_certificates().is_some_and(|c| !c.is_empty());
                    // The send fails only if the listener has been dropped.
                    let _ = accepted.send((stream, Peer { addr, certificate })).await;
                }
                Ok(Err(error)) => tracing::debug!(%addr, %error, "TLS handshake failed"),
                Err(_) => tracing::debug!(%addr, "TLS handshake timed out"),
            }
        });
    }
}
