//! The token endpoint over HTTP on axum, next to a handler that reads the body and answers with
//! constant JSON of the same size, and next to the hand-written grant. `benches/README.md` explains
//! the numbers.
//!
//! The server has one thread and the load generator another, so that neither slows the other on two
//! cores.

mod support;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION as AUTHORIZATION_HEADER, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use password_grant::{Algorithm, HttpRequest, PasswordGrant};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use support::hand_written::HandWritten;
use support::keys::KeyPair;
use support::{
    AUTHORIZATION, BODY, TrivialUser, block_on, engine_with, is_measured, median, request,
};

const CONNECTIONS: usize = 32;
const PATHS: [&str; 3] = ["/bare", "/hand-written", "/oauth/token"];

fn main() {
    let (rounds, requests) = if is_measured() { (21, 6_400) } else { (1, 64) };
    let key = KeyPair::generate(Algorithm::Hs256);
    let grant = engine_with(TrivialUser::new(), &key);
    let constant = Bytes::from(block_on(grant.token(request())).into_body());
    let server = serve(grant, HandWritten::new(&key), constant);
    let client = runtime();

    let mut measured: Vec<[Load; 3]> = Vec::new();
    for _ in 0..=rounds {
        measured
            .push(PATHS.map(|path| client.block_on(load(&server, path, requests)).expect(path)));
    }
    measured.remove(0); // the warm-up

    println!(
        "{CONNECTIONS} keep-alive connections, HS256, medians of {rounds} interleaved rounds of {requests} requests\n"
    );
    println!(
        "| | bare handler | hand-written | token endpoint | hand-written ÷ bare | token endpoint ÷ bare |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    let column =
        |of: Figure, index: usize| median(measured.iter().map(|round| of(&round[index])).collect());
    let ratio = |of: Figure, index: usize| {
        median(measured.iter().map(|row| of(&row[index]) / of(&row[0])).collect())
    };
    let rows: [(&str, Figure); 2] =
        [("requests/s", Load::per_second), ("server CPU per request, µs", Load::server_micros)];
    for (name, of) in rows {
        let [bare, hand_written, grant] = [0, 1, 2].map(|index| column(of, index));
        let [floor, reached] = [1, 2].map(|index| ratio(of, index));
        println!(
            "| {name} | {bare:.1} | {hand_written:.1} | {grant:.1} | {floor:.2} | {reached:.2} |"
        );
    }
}

// -------------------------------------------------------------------------------------------------
// The server
// -------------------------------------------------------------------------------------------------

struct Server {
    address: SocketAddr,
    /// The file in which Linux reports how long the server's thread has run. It does not exist on
    /// other systems.
    schedstat: PathBuf,
}

impl Server {
    fn cpu_time(&self) -> Duration {
        let text = std::fs::read_to_string(&self.schedstat).unwrap_or_default();
        let nanos = text.split_whitespace().next().and_then(|number| number.parse().ok());
        Duration::from_nanos(nanos.unwrap_or_default())
    }
}

fn serve(grant: PasswordGrant, hand_written: HandWritten, constant: Bytes) -> Server {
    let app = Router::new()
        .route("/oauth/token", any(token))
        .with_state(grant)
        .merge(
            Router::new()
                .route("/hand-written", any(hand_written_token))
                .with_state(Arc::new(hand_written)),
        )
        .merge(Router::new().route("/bare", post(bare)).with_state(constant));
    let (ready, started) = mpsc::channel();
    let thread = std::thread::Builder::new().name("server".to_owned());
    let spawned = thread.spawn(move || {
        let thread = std::fs::read_link("/proc/thread-self").unwrap_or_default();
        let schedstat = PathBuf::from("/proc").join(thread).join("schedstat");
        runtime().block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            ready.send(Server { address, schedstat }).expect("the load generator waits");
            axum::serve(listener, app).await
        })
    });
    spawned.expect("a thread");
    started.recv().expect("the server starts")
}

