//! A server with a self-signed certificate.

use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};

/// A server on loopback that answers one request on its first connection.
pub(crate) struct TlsServer {
    /// Where it listens: `127.0.0.1:port`.
    pub(crate) address: String,
    /// Its self-signed certificate.
    pub(crate) certificate: CertificateDer<'static>,
    served: JoinHandle<io::Result<String>>,
}

impl TlsServer {
    /// Starts a server whose certificate is for `name`, and which speaks only this version of TLS.
    pub(crate) fn start(name: &str, version: &'static SupportedProtocolVersion, response: String) -> Self {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key.into())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let served = std::thread::spawn(move || serve_one(&listener, config, &response));
        Self { address, certificate, served }
    }

    /// The head of the request that it read, or the error that prevented it. Call it when the client is done.
    pub(crate) fn request(self) -> io::Result<String> {
        self.served.join().unwrap()
    }
}

fn serve_one(listener: &TcpListener, config: ServerConfig, response: &str) -> io::Result<String> {
    let (stream, _) = listener.accept()?;
    let connection = ServerConnection::new(Arc::new(config)).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    stream.write_all(response.as_bytes())?;
    stream.conn.send_close_notify();
    stream.flush()?;
    Ok(String::from_utf8_lossy(&head).into_owned())
}
