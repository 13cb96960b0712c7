//! Images in a chat.

use rstest::rstest;
use serde_json::json;

use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{Setup, refused};

const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

#[rstest]
#[tokio::test]
async fn images_reach_the_model_and_are_kept(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().script(json!({"text": "{images}"})).start();
    let client = server.client(dialect);
    let uri = format!("data:image/png;base64,{PIXEL}");
    let five = json!({"message": "look", "session_id": "s", "images": [PIXEL, uri, PIXEL, PIXEL, PIXEL]});
    assert_eq!(client.say(five).await, "5");
    assert_eq!(client.say(json!({"message": "again", "session_id": "s", "images": []})).await, "5", "those of earlier turns");
    let session = client.call("GetSession", json!({"session_id": "s"})).await.answer();
    assert_eq!(session["turns"][0]["images"], json!([uri, uri, uri, uri, uri]));
    assert_eq!(session["turns"][1]["images"], json!([]));
}

#[rstest]
#[tokio::test]
async fn images_that_are_too_many_or_none_are_refused(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().start();
    let client = server.client(dialect);
    let six = json!({"message": "look", "images": [PIXEL, PIXEL, PIXEL, PIXEL, PIXEL, PIXEL]});
    assert_eq!(client.chat(six.clone()).await, refused(400, "`images` must have at most 5 items, not 6"));
    assert_eq!(client.stream(six).await.err(), Some(refused(400, "`images` must have at most 5 items, not 6")));
    for (image, told) in [
        ("aGVsbG8=", "`images[1]` is no PNG, JPEG, GIF or WebP image"),
        ("data:image/png,abc", "`images[1]` must be a data URI with `;base64,`"),
        ("%%%", "`images[1]` is not base64"),
    ] {
        let request = json!({"message": "look", "images": [PIXEL, image]});
        let (status, detail) = client.chat(request).await.refusal();
        assert!(status == 400 && detail.starts_with(told), "{status}: {detail}");
    }
}

#[rstest]
#[tokio::test]
async fn a_model_that_does_not_see_gets_no_images(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().script(json!({"text": "{images} {message}", "sees": false})).start();
    let client = server.client(dialect);
    let request = json!({"message": "look", "images": [PIXEL]});
    let detail = "`images` cannot be taken: model `scripted.it` of agent `a1` does not see images; choose another agent";
    assert_eq!(client.chat(request.clone()).await, refused(400, detail));
    assert_eq!(client.stream(request).await.err(), Some(refused(400, detail)));
    assert_eq!(client.say(json!({"message": "hi", "images": []})).await, "0 hi");
}