async fn token(State(grant): State<PasswordGrant>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    match to_bytes(body, grant.body_limit()).await {
        Ok(body) => grant.token(HttpRequest::from_parts(&parts, &body)).await.into(),
        Err(_) => grant.token(HttpRequest::from_parts(&parts, &[]).body_too_large()).await.into(),
    }
}

async fn hand_written_token(State(grant): State<Arc<HandWritten>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 65_536).await.unwrap_or_default();
    let header = |name: HeaderName| parts.headers.get(name).map_or(&[][..], HeaderValue::as_bytes);
    let headers =
        [("content-type", header(CONTENT_TYPE)), ("authorization", header(AUTHORIZATION_HEADER))];
    let answer = grant.answer(parts.method.as_str(), &headers, &body);
    let mut response = Response::new(answer.body.into());
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or_default();
    for (name, value) in answer.headers {
        response
            .headers_mut()
            .insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

async fn bare(State(constant): State<Bytes>, _body: Bytes) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], constant)
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

// -------------------------------------------------------------------------------------------------
// The load generator
// -------------------------------------------------------------------------------------------------

type Figure = fn(&Load) -> f64;

struct Load {
    requests: usize,
    took: Duration,
    server: Duration,
}

impl Load {
    fn per_second(&self) -> f64 {
        self.requests as f64 / self.took.as_secs_f64()
    }

    fn server_micros(&self) -> f64 {
        self.server.as_secs_f64() * 1e6 / self.requests as f64
    }
}

/// Sends this many requests in all, one after another on each connection.
async fn load(server: &Server, path: &str, requests: usize) -> io::Result<Load> {
    let request = [
        format!("POST {path} HTTP/1.1\r\nhost: id.example.com\r\ncontent-type: application/x-www-form-urlencoded\r\n")
            .into_bytes(),
        [b"authorization: ", AUTHORIZATION, b"\r\n"].concat(),
        format!("content-length: {}\r\n\r\n", BODY.len()).into_bytes(),
        BODY.to_vec(),
    ]
    .concat();
    let request = Bytes::from(request);
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Connection::open(server.address, &request).await?);
    }
    let (start, cpu) = (Instant::now(), server.cpu_time());
    let mut tasks = JoinSet::new();
    for mut connection in connections {
        let request = request.clone();
        tasks.spawn(async move {
            for _ in 0..requests / CONNECTIONS {
                connection.exchange(&request).await?;
            }
            io::Result::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no panic")?;
    }
    Ok(Load { requests, took: start.elapsed(), server: server.cpu_time().saturating_sub(cpu) })
}

/// A connection on which every response is as long as the first one, so that reading one is cheap.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    answer: usize,
}

impl Connection {
    async fn open(address: SocketAddr, request: &[u8]) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut connection = Self { stream, buffer: vec![0; 8192], answer: usize::MAX };
        connection.send(request).await?;
        let mut read = 0;
        while read < connection.answer {
            read += connection.receive(read).await?;
            connection.answer = length_of(&connection.buffer[..read]).unwrap_or(usize::MAX);
        }
        Ok(connection)
    }

    async fn exchange(&mut self, request: &[u8]) -> io::Result<()> {
        self.send(request).await?;
        let mut read = 0;
        while read < self.answer {
            read += self.receive(read).await?;
        }
        let right = read == self.answer && self.buffer.starts_with(b"HTTP/1.1 200 ");
        if right { Ok(()) } else { Err(io::Error::other("not the answer that was expected")) }
    }

    async fn send(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.try_write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stream.writable().await?
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn receive(&mut self, from: usize) -> io::Result<usize> {
        loop {
            match self.stream.try_read(&mut self.buffer[from..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => return Ok(read),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stream.readable().await?
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// The length of head and body together, once the head is complete.
fn length_of(answer: &[u8]) -> Option<usize> {
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(answer.get(..head)?).ok()?;
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "))?;
    Some(head + length.parse::<usize>().ok()?)
}
