//! Compiles the standard's messages and service to Rust without protoc, the messages with their
//! JSON by the `ProtoJSON` rules, and keeps the descriptors for reflection.

use prost::Message;
use std::path::{Path, PathBuf};
use std::{env, error, fs};

/// Where the packages lie within the folder `proto`: the present version, and the one before it.
const FILES: [&str; 2] = ["lf/a2a/v1/a2a.proto", "a2a/v1/a2a.proto"];

/// Google's types that have a JSON form of their own, and ours that have it.
const OWN: &[(&str, &str)] = &[
    (".google.protobuf.Struct", "crate::wire::Struct"),
    (".google.protobuf.Value", "crate::wire::Value"),
    (".google.protobuf.Timestamp", "crate::wire::Timestamp"),
];

/// How the generator reads a `data` part, and how it must: as generated, a JSON `null`, which is
/// a value here, would read as a part without content.
const NULL_IS_NOTHING: &str =
    "map_.next_value::<::std::option::Option<_>>()?.map(part::Content::Data)";
const NULL_IS_A_VALUE: &str = "Some(part::Content::Data(map_.next_value()?))";

fn main() -> Result<(), Box<dyn error::Error>> {
    let sources = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    for file in FILES {
        println!("cargo::rerun-if-changed={}", sources.join(file).display());
    }
    let descriptors = protox::compile(FILES, [&sources])?;
    let mut json = pbjson_build::Builder::new();
    let encoded = descriptors.encode_to_vec();
    json.register_descriptors(&encoded)?.ignore_unknown_fields();
    let mut config = prost_build::Config::new();
    for (google, own) in OWN {
        json.extern_path(*google, *own);
        config.extern_path(*google, *own);
    }
    // The shorthand that would dial is left out: nothing here opens a socket.
    tonic_prost_build::configure()
        .build_transport(false)
        .compile_fds_with_config(descriptors, config)?;
    json.build(&[".lf.a2a.v1", ".a2a.v1"])?;

    let target = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(target.join("a2a.descriptors"), encoded)?;
    let generated = target.join("lf.a2a.v1.serde.rs");
    let text = fs::read_to_string(&generated)?;
    assert_eq!(text.matches(NULL_IS_NOTHING).count(), 1, "data parts are read in another way");
    fs::write(generated, text.replace(NULL_IS_NOTHING, NULL_IS_A_VALUE))?;
    Ok(())
}
