//! The guard of addresses, at every door that leads past it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use synapse::definition::Settings;
use synapse::tool::{Lookup, Network, Tool, fetch_url};

use crate::service::{Service, ok, redirect};
use crate::{PATIENCE, allowing, call, http_tool_in, network};

fn tool(network: &Network, settings: &Settings) -> Arc<dyn Tool> {
    fetch_url::tool("fetch_url", &network.reach(settings))
}

async fn fetch(settings: &Settings, url: &str) -> Result<String, String> {
    call(&tool(&network(), settings), json!({"url": url})).await
}

/// Resolves every name to the next of these addresses, and then to the last one again and again.
fn lookup(addresses: [Ipv4Addr; 2]) -> (Lookup, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let lookup = move |_| {
        let address = addresses[counted.fetch_add(1, Ordering::Relaxed).min(addresses.len() - 1)];
        Box::pin(async move { Ok(vec![IpAddr::V4(address)]) }) as _
    };
    (Arc::new(lookup), asked)
}

fn assert_refused(outcome: Result<String, String>, host: &str) {
    let failure = outcome.unwrap_err();
    assert!(failure.contains(&format!("`{host}` is refused")) && failure.contains("`allow_private_addresses`"), "{failure}");
}

#[tokio::test]
async fn this_machine_is_refused_by_address_and_by_name() {
    let service = Service::always(ok("text/plain", "inside")).await;
    let port = service.address.port();
    let nothing = Settings::default();
    for (host, told) in [
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "localhost"),
        ("[::1]", "[::1]"),
        ("[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
        ("0x7f.1", "127.0.0.1"),
    ] {
        assert_refused(fetch(&nothing, &format!("http://{host}:{port}/")).await, told);
        let record = json!({"url": format!("http://{host}:{port}/")});
        assert_refused(call(&http_tool_in(&network(), &nothing, &record), json!({})).await, told);
    }
    assert_eq!(service.asked().len(), 0);
}

#[tokio::test]
async fn a_redirect_to_the_metadata_of_a_cloud_is_refused() {
    let service = Service::always(redirect("http://169.254.169.254/latest/meta-data/")).await;
    assert_refused(fetch(&allowing(["127.0.0.1"].as_slice()), &service.url("/")).await, "169.254.169.254");
    let service = Service::always(redirect(&format!("http://localhost:{}/", service.address.port()))).await;
    let only = allowing([service.address.to_string().as_str()].as_slice());
    assert_refused(fetch(&only, &service.url("/")).await, "localhost");
    let service = Service::always(redirect("file:///etc/passwd")).await;
    let failure = fetch(&allowing(true), &service.url("/")).await.unwrap_err();
    assert_eq!(failure, "`file` is no scheme that tools may use; write `http` or `https`");
}

#[tokio::test]
async fn the_operator_allows_an_address_a_port_a_name_or_all() {
    let service = Service::always(ok("text/plain", "inside")).await;
    let (address, port) = (service.address.to_string(), service.address.port());
    let named = format!("http://localhost:{port}/");
    for (allowed, url) in [
        (json!(true), &named),
        (json!([address]), &service.url("/")),
        (json!([address]), &named),
        (json!([format!("localhost:{port}")]), &named),
        (json!(["localhost"]), &named),
        (json!("127.0.0.0/8"), &service.url("/")),
    ] {
        assert!(fetch(&allowing(allowed.clone()), url).await.is_ok_and(|text| text.ends_with("inside")), "{allowed} {url}");
    }
    for allowed in [json!(["127.0.0.1:1"]), json!(["localhost:1"]), json!(["10.0.0.0/8"]), json!(false)] {
        assert_refused(fetch(&allowing(allowed), &named).await, "localhost");
    }
}

