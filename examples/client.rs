//! A command-line client of the demo server: it gets a token with the user's name and password (RFC
//! 6749 section 4.3), and calls the protected resources with it.
//!
//! Run `cargo run --example axum` in one terminal, and in another:
//!
//! ```text
//! cargo run --example client -- --client-id mobile --username alice
//! ```
//!
//! `--help` lists the other ways to authenticate the client.

use std::io::{IsTerminal, Read, Write, stdin, stdout};
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lexopt::prelude::*;
use password_grant::BoxError;
use password_grant::assertion::{AssertionKey, ClientAssertion};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde_json::Value;
use ureq::http::{Response, Uri};

const HELP: &str = "\
Gets a token with a user's name and password, and calls the protected resources with it.

cargo run --example client -- [OPTIONS]

The server
  --url URL                  its issuer identifier; default http://127.0.0.1:8080
  --tenant NAME              the identity domain, sent as X-USER-IDENTITY-DOMAIN-NAME

The user
  --username NAME            asked for if not given
  --password PASSWORD        asked for, hidden, if not given
  --password-stdin           the password is the first line of standard input
  --scope SCOPE              what to ask for, such as 'profile orders:read'; with offline_access it also refreshes
                             the token, asks the server about it, and logs out

The client, in one of these ways
  --client-id ID                              a public client
  --client-id ID --client-secret SECRET       a secret, in the Authorization header
      --post                                  or in the body
  --assertion FILE [--client-id ID]           an assertion that was generated elsewhere; - for standard input
  --client-id ID --key FILE.pem               an assertion signed with a private key
      --kid NAME                              under the name that the server knows the key by,
      --x5t-certificate FILE.pem              or named by its certificate (x5t#S256)
  --client-id ID --shared-secret SECRET       an assertion signed with a secret that both know

Whoever uses this machine can see the arguments of every program. Leave --password out, or use --password-stdin, and
write - for SECRET to be asked for it.
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), BoxError> {
    let Some(options) = Options::read()? else {
        print!("{HELP}");
        return Ok(());
    };
    let server = Server::discover(&options)?;
    let client = options.client(&server.issuer)?;

    // 1. Ask for the user's credentials.
    let username = options.username()?;
    let password = options.password()?;

    // 2. and 3. Exchange them for a token.
    let mut form =
        vec![("grant_type", "password".into()), ("username", username), ("password", password)];
    form.extend(options.scope.map(|scope| ("scope", scope)));
    let token = server.post(&server.token_endpoint, form, &client)?;
    println!("{token:#}");
    let access_token =
        token["access_token"].as_str().ok_or("there is no access_token in the answer")?;

    // 4. to 6. Call the protected resources with the token.
    server.get("/api/me", access_token)?;
    server.get("/api/orders", access_token)?;
    match token["refresh_token"].as_str() {
        Some(refresh_token) => go_on(&server, &client, refresh_token),
        None => Ok(()),
    }
}

/// Continues without the password, as a client does that has asked for `offline_access`, and logs
/// out at the end.
fn go_on(server: &Server, client: &Client, refresh_token: &str) -> Result<(), BoxError> {
    if matches!(client, Client::Generated { .. }) {
        println!(
            "The assertion that was given is used up: whoever goes on from here needs another one."
        );
        return Ok(());
    }
    // RFC 6749 section 6. Rotation: from now on the former refresh token is no longer valid.
    let form =
        vec![("grant_type", "refresh_token".into()), ("refresh_token", refresh_token.into())];
    let token = server.post(&server.token_endpoint, form, client)?;
    println!("{token:#}");
    let text = |name: &str| {
        token[name].as_str().ok_or_else(|| format!("there is no {name} in the answer"))
    };
    let (access_token, refresh_token) = (text("access_token")?, text("refresh_token")?);
    server.get("/api/me", access_token)?;

    // RFC 7662: ask the server for the token's state. A public client may not introspect.
    if let (Some(endpoint), false) =
        (&server.introspection_endpoint, matches!(client, Client::Public { .. }))
    {
        println!("{:#}", server.post(endpoint, vec![("token", access_token.into())], client)?);
    }
    // RFC 7009: revoking the refresh token ends the session, with all its access tokens.
    if let Some(endpoint) = &server.revocation_endpoint {
        server.post(endpoint, vec![("token", refresh_token.into())], client)?;
        server.get("/api/me", access_token)?;
    }
    Ok(())
}

