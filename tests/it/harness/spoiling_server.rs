//! A server whose correct answers are spoiled on their way, as proxies, gateways and crashing servers spoil them.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A defect of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoil {
    // the head
    ControlCharacterInHeader,
    SpaceBeforeColon,
    SpaceInHeaderName,
    FoldedHeader,
    HeaderWithoutColon,
    HeaderWithoutName,
    HundredsOfHeaders,
    Latin1Header,
    BareLineFeeds,
    // the frame of the body
    NoLastChunk,
    ChunkOfGarbage,
    LengthTooLong,
    LengthTooLongAndReset,
    HeldOpen,
    NoLength,
    Gzip,
    GzipWithWrongChecksum,
    GzipWithoutTrailer,
    GzipWithoutHeader,
    // the text of the body
    ByteOrderMark,
    NoticeInFront,
    TextBehind,
    Utf16LittleEndian,
    Utf16BigEndian,
}

impl Spoil {
    pub(crate) const ALL: [Self; 24] = [
        Self::ControlCharacterInHeader,
        Self::SpaceBeforeColon,
        Self::SpaceInHeaderName,
        Self::FoldedHeader,
        Self::HeaderWithoutColon,
        Self::HeaderWithoutName,
        Self::HundredsOfHeaders,
        Self::Latin1Header,
        Self::BareLineFeeds,
        Self::NoLastChunk,
        Self::ChunkOfGarbage,
        Self::LengthTooLong,
        Self::LengthTooLongAndReset,
        Self::HeldOpen,
        Self::NoLength,
        Self::Gzip,
        Self::GzipWithWrongChecksum,
        Self::GzipWithoutTrailer,
        Self::GzipWithoutHeader,
        Self::ByteOrderMark,
        Self::NoticeInFront,
        Self::TextBehind,
        Self::Utf16LittleEndian,
        Self::Utf16BigEndian,
    ];

    /// The bytes on the wire, and how the connection ends after them.
    fn apply(self, answer: &Answer) -> (Vec<u8>, End) {
        let gzip = || ("content-encoding: gzip\r\n", gzip(&answer.body));
        let (headers, body) = match self {
            Self::ControlCharacterInHeader => ("set-cookie: ___utmvaX=dmo\x01OZ; path=/\r\n".to_owned(), None),
            Self::SpaceBeforeColon => ("x-cache : MISS\r\n".to_owned(), None),
            Self::SpaceInHeaderName => ("x cache: MISS\r\n".to_owned(), None),
            Self::FoldedHeader => ("x-report: one\r\n two\r\n\tthree\r\n".to_owned(), None),
            Self::HeaderWithoutColon => ("this line is no header\r\n".to_owned(), None),
            Self::HeaderWithoutName => (": nameless\r\n".to_owned(), None),
            Self::HundredsOfHeaders => ((0..700).map(|n| format!("x-filler-{n}: {n}\r\n")).collect(), None),
            Self::Gzip => (gzip().0.to_owned(), Some(gzip().1)),
            Self::GzipWithWrongChecksum => {
                let (header, mut bytes) = gzip();
                let checksum = bytes.len() - 8;
                bytes[checksum] ^= 0xff;
                (header.to_owned(), Some(bytes))
            }
            Self::GzipWithoutTrailer => {
                let (header, mut bytes) = gzip();
                bytes.truncate(bytes.len() - 8);
                (header.to_owned(), Some(bytes))
            }
            Self::GzipWithoutHeader => (String::new(), Some(gzip().1)),
            Self::ByteOrderMark => (String::new(), Some([b"\xef\xbb\xbf", &*answer.body].concat())),
            Self::NoticeInFront => {
                let notice =
                    b"<br />\n<b>Notice</b>: Undefined index {id} in <b>/srv/a.php</b> on line <b>3</b><br />\n";
                (String::new(), Some([notice, &*answer.body].concat()))
            }
            Self::TextBehind => (String::new(), Some([&*answer.body, b"\n<!-- 0.02 s -->\0"].concat())),
            Self::Utf16LittleEndian => (String::new(), Some(answer.utf_16(0xfeff, u16::to_le_bytes))),
            Self::Utf16BigEndian => (String::new(), Some(answer.utf_16(0xfeff, u16::to_be_bytes))),
            _ => (String::new(), None),
        };
        let body = body.unwrap_or_else(|| answer.body.clone());
        let length = body.len();
        let (framing, body, end) = match self {
            Self::NoLastChunk => (CHUNKED.to_owned(), chunk(&body), End::Close),
            Self::ChunkOfGarbage => (CHUNKED.to_owned(), [&*chunk(&body), b"no size\r\n"].concat(), End::Close),
            Self::LengthTooLong => (content_length(length + 40), body, End::Close),
            Self::LengthTooLongAndReset => (content_length(length + 40), body, End::Reset),
            Self::HeldOpen => (content_length(length + 40), body, End::Hang),
            Self::NoLength => (String::new(), body, End::Close),
            _ => (content_length(length), body, End::Close),
        };
        let mut head = format!("HTTP/1.1 {}\r\n{headers}{framing}", answer.status).into_bytes();
        if self == Self::Latin1Header {
            head.extend_from_slice(b"x-served-by: M\xfcller\r\n");
        }
        head.extend_from_slice(format!("{}\r\n", answer.headers).as_bytes());
        if self == Self::BareLineFeeds {
            head.retain(|byte| *byte != b'\r');
        }
        (head.into_iter().chain(body).collect(), end)
    }
}