/// The name is resolved once, and what was checked is what is connected to.
#[tokio::test]
async fn a_name_that_changes_its_address_gains_nothing() {
    let inside = Service::always(ok("text/plain", "inside")).await;
    let port = inside.address.port();
    let outside = Service::start(&format!("127.0.0.2:{port}"), |_| ok("text/plain", "outside")).await;
    let settings = allowing(["127.0.0.2"].as_slice());
    let url = json!({"url": format!("http://rebinding.example:{port}/")});
    let (resolving, asked) = lookup([Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::LOCALHOST]);
    let network = Network::resolving_with(PATIENCE, resolving);
    assert!(call(&tool(&network, &settings), url.clone()).await.unwrap().ends_with("outside"));
    assert_eq!((asked.load(Ordering::Relaxed), outside.asked().len()), (1, 1));
    assert_refused(call(&tool(&network, &settings), url).await, "rebinding.example");
    assert_eq!(inside.asked().len(), 0);
}

#[tokio::test]
async fn of_several_addresses_only_the_allowed_ones_are_tried() {
    let inside = Service::always(ok("text/plain", "inside")).await;
    let port = inside.address.port();
    let outside = Service::start(&format!("127.0.0.2:{port}"), |_| ok("text/plain", "outside")).await;
    let both = || vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2))];
    let network = Network::resolving_with(PATIENCE, Arc::new(move |_| Box::pin(async move { Ok(both()) })));
    let settings = allowing(["127.0.0.2"].as_slice());
    let told = call(&tool(&network, &settings), json!({"url": format!("http://two.example:{port}/")})).await;
    assert!(told.unwrap().ends_with("outside"));
    assert_eq!((inside.asked().len(), outside.asked().len()), (0, 1));
}

#[tokio::test]
async fn a_setting_that_changes_is_kept_at_once() {
    let service = Service::always(ok("text/plain", "inside")).await;
    let network = network();
    let outcome = async |settings: &Settings| call(&tool(&network, settings), json!({"url": service.url("/")})).await;
    assert!(outcome(&allowing(true)).await.is_ok());
    assert_refused(outcome(&Settings::default()).await, "127.0.0.1");
    assert!(outcome(&allowing(true)).await.is_ok());
}

/// What is asked of the lookup is the host of the URL, never what an argument says.
#[tokio::test]
async fn no_argument_chooses_the_host() {
    let hosts = Arc::new(Mutex::new(Vec::new()));
    let seen = hosts.clone();
    let resolving: Lookup = Arc::new(move |host| {
        seen.lock().unwrap().push(host);
        Box::pin(async { Err(std::io::Error::other("nowhere")) })
    });
    let network = Network::resolving_with(PATIENCE, resolving);
    for value in
        ["@evil.example/", "/../..//evil.example", "\\\\evil.example", "?#@evil.example", "\r\nHost: evil.example", "%2f%2fevil.example"]
    {
        for url in ["http://fixed.example/{v}", "http://fixed.example/?q={v}", "http://fixed.example/a{v}b"] {
            let tool = http_tool_in(&network, &Settings::default(), &json!({"url": url}));
            call(&tool, json!({"v": value})).await.unwrap_err();
        }
    }
    let injected = http_tool_in(&network, &Settings::default(), &json!({"url": "http://fixed.example{v}/"}));
    assert!(call(&injected, json!({"v": "@evil.example"})).await.unwrap_err().contains("has a placeholder"));
    let hosts = hosts.lock().unwrap();
    assert!(hosts.len() == 18 && hosts.iter().all(|host| host == "fixed.example"), "{hosts:?}");
}

#[tokio::test]
async fn other_schemes_and_credentials_are_refused() {
    for url in ["file:///etc/passwd", "gopher://h/", "ftp://h/", "data:text/plain,x", "javascript:1", "nonsense", ""] {
        assert!(fetch(&allowing(true), url).await.is_err(), "{url}");
    }
    let refused = fetch(&allowing(true), "http://user:secret@localhost/").await.unwrap_err();
    assert_eq!(refused, "the URL has a user or a password; take it out");
    let none = call(&tool(&network(), &allowing(true)), Value::Object(serde_json::Map::new())).await;
    assert!(none.unwrap_err().contains("`url` is no address"));
}
