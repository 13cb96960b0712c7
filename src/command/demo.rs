//! `synapse demo`: the first minute, from nothing to an answer.

use std::process::ExitCode;

use secrecy::ExposeSecret;

use super::ask::{Question, ask};
use super::serve::{first_key, listening, open, stop_signal};
use super::{Failure, first_call, log, model};
use crate::config::Config;
use crate::provider::weights;
use crate::store::{create_data_dir, write_starter};

/// The name of the key that each demo makes anew.
const KEY_NAME: &str = "synapse demo (made anew at each start)";

/// A question that the small model answers well.
const QUESTION: &str = "What is the capital of France?";

/// Gets the model, serves, asks a question, and goes on serving.
pub(super) async fn demo(mut config: Config) -> Result<ExitCode, Failure> {
    if config.log_filter == "info" {
        "warn,synapse::provider::local=info".clone_into(&mut config.log_filter);
    }
    let _log = log::start(&config)?;
    if !weights::present(&config.model_dir) {
        model::fetch(&config).await?;
    }
    create_data_dir(&config.data_dir)?;
    write_starter(&config.data_dir)?;
    let stop = stop_signal()?;
    let server = open(&config).await?;
    let address = server.address()?;
    println!("{}", listening(&server)?);
    let old: Vec<_> = server.keys().list().into_iter().filter(|key| key.name == KEY_NAME).collect();
    let key = first_key(&server, KEY_NAME).await?;
    for key in old {
        server.keys().delete(&key.id).await?;
    }
    let serving = tokio::spawn(server.serve(stop.clone()));

    println!("\n> {QUESTION}");
    let url = format!("{}://{address}", if config.tls.is_some() { "https" } else { "http" });
    let question = Question { message: QUESTION.to_owned(), agent: None, session_id: None };
    if let Some(outcome) = stop.run_until_cancelled(ask(&url, &key, &question)).await {
        outcome?;
        println!("{}", first_call::text(&address, key.expose_secret(), config.tls.is_some()));
        println!("Serving until Ctrl-C.");
    }
    serving.await?;
    Ok(ExitCode::SUCCESS)
}
