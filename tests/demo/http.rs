//! A client that sends exactly the bytes it is told to: a framework's client would not send most of what is tested.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use socket2::{Domain, Socket, Type};

pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// How long an answer may take before the check fails.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub(crate) struct Request {
    method: String,
    target: String,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(method: &str, target: &str) -> Self {
        Self { method: method.into(), target: target.into(), headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// A token request with this body and no client authentication.
    pub(crate) fn token(body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", "/oauth/token").header("Content-Type", FORM).body(body)
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn method(mut self, method: &str) -> Self {
        self.method = method.into();
        self
    }

    pub(crate) fn target(mut self, target: impl Into<String>) -> Self {
        self.target = target.into();
        self
    }

    /// One more header line.
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(own, _)| !own.eq_ignore_ascii_case(name));
        self
    }

    /// `Authorization: Basic` with these two halves as they are, not form-encoded.
    pub(crate) fn basic(self, id: &str, secret: &str) -> Self {
        self.header("Authorization", basic(format!("{id}:{secret}")))
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("Authorization", format!("Bearer {token}"))
    }

    /// The bytes up to the body, with a `Content-Length` that announces so many.
    pub(crate) fn head(&self, content_length: usize) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        let has = |name: &str| self.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
        if !has("Host") {
            bytes.extend(b"Host: demo.example\r\n");
        }
        if !has("Transfer-Encoding") && (content_length > 0 || self.method == "POST") {
            bytes.extend(format!("Content-Length: {content_length}\r\n").bytes());
        }
        for (name, value) in &self.headers {
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        bytes.extend(b"Connection: close\r\n\r\n");
        bytes
    }

    /// The answer to it, on a connection of its own.
    pub(crate) fn send(&self, address: SocketAddr) -> Response {
        self.send_over(connect(address))
    }

    /// The same from another address of this machine's.
    pub(crate) fn send_from(&self, own: IpAddr, address: SocketAddr) -> Response {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::new(own, 0).into()).expect("bind to an address of this machine");
        socket.connect_timeout(&address.into(), PATIENCE).expect("the server accepts connections");
        self.send_over(patient(socket.into()))
    }

    /// The answer over HTTP/2 in cleartext, by prior knowledge (RFC 9113 section 3.3).
    pub(crate) fn send_over_http_2(&self, address: SocketAddr) -> Response {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let answer = runtime.expect("a runtime").block_on(async {
            tokio::time::timeout(PATIENCE, self.exchange_over_http_2(address)).await
        });
        answer.expect("an answer in time").expect("HTTP/2 in cleartext")
    }

    async fn exchange_over_http_2(&self, address: SocketAddr) -> Result<Response, h2::Error> {
        let connection = tokio::net::TcpStream::connect(address).await.expect("a connection");
        let (mut client, connection) = h2::client::handshake(connection).await?;
        tokio::spawn(connection);
        let mut request = http::Request::builder()
            .method(&*self.method)
            .uri(format!("http://demo.example{}", self.target));
        for (name, value) in &self.headers {
            request = request.header(*name, &**value);
        }
        let request = request.body(()).expect("a request");
        let (answer, mut body) = client.send_request(request, self.body.is_empty())?;
        if !self.body.is_empty() {
            body.send_data(self.body.clone().into(), true)?;
        }
        let (head, mut body) = answer.await?.into_parts();
        let mut bytes = Vec::new();
        while let Some(piece) = body.data().await {
            let piece = piece?;
            body.flow_control().release_capacity(piece.len())?;
            bytes.extend_from_slice(&piece);
        }
        let text = |value: &http::HeaderValue| value.to_str().expect("ASCII").to_owned();
        let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
        Ok(Response { status: head.status.as_u16(), headers: headers.collect(), body: bytes })
    }

    fn send_over(&self, mut connection: TcpStream) -> Response {
        connection
            .write_all(&[self.head(self.body.len()), self.body.clone()].concat())
            .expect("send the request");
        read_answer(&mut connection, &self.method)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = &self.body[..self.body.len().min(1000)];
        let text = [self.head(self.body.len()), body.to_vec()].concat();
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    patient(TcpStream::connect_timeout(&address, PATIENCE).expect("the server accepts connections"))
}

fn patient(connection: TcpStream) -> TcpStream {
    connection.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
    connection.set_write_timeout(Some(PATIENCE)).expect("set a timeout");
    connection
}

pub(crate) fn basic(credentials: impl AsRef<[u8]>) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

/// The strictest form-encoding: every byte escaped that is not unreserved in a URI.
pub(crate) fn encode(text: &str) -> String {
    let escaped = text.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    });
    escaped.collect()
}

