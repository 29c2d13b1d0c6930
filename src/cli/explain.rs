//! Why somebody gets an image through docxy or not (`docxy explain`), and how long its tag may be answered from the cache
//! (`docxy check-config --explain` says only that).

mod access;
mod image;
mod server;
mod tags;

use std::net::IpAddr;

use clap::Args;
use serde_json::json;

use self::access::{Access, Asker};
use self::image::Image;
use self::server::{ForWhom, Server};
use self::tags::Tags;
use super::to_stdout;
use crate::config::Loaded;

/// How the answer is written.
#[derive(Clone, Copy)]
pub(super) enum Form {
    Text,
    Json,
}

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The image, as in redis:7 or ghcr.io/team/app@sha256:...
    #[arg(value_name = "IMAGE")]
    image: String,
    /// For this user of docxy's own, or this token (token:NAME); without it for somebody who has not signed in
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// For a client at this address
    #[arg(long, visible_alias = "client", value_name = "ADDRESS")]
    address: Option<IpAddr>,
    /// Through this door of docxy's
    #[arg(long, value_name = "DOOR", value_parser = ["ns", "host", "prefix", "default", "proxy"])]
    door: Option<String>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

/// Everything, for one who asks.
pub(super) fn run(loaded: &Loaded, wanted: Arguments) -> anyhow::Result<()> {
    let image = Image::find(&loaded.schema, &wanted.image)?;
    let for_whom = ForWhom {
        user: wanted.user.clone(),
        address: wanted.address,
        door: wanted.door,
    };
    let asker = Asker::of(&loaded.schema, wanted.user, wanted.address);
    let (access, tags) = (Access::of(loaded, &image, &asker)?, Tags::of(loaded, &image));
    let server = Server::ask(&loaded.schema, &image, &for_whom);
    if wanted.json {
        let answer = json!({
            "image": image.whole(),
            "registry": image.name.registry.as_str(),
            "repository": image.name.repository.as_str(),
            "access": access.json(),
            "tags": tags.json(),
            "server": server.json(),
        });
        to_stdout(format_args!("{answer:#}"));
        return Ok(());
    }
    to_stdout(format_args!(
        "image:     {}\nregistry:  {}\n{}\n\ntag rule:  {}\n\n{}\n\n{}",
        image.whole(),
        image.whereabouts(),
        access.text(),
        tags.rule_text(),
        indented(&tags.meaning()),
        server.text().trim_end(),
    ));
    Ok(())
}

/// Only what is about its tag.
pub(super) fn of_tag(loaded: &Loaded, image: &str, form: Form) -> anyhow::Result<()> {
    let image = Image::find(&loaded.schema, image)?;
    let tags = Tags::of(loaded, &image);
    match form {
        Form::Text => to_stdout(format_args!(
            "image:     {}\nregistry:  {}\nrule:      {}\n\n{}",
            image.whole(),
            image.whereabouts(),
            tags.rule_text(),
            tags.meaning().join("\n").trim_end()
        )),
        Form::Json => to_stdout(format_args!("{:#}", tags.json())),
    }
    Ok(())
}

fn indented(sentences: &[String]) -> String {
    let lines: Vec<String> = sentences.iter().map(|sentence| format!("  {sentence}")).collect();
    lines.join("\n")
}
