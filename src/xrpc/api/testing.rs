//! Handlers over a filled store: parameters and answers are checked against the lexicon as on the wire.

use std::sync::Arc;

use futures_util::StreamExt as _;
use http::HeaderMap;
use serde_json::Value;

use crate::changes::catch_up::{Step, rest, step};
use crate::changes::{Follower, Log};
use crate::config::Limits;
use crate::hydrate::testing::Fixture;
use crate::index::Index;
use crate::lexicon::catalog;
use crate::limits::Client;
use crate::schema::{ActorId, Rows};
use crate::search::index::Search;
use crate::syntax::Did;
use crate::xrpc::community::is_named;
use crate::xrpc::testing::{FakeGenerators, context_with};
use crate::xrpc::{
    AppCtx, Call, ClientConfig, Community, Credentials, FetchRequests, Handler, METHODS, OnRead,
    Reply, Rest, XrpcError,
};

/// A filled store and the handlers over it.
pub(in crate::xrpc) struct Server {
    pub(in crate::xrpc) fixture: Fixture,
    pub(in crate::xrpc) generators: Arc<FakeGenerators>,
    pub(in crate::xrpc) ctx: Arc<AppCtx>,
}

/// Makes indexes of what a store holds now.
pub(in crate::xrpc) fn make_searchable(search: &Arc<Search>, fixture: &Fixture) {
    search.rebuild();
    let follower = Arc::clone(search) as Arc<dyn Follower>;
    let Fixture { store, writer, .. } = fixture;
    let log = fixture.wait(Log::start(store, writer, vec![follower])).unwrap();
    while step(&log, &**search).unwrap() == Step::Moved {}
    rest(&log, &**search).unwrap();
}

impl Server {
    pub(in crate::xrpc) fn new(fixture: Fixture) -> Self {
        Self::with(fixture, None)
    }

    /// With community posts.
    pub(in crate::xrpc) fn with(
        fixture: Fixture,
        community: Option<(Arc<Community>, Arc<Index>)>,
    ) -> Self {
        let Fixture { store, writer, shared, .. } = &fixture;
        let keys = Arc::default();
        let generators = Arc::new(FakeGenerators::default());
        let feeds = Arc::clone(&generators);
        let (store, writer, shared) = (store.clone(), writer.clone(), Arc::clone(shared));
        let ctx = context_with(keys, store, writer, shared, feeds, community);
        Self { fixture, generators, ctx }
    }

    /// With something that brings what the store lacks.
    pub(in crate::xrpc) fn fetching(fixture: Fixture, on_read: Arc<dyn OnRead>) -> Self {
        let mut this = Self::new(fixture);
        Arc::get_mut(&mut this.ctx).unwrap().on_read = Some(on_read);
        this
    }

    /// Replaces what the operator tells clients.
    pub(in crate::xrpc) fn configure(&self, config: ClientConfig) {
        self.ctx.client_config.store(Arc::new(config));
    }

    /// Replaces how much is given at most.
    pub(in crate::xrpc) fn limit(&self, limits: Limits) {
        self.ctx.limits.store(Arc::new(limits));
    }

    /// Makes the indexes of search of what the store holds now.
    pub(in crate::xrpc) fn make_searchable(&self) {
        make_searchable(&self.ctx.search, &self.fixture);
    }

    fn viewer(&self, viewer: Option<ActorId>) -> Credentials {
        match viewer {
            None => Credentials::None,
            Some(id) => {
                let did = self.fixture.snapshot().did(id).unwrap();
                Credentials::Viewer { did: Did::parse(&did).unwrap(), mod_service: false }
            }
        }
    }

    /// Calls a query.
    pub(in crate::xrpc) fn get(
        &self,
        nsid: &str,
        query: &str,
        viewer: Option<ActorId>,
    ) -> Result<Value, XrpcError> {
        self.call(nsid, Some(query), None, self.viewer(viewer), HeaderMap::new())
    }

