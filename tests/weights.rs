//! Fetching weights from a source that does not have them.
#![expect(clippy::unwrap_used, reason = "outside of `#[test]` functions clippy does not see that this is a test")]

use synapse::provider::weights;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

/// Fetches from a server that answers so, and returns what the error says and what is left in the directory.
async fn refused(answer: ResponseTemplate) -> (String, Vec<String>) {
    let (server, directory) = (MockServer::start().await, tempfile::tempdir().unwrap());
    Mock::given(any()).respond_with(answer).expect(1).mount(&server).await;
    let url = format!("{}/model.gguf?token=hush", server.uri());
    let error = weights::fetch(directory.path(), Some(&url), |_| ()).await.unwrap_err().to_string();
    let files = directory.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    (error, files.collect())
}

#[tokio::test]
async fn a_file_that_is_not_the_weights_is_removed_and_the_source_is_told_without_its_secret() {
    let (error, files) = refused(ResponseTemplate::new(200).set_body_bytes(vec![0; 1000])).await;
    assert!(error.contains("SYNAPSE_MODEL_URL (http://") && error.contains("has 1000 bytes instead of 98362432"), "{error}");
    assert!(!error.contains("hush"), "{error}");
    assert_eq!(files, [".lock"]);
}

#[tokio::test]
async fn a_refusing_source_is_told_with_its_reason_and_the_way_out() {
    let (error, files) = refused(ResponseTemplate::new(404)).await;
    assert!(error.contains("404 Not Found") && error.contains("set another `model` in settings.json"), "{error}");
    assert!(!error.contains("hush"), "{error}");
    assert_eq!(files, [".lock"]);
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = weights::fetch(file.path(), None, |_| ()).await.unwrap_err().to_string();
    assert!(error.contains("SYNAPSE_MODEL_DIR") && error.contains(&file.path().display().to_string()), "{error}");
}
