//! The program under test, as a process.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::http::{Request, Response};

const PATIENCE: Duration = Duration::from_secs(30);

/// Whatever the program reads from its environment.
const SETTINGS: [&str; 8] = [
    "DATABASE_URL",
    "ISSUER",
    "KEYS_DIR",
    "LISTEN_ADDR",
    "LOGIN_BURST",
    "REDIS_URL",
    "REFRESH_RETRY_WINDOW",
    "RUST_LOG",
];

/// A demo server that can be started.
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    /// The folder of the demo's keys.
    pub(crate) keys: PathBuf,
    /// A folder in which files may be made.
    pub(crate) scratch: PathBuf,
    /// Whether it is on Rocket, which drops header lines that are not UTF-8, and looks at the first bytes of a body
    /// before any route is called. The guide for Rocket says so.
    pub(crate) is_rocket: bool,
}

impl Program {
    /// The program on a free port, with its own settings and these.
    fn command(&self, settings: &[(&str, &str)]) -> Command {
        let mut command = Command::new(&self.path);
        for name in SETTINGS {
            command.env_remove(name);
        }
        command
            .env("LISTEN_ADDR", "127.0.0.1:0")
            .env("KEYS_DIR", &self.keys)
            .envs(settings.iter().copied());
        command.current_dir(&self.scratch);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn start(&self) -> Server {
        self.start_with(&[])
    }

    pub(crate) fn start_with(&self, settings: &[(&str, &str)]) -> Server {
        Server::spawn(self.command(settings))
    }

    /// How the program ended that could not start.
    pub(crate) fn fail_with(&self, settings: &[(&str, &str)]) -> Output {
        let mut process = Process(self.command(settings).spawn().expect("the program starts"));
        // It writes a line or two, which the pipes hold until it has ended.
        let status = process.wait();
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        process.0.stdout.take().expect("a pipe").read_to_end(&mut stdout).expect("stdout");
        process.0.stderr.take().expect("a pipe").read_to_end(&mut stderr).expect("stderr");
        Output { status, stdout, stderr }
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)
    }
}

/// A demo server that runs, until this is dropped.
pub(crate) struct Server {
    process: Process,
    stdout: Receiver<String>,
    stderr: Option<JoinHandle<String>>,
    /// Where it says it listens.
    pub(crate) url: String,
    /// Where it can be reached.
    pub(crate) address: SocketAddr,
}

impl Server {
    fn spawn(mut command: Command) -> Self {
        let mut process = Process(command.spawn().expect("the program starts"));
        let (lines, stdout) = channel();
        let pipe = BufReader::new(process.0.stdout.take().expect("a pipe"));
        thread::spawn(move || {
            pipe.lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
        });
        let mut pipe = process.0.stderr.take().expect("a pipe");
        let stderr = thread::spawn(move || {
            let mut log = Vec::new();
            pipe.read_to_end(&mut log).expect("stderr");
            String::from_utf8_lossy(&log).into_owned()
        });
        let Ok(ready) = stdout.recv_timeout(PATIENCE) else {
            drop(process);
            panic!("the server did not start: {}", stderr.join().expect("stderr"));
        };
        let url = ready.strip_prefix("listening on ").expect("the ready line").to_owned();
        let address: SocketAddr =
            url.strip_prefix("http://").and_then(|at| at.parse().ok()).expect("an address");
        let address = if address.ip().is_unspecified() {
            ([127, 0, 0, 1], address.port()).into()
        } else {
            address
        };
        Self { process, stdout, stderr: Some(stderr), url, address }
    }

    pub(crate) fn send(&self, request: &Request) -> Response {
        request.send(self.address)
    }

    /// The next line on standard output.
    pub(crate) fn next_line(&self) -> String {
        self.stdout.recv_timeout(PATIENCE).expect("a line")
    }

    /// Sends a signal, by the name that `kill` knows.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.process.0.id().to_string())
            .status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{name}");
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.process.wait()
    }

    /// Stops the server; all it has written to standard error.
    pub(crate) fn into_log(mut self) -> String {
        self.signal("TERM");
        self.wait();
        self.stderr.take().expect("taken once").join().expect("stderr")
    }
}

/// Ends with its owner, also when a check fails.
struct Process(Child);

impl Process {
    fn wait(&mut self) -> ExitStatus {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.0.try_wait().expect("a child") {
                return status;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("the program does not end");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
