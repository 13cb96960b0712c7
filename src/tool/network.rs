//! The way out: HTTP requests of tools, guarded at the addresses that are really connected to, and bounded in time, size and redirects.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, Url};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::Failure;
use super::address::{ALLOW_PRIVATE_ADDRESSES, Allowed, Refused};
use super::answer::Answer;
use crate::definition::Settings;

/// How long a host may take to accept a connection.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// How many redirects a request follows.
const REDIRECTS: usize = 5;

/// How many bytes are read of an answer that is no success.
const ERROR_BYTES: usize = 16 << 10;

/// How the server names itself; some hosts turn the nameless away.
const USER_AGENT: &str = concat!("synapse/", env!("CARGO_PKG_VERSION"));

/// Finds the addresses of a host.
pub type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// The network as tools see it. One for all of them.
pub struct Network {
    time: Duration,
    lookup: Lookup,
    /// What the settings last asked for.
    reach: Mutex<Option<Arc<Reach>>>,
}

impl Network {
    /// Makes a network in which a whole exchange may take `time`.
    pub fn new(time: Duration) -> Self {
        Self::resolving_with(time, Arc::new(|host| Box::pin(system_lookup(host))))
    }

    /// Makes a network that finds addresses in another way than the system does.
    pub fn resolving_with(time: Duration, lookup: Lookup) -> Self {
        Self { time, lookup, reach: Mutex::default() }
    }

    /// Returns what tools may reach under these settings. Cheap while they stay the same.
    pub fn reach(&self, settings: &Settings) -> Arc<Reach> {
        let setting = settings.get(ALLOW_PRIVATE_ADDRESSES);
        let mut current = self.reach.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reach) = current.as_ref().filter(|reach| reach.setting.as_ref() == setting) {
            return reach.clone();
        }
        // Connections that were made under other settings go with their clients.
        current.insert(Arc::new(Reach::new(setting, self.time, &self.lookup))).clone()
    }
}

async fn system_lookup(host: String) -> io::Result<Vec<IpAddr>> {
    Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect())
}

/// What tools may reach, and the clients that go there.
pub struct Reach {
    setting: Option<Value>,
    allowed: Arc<Allowed>,
    time: Duration,
    /// By port, because a rule may name one and a resolver is not told it; 0 for all ports that no rule names.
    clients: BTreeMap<u16, (Resolver, OnceLock<Client>)>,
}

impl Reach {
    fn new(setting: Option<&Value>, time: Duration, lookup: &Lookup) -> Self {
        let allowed = Arc::new(Allowed::read(setting));
        let client = |port| (port, (Resolver { allowed: allowed.clone(), lookup: lookup.clone(), port }, OnceLock::new()));
        let clients = allowed.ports().chain([0]).map(client).collect();
        Self { setting: setting.cloned(), allowed, time, clients }
    }

    /// Sends a request, follows its redirects and reads the answer, until `deadline` at the latest.
    pub(super) async fn ask(&self, request: Request, deadline: Instant, limit: usize) -> Result<Answer, Failure> {
        let host = host_of(&request.url);
        let begun = Instant::now();
        let deadline = deadline.min(begun + self.time);
        let late = |_| Failure::new(format!("`{host}` gave no whole answer within {:.1} s", (deadline - begun).as_secs_f64()));
        timeout_at(deadline, self.exchange(request, limit)).await.map_err(late)?
    }

    async fn exchange(&self, mut request: Request, limit: usize) -> Result<Answer, Failure> {
        for _ in 0..=REDIRECTS {
            let response = self.send(&request).await?;
            match request.redirected(&response) {
                Some(url) => request.follow(url),
                None => return read(response, limit).await,
            }
        }
        Err(Failure::new(format!("`{}` redirects more than {REDIRECTS} times", host_of(&request.url))))
    }

