//! The HTTP clients that remote calls share, made on first use: most servers start without needing one.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

use genai::Client;
use reqwest::Url;
use reqwest::redirect::Policy;

use crate::provider::remembered::Remembered;
use crate::provider::{Kind, ModelError};

/// How long a service may take to accept a connection.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// How the server names itself; some gateways turn the nameless away.
const USER_AGENT: &str = concat!("synapse/", env!("CARGO_PKG_VERSION"));

/// The clients: one that goes through the proxy of the environment, and one for this machine, that never does.
#[derive(Default)]
pub(in crate::provider) struct Clients {
    far: OnceLock<Client>,
    near: OnceLock<Client>,
    /// The models that do not answer in pieces.
    pub(super) in_one_piece: Remembered,
}

impl Clients {
    /// Returns the client for an address.
    pub(super) fn get(&self, base: &Url) -> Result<&Client, ModelError> {
        let near = is_near(base);
        let slot = if near { &self.near } else { &self.far };
        if let Some(client) = slot.get() {
            return Ok(client);
        }
        let made = make(near)?;
        Ok(slot.get_or_init(|| made))
    }
}

fn make(near: bool) -> Result<Client, ModelError> {
    // A redirect would carry the key to wherever it points.
    let builder = reqwest::Client::builder().connect_timeout(CONNECT_TIME).redirect(Policy::none()).user_agent(USER_AGENT);
    let builder = if near { builder.no_proxy() } else { builder };
    let http =
        builder.build().map_err(|_| ModelError::new(Kind::Unavailable, "no HTTP client can be made: are there root certificates?"))?;
    let client = Client::builder().with_reqwest(http).build();
    client.map_err(|_| ModelError::new(Kind::Unavailable, "no client for models can be made"))
}

fn is_near(base: &Url) -> bool {
    let host = base.host_str().unwrap_or_default();
    host == "localhost" || host.trim_matches(['[', ']']).parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_near() {
        for (base, near) in [
            ("http://localhost:1/", true),
            ("http://127.0.0.1:1/", true),
            ("http://[::1]:1/", true),
            ("http://192.168.1.2/", false),
            ("https://api.openai.com/v1/", false),
        ] {
            assert_eq!(is_near(&Url::parse(base).unwrap()), near, "{base}");
        }
    }
}