    /// The answer to a query as it goes out.
    pub(in crate::xrpc) fn reply(
        &self,
        nsid: &str,
        query: &str,
        viewer: Option<ActorId>,
    ) -> Result<Reply, XrpcError> {
        let method = METHODS.iter().find(|m| m.nsid == nsid).unwrap();
        let params = catalog().method(nsid).unwrap().parse_params(Some(query)).unwrap();
        let (credentials, to_fetch) = (self.viewer(viewer), FetchRequests::default());
        let (community, client, headers) = (false, Client::Own, HeaderMap::new());
        let call = Call { params, input: None, credentials, headers, client, to_fetch, community };
        match method.handler {
            Handler::Read(handler) => handler(&self.ctx, &call),
            Handler::Async(handler) => self.fixture.wait(handler(Arc::clone(&self.ctx), call)),
        }
    }

    /// Calls a procedure.
    pub(in crate::xrpc) fn post(
        &self,
        nsid: &str,
        input: Value,
        viewer: ActorId,
    ) -> Result<Value, XrpcError> {
        self.call(nsid, None, Some(input), self.viewer(Some(viewer)), HeaderMap::new())
    }

    /// The labelers that an anonymous answer says were applied.
    pub(in crate::xrpc) fn labelers_applied(
        &self,
        nsid: &str,
        query: &str,
        headers: HeaderMap,
    ) -> Option<String> {
        let method = METHODS.iter().find(|m| m.nsid == nsid).unwrap();
        let params = catalog().method(nsid).unwrap().parse_params(Some(query)).unwrap();
        let (credentials, to_fetch) = (Credentials::None, FetchRequests::default());
        let community = false;
        let client = Client::Own;
        let call = Call { params, input: None, credentials, headers, client, to_fetch, community };
        let Handler::Read(handler) = method.handler else { panic!("{nsid} is asynchronous") };
        let reply = handler(&self.ctx, &call).unwrap();
        let header = reply.headers.iter().find(|(name, _)| name == "atproto-content-labelers");
        header.map(|(_, value)| value.to_str().unwrap().to_owned())
    }

    /// Calls anything as anybody.
    pub(in crate::xrpc) fn call(
        &self,
        nsid: &str,
        query: Option<&str>,
        input: Option<Value>,
        credentials: Credentials,
        headers: HeaderMap,
    ) -> Result<Value, XrpcError> {
        let method = METHODS.iter().find(|m| m.nsid == nsid).unwrap();
        let schema = catalog().method(nsid).unwrap();
        let params = schema
            .parse_params(query)
            .map_err(|invalid| XrpcError::invalid_request(invalid.to_string()))?;
        if let Some(input) = &input {
            schema.validate_input(input).unwrap();
        }
        let to_fetch = FetchRequests::default();
        let community = false;
        let client = Client::Own;
        let mut call = Call { params, input, credentials, headers, client, to_fetch, community };
        if is_named(&call.params) {
            self.fixture.wait(self.ctx.seek_community(&mut call))?;
        }
        let reply = match method.handler {
            Handler::Read(handler) => handler(&self.ctx, &call)?,
            Handler::Async(handler) => self.fixture.wait(handler(Arc::clone(&self.ctx), call))?,
        };
        if reply.body.is_empty() {
            return Ok(Value::Null);
        }
        if schema.output_encoding() != Some("application/json") {
            return Ok(self.fixture.wait(lines(reply)));
        }
        let body = serde_json::from_slice(&reply.body).unwrap();
        if let Err(invalid) = schema.validate_output(&body) {
            panic!("{nsid}: {invalid}\n{body:#}");
        }
        Ok(body)
    }
}

/// All of an answer of JSON lines.
async fn lines(reply: Reply) -> Value {
    let mut text = reply.body;
    if let Some(Rest(mut rest)) = reply.rest {
        while let Some(piece) = rest.next().await {
            text.extend_from_slice(&piece.unwrap());
            assert!(text.len() < 64 << 20, "it does not end");
        }
    }
    let text = String::from_utf8(text).unwrap();
    text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect()
}
