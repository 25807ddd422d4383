//! The rig: settings from the environment, keys from files, and what is said at start and end.

use std::env::VarError;
use std::fmt::Display;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use password_grant::{
    AttemptLimits, BoxError, BuildError, RefreshKeys, RefreshTokens, SigningKeys,
};
use sqlx::sqlite::SqliteConnectOptions;

use super::app::App;
use super::seed::{open_shop, read_backend_key};

/// How long requests in flight may take after the server was asked to stop, in seconds.
pub const GRACE: u64 = 10;

/// One line for the person who starts the server: the setting, and what is wrong with it.
pub type Problem = String;

/// A server that is ready to be started.
pub struct Demo {
    /// Non-blocking, as async runtimes want it.
    pub listener: TcpListener,
    /// The address of the listener, with the real port.
    pub address: SocketAddr,
    pub app: App,
}

impl Demo {
    /// Reads the settings, makes the engine, and binds the address. Nothing is answered yet.
    pub async fn from_environment() -> Result<Self, Problem> {
        let address: SocketAddr = setting("LISTEN_ADDR", "127.0.0.1:8080")?;
        let database: Sqlite = setting("DATABASE_URL", "sqlite::memory:")?;
        let keys_dir: String = setting("KEYS_DIR", "examples/keys")?;
        let burst: u32 = setting("LOGIN_BURST", "10")?;
        let retry_window: u64 = setting("REFRESH_RETRY_WINDOW", "60")?;
        let issuer = variable("ISSUER")?;

        let bound = TcpListener::bind(address)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
        let listener = bound.map_err(|error| wrong("LISTEN_ADDR", error))?;
        let address = listener.local_addr().map_err(|error| wrong("LISTEN_ADDR", error))?;
        let issuer = match issuer {
            Some(issuer) => issuer,
            None if address.ip().is_loopback() => format!("http://{address}"),
            None => {
                return Err(wrong("ISSUER", "required when others than this machine can connect"));
            }
        };
        let (signing, refresh_keys) =
            read_keys(&keys_dir).map_err(|error| wrong("KEYS_DIR", error))?;
        let backend = read_backend_key(&keys_dir).map_err(|error| wrong("KEYS_DIR", error))?;
        let shop =
            open_shop(database.0, &backend).await.map_err(|error| wrong("DATABASE_URL", error))?;
        let refresh = RefreshTokens::new(refresh_keys, shop.clone())
            .retry_window(Duration::from_secs(retry_window));
        let app = App::new(&issuer, shop, signing, refresh, limits(burst));
        let app = app.map_err(|error| match error.downcast_ref() {
            Some(BuildError::Url { .. }) => wrong("ISSUER", error),
            Some(BuildError::AttemptLimits(_)) => wrong("LOGIN_BURST", error),
            Some(BuildError::RefreshTokens(_)) => wrong("REFRESH_RETRY_WINDOW", error),
            _ => error.to_string(),
        })?;
        Ok(Self { listener, address, app })
    }
}

/// Says on standard output that requests are answered now.
pub fn announce(address: SocketAddr) {
    println!("listening on http://{address}");
    println!("WARNING: users, clients, secrets and keys are demo data that everybody knows");
}

/// Events of the engine go to standard error, from the level in `RUST_LOG` (default `info`).
pub fn log_events() {
    let filter =
        tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

/// The exit status of a server that has ended.
pub fn ended(outcome: Result<(), Problem>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// The defaults, but for those by address and client: a demo is tried out from one address, which
/// must not have to wait for that.
fn limits(burst: u32) -> AttemptLimits {
    let (any, minute) = (1_000_000, Duration::from_secs(60));
    AttemptLimits::default()
        .burst(burst)
        .source(any, minute)
        .network(any, minute)
        .client(any, minute)
}

fn read_keys(folder: &str) -> Result<(SigningKeys, RefreshKeys), BoxError> {
    let signing = SigningKeys::from_pem(read(folder, "token-es256.pem")?)?;
    let refresh = RefreshKeys::new(read(folder, "refresh-token.key")?)?;
    Ok((signing, refresh))
}

pub fn read(folder: &str, name: &str) -> Result<Vec<u8>, BoxError> {
    let file = format!("{folder}/{name}");
    std::fs::read(&file).map_err(|error| format!("{file}: {error}").into())
}

fn setting<T: FromStr<Err: Display>>(name: &str, default: &str) -> Result<T, Problem> {
    variable(name)?.as_deref().unwrap_or(default).parse().map_err(|error| wrong(name, error))
}

fn variable(name: &str) -> Result<Option<String>, Problem> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(VarError::NotPresent) => Ok(None),
        Err(error) => Err(wrong(name, error)),
    }
}

/// sqlx alone would take any text for the name of a file.
struct Sqlite(SqliteConnectOptions);

impl FromStr for Sqlite {
    type Err = BoxError;

    fn from_str(url: &str) -> Result<Self, BoxError> {
        if !url.starts_with("sqlite:") {
            return Err("not a sqlite: URL, the only kind that this example supports".into());
        }
        Ok(Self(url.parse()?))
    }
}

pub fn wrong(name: &str, problem: impl Display) -> Problem {
    format!("{name}: {problem}").replace('\n', " ")
}
