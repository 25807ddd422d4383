//! The example client as its user runs it, against the demo server.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use password_grant::assertion::{AssertionKey, ClientAssertion};
use serde_json::{Value, json};

use crate::{client, demo_server};

const WEB: [&str; 4] = ["--client-id", "web", "--client-secret", "web-secret"];
const ALICE: [&str; 4] = ["--username", "alice", "--password", "wonderland"];
const PARTNER_SECRET: &str = "partner-secret-partner-secret-0123";

/// Whatever is given as a secret, here or on the command line.
const SECRETS: [&str; 4] = ["wonderland", "web-secret", PARTNER_SECRET, "Wonderwall"];

/// The client's output for these arguments, with this on its standard input.
fn run(url: &str, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(client());
    command.args(["--url", url]).args(arguments);
    // Whoever builds behind a proxy has these.
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        command.env(name, "http://127.0.0.1:9");
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().expect("the client starts");
    // One that does not read it has closed the pipe.
    let _ = process.stdin.take().expect("a pipe").write_all(input.as_bytes());
    let output = process.wait_with_output().expect("the client ends");
    for shown in [&output.stdout, &output.stderr] {
        let shown = String::from_utf8_lossy(shown);
        assert_eq!(SECRETS.into_iter().find(|secret| shown.contains(secret)), None, "{shown}");
    }
    output
}

/// The token's claims, unverified, and the lines that follow the token.
#[track_caller]
fn granted(output: &Output) -> (Value, String) {
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    let (start, end) =
        (stdout.find("\n{\n").expect("an answer") + 1, stdout.find("\n}\n").expect("its end") + 2);
    let answer: Value = serde_json::from_str(&stdout[start..end]).expect("JSON");
    let payload =
        answer["access_token"].as_str().and_then(|token| token.split('.').nth(1)).expect("a JWT");
    let claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64url"))
        .expect("claims");
    (claims, stdout[end..].to_owned())
}

/// The only line on standard error, of a client that ended with a failure.
#[track_caller]
fn problem(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
    stderr.strip_prefix("error: ").expect("an error").trim_end().to_owned()
}

fn key_file() -> String {
    demo_server().keys.join("backend-es256.pem").display().to_string()
}

#[test]
fn each_way_of_saying_who_the_client_is_gets_a_token_that_opens_the_resources() {
    let server = demo_server().start();
    let key = AssertionKey::from_pem(std::fs::read(key_file()).expect("a key"))
        .expect("a key")
        .with_kid("backend-1");
    let generate = || {
        ClientAssertion::new("backend", &*server.url, key.clone()).sign().expect("an assertion")
            + "\n"
    };
    let file = demo_server().scratch.join(format!("assertion-{}.jwt", std::process::id()));
    std::fs::write(&file, generate()).expect("write a file");
    let (file, key_file) = (file.display().to_string(), key_file());
    for (client_id, arguments, input) in [
        ("web", &WEB[..], String::new()),
        ("web", &[&WEB[..], &["--post"]].concat(), String::new()),
        (
            "odd:client",
            &["--client-id", "odd:client", "--client-secret", "s3cr:t +%&=/?~"],
            String::new(),
        ),
        ("mobile", &["--client-id", "mobile"], String::new()),
        ("mobile", &["--client-id", "mobile", "--tenant", "demo"], String::new()),
        (
            "backend",
            &["--client-id", "backend", "--key", &key_file, "--kid", "backend-1"],
            String::new(),
        ),
        ("backend", &["--client-id", "backend", "--key", &key_file], String::new()),
        ("partner", &["--client-id", "partner", "--shared-secret", PARTNER_SECRET], String::new()),
        ("backend", &["--assertion", "-"], generate()),
        ("backend", &["--assertion", "-", "--client-id", "backend"], generate()),
        ("backend", &["--assertion", &file], String::new()),
    ] {
        let output = run(&server.url, &[arguments, &ALICE].concat(), &input);
        let (claims, rest) = granted(&output);
        assert_eq!(
            (&claims["client_id"], &claims["sub"]),
            (&json!(client_id), &json!("user-1")),
            "{arguments:?}"
        );
        let expected = format!(
            "GET {url}/api/me\n200 OK\n{{\"client_id\":\"{client_id}\",\"scope\":\"profile\",\"sub\":\"user-1\"}}\n\
             GET {url}/api/orders\n403 Forbidden\nWWW-Authenticate: Bearer ",
            url = server.url
        );
        assert!(rest.trim_start().starts_with(&expected), "{rest}");
    }
    std::fs::remove_file(file).expect("remove the file");
}

#[test]
fn the_password_may_come_from_standard_input_and_the_scope_opens_the_orders() {
    let server = demo_server().start();
    let arguments =
        [&WEB[..], &["--username", "zoë", "--password-stdin", "--scope", "orders:read"]].concat();
    for input in ["pässwörd +&=%", "pässwörd +&=%\n", "pässwörd +&=%\r\nmore"] {
        let (claims, rest) = granted(&run(&server.url, &arguments, input));
        assert_eq!((&claims["sub"], &claims["scope"]), (&json!("user-2"), &json!("orders:read")));
        assert!(rest.contains("teapot"), "{rest}");
    }
}