// --- The client and its credentials --------------------------------------------------------------

/// The methods of client authentication (RFC 6749 section 2.3, RFC 7523 section 2.2). A request
/// uses one.
enum Client {
    Public { id: String },
    Basic { id: String, secret: String },
    Post { id: String, secret: String },
    Generated { id: Option<String>, assertion: String },
    Signing(Box<ClientAssertion>),
}

type Form = Vec<(&'static str, String)>;

impl Client {
    /// Adds the client's parameters to the body of one request, and returns its `Authorization`
    /// header, if it has one.
    fn identify(&self, form: &mut Form) -> Result<Option<String>, BoxError> {
        match self {
            Self::Public { id } => form.push(("client_id", id.clone())),
            Self::Basic { id, secret } => {
                // Both halves are form-encoded (RFC 6749 section 2.3.1), so the only colon
                // separates them.
                let halves = serde_urlencoded::to_string([(id, secret)])?.replacen('=', ":", 1);
                return Ok(Some(format!("Basic {}", STANDARD.encode(halves))));
            }
            Self::Post { id, secret } => {
                form.extend([("client_id", id.clone()), ("client_secret", secret.clone())]);
            }
            Self::Generated { id, assertion } => {
                form.push((
                    "client_assertion_type",
                    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer".into(),
                ));
                form.push(("client_assertion", assertion.clone()));
                form.extend(id.clone().map(|id| ("client_id", id)));
            }
            // Each request gets a fresh assertion, because the server accepts none twice.
            Self::Signing(assertions) => form.extend(assertions.parameters()?),
        }
        Ok(None)
    }
}

// --- The server ----------------------------------------------------------------------------------

struct Server {
    http: ureq::Agent,
    tenant: Option<String>,
    issuer: String,
    token_endpoint: String,
    revocation_endpoint: Option<String>,
    introspection_endpoint: Option<String>,
}

impl Server {
    /// Reads the server's metadata (RFC 8414).
    fn discover(options: &Options) -> Result<Self, BoxError> {
        let http = ureq::Agent::config_builder()
            .http_status_as_error(false) // the body of an error response says what is wrong
            .max_redirects(0) // the password must not be sent to another address
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(30)))
            .build()
            .new_agent();
        let base = options.url.trim_end_matches('/');
        let url = format!("{base}/.well-known/oauth-authorization-server");
        let answer =
            http.get(on_this_machine(&url)?).call().map_err(|error| format!("{url}: {error}"))?;
        let metadata = read_json(answer)?;
        let text = |name: &str| {
            metadata[name].as_str().ok_or_else(|| format!("{url} says nothing of {name}"))
        };
        let issuer = text("issuer")?;
        if issuer.trim_end_matches('/') != base {
            // Another server's metadata would send the password to that server (RFC 8414 section
            // 3.3).
            return Err(format!("the server calls itself {issuer}: --url must say the same").into());
        }
        let endpoint = |name: &str| metadata[name].as_str().map(str::to_owned);
        Ok(Self {
            http,
            tenant: options.tenant.clone(),
            issuer: issuer.to_owned(),
            token_endpoint: text("token_endpoint")?.to_owned(),
            revocation_endpoint: endpoint("revocation_endpoint"),
            introspection_endpoint: endpoint("introspection_endpoint"),
        })
    }

    /// Sends a form to an endpoint where the client authenticates. An OAuth error response becomes
    /// an error.
    fn post(&self, url: &str, mut form: Form, client: &Client) -> Result<Value, BoxError> {
        println!("POST {url}");
        let mut request = self.http.post(on_this_machine(url)?);
        if let Some(authorization) = client.identify(&mut form)? {
            request = request.header("Authorization", authorization);
        }
        if let Some(tenant) = &self.tenant {
            request = request.header("X-USER-IDENTITY-DOMAIN-NAME", tenant);
        }
        let request = request.content_type("application/x-www-form-urlencoded");
        let answer = request.send(serde_urlencoded::to_string(form)?)?;
        println!("{}", answer.status());
        if answer.status().is_success() {
            return read_json(answer);
        }
        let wait = answer
            .headers()
            .get("Retry-After")
            .and_then(|seconds| Some(seconds.to_str().ok()?.to_owned()));
        let error = read_json(answer)?; // RFC 6749 section 5.2
        let text = |name: &str| error[name].as_str().unwrap_or("-").to_owned();
        let wait = wait.map(|seconds| format!(" (try again in {seconds} s)")).unwrap_or_default();
        Err(format!("{}: {}{wait}", text("error"), text("error_description")).into())
    }

    /// Calls a protected resource (RFC 6750 section 2.1), and prints the response.
    fn get(&self, path: &str, access_token: &str) -> Result<(), BoxError> {
        let url = format!("{}{path}", self.issuer.trim_end_matches('/'));
        println!("GET {url}");
        let request = self
            .http
            .get(on_this_machine(&url)?)
            .header("Authorization", format!("Bearer {access_token}"));
        let mut answer = request.call()?;
        println!("{}", answer.status());
        if let Some(challenge) = answer.headers().get("WWW-Authenticate") {
            println!("WWW-Authenticate: {}", String::from_utf8_lossy(challenge.as_bytes()));
        }
        println!("{}", answer.body_mut().read_to_string()?);
        Ok(())
    }
}

