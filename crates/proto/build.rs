//! Compiles the sources in `proto/` to Rust without protoc, and keeps the descriptor set for
//! reflection.

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use std::path::{Path, PathBuf};
use std::{env, error, fs};

/// The files of the package, relative to the folder `proto`.
const FILES: &[&str] = &[
    "trunkline/v1/agent.proto",
    "trunkline/v1/broker.proto",
    "trunkline/v1/envelope.proto",
    "trunkline/v1/framed.proto",
    "trunkline/v1/inbox.proto",
    "trunkline/v1/query.proto",
    "trunkline/v1/schedule.proto",
    "trunkline/v1/session.proto",
    "trunkline/v1/settle.proto",
    "trunkline/v1/task.proto",
];

/// The fields of which frames carry millions, and the types of our own that read and write them.
const CARRIERS: &[(&str, &str, &str)] =
    &[("Operations", "operations", "CarriedOperation"), ("ServerFrame", "items", "CarriedItem")];

fn main() -> Result<(), Box<dyn error::Error>> {
    let sources = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo::rerun-if-changed={}", sources.display());
    let mut descriptors = protox::compile(FILES, [&sources])?;
    let target = PathBuf::from(env::var("OUT_DIR")?).join("trunkline.v1.descriptors");
    fs::write(target, descriptors.encode_to_vec())?;
    redirect_carriers(&mut descriptors);
    let mut config = prost_build::Config::new();
    // Payloads and ids stay slices of the frame that they came in.
    config.bytes(["."]);
    for (_, _, carried) in CARRIERS {
        config.extern_path(format!(".trunkline.v1.{carried}"), format!("crate::{carried}"));
    }
    // The shorthand that would dial is left out: its name is the one of the call `Connect`.
    tonic_prost_build::configure()
        .build_transport(false)
        .codec_path("crate::codec::FrameCodec")
        .compile_fds_with_config(descriptors, config)?;
    Ok(())
}

/// Gives the carrying fields a type of our own for the generator. The wire and what reflection
/// shows stay as the sources say.
fn redirect_carriers(descriptors: &mut FileDescriptorSet) {
    let mut redirected = 0;
    for file in &mut descriptors.file {
        for message in &mut file.message_type {
            let name = message.name().to_owned();
            for field in &mut message.field {
                let carrier = CARRIERS.iter().find(|(message, carrying, _)| {
                    (*message, *carrying) == (name.as_str(), field.name())
                });
                if let Some((_, _, carried)) = carrier {
                    field.type_name = Some(format!(".trunkline.v1.{carried}"));
                    redirected += 1;
                }
            }
        }
        if file.name() == "trunkline/v1/session.proto" {
            // Their fields tell the generator that the types are neither `Copy` nor `Eq`.
            let field = |name: &str, number, kind| FieldDescriptorProto {
                name: Some(name.to_owned()),
                number: Some(number),
                label: Some(Label::Optional.into()),
                r#type: Some(Type::into(kind)),
                ..FieldDescriptorProto::default()
            };
            for (_, _, carried) in CARRIERS {
                file.message_type.push(DescriptorProto {
                    name: Some((*carried).to_owned()),
                    field: vec![field("text", 1, Type::String), field("real", 2, Type::Double)],
                    ..DescriptorProto::default()
                });
            }
        }
    }
    assert_eq!(redirected, CARRIERS.len(), "a carrying field has another name in the sources");
}
