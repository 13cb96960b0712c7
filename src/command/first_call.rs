//! The lines that a person can paste after the first start.

use std::net::SocketAddr;

/// Shows the key once, with calls in curl, gRPC and Python.
pub(super) fn text(address: &SocketAddr, key: &str, tls: bool) -> String {
    let (scheme, plaintext) = if tls { ("https", "") } else { ("http", "-plaintext ") };
    let message = r#"{"message": "What is the capital of France?"}"#;
    format!(
        r#"
Your API key, shown only now:

  {key}

curl:
  curl -N {scheme}://{address}/api/v1/chat/stream -H 'authorization: Bearer {key}' -H 'content-type: application/json' -d '{message}'

gRPC:
  grpcurl {plaintext}-H 'authorization: Bearer {key}' -d '{message}' {address} synapse.v1.ChatService/StreamChat

Python:
  python3 -c 'import json, urllib.request as r; print(json.load(r.urlopen(r.Request("{scheme}://{address}/api/v1/chat", json.dumps({message}).encode(), {{"authorization": "Bearer {key}", "content-type": "application/json"}})))["response"])'

API page: {scheme}://{address}/docs
"#
    )
}