/// Allows only URLs of this machine, where nobody can listen in. A real client uses TLS for any
/// other host; this one cannot.
fn on_this_machine(url: &str) -> Result<Uri, BoxError> {
    let uri: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let loopback =
        host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    if uri.scheme_str() == Some("http") && loopback {
        return Ok(uri);
    }
    Err(format!("{url}: this client only speaks to http:// on this machine").into())
}

fn read_json(mut answer: Response<ureq::Body>) -> Result<Value, BoxError> {
    let body = answer.body_mut().read_to_string()?;
    serde_json::from_str(&body)
        .map_err(|_| format!("{}, and the body is no JSON", answer.status()).into())
}

// --- The command line ----------------------------------------------------------------------------

#[derive(Default)]
struct Options {
    url: String,
    tenant: Option<String>,
    username: Option<String>,
    password: Option<String>,
    password_stdin: bool,
    scope: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    post: bool,
    assertion: Option<String>,
    key: Option<String>,
    kid: Option<String>,
    certificate: Option<String>,
    shared_secret: Option<String>,
}

impl Options {
    /// Reads the arguments. Returns `None` for `--help`.
    fn read() -> Result<Option<Self>, BoxError> {
        let mut own = Self { url: "http://127.0.0.1:8080".into(), ..Self::default() };
        let mut arguments = lexopt::Parser::from_env();
        let value = |arguments: &mut lexopt::Parser| arguments.value()?.string();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("url") => own.url = value(&mut arguments)?,
                Long("tenant") => own.tenant = Some(value(&mut arguments)?),
                Long("username") => own.username = Some(value(&mut arguments)?),
                Long("password") => own.password = Some(value(&mut arguments)?),
                Long("password-stdin") => own.password_stdin = true,
                Long("scope") => own.scope = Some(value(&mut arguments)?),
                Long("client-id") => own.client_id = Some(value(&mut arguments)?),
                Long("client-secret") => own.client_secret = Some(value(&mut arguments)?),
                Long("post") => own.post = true,
                Long("assertion") => own.assertion = Some(value(&mut arguments)?),
                Long("key") => own.key = Some(value(&mut arguments)?),
                Long("kid") => own.kid = Some(value(&mut arguments)?),
                Long("x5t-certificate") => own.certificate = Some(value(&mut arguments)?),
                Long("shared-secret") => own.shared_secret = Some(value(&mut arguments)?),
                Long("help") | Short('h') => return Ok(None),
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(Some(own))
    }

