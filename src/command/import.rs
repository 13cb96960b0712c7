//! `synapse tools import`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value};

use super::Failure;
use crate::config::Config;
use crate::definition::{self, ImportWishes, import_openapi};
use crate::store::{create_data_dir, put_custom_tools, read_document};

/// What to import, and how.
#[derive(Debug, Args)]
pub struct Import {
    /// The document: OpenAPI 3.0 or 3.1, or Swagger 2.0, in JSON.
    document: PathBuf,
    /// Where the API is, instead of what the document says.
    #[arg(long)]
    base_url: Option<String>,
    /// What the name of every tool begins with.
    #[arg(long, default_value = "")]
    prefix: String,
    /// A header that every call carries, as `Name: value`; may be given several times.
    #[arg(long = "header", value_parser = header)]
    headers: Vec<(String, String)>,
    /// Prints the tools and changes nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Makes tools of a document.
pub(super) fn import(arguments: Import, config: &Config) -> Result<ExitCode, Failure> {
    let text = read_document(&arguments.document)?;
    let wishes = ImportWishes { base_url: arguments.base_url, prefix: arguments.prefix, headers: arguments.headers };
    let definition::Import { tools, left_out, authentication } = import_openapi(&text, &wishes)?;
    for note in left_out {
        eprintln!("{note}");
    }
    if tools.is_empty() {
        return Err("no operation of the document can be a tool, so nothing was changed".into());
    }
    if arguments.dry_run {
        println!("{:#}", Value::from(tools));
        return Ok(ExitCode::SUCCESS);
    }
    write(tools, config)?;
    if wishes.headers.is_empty() && !authentication.is_empty() {
        eprintln!(
            "the API asks for `{}`: add a `headers` object to the tools, or import again with `--header`",
            authentication.join("`, `")
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the tools and says which.
fn write(tools: Vec<Map<String, Value>>, config: &Config) -> Result<(), Failure> {
    let lines: Vec<_> =
        tools.iter().map(|tool| format!("`{}`", [&tool["name"], &tool["method"], &tool["url"]].map(text).join(" "))).collect();
    create_data_dir(&config.data_dir)?;
    let put = put_custom_tools(&config.data_dir, tools)?;
    for line in &lines {
        println!("{line}");
    }
    for name in &put.without_headers {
        eprintln!(
            "`{name}` is at another address now, so its `headers` were left out; add those of the new one, or import again with `--header`"
        );
    }
    println!("{} tools added, {} updated in `{}`", put.added.len(), put.updated.len(), config.data_dir.display());
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn header(argument: &str) -> Result<(String, String), String> {
    let (name, value) = argument.split_once(':').ok_or("write a name, a colon and a value")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}
