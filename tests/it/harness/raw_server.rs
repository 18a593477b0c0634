//! A server that sends exactly the given bytes, and records what it was sent.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// One action of the server on a connection. After the last one it closes the connection.
#[derive(Debug, Clone)]
pub(crate) enum Move {
    /// Reads one request and counts it; blocks until it has arrived.
    Read,
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Sends this many zeros, or as many as the client accepts.
    Flood(usize),
    /// Sends a space at this interval, forever.
    Drip(Duration),
    /// Waits until the client hangs up.
    Hang,
    /// Ends the connection with a TCP reset instead of an orderly close.
    Reset,
}

/// Sends a text.
pub(crate) fn text(text: &str) -> Move {
    Move::Send(text.as_bytes().to_vec())
}

/// Sends a whole response: status, further headers, and a body.
pub(crate) fn reply(head: &str, body: impl AsRef<[u8]>) -> Move {
    let body = body.as_ref();
    let mut bytes = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    Move::Send(bytes)
}

/// Sends a response whose announced length exceeds its body.
pub(crate) fn cut(head: &str, body: &str) -> Move {
    text(&format!("HTTP/1.1 {head}\r\ncontent-length: 1000\r\n\r\n{body}"))
}

/// What the server has seen and done so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerLog {
    /// Accepted connections.
    pub(crate) connections: usize,
    /// Those of them that have ended.
    pub(crate) closed: usize,
    /// The heads of the requests that were read.
    pub(crate) requests: Vec<String>,
    /// Bytes sent to the clients, or into the kernel's buffers.
    pub(crate) sent: usize,
}

/// A scripted server on loopback. It ends with the test's runtime.
pub(crate) struct RawServer {
    port: u16,
    seen: watch::Sender<ServerLog>,
}

impl RawServer {
    /// Starts a server that runs one script per connection, in order of arrival. Connections beyond the last script
    /// are read and closed without an answer.
    pub(crate) async fn start(scripts: impl IntoIterator<Item = Vec<Move>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = watch::Sender::new(ServerLog::default());
        let scripts: Vec<_> = scripts.into_iter().collect();
        tokio::spawn(serve(listener, scripts, seen.clone()));
        Self { port, seen }
    }

    /// The server's `host:port`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The same address under another name.
    pub(crate) fn address_by_name(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// What it has seen so far.
    pub(crate) fn seen(&self) -> ServerLog {
        self.seen.borrow().clone()
    }

    /// The server's record, once `condition` holds.
    pub(crate) async fn wait_for(&self, condition: impl FnMut(&ServerLog) -> bool) -> ServerLog {
        self.seen.subscribe().wait_for(condition).await.unwrap().clone()
    }
}

async fn serve(listener: TcpListener, scripts: Vec<Vec<Move>>, seen: watch::Sender<ServerLog>) {
    let mut scripts = scripts.into_iter();
    while let Ok((stream, _)) = listener.accept().await {
        seen.send_modify(|seen| seen.connections += 1);
        let script = scripts.next().unwrap_or_else(|| vec![Move::Read]);
        let seen = seen.clone();
        tokio::spawn(async move {
            // Some tests are about clients that hang up during a script.
            let _ = play(stream, script, &seen).await;
            seen.send_modify(|seen| seen.closed += 1);
        });
    }
}

async fn play(mut stream: TcpStream, script: Vec<Move>, seen: &watch::Sender<ServerLog>) -> io::Result<()> {
    for step in script {
        match step {
            Move::Read => {
                let head = read_head(&mut stream).await?;
                seen.send_modify(|seen| seen.requests.push(head));
            }
            Move::Send(bytes) => send(&mut stream, &bytes, seen).await?,
            Move::Flood(bytes) => {
                let block = vec![0; 64 * 1024];
                for _ in 0..bytes.div_ceil(block.len()) {
                    send(&mut stream, &block, seen).await?;
                }
            }
            Move::Drip(pause) => loop {
                send(&mut stream, b" ", seen).await?;
                tokio::time::sleep(pause).await;
            },
            Move::Hang => while stream.read(&mut [0; 1024]).await? > 0 {},
            Move::Reset => stream.set_zero_linger()?,
        }
    }
    Ok(())
}

async fn send(stream: &mut TcpStream, bytes: &[u8], seen: &watch::Sender<ServerLog>) -> io::Result<()> {
    stream.write_all(bytes).await?;
    seen.send_modify(|seen| seen.sent += bytes.len());
    Ok(())
}

/// Reads up to the empty line that ends a request's head. The call has no body.
async fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