    /// The chosen authentication method. Assertions that are signed here have this issuer as their
    /// audience.
    fn client(&self, issuer: &str) -> Result<Client, BoxError> {
        let id = || self.client_id.clone().ok_or("--client-id is missing");
        if self.post && self.client_secret.is_none() {
            return Err("--post goes with --client-secret".into());
        }
        if self.key.is_none() && (self.kid.is_some() || self.certificate.is_some()) {
            return Err("--kid and --x5t-certificate go with --key".into());
        }
        let signing = |id, key| Client::Signing(Box::new(ClientAssertion::new(id, issuer, key)));
        Ok(match (&self.client_secret, &self.assertion, &self.key, &self.shared_secret) {
            (None, None, None, None) => Client::Public { id: id()? },
            (Some(secret), None, None, None) => {
                let (id, secret) = (id()?, given_or_asked(secret, "Client secret: ")?);
                if self.post { Client::Post { id, secret } } else { Client::Basic { id, secret } }
            }
            (None, Some(file), None, None) => {
                Client::Generated { id: self.client_id.clone(), assertion: self.generated(file)? }
            }
            (None, None, Some(file), None) => signing(id()?, self.private_key(file)?),
            (None, None, None, Some(secret)) => signing(
                id()?,
                AssertionKey::from_secret(given_or_asked(secret, "Shared secret: ")?)?,
            ),
            _ => {
                return Err(
                    "give one of --client-secret, --assertion, --key and --shared-secret".into()
                );
            }
        })
    }

    fn generated(&self, file: &str) -> Result<String, BoxError> {
        let mut assertion = String::new();
        match file {
            "-" if self.password_stdin => {
                return Err("standard input holds the password already".into());
            }
            "-" => drop(stdin().read_to_string(&mut assertion)?),
            file => assertion = String::from_utf8(read(file)?)?,
        }
        Ok(assertion.trim().to_owned())
    }

    fn private_key(&self, file: &str) -> Result<AssertionKey, BoxError> {
        let mut key =
            AssertionKey::from_pem(read(file)?).map_err(|error| format!("{file}: {error}"))?;
        if let Some(kid) = &self.kid {
            key = key.with_kid(kid);
        }
        if let Some(file) = &self.certificate {
            let certificate = CertificateDer::from_pem_slice(&read(file)?)
                .map_err(|error| format!("{file}: {error}"))?;
            key = key.certificate(&certificate);
        }
        Ok(key)
    }

    fn username(&self) -> Result<String, BoxError> {
        match &self.username {
            Some(username) => Ok(username.clone()),
            None if stdin().is_terminal() => {
                print!("User name: ");
                stdout().flush()?;
                first_line()
            }
            None => Err("--username is missing, and nobody is here to be asked".into()),
        }
    }

    fn password(&self) -> Result<String, BoxError> {
        match &self.password {
            _ if self.password_stdin => first_line(),
            Some(password) => Ok(password.clone()),
            None => Ok(rpassword::prompt_password("Password: ")?),
        }
    }
}

/// Returns the secret from the command line, or for `-` asks for it without an echo.
fn given_or_asked(given: &str, prompt: &str) -> Result<String, BoxError> {
    if given == "-" { Ok(rpassword::prompt_password(prompt)?) } else { Ok(given.to_owned()) }
}

fn first_line() -> Result<String, BoxError> {
    let mut line = String::new();
    stdin().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn read(file: &str) -> Result<Vec<u8>, BoxError> {
    std::fs::read(file).map_err(|error| format!("{file}: {error}").into())
}
