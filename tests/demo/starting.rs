//! Starting and stopping, as the demo's documentation promises it.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Output;
use std::thread;
use std::time::{Duration, Instant};

use super::http::{Request, connect, read_answer};
use super::{ALICE, Program, alice};

pub(crate) fn the_ready_line_names_the_real_port_and_a_warning_follows(program: &Program) {
    let server = program.start();
    assert!(server.url.starts_with("http://127.0.0.1:"), "{}", server.url);
    assert_ne!(server.address.port(), 0);
    let answer = server.send(&alice());
    assert_eq!(answer.status, 200, "{answer:?}");
    // All of it is demo data.
    assert!(server.next_line().starts_with("WARNING"));
}

/// SIGTERM is what supervisors send, SIGINT what Ctrl-C sends.
pub(crate) fn a_request_in_flight_is_finished_before_the_server_stops(program: &Program) {
    for signal in ["TERM", "INT"] {
        let mut server = program.start();
        let mut connection = connect(server.address);
        let request =
            Request::token("").basic("web", "web-secret").header("Expect", "100-continue");
        connection.write_all(&request.head(ALICE.len())).expect("send the head");
        // RFC 9110 section 10.1.1: this says that the request is being handled and its body waited for.
        let mut interim = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
        connection.read_exact(&mut interim).expect("an interim answer");
        assert!(interim.starts_with(b"HTTP/1.1 100 "), "{}", String::from_utf8_lossy(&interim));

        server.signal(signal);
        // The stop has begun when nobody is let in any more.
        let begun = Instant::now();
        while TcpStream::connect(server.address).is_ok() && begun.elapsed() < Duration::from_secs(2)
        {
            thread::sleep(Duration::from_millis(5));
        }

        connection.write_all(ALICE.as_bytes()).expect("send the body");
        let answer = read_answer(&mut connection, "POST");
        assert_eq!(answer.status, 200, "SIG{signal}: {answer:?}");
        assert_eq!(server.wait().code(), Some(0), "SIG{signal}");
    }
}

pub(crate) fn idle_connections_do_not_hold_up_the_end(program: &Program) {
    let mut server = program.start();
    let silent = connect(server.address);
    let mut kept = connect(server.address);
    kept.write_all(b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: demo.example\r\n\r\n")
        .expect("send");
    kept.read_exact(&mut [0; 12]).expect("an answer");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    drop((silent, kept));
}

pub(crate) fn a_setting_that_cannot_be_used_ends_the_program_with_one_line_that_names_it(
    program: &Program,
) {
    let scratch = program.scratch.join(format!("settings-{}", std::process::id()));
    let (empty, spoilt) = (scratch.join("empty"), scratch.join("spoilt"));
    for folder in [&empty, &spoilt] {
        fs::create_dir_all(folder).expect("make a folder");
    }
    fs::write(spoilt.join("token-es256.pem"), "not a key\nat all\n").expect("write a file");
    let unreachable = format!("sqlite:{}/missing/demo.db", empty.display());
    let (empty, spoilt) =
        (empty.to_str().expect("a path in UTF-8"), spoilt.to_str().expect("a path in UTF-8"));

    for (name, value) in [
        ("LISTEN_ADDR", ""),
        ("LISTEN_ADDR", "nonsense"),
        ("LISTEN_ADDR", "127.0.0.1"),
        ("LISTEN_ADDR", "127.0.0.1:99999"),
        ("DATABASE_URL", "sqlite:demo.db?mode=nonsense"),
        ("DATABASE_URL", "nonsense"),
        ("DATABASE_URL", ""),
        ("DATABASE_URL", "mysql://x/y"),
        ("DATABASE_URL", &unreachable),
        ("LOGIN_BURST", ""),
        ("LOGIN_BURST", "0"),
        ("LOGIN_BURST", "-1"),
        ("LOGIN_BURST", "ten"),
        ("LOGIN_BURST", "101"),
        ("REFRESH_RETRY_WINDOW", ""),
        ("REFRESH_RETRY_WINDOW", "-1"),
        ("REFRESH_RETRY_WINDOW", "soon"),
        ("REFRESH_RETRY_WINDOW", "601"),
        ("KEYS_DIR", ""),
        ("KEYS_DIR", empty),
        ("KEYS_DIR", spoilt),
        ("KEYS_DIR", "missing\nfolder"),
        // RFC 8414 section 2; a plain one only on a loopback address.
        ("ISSUER", ""),
        ("ISSUER", "nonsense"),
        ("ISSUER", "http://id.example.com"),
        ("ISSUER", "ftp://id.example.com"),
        ("ISSUER", "https://id.example.com/?tenant=demo"),
        ("ISSUER", "https://id.example.com/#demo"),
    ] {
        assert_ended_because_of(name, &program.fail_with(&[(name, value)]), value);
    }
    fs::remove_dir_all(&scratch).expect("remove the folders");
}

pub(crate) fn an_address_that_is_taken_ends_the_program(program: &Program) {
    let taken = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (address, _listener) = taken.expect("a listener");
    let address = address.to_string();
    assert_ended_because_of(
        "LISTEN_ADDR",
        &program.fail_with(&[("LISTEN_ADDR", &address)]),
        &address,
    );
}

/// An issuer that is not known cannot be made up from what the program is bound to: that is no address of anybody's.
pub(crate) fn all_interfaces_are_bound_only_with_an_issuer(program: &Program) {
    let everywhere = ("LISTEN_ADDR", "0.0.0.0:0");
    assert_ended_because_of("ISSUER", &program.fail_with(&[everywhere]), "none");

    let server = program.start_with(&[everywhere, ("ISSUER", "https://id.example.com")]);
    assert!(server.url.starts_with("http://0.0.0.0:"), "{}", server.url);
    assert_eq!(server.send(&alice()).status, 200);
}

pub(crate) fn a_database_file_is_used_again_at_the_next_start(program: &Program) {
    let file = program.scratch.join(format!("demo-{}.db", std::process::id()));
    let url = format!("sqlite:{}", file.display());
    for start in ["the first", "the second"] {
        let mut server = program.start_with(&[("DATABASE_URL", &url)]);
        let answer = server.send(&alice());
        assert_eq!(answer.status, 200, "{start}: {answer:?}");
        server.signal("TERM");
        assert_eq!(server.wait().code(), Some(0), "{start}");
        assert!(file.exists(), "{start}");
    }
    fs::remove_file(file).expect("remove the file");
}

fn assert_ended_because_of(name: &str, output: &Output, value: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{name}={value:?}: {stderr}");
    assert_eq!(output.stdout, b"", "{name}={value:?}");
    assert_eq!(stderr.lines().count(), 1, "{name}={value:?}: {stderr}");
    assert!(stderr.starts_with(&format!("{name}: ")), "{name}={value:?}: {stderr}");
}
