//! `app.bsky.embed.*`

use serde::Serialize;

use crate::hydrate::{Json, ShownRecord};
use crate::view::site::{SiteOverlay, overlay};
use crate::xrpc::session::Session;
use crate::xrpc::{AppCtx, Call, Reply, XrpcError};

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Link<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    view: Option<EmbedViewOutput<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    associated_refs: Option<Vec<Ref>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    associated_records: Option<Vec<Json>>,
}

#[derive(Serialize)]
struct EmbedViewOutput<'a> {
    #[serde(rename = "$type")]
    tag: &'static str,
    external: External<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct External<'a> {
    #[serde(flatten)]
    overlay: SiteOverlay,
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
    fn to(record: &ShownRecord) -> Self {
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
    let records: Vec<&ShownRecord> = records.filter_map(|id| state.record(id)).collect();
    let refs: Vec<Ref> = records.iter().map(|record| Ref::to(record)).collect();
    let external = External { overlay, uri: url, associated_refs: refs.clone() };
    session.reply(&Link {
        view: Some(EmbedViewOutput { tag: "app.bsky.embed.external#view", external }),
        associated_refs: Some(refs),
        associated_records: Some(records.iter().map(|record| record.value.clone()).collect()),
    })
}
