//! From the configuration to the settings that each folder takes: what is named how where.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::memory::Memory;
use crate::config::memory::{self, Share};
use crate::config::{self, Config};
use crate::discovery::Discovery;
use crate::discovery::trends::Trends;
use crate::hydrate::HydrationSettings;
use crate::limits::{Limit, Limits, Proxies};
use crate::media;
use crate::moderation::Tags;
use crate::net::{Dialer, HttpClient};
use crate::push;
use crate::search::index::{self, Search};
use crate::store::free_space;
use crate::threads::Clock;
use crate::upkeep::Step;
use crate::xrpc::{
    AdminPassword, AuthConfig, ClientConfig, Community, LiveNow, MemberHook, NetMemberHook,
    ParsedLabelers,
};

/// How many accounts the caches of readers hold for a memory budget.
pub(super) fn cached_accounts(budget: u64) -> usize {
    Share::Accounts.entries(budget, memory::ACCOUNT)
}

/// How many documents and handles are remembered.
pub(super) fn cached_identities(budget: u64) -> usize {
    Share::Identities.entries(budget, memory::IDENTITY)
}

/// Who labels what is pushed: those that apply to clients that name none, as of now.
pub(super) fn labelers_of(defaults: &Arc<ArcSwap<ParsedLabelers>>) -> push::LabelerSource {
    let defaults = Arc::clone(defaults);
    Box::new(move || defaults.load().labelers.iter().map(|l| l.did.clone()).collect())
}

pub(super) fn push_settings(config: &Config) -> push::PushSettings {
    let secret = config.push.secret.as_ref().map(|s| s.expose().to_owned());
    push::PushSettings {
        endpoint: config.push.endpoint.clone().zip(secret),
        per_minute: config.push.per_minute,
        contact: config.server.public_url.clone(),
    }
}

pub(super) fn hydration_settings(config: &Config) -> HydrationSettings {
    let trusted = config.moderation.trusted_verifiers.iter();
    HydrationSettings {
        trusted_verifiers: trusted.map(|did| Arc::from(did.as_str())).collect(),
        images: config.images.cdn_base.as_str().into(),
        videos: config.images.video_base.as_str().into(),
        tags: Arc::new(Tags::new(&config.moderation)),
        debug_dids: config.server.debug_dids.iter().map(|did| Arc::from(did.as_str())).collect(),
    }
}

/// Images, with a cache that is the first to give way: images can be made again.
pub(super) fn media_settings(
    config: &Config,
    threads: usize,
    memory: &Memory,
) -> media::MediaSettings {
    media::MediaSettings {
        cache_path: config.images.cache_path.clone(),
        cache_size: config.images.cache_size,
        floor: Step::HoldBackfill.below(config.store.reserve),
        free: free_space,
        threads,
        pictures: memory.pictures.clone(),
        files: memory.files.clone(),
    }
}

/// Its hook is named in the configuration, so it may be on the operator's own network.
pub(super) fn community(config: &Config, dialer: &Dialer) -> Option<Arc<Community>> {
    let config::Community { list, hook, posts } = config.community.clone();
    if list.is_none() && hook.is_none() {
        return None;
    }
    let http = HttpClient::new(&dialer.unguarded(), &config.server.public_url);
    let hook = hook.map(|url| Arc::new(NetMemberHook { url, http }) as Arc<dyn MemberHook>);
    let most = usize::try_from(posts).unwrap_or(usize::MAX);
    Some(Arc::new(Community::new(list, hook, most)))
}

/// What is suggested, in its share of the memory.
pub(super) fn discovery(config: &Config, clock: &Clock) -> Discovery {
    let bytes = Share::Discovery.of(config.store.memory_budget);
    Discovery::new(config.discovery.clone(), bytes, clock.now_us())
}

/// What many write of, in its share of the memory.
pub(super) fn trends(config: &Config, clock: &Clock) -> Trends {
    Trends::new(Share::Trends.of(config.store.memory_budget), clock.clone())
}

/// The indexes of search, in the folder of the store.
pub(super) fn search(config: &Config) -> Search {
    let settings = index::Settings {
        commit_interval: config.search.commit_interval,
        batch: 20_000,
        bytes: Share::Search.of(config.store.memory_budget),
    };
    Search::new(&config.store.path.join("search"), settings)
}

/// The table of limits with what the configuration says of it.
pub(super) fn limits(config: &Config) -> Limits {
    let config::Limits { requests, connections, writes, .. } = config.limits;
    let proxies = Proxies::new(config.server.trusted_proxies.clone());
    let numbers = [
        (Limit::Requests, requests),
        (Limit::Pictures, requests.saturating_mul(4)),
        (Limit::Connections, connections),
        (Limit::Writes, writes),
    ];
    Limits::new(proxies, &numbers)
}

pub(super) fn client_config(config: &Config) -> ClientConfig {
    let live_now = config.live_now.iter().cloned();
    ClientConfig {
        live_now: live_now.map(|row| LiveNow { did: row.did, domains: row.domains }).collect(),
        age_rules: config.age_assurance.rules.clone(),
        assured: config.age_assurance.assured.clone(),
        whats_hot: config.discovery.whats_hot.clone(),
    }
}

pub(super) fn auth_config(config: &Config) -> AuthConfig {
    AuthConfig {
        own_did: config.server.did.clone(),
        alternative_dids: config.server.alternative_dids.clone(),
        mod_service: config.moderation.service_did.clone(),
        entryway: config.server.entryway_key.clone(),
        admin_passwords: config
            .admin
            .password
            .iter()
            .map(|p| AdminPassword::new(p.expose()))
            .collect(),
    }
}
