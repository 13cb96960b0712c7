//! Turns `proto/synapse/v1` into everything that is generated: messages, services, REST handlers, validation, OpenAPI, reflection.

#[path = "build/check.rs"]
mod check;
#[path = "build/model.rs"]
mod model;
#[path = "build/openapi.rs"]
mod openapi;
#[path = "build/options.rs"]
mod options;
#[path = "build/rust.rs"]
mod rust;

use std::path::{Path, PathBuf};
use std::{env, fs};

use model::Schema;
use prost::Message;
use protox::Compiler;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const PACKAGE: &str = "synapse.v1";

#[expect(clippy::disallowed_methods, reason = "cargo tells a build script where to write in no other way")]
fn main() -> Outcome {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=build");
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let mut compiler = Compiler::new(["proto"])?;
    compiler.include_source_info(true).include_imports(true).open_files(sources(Path::new("proto/synapse/v1"))?)?;
    let schema = Schema::read(&compiler.descriptor_pool(), PACKAGE)?;

    messages(&schema, compiler.file_descriptor_set())?;
    fs::write(out.join("validate.rs"), rust::validation(&schema))?;
    fs::write(out.join("words.rs"), rust::vocabulary(&schema))?;
    fs::write(out.join("events.rs"), rust::events(&schema))?;
    fs::write(out.join("checked.rs"), rust::checked(&schema))?;
    fs::write(out.join("rest.rs"), rust::rest(&schema))?;
    fs::write(out.join("openapi.json"), openapi::document(&schema)?)?;
    fs::write(out.join("descriptor.bin"), descriptor(&mut compiler)?)?;
    Ok(())
}

/// Lists the proto files of a folder, in the order of their names.
fn sources(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, std::io::Error>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "proto"));
    files.sort();
    files.iter().map(|file| Ok(file.strip_prefix("proto")?.to_owned())).collect()
}

/// Generates messages and service traits. Imported options are no messages of ours; google.protobuf stays for prost's own look-ups.
fn messages(schema: &Schema, mut files: prost_types::FileDescriptorSet) -> Outcome {
    files.file.retain(|file| [PACKAGE, "google.protobuf"].contains(&file.package()));
    let mut builder = tonic_prost_build::configure()
        .build_client(true)
        .generate_default_stubs(true)
        .extern_path(".google.protobuf.Struct", "crate::wire::JsonObject")
        .extern_path(".google.protobuf.Value", "crate::wire::JsonValue")
        .extern_path(".google.protobuf.Timestamp", "crate::wire::Time");
    for (path, attribute) in rust::type_attributes(schema) {
        builder = builder.type_attribute(path, attribute);
    }
    for (path, attribute) in rust::field_attributes(schema) {
        builder = builder.field_attribute(path, attribute);
    }
    Ok(builder.compile_fds(files)?)
}

/// Encodes the descriptors that reflection serves, without comments.
fn descriptor(compiler: &mut Compiler) -> Outcome<Vec<u8>> {
    let mut files = prost_types::FileDescriptorSet::decode(compiler.encode_file_descriptor_set().as_slice())?;
    for file in &mut files.file {
        file.source_code_info = None;
    }
    Ok(files.encode_to_vec())
}