/// Scenarios R3b and R4, and the end of a session.
#[test]
fn with_offline_access_the_client_goes_on_without_the_password_and_logs_out() {
    let server = demo_server().start();
    let key_file = key_file();
    for (arguments, introspects) in [
        (&WEB[..], true),
        (&[&WEB[..], &["--post"]].concat(), true),
        (&["--client-id", "mobile"], false),
        (&["--client-id", "backend", "--key", &key_file, "--kid", "backend-1"], true),
    ] {
        let arguments = [arguments, &ALICE, &["--scope", "profile offline_access"]].concat();
        let (_, rest) = granted(&run(&server.url, &arguments, ""));
        let asks = |line: &&str| line.starts_with("GET ") || line.starts_with("POST ");
        let requests: Vec<&str> = rest.lines().filter(asks).collect();
        let told: Vec<&str> = rest
            .lines()
            .filter(|line| line.starts_with(|first: char| first.is_ascii_digit()))
            .collect();
        let mut expected = vec![
            (format!("GET {}/api/me", server.url), "200 OK"),
            (format!("GET {}/api/orders", server.url), "403 Forbidden"),
            (format!("POST {}/oauth/token", server.url), "200 OK"),
            (format!("GET {}/api/me", server.url), "200 OK"),
            (format!("POST {}/oauth/introspect", server.url), "200 OK"),
            (format!("POST {}/oauth/revoke", server.url), "200 OK"),
            (format!("GET {}/api/me", server.url), "401 Unauthorized"),
        ];
        if !introspects {
            expected.remove(4);
        }
        let (urls, answers): (Vec<String>, Vec<&str>) = expected.into_iter().unzip();
        assert_eq!(
            (requests, told),
            (urls.iter().map(String::as_str).collect(), answers),
            "{rest}"
        );
        assert_eq!(rest.contains("\"active\": true"), introspects);
    }
}

#[test]
fn a_refusal_is_told_in_one_line_and_ends_the_client_with_a_failure() {
    let server = demo_server().start_with(&[("LOGIN_BURST", "1")]);
    let key_file = key_file();
    let told = |arguments: &[&str]| problem(&run(&server.url, arguments, ""));
    for (arguments, start) in [
        (
            &[&WEB[..], &["--username", "alice", "--password", "Wonderwall"]].concat()[..],
            "invalid_grant: ",
        ),
        (
            &[&["--client-id", "web", "--client-secret", "-wrong"][..], &ALICE].concat(),
            "invalid_client: ",
        ),
        (
            &[&["--client-id", "mobile", "--tenant", "other"][..], &ALICE].concat(),
            "invalid_client: ",
        ),
        (
            &[&["--client-id", "mobile", "--scope", "orders:read"][..], &ALICE].concat(),
            "invalid_scope: ",
        ),
        (
            &[&["--client-id", "backend", "--key", &key_file, "--kid", "x"][..], &ALICE].concat(),
            "invalid_client: ",
        ),
    ] {
        let problem = told(arguments);
        assert!(
            problem.starts_with(start) && !problem.contains("try again"),
            "{arguments:?}: {problem}"
        );
    }
    // Waits grow, so one is met however slow this machine is.
    let wrong = [&WEB[..], &["--username", "zoë", "--password", "Wonderwall"]].concat();
    let waiting = (0..10)
        .map(|_| told(&wrong))
        .find(|problem| problem.starts_with("temporarily_unavailable: "));
    let waiting = waiting.expect("too many attempts");
    let seconds = waiting
        .rsplit_once("(try again in ")
        .and_then(|(_, rest)| rest.strip_suffix(" s)")?.parse().ok());
    assert!(seconds.is_some_and(|seconds: u64| seconds > 0), "{waiting}");
}

#[test]
fn what_the_client_cannot_do_is_told_before_a_password_leaves_it() {
    let server = demo_server().start();
    for (arguments, what) in [
        (&[][..], "--client-id is missing"),
        (&["--client-id", "web", "--post"], "--post goes with --client-secret"),
        (&["--client-id", "web", "--kid", "x"], "--kid and --x5t-certificate go with --key"),
        (&[&WEB[..], &["--shared-secret", "x"]].concat(), "give one of"),
        (&["--client-id", "partner", "--shared-secret", "short"], "a secret of 5 bytes"),
        (&["--assertion", "-", "--password-stdin"], "standard input holds the password already"),
        (&["--client-id", "backend", "--key", "missing.pem"], "missing.pem: "),
        (&["--client-id", "mobile", "--unknown"], "--unknown"),
    ] {
        let problem = problem(&run(&server.url, &[arguments, &ALICE].concat(), ""));
        assert!(problem.contains(what), "{arguments:?}: {problem}");
    }
    let public = [&["--client-id", "mobile"][..], &ALICE].concat();
    let localhost = server.url.replace("127.0.0.1", "localhost");
    assert!(problem(&run(&localhost, &public, "")).contains("the server calls itself"));
    for elsewhere in
        ["http://192.0.2.1", "https://127.0.0.1", "http://127.0.0.1.example", "ftp://127.0.0.1"]
    {
        assert!(problem(&run(elsewhere, &public, "")).contains("only speaks to"), "{elsewhere}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port");
    problem(&run(&format!("http://{nobody}"), &public, ""));
}

#[test]
fn the_help_says_who_can_see_a_password() {
    let output = run("http://127.0.0.1:9", &["--help"], "");
    assert!(output.status.success() && output.stderr.is_empty());
    let help = String::from_utf8(output.stdout).expect("text");
    assert!(help.contains("Whoever uses this machine can see the arguments"), "{help}");
}
