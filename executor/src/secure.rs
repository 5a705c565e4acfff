//! TLS in front of Ballista's servers, which speak plaintext and offer no way to change that.
//!
//! They listen on an address of the loopback interface instead; on the same ports of the executor's own address stands
//! a forwarder that lets only those through who show a certificate of the cluster's authority.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use ballista_executor::executor_process::ExecutorProcessConfig;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tusk_process::tls::{ServerTls, terminate};

use crate::process::ProcessError;

/// Forwarders. They stop when this is dropped.
#[derive(Debug)]
pub(crate) struct Forwarders(Vec<JoinHandle<()>>);

impl Drop for Forwarders {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// The address of this machine that faces the scheduler.
pub(crate) fn facing(host: &str, port: u16) -> std::io::Result<IpAddr> {
    // Nothing is sent: connecting makes the system choose the address that it would send from.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect((host, port))?;
    Ok(socket.local_addr()?.ip())
}

/// An address of the loopback interface that no other executor of this machine uses.
fn inside() -> Ipv4Addr {
    let id = std::process::id();
    let byte = |shift: u32| ((id >> shift) & 0xff) as u8;
    Ipv4Addr::new(127, 64 | (byte(16) & 0x3f), byte(8), 1 + byte(0) % 254)
}

/// Puts forwarders on the executor's ports and moves its servers to the loopback interface.
pub(crate) async fn secure(
    config: &mut ExecutorProcessConfig,
    outside: IpAddr,
    tls: &ServerTls,
) -> Result<Forwarders, ProcessError> {
    let inside = inside();
    let acceptor = tls.acceptor()?;
    let mut forwarders = Forwarders(Vec::new());
    for port in [config.port, config.grpc_port] {
        let address = SocketAddr::new(outside, port);
        let listen = |source| ProcessError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let target = SocketAddr::new(inside.into(), port);
        forwarders.0.push(terminate(listener, acceptor.clone(), target).map_err(listen)?);
    }
    tracing::info!(%outside, %inside, "TLS stands before the executor's ports");
    config.bind_host = inside.to_string();
    Ok(forwarders)
}