/// A form of these parameters.
pub(crate) fn form(parameters: &[(&str, &str)]) -> String {
    let pairs: Vec<_> = parameters
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    pairs.join("&")
}

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// In order, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The value of a header that may occur once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values =
            self.headers.iter().filter(|(own, _)| own == name).map(|(_, value)| &**value);
        let (first, second) = (values.next(), values.next());
        assert_eq!(second, None, "{name} is repeated");
        first
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// All that a caller can tell two answers apart by; the time of day is no part of it, nor is the order of headers
    /// with different names.
    pub(crate) fn visible(&self) -> (u16, Vec<(String, String)>, String) {
        let mut headers: Vec<_> =
            self.headers.iter().filter(|(name, _)| name != "date").cloned().collect();
        headers.sort_unstable();
        (self.status, headers, String::from_utf8_lossy(&self.body).into_owned())
    }

    /// Exactly these headers of all that say something in OAuth or could give something away. `Date`, `Content-Length`
    /// and the like are the framework's.
    pub(crate) fn assert_headers(&self, expected: &[(&str, &str)]) {
        const MEANT: [&str; 9] = [
            "content-type",
            "cache-control",
            "pragma",
            "www-authenticate",
            "allow",
            "retry-after",
            "location",
            "set-cookie",
            "access-control-allow-origin",
        ];
        let own = self.headers.iter().map(|(name, value)| (&**name, &**value));
        let mut own: Vec<_> = own.filter(|(name, _)| MEANT.contains(name)).collect();
        let mut expected = expected.to_vec();
        own.sort_unstable();
        expected.sort_unstable();
        assert_eq!(own, expected, "{self:?}");
    }

    /// An error answer as RFC 6749 section 5.2 has it: status, code, a sentence in the characters allowed, nothing
    /// else; and nobody may store it.
    #[track_caller]
    pub(crate) fn assert_error(&self, status: u16, code: &str, case: &dyn fmt::Debug) {
        assert_eq!(self.status, status, "{case:?}\n{self:?}");
        self.assert_private_json(case);
        let body = self.json();
        assert_eq!(body["error"], code, "{case:?}\n{self:?}");
        let description =
            body["error_description"].as_str().unwrap_or_else(|| panic!("{case:?}\n{self:?}"));
        let allowed = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        assert!(
            !description.is_empty() && description.bytes().all(allowed),
            "{case:?}\n{description:?}"
        );
        assert_eq!(body.as_object().map(serde_json::Map::len), Some(2), "{case:?}\n{self:?}");
        // RFC 9110 section 15.5.2: every 401 has a challenge. No other token answer has one.
        assert_eq!(self.header("www-authenticate").is_some(), status == 401, "{case:?}\n{self:?}");
        assert_eq!(self.header("allow").is_some(), status == 405, "{case:?}\n{self:?}");
    }

    /// RFC 6749 section 5.1: `no-store` and `no-cache`, on errors too.
    #[track_caller]
    pub(crate) fn assert_private_json(&self, case: &dyn fmt::Debug) {
        for (name, value) in [
            ("content-type", "application/json"),
            ("cache-control", "no-store"),
            ("pragma", "no-cache"),
        ] {
            assert_eq!(self.header(name), Some(value), "{name}: {case:?}\n{self:?}");
        }
    }
}

/// Reads one answer. A server that refuses a body unread may wait for the rest of it, or reset the connection behind its
/// answer.
pub(crate) fn read_answer(connection: &mut TcpStream, method: &str) -> Response {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    while !is_complete(&bytes, method) {
        match connection.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => bytes.extend_from_slice(&piece[..read]),
            Err(error) => {
                let reset = error.kind() == ErrorKind::ConnectionReset && !bytes.is_empty();
                assert!(reset, "no answer: {error}");
                break;
            }
        }
    }
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a header section");
    let head = std::str::from_utf8(&bytes[..end]).expect("headers in ASCII");
    let body = bytes[end + 4..].to_vec();
    let mut lines = head.split("\r\n");
    let status =
        lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(':').expect("a header line");
        (name.to_ascii_lowercase(), value.trim().to_owned())
    });
    let answer =
        Response { status: status.expect("a status line"), headers: headers.collect(), body };
    if method == "HEAD" {
        assert_eq!(answer.body, b"");
    } else {
        let length = answer.header("content-length").expect("a length").parse();
        assert_eq!(Ok(answer.body.len()), length);
    }
    answer
}

/// Whether these bytes are a whole answer. One to HEAD is read until the connection is closed, to see that no body follows.
fn is_complete(bytes: &[u8], method: &str) -> bool {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    method != "HEAD" && length.is_some_and(|length: usize| bytes.len() - (end + 4) >= length)
}