    async fn send(&self, request: &Request) -> Result<Response, Failure> {
        self.allowed.check(&request.url)?;
        let mut builder = self.client(&request.url)?.request(request.method.clone(), request.url.clone()).headers(request.headers.clone());
        if let Some(body) = &request.body {
            builder = builder.body(body.clone());
        }
        builder.send().await.map_err(|error| failed(&request.url, &error))
    }

    fn client(&self, url: &Url) -> Result<&Client, Failure> {
        let unusable = || Failure::new("no HTTP client can be made: are there root certificates?");
        let port = url.port_or_known_default().unwrap_or_default();
        let (resolver, client) = self.clients.get(&port).or_else(|| self.clients.get(&0)).ok_or_else(unusable)?;
        if let Some(client) = client.get() {
            return Ok(client);
        }
        let made = make_client(resolver.clone()).map_err(|_| unusable())?;
        Ok(client.get_or_init(|| made))
    }
}

fn make_client(resolver: Resolver) -> reqwest::Result<Client> {
    Client::builder()
        .dns_resolver(resolver)
        .no_proxy() // a proxy would resolve names by itself, past the guard
        .redirect(Policy::none()) // each redirect goes through the guard
        .no_gzip() // what is counted is what is read: nothing is unpacked
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .default_headers(HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]))
        .connect_timeout(CONNECT_TIME)
        .user_agent(USER_AGENT)
        .build()
}

/// Gives out those addresses of a host that are allowed. What it gives out is what is connected to: nobody resolves the name again.
#[derive(Clone)]
struct Resolver {
    allowed: Arc<Allowed>,
    lookup: Lookup,
    port: u16,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (resolver, host) = (self.clone(), name.as_str().to_owned());
        Box::pin(async move {
            let mut addresses = (resolver.lookup)(host.clone()).await?;
            addresses.retain(|address| resolver.allowed.permits(&host, resolver.port, *address));
            if addresses.is_empty() {
                return Err(Refused { host }.into());
            }
            Ok(Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

/// One HTTP request.
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    /// Sent to the origin of the URL only, because they may be secrets.
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Vec<u8>>,
}

impl Request {
    /// Returns where a response sends the request, if it is one that may be sent again.
    fn redirected(&self, response: &Response) -> Option<Url> {
        if !response.status().is_redirection() || !matches!(self.method, Method::GET | Method::HEAD) {
            return None;
        }
        self.url.join(response.headers().get(LOCATION)?.to_str().ok()?).ok()
    }

    /// Goes to another URL. Headers that left their origin once never come back.
    fn follow(&mut self, url: Url) {
        if url.origin() != self.url.origin() {
            self.headers.clear();
        }
        self.url = url;
    }
}

/// Reads an answer whole, or only its beginning where it is no success.
async fn read(mut response: Response, limit: usize) -> Result<Answer, Failure> {
    let (url, succeeded) = (response.url().clone(), response.status().is_success());
    let limit = if succeeded { limit } else { limit.min(ERROR_BYTES) };
    let too_large = || Failure::new(format!("the answer of `{}` is larger than {limit} bytes; ask for less", host_of(&url)));
    if succeeded && response.content_length().is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| failed(&url, &error))? {
        let room = limit - body.len();
        body.extend_from_slice(&piece[..piece.len().min(room)]);
        if piece.len() > room {
            if succeeded {
                return Err(too_large());
            }
            break;
        }
    }
    Ok(Answer { status: response.status(), headers: response.headers().clone(), url, body })
}

/// Tells what went wrong without the URL, whose query may hold a secret.
fn failed(url: &Url, error: &reqwest::Error) -> Failure {
    let host = host_of(url);
    let mut deepest: &dyn Error = error;
    while let Some(deeper) = deepest.source() {
        if let Some(refused) = deeper.downcast_ref::<Refused>() {
            return Failure::new(refused.to_string());
        }
        deepest = deeper;
    }
    let what = if error.is_connect() { "cannot be reached" } else { "broke off" };
    Failure::new(format!("`{host}` {what}: {deepest}"))
}

/// Returns host and port as the URL writes them.
fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
