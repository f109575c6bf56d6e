//! `app.bsky.embed.*`

use serde::Serialize;

use crate::hydrate::{Json, Record};
use crate::view::site::{Overlay, overlay};
use crate::xrpc::session::Session;
use crate::xrpc::{AppCtx, Call, Reply, XrpcError};

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Link<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    view: Option<View<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    associated_refs: Option<Vec<Ref>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    associated_records: Option<Vec<Json>>,
}

#[derive(Serialize)]
struct View<'a> {
    #[serde(rename = "$type")]
    tag: &'static str,
    external: External<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct External<'a> {
    #[serde(flatten)]
    overlay: Overlay,
    uri: &'a str,
    associated_refs: Vec<Ref>,
}

#[derive(Serialize, Clone)]
struct Ref {
    #[serde(rename = "$type")]
    tag: &'static str,
    uri: String,
    cid: String,
}

impl Ref {
    fn to(record: &Record) -> Self {
        let (uri, cid) = (record.uri.to_string(), record.cid.clone());
        Self { tag: "com.atproto.repo.strongRef", uri, cid }
    }
}

/// `app.bsky.embed.getEmbedExternalView`: how a link will look once it is posted. Reads up to four `site.standard.*`
/// records, the publication of each document, and their owners. Nothing if the records do not stand for the link.
pub(crate) fn get_embed_external_view(app: &AppCtx, call: &Call) -> Result<Reply, XrpcError> {
    let session = Session::open(app, call)?;
    let h = session.hydrator();
    let mut state = h.state();
    let url = call.params.str("url").unwrap_or_default();
    let pair = h.site_pair(&mut state, call.params.strs("uris"))?;
    let Some(overlay) = overlay(&state, pair, url) else { return session.reply(&Link::default()) };

    let records = [pair.document, pair.publication].into_iter().flatten();
    let records: Vec<&Record> = records.filter_map(|id| state.record(id)).collect();
    let refs: Vec<Ref> = records.iter().map(|record| Ref::to(record)).collect();
    let external = External { overlay, uri: url, associated_refs: refs.clone() };
    session.reply(&Link {
        view: Some(View { tag: "app.bsky.embed.external#view", external }),
        associated_refs: Some(refs),
        associated_records: Some(records.iter().map(|record| record.value.clone()).collect()),
    })
}