const CHUNKED: &str = "transfer-encoding: chunked\r\n";

fn content_length(bytes: usize) -> String {
    format!("content-length: {bytes}\r\n")
}

fn chunk(body: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n"].concat()
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// How a connection ends. None of them sends TLS's close notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Close,
    Reset,
    /// The server waits until the client hangs up.
    Hang,
}

/// An answer before it is spoiled.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// `200 OK`.
    pub(crate) status: String,
    /// Header lines that do not concern the body's framing, each with its line end.
    pub(crate) headers: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn new(status: &str, body: &str) -> Self {
        Self { status: status.to_owned(), headers: String::new(), body: body.into() }
    }

    fn utf_16(&self, mark: u16, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        let text = String::from_utf8(self.body.clone()).unwrap();
        std::iter::once(mark).chain(text.encode_utf16()).flat_map(bytes).collect()
    }
}

/// Where the answers come from.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    Fixed(Answer),
    /// Another server, which gets the same request.
    Server(SocketAddr),
}

/// Which answers get which defect.
pub(crate) type Choose = Box<dyn Fn() -> Spoil + Send + Sync>;

/// A server on loopback that answers one request on each connection. It ends with the test's runtime.
pub(crate) struct SpoilingServer {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Its self-signed certificate, if it speaks TLS.
    pub(crate) certificate: Option<CertificateDer<'static>>,
}

impl SpoilingServer {
    pub(crate) async fn start(origin: Origin, choose: Choose) -> Self {
        Self::listen(origin, choose, None).await
    }

    pub(crate) async fn start_tls(origin: Origin, choose: Choose) -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key.into())
            .unwrap();
        let server = Self::listen(origin, choose, Some(TlsAcceptor::from(Arc::new(config)))).await;
        Self { certificate: Some(certificate), ..server }
    }

    async fn listen(origin: Origin, choose: Choose, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let choose = Arc::new(choose);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (origin, choose, tls) = (origin.clone(), Arc::clone(&choose), tls.clone());
                tokio::spawn(async move {
                    // A client that hangs up first has had its answer.
                    let _ = serve(stream, origin, &choose, tls).await;
                });
            }
        });
        Self { address, certificate: None }
    }
}

async fn serve(stream: TcpStream, origin: Origin, choose: &Choose, tls: Option<TlsAcceptor>) -> io::Result<()> {
    match tls {
        None => answer(stream, origin, choose, |stream| stream).await,
        Some(tls) => answer(tls.accept(stream).await?, origin, choose, |stream| stream.get_ref().0).await,
    }
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    origin: Origin,
    choose: &Choose,
    tcp: impl Fn(&S) -> &TcpStream,
) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    let answer = match origin {
        Origin::Fixed(answer) => answer,
        Origin::Server(address) => ask(address, &request).await?,
    };
    let (bytes, end) = choose().apply(&answer);
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    match end {
        End::Close => {}
        End::Reset => {
            // Unsent bytes would be discarded.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            tcp(&stream).set_zero_linger()?;
        }
        End::Hang => while stream.read(&mut [0; 64]).await? > 0 {},
    }
    Ok(())
}

/// The answer of a server that sends its length and closes the connection.
async fn ask(address: SocketAddr, request: &[u8]) -> io::Result<Answer> {
    let mut server = TcpStream::connect(address).await?;
    let request = String::from_utf8_lossy(request).replacen("\r\n", "\r\nconnection: close\r\n", 1);
    server.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    server.read_to_end(&mut bytes).await?;
    let text = String::from_utf8(bytes).map_err(io::Error::other)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| io::Error::other("no answer"))?;
    let (status, headers) = head.split_once("\r\n").unwrap_or((head, ""));
    let is_kept = |line: &&str| !line.starts_with("content-length") && !line.starts_with("connection");
    let headers = headers.lines().filter(is_kept).map(|line| format!("{line}\r\n")).collect();
    let status = status.trim_start_matches("HTTP/1.1 ").to_owned();
    Ok(Answer { status, headers, body: body.into() })
}
